"""Small results of each tool, in the shape that it writes them, with figures that are made up."""

import json

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def vllm_serve(**changes):
    """Sixteen clients with 200 requests of 1,024 and 128 tokens."""
    found = {
        "date": "20261130-101500", "endpoint_type": "openai-comp", "backend": "vllm", "label": None,
        "model_id": LLAMA, "tokenizer_id": LLAMA, "num_prompts": 200, "request_rate": "inf",
        "burstiness": 1.0, "max_concurrency": 16, "duration": 20.0, "completed": 200, "failed": 0,
        "total_input_tokens": 204800, "total_output_tokens": 25600, "request_throughput": 10.0,
        "output_throughput": 1280.0, "total_token_throughput": 11520.0, "mean_ttft_ms": 80.0,
        "median_ttft_ms": 75.0, "std_ttft_ms": 9.0, "p99_ttft_ms": 160.0, "mean_tpot_ms": 10.0,
        "median_tpot_ms": 9.9, "std_tpot_ms": 0.2, "p99_tpot_ms": 12.0, "mean_itl_ms": 10.1,
        "median_itl_ms": 9.5, "std_itl_ms": 3.0, "p99_itl_ms": 40.0,
    }  # fmt: skip
    return found | changes


VLLM_LATENCY = {
    "avg_latency": 1.5, "std_latency": 0.01, "latencies": [1.49, 1.51],
    "percentiles": {"10": 1.49, "25": 1.49, "50": 1.5, "75": 1.51, "90": 1.51, "99": 1.51},
}  # fmt: skip
VLLM_THROUGHPUT = {
    "elapsed_time": 50.0, "num_requests": 1000, "total_num_tokens": 1152000,
    "requests_per_second": 20.0, "tokens_per_second": 23040.0,
}  # fmt: skip


def sglang(**changes):
    """A line of SGLang's tool, with what the server says of itself."""
    found = {
        "tag": None, "backend": "sglang", "dataset_name": "random", "request_rate": 4.0,
        "max_concurrency": None, "sharegpt_output_len": None, "random_input_len": 512,
        "random_output_len": 64, "random_range_ratio": 1.0,
        "server_info": {
            "model_path": "Qwen/Qwen3-30B-A3B-FP8", "tp_size": 4, "pp_size": 1, "dp_size": 2,
            "ep_size": 4, "enable_dp_attention": True, "quantization": "fp8",
            "kv_cache_dtype": "fp8_e4m3", "version": "0.5.23",
        },
        "duration": 25.0, "completed": 100, "total_input_tokens": 51200, "total_output_tokens": 6400,
        "request_throughput": 4.0, "output_throughput": 256.0, "mean_e2e_latency_ms": 800.0,
        "median_e2e_latency_ms": 790.0, "p99_e2e_latency_ms": 1200.0, "mean_ttft_ms": 60.0,
        "median_ttft_ms": 55.0, "p99_ttft_ms": 200.0, "mean_tpot_ms": 12.0, "median_tpot_ms": 11.5,
        "p99_tpot_ms": 20.0, "mean_itl_ms": 12.5, "p95_itl_ms": 14.0, "concurrency": 3.2,
        "accept_length": None,
    }  # fmt: skip
    return found | changes


def metric(unit, avg, *shares):
    """A metric of AIPerf, with its 50th, 90th, 95th and 99th percentiles."""
    names = ("p50", "p90", "p95", "p99")
    return {"unit": unit, "avg": avg} | dict(zip(names, shares, strict=False))


def aiperf(**changes):
    """A summary of AIPerf 0.10."""
    found = {
        "schema_version": "1.3", "aiperf_version": "0.10.0", "benchmark_id": "b1",
        "request_throughput": metric("requests/sec", 6.0),
        "request_latency": metric("ms", 1300.0, 1290.0, 1400.0, 1450.0, 1500.0),
        "request_count": metric("requests", 80.0),
        "time_to_first_token": metric("ms", 90.0, 85.0, 120.0, 130.0, 150.0),
        "inter_token_latency": metric("ms", 9.5, 9.4, 10.0, 10.2, 10.5),
        "output_token_throughput": metric("tokens/sec", 768.0),
        "output_sequence_length": metric("tokens", 128.0, 128.0),
        "input_sequence_length": metric("tokens", 1000.0, 1000.0),
        "start_time": "2026-06-13T05:11:41", "was_cancelled": False, "error_summary": [],
        "input_config": {
            "endpoint": {"model_names": [LLAMA], "streaming": True},
            "loadgen": {"concurrency": 8, "request_count": 80, "warmup_request_count": 4},
        },
    }  # fmt: skip
    return found | changes


