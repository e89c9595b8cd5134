"""Read commands with SGLang's own parser, and have it resolve and check all arguments of some of them,
for a model of the same heads, layers and experts. Runs in an environment with SGLang, without ours.

python sglang_reads.py < plans.jsonl
"""

import argparse
import json
import os
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

for name in (
    "",
    ".io",
    ".transforms",
    ".transforms.functional",
    ".transforms.v2",
    ".transforms.v2.functional",
):
    # What reads pictures is not needed, and would bring a build for GPUs.
    stand_in = MagicMock(
        __spec__=ModuleSpec(f"torchvision{name}", None), __path__=[], __version__="0"
    )
    sys.modules[f"torchvision{name}"] = stand_in

from sglang.srt.distributed.utils import get_pp_indices  # noqa: E402
from sglang.srt.server_args import ServerArgs  # noqa: E402

CONFIGURED = 60
"""Plans of which all arguments are resolved."""
CUT = "SGLANG_PP_LAYER_PARTITION"


def faults_of(parser: argparse.ArgumentParser, case: dict[str, Any]) -> list[str]:
    """Where a process was read as something else than was meant."""
    wanted = case["launch"]
    faults = []
    for process in case["processes"]:
        read = parser.parse_args(process["options"])
        meant = {
            "model_path": wanted["model"],
            "tp_size": wanted["stage_ranks"],
            "pp_size": wanted["pipeline_parallel"],
            "attn_dp_size": wanted["attention_parallel"],
            "ep_size": wanted["expert_parallel"],
            "max_running_requests": wanted["most_sequences"],
            "context_length": wanted["context_tokens"],
        }
        faults += [
            f"{name}: {getattr(read, name)!r}, not {value!r}"
            for name, value in meant.items()
            if getattr(read, name) != value
        ]
        faults += node_faults(read, process)
        faults += cut_faults(process, wanted)
    return faults


def node_faults(read: argparse.Namespace, process: dict[str, Any]) -> list[str]:
    """Of how many ranks a node takes, as its launcher counts them."""
    seen = len(process["environment"]["CUDA_VISIBLE_DEVICES"].split(","))
    stages = max(read.pp_size // read.nnodes, 1)
    nodes_of_stage = max(read.nnodes // read.pp_size, 1)
    ranks = stages * (read.tp_size // nodes_of_stage)
    whole = stages * read.nnodes == read.pp_size * nodes_of_stage
    if whole and ranks == seen and read.node_rank < read.nnodes:
        return []
    return [f"{seen} chips are seen, {ranks} ranks started on each of {read.nnodes} nodes"]


def checked_faults(
    parser: argparse.ArgumentParser, case: dict[str, Any], folder: Path
) -> list[str]:
    """What the engine itself says of the first and the last process, once it knows the model."""
    (folder / "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
    faults = []
    for process in (case["processes"][0], case["processes"][-1]):
        plain = ["--model-path", str(folder), "--skip-tokenizer-init", "--device", "cpu"]
        made = ServerArgs.from_cli_args(parser.parse_args([*process["options"], *plain]))
        try:
            made.resolve_once()
            made.check_server_args()
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")
    return faults


def cut_faults(process: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Of the layers that each stage would take."""
    os.environ.pop(CUT, None)
    os.environ.update(process["environment"])
    stages, layers = wanted["pipeline_parallel"], sum(wanted["layers"])
    ends = [get_pp_indices(layers, stage, stages) for stage in range(stages)]
    taken = [last - first for first, last in ends]
    return [] if taken == wanted["layers"] else [f"cut: {taken}, not {wanted['layers']}"]


def main() -> int:
    """Read every case; how many were read as they were meant."""
    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    wrong = 0
    cases = [json.loads(line) for line in sys.stdin]
    folder = Path(tempfile.mkdtemp())
    for number, case in enumerate(cases):
        faults = faults_of(parser, case)
        if number < CONFIGURED:
            faults += checked_faults(parser, case, folder)
        wrong += bool(faults)
        if faults:
            print(case["processes"][0], *faults, sep="\n  ")
    processes = sum(len(case["processes"]) for case in cases)
    print(f"sglang: {len(cases) - wrong} of {len(cases)} plans ({processes} processes) as meant")
    return int(wrong > 0 or not cases)


if __name__ == "__main__":
    raise SystemExit(main())
