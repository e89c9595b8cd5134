"""Commands that plan and check: `plan`, `disaggregate`, `pair`, `cluster`, `compare`, `size`,
`verify`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import planner as pl
from planner.cli.exports import Handing, with_export
from planner.cli.files import OutFile, check_outputs, check_writable, write_all, write_whole
from planner.cli.groups import Counts, Drafts, Formats, Goal, Requests
from planner.cli.nouns import (
    Asked,
    Asking,
    asked_of,
    graph_of,
    labelled,
    machine_of,
    speculation_of,
    uncounted,
    with_stack,
    workload_of,
)
from planner.cli.options import (
    Arrivals,
    CertificateFile,
    CertificateOut,
    Chips,
    ClusterName,
    DecodeChips,
    DecodeMachine,
    EngineName,
    Excluded,
    ExpertChips,
    ExpertMachine,
    LinkBandwidth,
    LinkLatency,
    Machines,
    MemoryLimit,
    MicroBatches,
    ModelName,
    PlanOut,
    ProvedAgain,
    Seed,
    Shape,
    SharedTokens,
    SizingOut,
    SpaceName,
    Stack,
    TimeLimit,
    TopologyName,
    Unlike,
    Usable,
    Why,
)
from planner.cli.progress import Meter, at_work
from planner.cli.questions import Unsaid, question
from planner.cli.streams import answer
from planner.cli.values import chips_of, engine_of, memory_bytes, seconds, space_of
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, shortened

if TYPE_CHECKING:
    from planner.answers.certificates import Verdict
    from planner.answers.results import ClusterResult, Disaggregation, Fleet, Pairing, Result
    from planner.machines.cluster import Cluster
    from planner.machines.topology import Topology
    from planner.planning.sizing import Extent
    from planner.scoring.disaggregated import Link

NO_TIME = 4
NOT_THE_CATALOGUES = 5
NOT_CONFIRMED = 6
"""Exit statuses of `verify` beside 0."""


@question
def plan(
    asking: Asking,
    *,
    context: typer.Context,
    exclude: Excluded = None,
    goal: Goal,
    engine: EngineName = "auto",
    seed: Seed = 0,
    sequence_parallel: SharedTokens = False,
    micro_batches: MicroBatches = None,
    space: SpaceName = "engine",
    why: Why = False,
    out: PlanOut = None,
    certificate: CertificateOut = None,
    handing: Handing,
    format: Shape = "table",
) -> None:
    """Find the best plan, and prove it."""
    handing.check()
    asked = asking.nouns(goal, handing.software)
    _check(asked, handing, out, certificate)
    result = pl.partition(
        *asked,
        **goal.options(asking.counts),
        progress=Meter(),
        solver=engine_of(engine),
        seed=seed,
        exclude=chips_of("--exclude", exclude),
        sequence_parallel=sequence_parallel,
        micro_batches=micro_batches,
        space=space_of(space),
    )
    export = handing.made(result)
    handing.write(export, _outputs(result, out, certificate))
    told = _told(result, why, goal)
    told = Unsaid(context).add(*told, asking.requests, goal, asked.graph)
    answer(format, *with_export(handing, export, *told))


def _told(result: "Result", why: bool, goal: Goal) -> tuple[str, dict[str, Any]]:
    """A result as text and as fields, with its reasons where they are asked for."""
    from planner.cli.answers import result_fields

    text, reasons = with_reasons(result, why, goal)
    return text, result_fields(result) | _miss_fields(result) | reasons


def with_reasons(
    found: "Result | ClusterResult | Fleet", why: bool, goal: Goal
) -> tuple[str, dict[str, Any]]:
    """An answer as text, with its reasons where they are asked for; these as fields."""
    if not why or not hasattr(found, "why"):
        return str(found), {}
    reasons = found.why(time_limit_s=seconds(goal.time_limit))
    return f"{found}\n\n{reasons}", {"why": reasons.model_dump(mode="json")}


def _check(asked: Asked, handing: Handing, out: Path | None, certificate: Path | None) -> None:
    """Refuse before the work what a plan cannot be written to, or be run by."""
    check_outputs({"--out": out, "--certificate": certificate})
    handing.check_machine(asked.graph, asked.topology)


def _outputs(
    result: "Result | ClusterResult", out: Path | None, certificate: Path | None
) -> list[OutFile]:
    """The plan and its certificate, as far as they are wanted."""
    outputs = []
    if out is not None:
        outputs.append(OutFile(out, result.plan.to_json()))
    if certificate is not None:
        outputs.append(OutFile(certificate, result.certificate().to_json(), "--certificate"))
    return outputs


def _miss_fields(result: "Result") -> dict[str, Any]:
    """The near misses that the text tells too, without their scores."""
    if not result.limits:
        return {}
    from planner.report.misses import quick_misses

    misses = result.kept(quick_misses)
    return {"near_misses": [one.model_dump(mode="json", exclude={"score"}) for one in misses]}


@question
def disaggregate_pools(
    model: ModelName,
    prefill: TopologyName,
    decode: DecodeMachine = None,
    *,
    context: typer.Context,
    link: LinkBandwidth = "",
    link_latency: LinkLatency = "0 s",
    formats: Formats,
    requests: Requests,
    chips: Chips = None,
    decode_chips: DecodeChips = None,
    software: Stack = None,
    usable_memory: Usable = None,
    drafts: Drafts,
    goal: Goal,
    space: SpaceName = "engine",
    counts: Counts,
    handing: Handing,
    format: Shape = "table",
) -> None:
    """Find the best prefill pool and decode pool, and prove them."""
    handing.check()
    stack = software or handing.software
    of_first: dict[str, Any] = {"chips": chips, "drafts": drafts, "counts": counts, "goal": goal}
    of_both: dict[str, Any] = {"software": stack, "usable_memory": usable_memory}
    asked = asked_of(model, prefill, formats, requests, **of_first, **of_both)
    other = None
    if decode is not None:
        machine = machine_of(decode, decode_chips, option="--decode-chips", **of_both)
        other = counts.owned(machine, uncounted(decode))
    if other is None and decode_chips is not None:
        raise InputError(
            "--decode-chips needs a second machine; without one the pools share out the chips of"
            " the first"
        )
    options: dict[str, Any] = {"link": _link(link, link_latency), "space": space_of(space)}
    options |= _priced_options(goal, counts)
    with at_work("planning both pools"):
        result = pl.disaggregate(
            asked.graph, asked.workload, prefill=asked.topology, decode=other, **options
        )
    machines = {
        "prefill_topology": result.prefill_topology,
        "decode_topology": result.decode_topology,
    }
    fields = _fields_of_two(result, machines)
    export = handing.made(result)
    handing.write(export)
    told = Unsaid(context).add(str(result), fields, requests, goal, asked.graph)
    answer(format, *with_export(handing, export, *told))


def _priced_options(goal: Goal, counts: Counts) -> dict[str, Any]:
    """Of a question about two machines, which knows prices alone."""
    if goal.sure is not None:
        raise InputError("--sure is for one machine, not for two; leave it out")
    return goal.options(counts)


def _link(bandwidth: str, latency: str) -> "Link":
    from planner.units import parse_quantity

    return pl.Link(
        bandwidth_bytes_per_s=parse_quantity(bandwidth, "bytes per second", "--link"),
        latency_s=parse_quantity(latency, "seconds", "--link-latency"),
    )


@question
def pair_machines(
    model: ModelName,
    attention: TopologyName,
    experts: ExpertMachine,
    *,
    context: typer.Context,
    link: LinkBandwidth = "",
    link_latency: LinkLatency = "0 s",
    formats: Formats,
    requests: Requests,
    chips: Chips = None,
    expert_chips: ExpertChips = None,
    software: Stack = None,
    usable_memory: Usable = None,
    goal: Goal,
    counts: Counts,
    format: Shape = "table",
) -> None:
    """Find the best plan with attention on one machine and feed-forward parts (experts) on
    another, and prove it; decode alone."""
    of_first: dict[str, Any] = {"chips": chips, "counts": counts, "goal": goal}
    of_both: dict[str, Any] = {"software": software, "usable_memory": usable_memory}
    asked = asked_of(model, attention, formats, requests, **of_first, **of_both)
    options = {"link": _link(link, link_latency), **_priced_options(goal, counts)}
    machine = machine_of(experts, expert_chips, option="--expert-chips", **of_both)
    other = counts.owned(machine, uncounted(experts))
    with at_work("planning both machines"):
        result = pl.disaggregate_attention(
            asked.graph,
            asked.workload.replace(phase="decode"),
            attention=asked.topology,
            experts=other,
            **options,
        )
    machines = {
        "attention_topology": result.attention_topology,
        "experts_topology": result.experts_topology,
    }
    fields = _fields_of_two(result, machines)
    answer(format, *Unsaid(context).add(str(result), fields, requests, goal, asked.graph))


def _fields_of_two(
    result: "Disaggregation | Pairing", machines: "Mapping[str, Topology]"
) -> dict[str, Any]:
    """An answer of two machines, with the model and these by name."""
    fields = result.model_dump(mode="json", exclude={"graph", *machines})
    named = {key: {"name": one.name, "chips": one.chips} for key, one in machines.items()}
    return {**fields, "model": result.graph.name, **named}


@question
def plan_cluster(
    model: ModelName,
    cluster: ClusterName,
    *,
    context: typer.Context,
    unlike: Unlike = False,
    formats: Formats,
    requests: Requests,
    arrivals: Arrivals = "steady",
    software: Stack = None,
    usable_memory: Usable = None,
    drafts: Drafts,
    goal: Goal,
    space: SpaceName = "engine",
    counts: Counts,
    why: Why = False,
    out: PlanOut = None,
    certificate: CertificateOut = None,
    format: Shape = "table",
) -> None:
    """Find the best plan on pools of unlike chips, and prove it."""
    check_outputs({"--out": out, "--certificate": certificate})
    if goal.sure is not None:
        raise InputError("--sure is asked of one machine, not of a cluster; leave it out")
    if unlike and (goal.minimize is not None or goal.maximize not in (None, "tokens_per_s")):
        raise InputError(
            "--unlike plans for the most tokens a second; leave --minimize and --maximize out, and"
            " give --limit"
        )
    if unlike and requests.rate is not None:
        raise InputError(
            "--unlike plans for the most requests a second that deployments serve together; leave"
            " --rate out, and compare it with the answer"
        )
    of_one = {"--out": out, "--certificate": certificate, "--why": why or None}
    given = next((name for name, value in of_one.items() if value is not None), None)
    if unlike and given is not None:
        raise InputError(
            f"--unlike finds several plans, and {given} is of one; leave it out, and take"
            " --format json"
        )
    aim = replace(goal, maximize="tokens_per_s") if unlike else goal
    graph = graph_of(model, formats)
    pools = _owned(pl.load_cluster(cluster), counts, software, usable_memory)
    workload = workload_of(requests, arrivals, goal=aim)
    workload = workload.replace(speculation=speculation_of(drafts, formats))
    options = aim.bounds(counts) if unlike else aim.options(counts)
    options |= {"space": space_of(space), "progress": Meter()}
    found: Any
    if unlike:
        found = pl.partition_fleet(graph, pools, workload, **options)
        fields = found.model_dump(mode="json", exclude={"graph", "cluster", "deployments"})
        fields["deployments"] = [_pooled_fields(one) for one in found.deployments]
    else:
        found = pl.partition_cluster(graph, pools, workload, **options)
        fields = _pooled_fields(found)
        write_all(_outputs(found, out, certificate))
    text, reasons = with_reasons(found, why, aim)
    fields |= {"model": graph.name, "cluster": pools.name, **reasons}
    answer(format, *Unsaid(context).add(text, fields, requests, aim, graph))


def _owned(
    cluster: "Cluster", counts: Counts, software: str | None, usable_memory: str | None
) -> "Cluster":
    """The cluster with what its owner pays, and all of it with the software that is asked for and
    its share of the memory."""
    counts.check_prices(
        *(name for pool in cluster.pools for name in (pool.name, pool.topology.name))
    )
    pools = [
        pool.replace(
            topology=with_stack(counts.owned(pool.topology, pool.name), software, usable_memory)
        )
        for pool in cluster.pools
    ]
    return cluster.replace(pools=tuple(pools))


def _pooled_fields(result: "ClusterResult") -> dict[str, Any]:
    pools = [
        {"name": pool.name, "topology": pool.topology.name, "chips": pool.free_chips}
        for pool in result.cluster.pools
    ]
    return result.model_dump(mode="json", exclude={"graph", "cluster"}) | {"pools": pools}


def _fields_of(options: dict[str, Any]) -> tuple[str, ...]:
    """Of the score, those that a goal is about."""
    aims = (options["minimize"], options["maximize"], *options["limits"])
    return tuple(name for name in aims if name)


@question
def compare(
    model: ModelName,
    topologies: Machines,
    *,
    context: typer.Context,
    formats: Formats,
    requests: Requests,
    arrivals: Arrivals = "steady",
    software: Stack = None,
    usable_memory: Usable = None,
    drafts: Drafts,
    goal: Goal,
    space: SpaceName = "engine",
    counts: Counts,
    format: Shape = "table",
) -> None:
    """The best plan of one model on several machines, side by side."""
    from planner.cli.answers import comparison, machine_label, result_fields

    options = goal.options(counts) | {"space": space_of(space)}
    named = labelled(topologies)
    found = {
        label: machine_of(entry, software=software, usable_memory=usable_memory)
        for label, entry in named.items()
    }
    machines = _alike(_all_owned(found, named, counts), options, counts)
    graph = graph_of(model, formats)
    workload = workload_of(requests, arrivals, goal=goal)
    workload = workload.replace(speculation=speculation_of(drafts, formats))
    results: list[Result] = []
    refusals: list[tuple[str, str]] = []
    unproved: NoPlanFoundError | None = None
    labels: list[str] = []
    for entry, machine in zip(named, machines, strict=True):
        try:
            results.append(pl.partition(graph, machine, workload, **options, progress=Meter()))
            labels.append(entry if named[entry] != entry else machine_label(machine))
        except InfeasibleError as error:
            refusals.append((entry, str(error)))
        except NoPlanFoundError as error:
            unproved = error
            refusals.append((entry, str(error)))
    if not results:
        # Proved only where every machine was: one whose time ran out leaves it open.
        raise unproved or InfeasibleError(
            "; ".join(reason for _, reason in refusals),
            resource="every machine",
            demand=1,
            capacity=0,
        )
    told_results = [
        {"machine": label, **result_fields(result)}
        for label, result in zip(labels, results, strict=True)
    ]
    fields = {"results": told_results, "refused": dict(refusals)}
    told = comparison(results, refusals, labels)
    answer(format, *Unsaid(context).add(told, fields, requests, goal, graph))


def _alike(machines: "list[Topology]", options: dict[str, Any], counts: Counts) -> "list[Topology]":
    """The machines on one basis of power and price."""
    from planner.machines.accounts import alike

    return list(alike(machines, must=_fields_of(options), **counts.bases()))


@question
def size(
    model: ModelName,
    topologies: Machines,
    *,
    context: typer.Context,
    formats: Formats,
    requests: Requests,
    arrivals: Arrivals = "steady",
    software: Stack = None,
    usable_memory: Usable = None,
    drafts: Drafts,
    goal: Goal,
    space: SpaceName = "engine",
    counts: Counts,
    out: SizingOut = None,
    format: Shape = "table",
) -> None:
    """How few chips of each machine will do, and what they cost; the cheapest first."""
    if goal.minimize is not None or goal.maximize is not None:
        raise InputError(
            "size asks for the fewest chips; leave --minimize and --maximize out, and give --limit"
        )
    from planner.cli.answers import sizing_fields
    from planner.planning.sizing import size_machines

    check_writable(out)
    # Without a number of users the model just has to fit, and to keep the limits.
    asked = requests.or_open()
    workload = workload_of(asked, arrivals)
    workload = workload.replace(speculation=speculation_of(drafts, formats))
    graph = graph_of(model, formats)
    found = size_machines(
        graph,
        _extents(topologies, counts, software, usable_memory),
        workload,
        **goal.bounds(counts),
        space=space_of(space),
        progress=Meter(),
    )
    if out is not None:
        write_whole(out, found.to_json())
    answer(format, *Unsaid(context).add(str(found), sizing_fields(found), asked, None, graph))


def _extents(
    topologies: list[str], counts: Counts, software: str | None, usable_memory: str | None
) -> "list[Extent]":
    """Machines from NAME, NAME:CHIPS or LABEL=NAME, with what their owner pays, the software asked
    for and its share of the memory."""
    from planner.planning.sizing import extents_of

    named = labelled(topologies)
    extents = {label: extents_of({label: entry})[0] for label, entry in named.items()}
    machines = _all_owned({label: one.topology for label, one in extents.items()}, named, counts)
    found: list[Extent] = []
    for one, machine in zip(extents.values(), machines, strict=True):
        made = one._replace(topology=with_stack(machine, software, usable_memory))
        twin = next((other for other in found if other[1:] == made[1:]), None)
        if twin is not None:
            raise InputError(
                f"{shortened(one.name)} is given twice, the first time as {shortened(twin.name)};"
                " leave one out, or give each a --price"
            )
        found.append(made)
    return found


def _all_owned(
    found: "Mapping[str, Topology]", named: Mapping[str, str], counts: Counts
) -> "list[Topology]":
    """Machines by label, each with what its owner pays."""
    names = {label: uncounted(entry) for label, entry in named.items()}
    known = {*names, *names.values(), *(machine.name for machine in found.values())}
    counts.check_prices(*sorted(known))
    return [counts.owned(machine, label, names[label]) for label, machine in found.items()]


def verify(
    certificate: CertificateFile,
    again: ProvedAgain = False,
    time_limit: TimeLimit = "60",
    memory_limit: MemoryLimit = None,
    format: Shape = "table",
) -> None:
    """Check a result without the solver: its plan, its objective and, as far as that goes, its
    bound; with --again a second solver proves it too.

    Status 0: confirmed; 5: confirmed, but the model, machine or software is not the catalogue's of
    that name; 6: not confirmed; 4: no time to confirm it; 2: something in it is false.
    """
    try:
        with at_work("checking the bound anew"):
            verdict = pl.verify(
                certificate,
                time_limit_s=seconds(time_limit),
                memory_limit_bytes=memory_bytes(memory_limit),
                again=again,
            )
    except InputError as error:
        # What cannot be read is told with its file already.
        is_named = str(error).startswith(str(certificate))
        raise error if is_named else InputError(f"{certificate}: {error}") from None
    answer(format, str(verdict), verdict.model_dump(mode="json"))
    status = _status_of(verdict)
    if status:
        raise typer.Exit(status)


def _status_of(verdict: "Verdict") -> int:
    """What a script is to know of a verdict."""
    if verdict.confirmed:
        return 0 if verdict.is_of_the_catalogue else NOT_THE_CATALOGUES
    return NO_TIME if verdict.is_late else NOT_CONFIRMED