PHASES = {
    "models": {"items": [{"name": LLAMA}]},
    "phases": [
        {"name": "warmup", "concurrency": 2},
        {"name": "profiling", "concurrency": 8, "requests": 80},
    ],
}
"""Settings as AIPerf 0.11 and later write them."""
GENAI_PERF = {
    "request_throughput": metric("requests/sec", 2.5),
    "request_latency": metric("ms", 4000.0, 3900.0),
    "time_to_first_token": metric("ms", 300.0, 250.0),
    "inter_token_latency": metric("ms", 30.0, 29.0),
    "output_sequence_length": metric("tokens", 128.0),
    "input_sequence_length": metric("tokens", 2048.0),
    "input_config": {"model": [LLAMA], "concurrency": 16},
}
AIPERF_CSV = """Metric,avg,min,max,p1,p5,p10,p25,p50,p75,p90,p95,p99,std
Input Sequence Length (tokens),1000.00,1000,1000,1000,1000,1000,1000,1000,1000,1000,1000,1000,0.00
Inter Token Latency (ms),9.50,9.00,10.60,9.0,9.1,9.2,9.3,9.40,9.6,10.00,10.20,10.50,0.30
Output Sequence Length (tokens),128.00,128,128,128,128,128,128,128,128,128,128,128,0.00
Request Latency (ms),"1,300.00",1200,1500,1200,1210,1220,1250,"1,290.00",1350,"1,400.00",1450,1500,60
Time to First Token (ms),90.00,70.00,155.00,70,71,72,80,85.00,100,120.00,130.00,150.00,15.00

Metric,Value
Benchmark Duration (sec),13.30
Output Token Throughput (tokens/sec),768.00
Request Count,80
Request Throughput (requests/sec),6.00
"""


def summary(mean, median=None, **shares):
    """A distribution of GuideLLM, of requests that succeeded."""
    told = {"mean": mean, "median": mean if median is None else median, "percentiles": shares}
    return {"successful": told, "incomplete": {"mean": 9.0}, "errored": None}


def guidellm_run(strategy, in_flight=4.0):
    """One run of GuideLLM."""
    return {
        "type_": "generative_benchmark",
        "config": {
            "strategy": strategy,
            "backend": {"type_": "openai_http", "target": "http://localhost:8000", "model": LLAMA},
        },
        "scheduler_metrics": {"start_time": 1790000000.0},
        "metrics": {
            "request_totals": {"successful": 40, "incomplete": 1, "errored": 0, "total": 41},
            "requests_per_second": summary(5.0),
            "request_concurrency": summary(in_flight),
            "request_latency": summary(0.8, 0.79, p90=0.9, p95=0.95, p99=1.0),
            "prompt_token_count": summary(256.0),
            "output_token_count": summary(64.0),
            "time_to_first_token_ms": summary(40.0, 38.0, p90=50.0, p95=55.0, p99=60.0),
            "time_per_output_token_ms": summary(12.5),
            "inter_token_latency_ms": summary(12.0, 11.9, p90=13.0, p95=13.5, p99=14.0),
            "output_tokens_per_second": summary(320.0),
        },
    }


def guidellm(**changes):
    """A report of GuideLLM 0.7: four clients, then a rate."""
    runs = [
        guidellm_run({"type_": "concurrent", "streams": 4}),
        guidellm_run({"type_": "poisson", "rate": 5.0, "max_concurrency": None}),
    ]
    metadata = {"version": 2, "guidellm_version": "0.7.0", "python_version": "3.12"}
    return {"metadata": metadata, "config": {}, "benchmarks": runs} | changes


