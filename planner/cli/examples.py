"""Examples that the help of each command ends with: two that work as they stand."""

from collections.abc import Sequence

TOP = (
    "planner plan llama-3.1-70b hgx-h100 --weights fp8 --batch 8",
    "planner show hgx-h100",
)
EXAMPLES: dict[str, tuple[str, ...]] = {
    "plan": (
        "planner plan llama-3.1-70b hgx-h100 --weights fp8 --batch 8 --prompt 128k --why",
        "planner plan qwen3-8b l40s --maximize tokens_per_s --limit tpot_s=30ms",
    ),
    "disaggregate": (
        'planner disaggregate llama-3.1-70b hgx-h100 --chips 16 --weights fp8 --link "50 GB/s"',
        'planner disaggregate qwen3-8b hgx-h100 l40s --chips 4 --link "25 GB/s" --batch 64',
    ),
    "pair": (
        'planner pair mixtral-8x7b hgx-h100 hgx-h200 --chips 4 --expert-chips 4 --link "50 GB/s"',
        'planner pair qwen3-8b hgx-h200 hgx-h100 --chips 2 --expert-chips 2 --link "50 GB/s"',
    ),
    "cluster": (
        "planner cluster llama-3.1-70b a100-l4-t4 --weights fp8 --batch 8",
        "planner cluster llama-3.2-1b a100-l4-t4 --unlike --time-limit 10",
    ),
    "score": (
        "planner score llama-3.1-70b hgx-h100 --weights fp8 --tensor 4 --pipeline 2",
        'planner score --from "vllm serve Qwen/Qwen3-32B -tp 4" --machine hgx-h100 --batch 32',
    ),
    "compare": (
        "planner compare llama-3.1-70b hgx-h100 hgx-h200:4 --weights fp8 --batch 8",
        "planner compare qwen3-8b l4:4 l40s:2 --limit tpot_s=50ms --maximize tokens_per_s",
    ),
    "size": (
        "planner size llama-3.1-70b hgx-h100 hgx-h200 --rate 30 --limit tpot_p99_s=50ms --sure 0.8",
        "planner size qwen3-8b hgx-h100 l4 --batch 64 --limit ttft_s=500ms",
    ),
    "pareto": (
        "planner pareto qwen3-8b l40s --field tpot_s --field tokens_per_s",
        'planner pareto llama-3.1-70b hgx-h100 --weights fp8 --tolerance "10 %" --out front.html',
    ),
    "what-if": (
        'planner what-if llama-3.1-8b l40s --set "chip.memory[0].bandwidth_bytes_per_s=x2"',
        'planner what-if qwen3-8b hgx-h100 --set "fabrics[*].latency_s=1 us" --set workload.batch_size=64',
    ),
    "required": (
        'planner required "chip.memory[0].bandwidth_bytes_per_s" llama-3.1-8b l40s --target 10ms',
        'planner required "fabrics[0].bandwidth_bytes_per_s" qwen3-8b hgx-h100 --target hgx-h200',
    ),
    "scaling": (
        "planner scaling llama-3.1-8b hgx-h100 --at 1,2,4,8",
        "planner scaling llama-3.1-70b hgx-h100 --weights fp8 --batch 64 --out scaling.html",
    ),
    "replan": (
        "planner replan llama-3.1-8b hgx-h100 --lost 3",
        'planner replan qwen3-8b hgx-h100 --lost 0,4-5 --worse "5 %" --maximize tokens_per_s',
    ),
    "export": (
        "planner export vllm qwen3-8b hgx-h100 --batch 64",
        "planner export sglang llama-3.1-70b hgx-h100 --weights fp8 --export-to out",
    ),
    "map": (
        "planner map hgx-h100 groq-lpu-chain --out map.svg",
        "planner map hgx-h100 hgx-h200 --metric usd_per_million_tokens --sizes 8G,70G --speeds 20,50",
    ),
    "crossover": (
        "planner crossover groq-lpu-chain hgx-h100",
        "planner crossover groq3-lpx hgx-b200 --family moe --weights fp8 --drafts best",
    ),
    "sweep": (
        "planner sweep spec.toml --out table.csv",
        "planner sweep spec.toml --file rows.sqlite --processes 2",
    ),
    "verify": ("planner verify certificate.json", "planner verify certificate.json --again"),
    "run": (
        "planner run config.json --tensor 2 --prompt 128 --output 16",
        "planner run config.json --plan plan.json --machine here.toml --save stages.csv",
    ),
    "ask": ("planner ask question.toml", "planner ask question.toml --batch 64 --format json"),
    "fields": ("planner fields", "planner fields --format csv"),
    "show": ("planner show hgx-h100", "planner show deepseek-v3 --format json"),
    "models": ("planner models", "planner models --format json"),
    "topologies": ("planner topologies", "planner topologies --format json"),
    "clusters": ("planner clusters", "planner clusters --format json"),
    "validate": ("planner validate", "planner validate measurements.csv"),
    "audit": ("planner audit", "planner audit claims.toml --format json"),
    "calibrate": (
        "planner calibrate measurements.csv --software vllm --out mine.toml",
        "planner calibrate result.json --machine hgx-h100 --tensor 8 --to-csv rows.csv",
    ),
    "machine": (
        "planner machine detect --out my.toml",
        "planner machine measure --format json",
    ),
    "mcp": ("planner mcp", "planner mcp < requests.jsonl"),
    "serve": ("planner serve", "planner serve --host 0.0.0.0 --port 8080 --keep answers.sqlite"),
    "machine detect": (
        "planner machine detect --from topo.txt --chip h100-sxm --out my.toml",
        "planner machine detect --format json",
    ),
    "machine measure": (
        "planner machine measure --out my.toml",
        "planner machine measure --repeats 3 --format json",
    ),
    "machine cores": (
        "planner machine cores --out here.toml",
        "planner machine cores --ranks 4 --format json",
    ),
    "completion": (
        'eval "$(planner completion bash)"',
        "planner completion fish > ~/.config/fish/completions/planner.fish",
    ),
}


def epilog(examples: Sequence[str]) -> str:
    """What help ends with. A word in brackets would be taken for a colour."""
    return "\n\n".join(("Examples:", *examples)).replace("[", "\\[")
