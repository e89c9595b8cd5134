from planner.export.routers import PORT, router_of
from planner.export.scripts import one_line


def test_one_engine_needs_no_router():
    assert router_of("vllm", {"both": ["http://a:1"]}) is None
    assert router_of("llama.cpp", {"both": ["http://a:1", "http://a:2"]}) is None


def test_engines_alike_share_requests_out():
    router = router_of("sglang", {"both": ["http://a:1", "http://a:2"]})
    assert "--worker-urls http://a:1 http://a:2 --policy round_robin" in one_line(router.command)


def test_pools_are_told_apart():
    urls = {"prefill": ["http://a:1", "http://a:2"], "decode": ["http://$NODE_1:3"]}
    vllm = one_line(router_of("vllm", urls).command)
    assert "--vllm-pd-disaggregation --prefill http://a:1 --prefill http://a:2" in vllm
    assert '--decode "http://$NODE_1:3"' in vllm
    sglang = one_line(router_of("sglang", urls).command)
    assert "--prefill http://a:1 8998 --prefill http://a:2 8999" in sglang
    files = router_of("tensorrt-llm", urls).files
    assert files["disaggregated.yaml"] == (
        f'hostname: "0.0.0.0"\nport: {PORT}\ncontext_servers:\n  num_instances: 2\n  urls:\n'
        '    - "a:1"\n    - "a:2"\ngeneration_servers:\n  num_instances: 1\n  urls:\n    - "NODE_1:3"\n'
    )
