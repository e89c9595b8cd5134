"""What a command line names: models, machines, and what is to be served.

The help of a command needs options alone. What is made of them is imported where it is made, since
models, machines and the solver take a second to load.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import planner as pl
from planner.cli.groups import Counts, Drafts, Formats, Goal, Hardware, Requests
from planner.cli.options import Arrivals, ModelName, TopologyName
from planner.cli.values import dimensions_of, figure, whole
from planner.errors import InputError, shortened

if TYPE_CHECKING:
    from planner.machines.topology import Topology
    from planner.models.graph import ModelGraph
    from planner.workload import Speculation, Workload


class Asked(NamedTuple):
    """What a command is asked of: a model, a machine, and what is to be served."""

    graph: "ModelGraph"
    topology: "Topology"
    workload: "Workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A question about one model on one machine, but for what is to be best."""

    model: ModelName
    topology: TopologyName
    formats: Formats
    requests: Requests
    arrivals: Arrivals = "steady"
    hardware: Hardware
    drafts: Drafts
    counts: Counts

    def nouns(self, goal: Goal | None = None, software: str | None = None) -> Asked:
        """What it names; a stack that is not given is the other one."""
        return asked_of(
            self.model,
            self.topology,
            self.formats,
            self.requests,
            arrivals=self.arrivals,
            **self.hardware.given(software),
            drafts=self.drafts,
            counts=self.counts,
            goal=goal,
        )


def asked_of(
    model: str,
    topology: str,
    formats: Formats,
    requests: Requests,
    *,
    arrivals: str = "steady",
    chips: int | None = None,
    software: str | None = None,
    usable_memory: str | None = None,
    drafts: Drafts | None = None,
    counts: Counts | None = None,
    goal: Goal | None = None,
) -> Asked:
    """The nouns that a command line names."""
    graph = graph_of(model, formats)
    machine = machine_of(topology, chips, software=software, usable_memory=usable_memory)
    if counts is not None:
        called = uncounted(topology)
        counts.check_prices(called, machine.name)
        machine = counts.owned(machine, called)
    workload = workload_of(requests, arrivals, goal=goal)
    if drafts is not None:
        workload = workload.replace(speculation=speculation_of(drafts, formats))
    return Asked(graph, machine, workload)


def uncounted(entry: str) -> str:
    """The NAME of NAME or NAME:CHIPS."""
    from planner.catalogue import counted_name

    return str(counted_name(entry).name)


def labelled(entries: Sequence[str]) -> dict[str, str]:
    """Machines of LABEL=NAME by label; one without is its own."""
    found: dict[str, str] = {}
    for entry in entries:
        label, is_labelled, name = (part.strip() for part in entry.partition("="))
        if is_labelled and not (label and name):
            raise InputError(
                f"a machine must look like LABEL=NAME or NAME, not {shortened(entry)!r}"
            )
        if label in found:
            raise InputError(
                f"{shortened(label)} is given twice; leave one out, or label them: a={label}"
                f" b={label}"
            )
        found[label] = name if is_labelled else label
    return found


def machine_of(
    entry: str,
    chips: int | None = None,
    *,
    software: str | None = None,
    usable_memory: str | None = None,
    option: str = "--chips",
) -> "Topology":
    """The machine of NAME or NAME:CHIPS, with the software that is asked for."""
    from planner.catalogue import counted_name

    named = counted_name(entry, chips, option)
    return pl.load_topology(
        named.name,
        chips=named.chips,
        software=software,
        usable_memory=figure("--usable-memory", usable_memory, "fraction"),
    )


def with_stack(
    machine: "Topology", software: str | None, usable_memory: str | None = None
) -> "Topology":
    """A machine with the software that is asked for, and its share of the memory."""
    from planner.catalogue import load_software

    if software is not None:
        machine = machine.replace(software=load_software(software))
    share = figure("--usable-memory", usable_memory, "fraction")
    return machine if share is None else machine.with_usable_memory(share)


def graph_of(model: str, formats: Formats) -> "ModelGraph":
    """The model of --weights, --kv, --sparsity, --dimension and what a diffusion model makes."""
    return pl.load_model(
        model,
        weight_dtype=formats.weights,
        kv_dtype=formats.kv,
        sparsity=None if formats.sparsity is None else formats.sparsity.replace(" ", ""),
        dimensions=dimensions_of(formats.dimension or []) or None,
        height=formats.height,
        width=formats.width,
        frames=formats.frames,
        steps=formats.steps,
    )


def gains_by_batch(goal: Goal | None) -> str | None:
    """What is asked for, or limited, that is better the more is in flight; None: nothing."""
    if goal is None:
        return None
    from planner.answers import question

    limited = [one.partition("=")[0].strip() for one in goal.limit or []]
    return question.gains_by_batch([goal.maximize or goal.minimize, *limited])


def is_open(requests: Requests, arrivals: str, goal: Goal | None = None) -> bool:
    """Whether the number of sequences in flight is left open."""
    if requests.batch is not None:
        return requests.batch == "max"
    return requests.rate is not None or arrivals == "poisson" or gains_by_batch(goal) is not None


def workload_of(requests: Requests, arrivals: str, *, goal: Goal | None = None) -> "Workload":
    """The workload of --batch or --rate, --prompt, --output and --arrivals; where no batch is
    given, that of the goal."""
    batch, rate = requests.batch, figure("--rate", requests.rate, "requests_per_s")
    if rate is not None and batch is not None:
        raise InputError(
            "--batch and --rate are both given; under a rate the batch is an outcome, so give one"
            " or the other"
        )
    from planner.answers.question import USUAL_BATCH

    left_open = is_open(requests, arrivals, goal)
    given: dict[str, Any] = {
        "batch_size": None
        if left_open
        else whole("--batch", batch or str(USUAL_BATCH), "sequences"),
        "prompt_tokens": whole("--prompt", requests.prompt, "tokens"),
        "output_tokens": whole("--output", requests.output, "tokens"),
        "cached_prompt_share": figure("--cached-share", requests.cached_share, "fraction"),
        "arrivals": arrivals,
    }
    if rate is not None:
        given["requests_per_s"] = rate
    return pl.Workload.from_fields(given)


def speculation_of(drafts: Drafts, formats: Formats) -> "Speculation | None":
    """How tokens are drafted; the draft model has the formats of the other."""
    if drafts.draft is None:
        if drafts != Drafts():
            raise InputError(
                "--speculative-tokens, --draft-kind and --acceptance need a draft; give --draft"
                " NAME, or --draft lookup"
            )
        return None
    # Open axes and what is pruned are the model's; a draft has neither.
    closed = replace(formats, dimension=None, sparsity=None)
    draft = None if drafts.draft == "lookup" else graph_of(drafts.draft, closed)
    tokens = drafts.speculative_tokens
    return pl.Speculation.from_fields(
        {
            "draft": draft,
            "tokens": None if tokens == "best" else whole("--speculative-tokens", tokens),
            "kind": drafts.draft_kind,
            "acceptance_rate": figure("--acceptance", drafts.acceptance, "fraction"),
        }
    )
