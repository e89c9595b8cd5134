"""What a shell may complete: names of models, machines, clusters, stacks and fields.

A shell asks at each press of a key, so that names are read from the catalogue's files as they
stand, and nothing of ours is loaded: a model is read in a second, its name in a hundredth.
"""

import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from planner.errors import InputError, listed

PACKAGE = Path(__file__).resolve().parent.parent
LEAST = (
    "ttft_s",
    "tpot_s",
    "request_s",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "usd_per_hour",
    "power_w",
    "chips",
    "step_s",
    "image_s",
    "energy_per_sample_j",
    "usd_per_sample",
)
"""Fields of which less is better."""
MOST = (
    "tokens_per_s",
    "requests_per_s",
    "tokens_per_s_per_chip",
    "tokens_per_s_per_user",
    "memory_headroom_bytes",
    "mfu_fraction",
    "mbu_fraction",
    "samples_per_s",
)
"""Fields of which more is better."""
PERCENTILES = tuple(
    f"{time}_p{percent}_s" for time in ("ttft", "tpot", "request") for percent in (50, 90, 95, 99)
)
ENGINES = ("vllm", "sglang", "tensorrt-llm", "llama.cpp", "huggingface")
SHELLS = ("bash", "zsh", "fish")


def _begin(incomplete: str, names: Iterable[str]) -> list[str]:
    """Those of the names that go on from what is typed."""
    return sorted(name for name in names if name.startswith(incomplete.lower()))


@cache
def _folder(name: str) -> tuple[str, ...]:
    """Names of the files of a kind of machines, in the package or beside it."""
    for root in (PACKAGE / "topologies", PACKAGE.parent / "topologies"):
        if (root / "sources.toml").is_file():
            return tuple(path.stem for path in (root / name).glob("*.toml"))
    return ()


def model_names(incomplete: str) -> list[str]:
    """Models of the catalogue."""
    return _begin(incomplete, _models())


@cache
def _models() -> tuple[str, ...]:
    found: list[str] = []
    for table in ("models", "diffusion"):
        text = (PACKAGE / "catalogue" / f"{table}.toml").read_text(encoding="utf-8")
        found += (row["name"] for row in tomllib.loads(text)["model"])
    return tuple(found)


def machine_names(incomplete: str) -> list[str]:
    """Machines of the catalogue."""
    return _begin(incomplete, (name for name in _folder(".") if name != "sources"))


def cluster_names(incomplete: str) -> list[str]:
    """Clusters of the catalogue."""
    return _begin(incomplete, _folder("clusters"))


def software_names(incomplete: str) -> list[str]:
    """Software stacks of the catalogue."""
    return _begin(incomplete, _folder("software"))


def entry_names(incomplete: str) -> list[str]:
    """All that `planner show` prints."""
    kinds = (model_names, machine_names, cluster_names, software_names)
    return sorted({name for names in kinds for name in names(incomplete)})


def field_names(incomplete: str) -> list[str]:
    """Fields of the score that can be asked for."""
    return _begin(incomplete, (*LEAST, *MOST, *PERCENTILES))


def limit_names(incomplete: str) -> list[str]:
    """The same, for a value to follow."""
    return [f"{name}=" for name in field_names(incomplete)]


def engine_names(incomplete: str) -> list[str]:
    """Engines that a plan is exported to."""
    return _begin(incomplete, ENGINES)


def shell_names(incomplete: str) -> list[str]:
    """Shells that have a script."""
    return _begin(incomplete, SHELLS)


Shell = Annotated[str, typer.Argument(help="bash, zsh or fish.", autocompletion=shell_names)]


def completion(shell: Shell) -> None:
    """Print what lets a shell complete names: eval "$(planner completion bash)".

    The script is for the command that prints it, `planner` or `spread-planner`.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from planner.cli.streams import say

    if shell not in SHELLS:
        raise InputError(f"SHELL must be {listed(SHELLS, 'or')}, not {shell!r}")
    # Both commands of ours understand the one variable.
    other = Path(sys.argv[0]).stem == OTHER_NAME
    name = OTHER_NAME if other else "planner"
    say(get_completion_script(prog_name=name, complete_var=COMPLETE, shell=shell))


OTHER_NAME = "spread-planner"
COMPLETE = "_PLANNER_COMPLETE"
"""The variable by which a shell asks."""