def guidellm_csv(strategy="concurrent"):
    """The same as a table, with three lines of header."""
    backend = json.dumps({"model": LLAMA}).replace('"', '""')
    columns = [
        ("Run Info", "Backend", "", f'"{backend}"'),
        ("Benchmark", "Strategy", "", strategy),
        ("Timings", "Start Time", "", "2026-09-21 14:13:20"),
        ("Request Counts", "Successful", "", "40"),
        ("Request Latency", "Successful Sec", "Mean", "0.8"),
        ("Time to First Token", "Successful ms", "Mean", "40.0"),
        ("Time to First Token", "Successful ms", "Median", "38.0"),
        ("Time to First Token", "Successful ms", "Percentiles",
         '"[30.0, 30.0, 31.0, 32.0, 33.0, 35.0, 45.0, 50.0, 55.0, 60.0, 61.0]"'),
        ("Time per Output Token", "Successful ms", "Mean", "12.5"),
        ("Inter Token Latency", "Successful ms", "Mean", "12.0"),
        ("Server Throughput", "Successful Requests/Sec", "Mean", "5.0"),
        ("Server Throughput", "Successful Concurrency", "Mean", "3.9"),
        ("Token Metrics", "Successful Input Tokens", "Mean", "256.0"),
        ("Token Metrics", "Successful Output Tokens", "Mean", "64.0"),
        ("Token Throughput", "Successful Output Tokens/Sec", "Mean", "320.0"),
        ("Runtime Info", "Metadata", "", '"{""guidellm_version"": ""0.7.0""}"'),
    ]  # fmt: skip
    return "\n".join(",".join(line) for line in zip(*columns, strict=True)) + "\n"


def llama_bench_row(prompt, output, rate, depth=0, **changes):
    """A test of llama-bench."""
    found = {
        "build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "AMD Ryzen 9",
        "gpu_info": "NVIDIA GeForce RTX 4090", "backends": "CUDA",
        "model_filename": "models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "model_type": "llama 8B Q4_K - Medium", "n_batch": 2048, "n_ubatch": 512, "type_k": "f16",
        "type_v": "f16", "n_gpu_layers": 99, "split_mode": "layer", "n_prompt": prompt,
        "n_gen": output, "n_depth": depth, "test_time": "2026-04-24T11:57:09Z", "avg_ns": 1,
        "stddev_ns": 0, "avg_ts": rate, "stddev_ts": 1.0,
    }  # fmt: skip
    return found | changes


LLAMA_BENCH = [llama_bench_row(512, 0, 10240.0), llama_bench_row(0, 128, 125.0)]
LLAMA_BENCH_CSV = "\n".join(
    ",".join(f'"{cell}"' for cell in row)
    for row in (list(LLAMA_BENCH[0]), *(list(one.values()) for one in LLAMA_BENCH))
)
LLAMA_BENCH_TABLE = """ggml_cuda_init: found 1 CUDA devices
| model                          |       size |     params | backend    | ngl |            test |                  t/s |
| ------------------------------ | ---------: | ---------: | ---------- | --: | --------------: | -------------------: |
| llama 8B Q4_K - Medium         |   4.58 GiB |     8.03 B | CUDA       |  99 |           pp512 |     10240.00 ± 12.00 |
| llama 8B Q4_K - Medium         |   4.58 GiB |     8.03 B | CUDA       |  99 |           tg128 |        125.00 ± 0.10 |
| llama 8B Q4_K - Medium         |   4.58 GiB |     8.03 B | CUDA       |  99 |   tg128 @ d4096 |        100.00 ± 0.20 |
| llama 8B Q4_K - Medium         |   4.58 GiB |     8.03 B | CUDA       |  99 |   pp512 @ d4096 |       8000.00 ± 0.20 |
| llama 8B Q4_K - Medium         |   4.58 GiB |     8.03 B | CUDA       |  99 |     pp512+tg128 |        640.00 ± 0.20 |

build: 8cf427ff (5163)
"""


