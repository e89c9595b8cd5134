"""Commands that plan and check: `plan`, `disaggregate`, `pair`, `cluster`, `compare`, `size`,
`verify`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from planner import catalogue
from planner.answers.certificates import Certificate, Verdict
from planner.answers.results import ClusterResult, Disaggregation, Pairing, Result
from planner.cli.answers import Meter, answer, comparison, result_fields, sizing_fields
from planner.cli.arguments import (
    Arrivals,
    Asked,
    Batch,
    CertificateFile,
    CertificateOut,
    Chips,
    ClusterName,
    Counts,
    DecodeChips,
    DecodeMachine,
    Drafts,
    EngineName,
    ExpertChips,
    ExpertMachine,
    Formats,
    Goal,
    LinkBandwidth,
    LinkLatency,
    Machines,
    MemoryLimit,
    ModelName,
    Output,
    PlanOut,
    Prompt,
    ProvedAgain,
    Requests,
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
    asked_of,
    engine_of,
    graph_of,
    grouped,
    memory_bytes,
    seconds,
    space_of,
    whole,
    workload_of,
)
from planner.cli.exports import Handing, with_export
from planner.cli.files import OutFile, check_outputs, check_writable, write_whole
from planner.errors import InfeasibleError, InputError, NoPlanFoundError
from planner.machines.accounts import alike
from planner.machines.cluster import Cluster
from planner.machines.topology import Topology
from planner.planning.certificates import verify as check_certificate
from planner.planning.clusters import partition_cluster
from planner.planning.disaggregation import disaggregate
from planner.planning.fleets import partition_fleet
from planner.planning.pairing import disaggregate_attention
from planner.planning.partitioning import partition
from planner.planning.sizing import extents_of, size_machines
from planner.readers.files import read_text
from planner.report.misses import quick_misses
from planner.scoring.disaggregated import Link
from planner.units import parse_quantity

NO_TIME = 4
NOT_THE_CATALOGUES = 5
NOT_CONFIRMED = 6
"""Exit statuses of `verify` beside 0."""


@grouped
def plan(
    model: ModelName,
    topology: TopologyName,
    *,
    formats: Formats,
    requests: Requests,
    arrivals: Arrivals = "steady",
    chips: Chips = None,
    software: Stack = None,
    usable_memory: Usable = None,
    drafts: Drafts,
    goal: Goal,
    engine: EngineName = "auto",
    seed: Seed = 0,
    sequence_parallel: SharedTokens = False,
    space: SpaceName = "engine",
    counts: Counts,
    why: Why = False,
    out: PlanOut = None,
    certificate: CertificateOut = None,
    handing: Handing,
    format: Shape = "table",
) -> None:
    """Find the best plan, and prove it."""
    handing.check()
    asked = asked_of(
        model,
        topology,
        formats,
        requests,
        arrivals=arrivals,
        chips=chips,
        software=software or handing.software,
        usable_memory=usable_memory,
        drafts=drafts,
        counts=counts,
    )
    _check(asked, handing, out, certificate)
    result = partition(
        *asked,
        **goal.options(counts),
        progress=Meter(),
        solver=engine_of(engine),
        seed=seed,
        sequence_parallel=sequence_parallel,
        space=space_of(space),
    )
    export = handing.made(result)
    handing.write(export, _outputs(result, out, certificate))

    text = str(result)
    fields = result_fields(result) | _miss_fields(result)
    if why:
        reasons = result.why(time_limit_s=seconds(goal.time_limit))
        text = f"{text}\n\n{reasons}"
        fields["why"] = reasons.model_dump(mode="json")
    answer(format, *with_export(handing, export, text, fields))


def _check(asked: Asked, handing: Handing, out: Path | None, certificate: Path | None) -> None:
    """Refuse before the work what a plan cannot be written to, or started with."""
    check_outputs({"--out": out, "--certificate": certificate})
    handing.check_machine(asked.graph, asked.topology)


def _outputs(result: Result, out: Path | None, certificate: Path | None) -> list[OutFile]:
    """The plan and its certificate, as far as they are wanted."""
    outputs = []
    if out is not None:
        outputs.append(OutFile(out, result.plan.to_json()))
    if certificate is not None:
        outputs.append(OutFile(certificate, result.certificate().to_json(), "--certificate"))
    return outputs


def _miss_fields(result: Result) -> dict[str, Any]:
    """The near misses that the text tells too, without their scores."""
    if not result.limits:
        return {}
    misses = result.kept(quick_misses)
    return {"near_misses": [one.model_dump(mode="json", exclude={"score"}) for one in misses]}


@grouped
def disaggregate_pools(
    model: ModelName,
    prefill: TopologyName,
    decode: DecodeMachine = None,
    *,
    link: LinkBandwidth = "",
    link_latency: LinkLatency = "0 s",
    formats: Formats,
    requests: Requests,
    chips: Chips = None,
    decode_chips: DecodeChips = None,
    goal: Goal,
    space: SpaceName = "engine",
    counts: Counts,
    handing: Handing,
    format: Shape = "table",
) -> None:
    """Find the best prefill pool and decode pool, and prove them."""
    handing.check()
    asked = asked_of(model, prefill, formats, requests, chips=chips, counts=counts)
    other = None
    if decode is not None:
        other = counts.owned(catalogue.load_topology(decode, chips=decode_chips))
    if other is None and decode_chips is not None:
        raise InputError(
            "--decode-chips needs a second machine; without one the pools share out the chips of"
            " the first"
        )
    result = disaggregate(
        asked.graph,
        asked.workload,
        prefill=asked.topology,
        decode=other,
        link=_link(link, link_latency),
        space=space_of(space),
        **_priced_options(goal, counts),
    )
    machines = {
        "prefill_topology": result.prefill_topology,
        "decode_topology": result.decode_topology,
    }
    fields = _fields_of_two(result, machines)
    export = handing.made(result)
    handing.write(export)
    answer(format, *with_export(handing, export, str(result), fields))


def _priced_options(goal: Goal, counts: Counts) -> dict[str, Any]:
    """Of a question about two machines, which knows prices alone."""
    if goal.sure is not None:
        raise InputError("--sure is asked of one machine alone, not of two; leave it out")
    return goal.options(counts)


def _link(bandwidth: str, latency: str) -> Link:
    return Link(
        bandwidth_bytes_per_s=parse_quantity(bandwidth, "bytes per second", "--link"),
        latency_s=parse_quantity(latency, "seconds", "--link-latency"),
    )


@grouped
def pair_machines(
    model: ModelName,
    attention: TopologyName,
    experts: ExpertMachine,
    *,
    link: LinkBandwidth = "",
    link_latency: LinkLatency = "0 s",
    formats: Formats,
    requests: Requests,
    chips: Chips = None,
    expert_chips: ExpertChips = None,
    goal: Goal,
    counts: Counts,
    format: Shape = "table",
) -> None:
    """Find the best plan with attention on one machine and feed-forward parts (experts) on
    another, and prove it; decode alone."""
    asked = asked_of(model, attention, formats, requests, chips=chips, counts=counts)
    result = disaggregate_attention(
        asked.graph,
        asked.workload.replace(phase="decode"),
        attention=asked.topology,
        experts=counts.owned(catalogue.load_topology(experts, chips=expert_chips)),
        link=_link(link, link_latency),
        **_priced_options(goal, counts),
    )
    machines = {
        "attention_topology": result.attention_topology,
        "experts_topology": result.experts_topology,
    }
    answer(format, str(result), _fields_of_two(result, machines))


def _fields_of_two(
    result: Disaggregation | Pairing, machines: Mapping[str, Topology]
) -> dict[str, Any]:
    """An answer of two machines, with the model and these by name."""
    fields = result.model_dump(mode="json", exclude={"graph", *machines})
    named = {key: {"name": one.name, "chips": one.chips} for key, one in machines.items()}
    return {**fields, "model": result.graph.name, **named}


@grouped
def plan_cluster(
    model: ModelName,
    cluster: ClusterName,
    *,
    unlike: Unlike = False,
    formats: Formats,
    batch: Batch = None,
    prompt: Prompt = 1024,
    output: Output = 256,
    goal: Goal,
    space: SpaceName = "engine",
    counts: Counts,
    format: Shape = "table",
) -> None:
    """Find the best plan on pools of unlike chips, and prove it."""
    graph = graph_of(model, formats)
    pools = _owned(catalogue.load_cluster(cluster), counts)
    chosen_from = {"space": space_of(space)}
    if unlike and (goal.minimize is not None or goal.maximize not in (None, "tokens_per_s")):
        raise InputError(
            "--unlike plans for the most tokens a second; leave --minimize and --maximize out, and"
            " give --limit"
        )
    together = batch or ("max" if unlike else None)
    workload = workload_of(Requests(together, None, prompt, output), "steady")
    found: Any
    if unlike:
        bounds = goal.bounds(counts) | chosen_from
        found = partition_fleet(graph, pools, workload, **bounds, progress=Meter())
        fields = found.model_dump(mode="json", exclude={"graph", "cluster", "deployments"})
        fields["deployments"] = [_pooled_fields(one) for one in found.deployments]
    else:
        options = goal.options(counts) | chosen_from
        found = partition_cluster(graph, pools, workload, **options, progress=Meter())
        fields = _pooled_fields(found)
    answer(format, str(found), fields | {"model": graph.name, "cluster": pools.name})


def _owned(cluster: Cluster, counts: Counts) -> Cluster:
    """The cluster with what its owner pays."""
    pools = (pool.replace(topology=counts.owned(pool.topology)) for pool in cluster.pools)
    return cluster.replace(pools=tuple(pools))


def _pooled_fields(result: ClusterResult) -> dict[str, Any]:
    pools = [
        {"name": pool.name, "topology": pool.topology.name, "chips": pool.free_chips}
        for pool in result.cluster.pools
    ]
    return result.model_dump(mode="json", exclude={"graph", "cluster"}) | {"pools": pools}


def _fields_of(options: dict[str, Any]) -> tuple[str, ...]:
    """Of the score, those that a goal is about."""
    aims = (options["minimize"], options["maximize"], *options["limits"])
    return tuple(name for name in aims if name)


@grouped
def compare(
    model: ModelName,
    topologies: Machines,
    *,
    formats: Formats,
    requests: Requests,
    arrivals: Arrivals = "steady",
    goal: Goal,
    space: SpaceName = "engine",
    counts: Counts,
    format: Shape = "table",
) -> None:
    """The best plan of one model on several machines, side by side."""
    options = goal.options(counts) | {"space": space_of(space)}
    machines = []
    for entry in topologies:
        name, _, count = entry.partition(":")
        chips = whole("chips", count) if count else None
        machines.append(counts.owned(catalogue.load_topology(name, chips=chips)))
    machines = list(alike(machines, must=_fields_of(options), **counts.bases()))
    graph = graph_of(model, formats)
    workload = workload_of(requests, arrivals)
    results: list[Result] = []
    refusals: list[tuple[str, str]] = []
    unproved: NoPlanFoundError | None = None
    for entry, machine in zip(topologies, machines, strict=True):
        try:
            results.append(partition(graph, machine, workload, **options, progress=Meter()))
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
    fields = {"results": [result_fields(result) for result in results], "refused": dict(refusals)}
    answer(format, comparison(results, refusals), fields)


@grouped
def size(
    model: ModelName,
    topologies: Machines,
    *,
    formats: Formats,
    requests: Requests,
    arrivals: Arrivals = "steady",
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
    check_writable(out)
    # Without a number of users the model just has to fit, and to keep the limits.
    is_open = requests.batch is None and requests.rate is None
    asked = replace(requests, batch="max") if is_open else requests
    workload = workload_of(asked, arrivals)
    found = size_machines(
        graph_of(model, formats),
        [one._replace(topology=counts.owned(one.topology)) for one in extents_of(topologies)],
        workload,
        **goal.bounds(counts),
        space=space_of(space),
        progress=Meter(),
    )
    if out is not None:
        write_whole(out, found.to_json())
    answer(format, str(found), sizing_fields(found))


def verify(
    certificate: CertificateFile,
    again: ProvedAgain = False,
    time_limit: TimeLimit = 60.0,
    memory_limit: MemoryLimit = None,
    format: Shape = "table",
) -> None:
    """Check a result without the solver: its plan, its objective and, as far as that goes, its
    bound; with --again a second solver proves it too.

    Status 0: confirmed; 5: confirmed, but the model, machine or software is not the catalogue's of
    that name; 6: not confirmed; 4: no time to confirm it; 2: something in it is false.
    """
    try:
        given = Certificate.from_json(read_text(certificate, "a certificate"))
        verdict = check_certificate(
            given,
            time_limit_s=seconds(time_limit),
            memory_limit_bytes=memory_bytes(memory_limit),
            again=again,
        )
    except InputError as error:
        raise InputError(f"{certificate}: {error}") from None
    answer(format, str(verdict), verdict.model_dump(mode="json"))
    status = _status_of(verdict)
    if status:
        raise typer.Exit(status)


def _status_of(verdict: Verdict) -> int:
    """What a script is to know of a verdict."""
    if verdict.confirmed:
        return 0 if verdict.is_of_the_catalogue else NOT_THE_CATALOGUES
    return NO_TIME if verdict.is_late else NOT_CONFIRMED
