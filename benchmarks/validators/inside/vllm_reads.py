"""Read commands with vLLM's own parser, and make the configuration of an engine of some of them, for
a model of the same heads, layers and experts. Runs in an environment with vLLM, without ours.

    python vllm_reads.py < plans.jsonl
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from vllm.benchmarks.serve import add_cli_args
from vllm.distributed.utils import get_pp_indices
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

CONFIGURED = 60
"""Plans of which the whole configuration is made: it takes a second each."""
CUT = "VLLM_PP_LAYER_PARTITION"


def faults_of(parser: FlexibleArgumentParser, case: dict[str, Any], folder: Path) -> list[str]:
    """Where a process was read as something else than was meant."""
    wanted = case["launch"]
    nodes = len({p["environment"]["CUDA_VISIBLE_DEVICES"] for p in case["processes"]})
    faults = []
    for process in case["processes"]:
        if process["program"][-1] != wanted["model"]:
            faults.append(f"model: {process['program']}, not {wanted['model']}")
        args = parser.parse_args([*process["options"], "--model", str(folder)])
        read = AsyncEngineArgs.from_cli_args(args)
        meant = {
            "tensor_parallel_size": wanted["tensor_parallel"],
            "pipeline_parallel_size": wanted["pipeline_parallel"],
            "data_parallel_size": wanted["attention_parallel"],
            "enable_expert_parallel": wanted["expert_parallel"] > 1,
            "max_model_len": wanted["context_tokens"],
            "gpu_memory_utilization": wanted["memory_share"],
        }
        faults += [
            f"{name}: {getattr(read, name)!r}, not {value!r}"
            for name, value in meant.items()
            if getattr(read, name) != value
        ]
        if read.max_num_seqs * wanted["attention_parallel"] < wanted["most_sequences"]:
            faults.append(f"max_num_seqs: {read.max_num_seqs}")
        seen = process["environment"]["CUDA_VISIBLE_DEVICES"].split(",")
        ranks = wanted["stage_ranks"] * wanted["pipeline_parallel"]
        if len(seen) * read.nnodes != ranks:
            faults.append(f"{len(seen)} chips on each of {read.nnodes} nodes, of {nodes}")
        faults += cut_faults(process, wanted)
    return faults


def cut_faults(process: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Of the layers that each stage would take."""
    os.environ.pop(CUT, None)
    os.environ.update(process["environment"])
    stages, layers = wanted["pipeline_parallel"], sum(wanted["layers"])
    ends = [get_pp_indices(layers, stage, stages) for stage in range(stages)]
    taken = [last - first for first, last in ends]
    return [] if taken == wanted["layers"] else [f"cut: {taken}, not {wanted['layers']}"]


def config_faults(parser: FlexibleArgumentParser, case: dict[str, Any], folder: Path) -> list[str]:
    """What the engine itself says of the first and the last process, once it knows the model."""
    faults = []
    for process in (case["processes"][0], case["processes"][-1]):
        offline = ["--model", str(folder), "--skip-tokenizer-init"]
        args = parser.parse_args([*process["options"], *offline])
        try:
            made = AsyncEngineArgs.from_cli_args(args).create_engine_config(headless=args.headless)
        except Exception as error:
            faults.append(f"{type(error).__name__}: {error}")
            continue
        parallel = made.parallel_config
        ranks = case["launch"]["stage_ranks"] * case["launch"]["pipeline_parallel"]
        if parallel.world_size * parallel.data_parallel_size != ranks:
            faults.append(f"{parallel.world_size} × {parallel.data_parallel_size} ranks")
    return faults


def main() -> int:
    """Read every case; how many were read as they were meant."""
    parser = make_arg_parser(FlexibleArgumentParser())
    wrong = 0
    cases = [json.loads(line) for line in sys.stdin]
    measuring = FlexibleArgumentParser()
    add_cli_args(measuring)
    folder = Path(tempfile.mkdtemp())
    for number, case in enumerate(cases):
        (folder / "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
        faults = faults_of(parser, case, folder)
        if number < CONFIGURED:
            faults += config_faults(parser, case, folder)
        # A benchmark that it would not take ends the run by itself.
        measuring.parse_args(case["benchmark"]["options"])
        wrong += bool(faults)
        if faults:
            print(case["processes"][0], *faults, sep="\n  ")
    processes = sum(len(case["processes"]) for case in cases)
    print(f"vllm: {len(cases) - wrong} of {len(cases)} plans ({processes} processes) as meant")
    return int(wrong > 0 or not cases)


if __name__ == "__main__":
    raise SystemExit(main())
