"""Random plans that an engine can be started with, as commands and as what they must be read as.

python -m benchmarks.validators.plans vllm 500 > plans.jsonl
"""

import json
import shlex
import sys
from typing import Any

from planner.export.exporting import ENGINES, Export, to_engine
from planner.launches.launch import Launch
from planner.launches.launching import STACKS
from planner.models.graph import ModelGraph
from tests.exported import runnable


def case_of(export: Export, graph: ModelGraph) -> dict[str, Any]:
    """One export: its processes, what a parser must say of each, and the model's shape."""
    (launch,) = export.launches
    return {
        "processes": [process_of(line) for line in export.commands],
        "launch": read_as(launch),
        "benchmark": process_of(export.benchmark),
        "config": model_of(graph, sum(launch.layers or ())),
        "text": export.file("serve.py") if export.engine == "huggingface" else "",
    }


def model_of(graph: ModelGraph, layers: int) -> dict[str, Any]:
    """The config.json of a model with the same heads, layers and experts."""
    shape = {name: max(widths) for name, widths in graph.splits().items() if widths}
    heads = shape.get("heads", 8)
    found = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64 * heads,
        "head_dim": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": shape.get("kv_heads", heads),
        "intermediate_size": 8192,
        "vocab_size": 32000,
        "max_position_embeddings": 131072,
        "torch_dtype": "bfloat16",
    }
    if "experts" not in shape:
        return found
    return found | {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "num_experts": shape["experts"],
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 1024,
    }


def process_of(line: str) -> dict[str, Any]:
    """A command line in its words: variables, the program and its options."""
    words = shlex.split(line)
    settings = {}
    while "=" in words[0] and not words[0].startswith("-"):
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    mark = "-" if words[0].startswith("llama") else "--"
    first = next((number for number, word in enumerate(words) if word.startswith(mark)), None)
    if first is None:
        return {"environment": settings, "program": words, "options": []}
    return {"environment": settings, "program": words[:first], "options": words[first:]}


def read_as(launch: Launch) -> dict[str, Any]:
    """The launch as plain data."""
    return launch.model_dump(mode="json") | {"stage_ranks": launch.stage_ranks}


def main() -> None:
    """Write as many cases as are asked for, one a line."""
    engine, count = sys.argv[1], int(sys.argv[2])
    stack = STACKS[ENGINES[ENGINES.index(engine)]][0]
    model = "models/model.gguf" if engine == "llama.cpp" else None
    for result in runnable(stack, count, seed=7):
        print(json.dumps(case_of(to_engine(result, engine, model=model), result.graph)))


if __name__ == "__main__":
    main()