def nccl_tests(program="all_reduce_perf", ranks=8, hosts=1, ratio=1.75, wrong="0"):
    """Two sizes of a collective over H100, with the bandwidths that follow from the times."""
    said = f"# Collective test starting: {program}\n" if program else ""
    if program:
        said = "# nccl-tests version 2.17.6 nccl-headers=22703 nccl-library=22703\n" + said
    lines = [
        f"#  Rank {at:2} Group  0 Pid {4000 + at:6} on   node-{at // (ranks // hosts)} device"
        f" {at:2} [0000:{at:02x}:00] NVIDIA H100 80GB HBM3"
        for at in range(ranks)
    ]
    rows = ""
    for size, time_us in ((1024, 20.0), (1048576, 40.0)):
        bandwidth = size / time_us / 1e3
        cells = f"{time_us:7.2f} {bandwidth:6.2f} {bandwidth * ratio:6.2f} {wrong:>6}"
        rows += f"{size:12} {size // 4:12} {'float':>8} {'sum':>6} {-1:6}  {cells}  {cells}\n"
    return f"""{said}# nThread 1 nGpus {ranks} minBytes 1024 maxBytes 1048576 step: 1024(factor) graph: 0
#
# Using devices
{chr(10).join(lines)}
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
{rows}# Out of bounds values : 0 OK
# Avg bus bandwidth    : 30.1
"""


RUN_CONFIG = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 96, "vocab_size": 128,
    "max_position_embeddings": 256,
}  # fmt: skip
RUN_MACHINE = {
    "name": "here", "title": "two ranks", "chips": 2, "software": "torch-gloo",
    "chip": {
        "name": "core of a processor",
        "peak": [{"dtype": "fp32", "value": "100 GFLOP/s", "source": "OURS", "confidence": "A"}],
        "memory": [{
            "name": "memory",
            "capacity": {"value": "2 GiB", "source": "OURS", "confidence": "A"},
            "bandwidth": {"value": "10 GB/s", "source": "OURS", "confidence": "A"},
        }],
    },
    "fabric": [{
        "name": "loopback", "shape": "switch", "units": 2,
        "bandwidth": {"value": "2 GB/s", "source": "OURS", "confidence": "guess"},
        "latency": {"value": "10 us", "source": "OURS", "confidence": "guess"},
    }],
}  # fmt: skip


def planner_run(**changes):
    """Two stages of one layer, six sequences of 9 + 5 tokens."""
    stages = [
        {"layers": ["embedding", "decoder.0"], "groups": [{"first": 0, "count": 1}]},
        {"layers": ["decoder.1", "head"], "groups": [{"first": 1, "count": 1}]},
    ]
    found = {
        "planner_run": 1, "planner": "0.1.0", "engine": "torch 2.13.0, transformers 5.24.0",
        "date": "2026-11-30", "clock": "cpu", "config": RUN_CONFIG, "machine": RUN_MACHINE,
        "plan": {"stages": stages, "micro_batches": 2},
        "workload": {"batch_size": 6, "prompt_tokens": 9, "output_tokens": 5, "arrivals": "together"},
        "seed": 0, "ttft_s": 0.25, "tpot_s": 0.0625, "request_s": 0.5,
    }  # fmt: skip
    return found | changes


def benchmark_texts():
    """One of each format, and of those that are written in several ways, one of each way."""
    return {
        "vllm bench serve JSON": json.dumps(vllm_serve()),
        "vllm bench latency JSON": json.dumps(VLLM_LATENCY),
        "vllm bench throughput JSON": json.dumps(VLLM_THROUGHPUT),
        "sglang.bench_serving JSONL": f"{json.dumps(sglang())}\n{json.dumps(sglang(tag='2'))}\n",
        "AIPerf JSON": json.dumps(aiperf()),
        "AIPerf JSON, in phases": json.dumps(aiperf(input_config=PHASES)),
        "GenAI-Perf JSON": json.dumps(GENAI_PERF),
        "AIPerf CSV": AIPERF_CSV,
        "GuideLLM JSON": json.dumps(guidellm()),
        "GuideLLM CSV": guidellm_csv(),
        "llama-bench JSON": json.dumps(LLAMA_BENCH),
        "llama-bench JSONL": "\n".join(json.dumps(row) for row in LLAMA_BENCH),
        "llama-bench CSV": LLAMA_BENCH_CSV,
        "llama-bench Markdown": LLAMA_BENCH_TABLE,
        "planner run JSON": json.dumps(planner_run()),
        "nccl-tests text": nccl_tests(),
        "nccl-tests text, before 2.17": nccl_tests(program=""),
    }
