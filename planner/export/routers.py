"""What stands before several engines: commands of routers that share requests out, and that send a
prompt to one pool and its later tokens to another."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from planner.export.scripts import Words
from planner.export.yaml_text import yaml_of
from planner.launches.launch import EngineName, Role

PORT = 7900
BOOTSTRAP_PORT = 8998
"""Of the first prefill engine of SGLang on a node, where decode engines ask for caches."""
POOLS_FILE = "disaggregated.yaml"
PLACE: Words = (("--policy", "round_robin"), ("--host", "0.0.0.0"), ("--port", str(PORT)))

Urls = Mapping[Role, Sequence[str]]
"""Of every engine, by what it is there for."""


class Router(NamedTuple):
    """A command, and the files that it reads."""

    command: Words
    files: dict[str, str]


def router_of(engine: EngineName, urls: Urls) -> Router | None:
    """The engine's own router; None: one engine needs none, or none is known."""
    if "both" in urls and len(urls["both"]) == 1:
        return None
    if engine == "vllm":
        return Router((("vllm-router",), *_vllm(urls), *PLACE), {})
    if engine == "sglang":
        head = ("python3", "-m", "sglang_router.launch_router")
        return Router((head, *_sglang(urls), *PLACE), {})
    if engine == "tensorrt-llm" and "both" not in urls:
        command = (("trtllm-serve", "disaggregated"), ("-c", POOLS_FILE))
        return Router(command, {POOLS_FILE: yaml_of(_pools(urls))})
    return None


def _vllm(urls: Urls) -> Words:
    if "both" in urls:
        return (("--worker-urls", *urls["both"]),)
    prefill = [("--prefill", url) for url in urls["prefill"]]
    decode = [("--decode", url) for url in urls["decode"]]
    return (("--vllm-pd-disaggregation",), *prefill, *decode)


def _sglang(urls: Urls) -> Words:
    if "both" in urls:
        return (("--worker-urls", *urls["both"]),)
    prefill = [
        ("--prefill", url, str(BOOTSTRAP_PORT + number))
        for number, url in enumerate(urls["prefill"])
    ]
    decode = [("--decode", url) for url in urls["decode"]]
    return (("--pd-disaggregation",), *prefill, *decode)


def _pools(urls: Urls) -> dict[str, Any]:
    return {
        "hostname": "0.0.0.0",
        "port": PORT,
        "context_servers": _servers(urls["prefill"]),
        "generation_servers": _servers(urls["decode"]),
    }


def _servers(urls: Sequence[str]) -> dict[str, Any]:
    """Hosts and ports; a node is called by its name, which must lead to it."""
    places = [url.removeprefix("http://").removeprefix("$") for url in urls]
    return {"num_instances": len(places), "urls": places}
