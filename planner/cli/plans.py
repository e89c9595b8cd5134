"""Commands that plan, price and check: `plan`, `disaggregate`, `cluster`, `score`, `compare`,
`verify`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from planner import catalogue
from planner.answers.certificates import Certificate
from planner.answers.results import ClusterResult, Result
from planner.cli.answers import Meter, answer, comparison, result_fields
from planner.cli.arguments import (
    Acceptance,
    Arrivals,
    Batch,
    Chips,
    Draft,
    Drafted,
    Kv,
    Limit,
    Maximize,
    Minimize,
    ModelName,
    Output,
    Prompt,
    Rate,
    Scope,
    Shape,
    Stack,
    TimeLimit,
    TopologyName,
    Weights,
    engine_of,
    limits_of,
    nouns,
    read_plan,
    scope_of,
    seconds,
    speculation_of,
    whole,
    workload_of,
)
from planner.cli.files import check_writable, write_whole
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
)
from planner.planning.certificates import verify as check_certificate
from planner.planning.clusters import partition_cluster
from planner.planning.disaggregation import disaggregate
from planner.planning.fleets import partition_fleet
from planner.planning.partitioning import partition
from planner.readers.files import read_text
from planner.report.text import assumption_lines, question_lines, score_lines
from planner.scoring.disaggregated import Link
from planner.scoring.plans import score_plan
from planner.space.degrees import uniform_plan
from planner.units import parse_quantity


def plan(
    model: ModelName,
    topology: TopologyName,
    weights: Weights = None,
    kv: Kv = "bf16",
    batch: Batch = None,
    rate: Rate = None,
    prompt: Prompt = 1024,
    output: Output = 256,
    arrivals: Arrivals = "steady",
    chips: Chips = None,
    software: Stack = None,
    draft: Draft = None,
    speculative_tokens: Drafted = "4",
    acceptance: Acceptance = 0.7,
    minimize: Minimize = None,
    maximize: Maximize = None,
    limit: Limit = None,
    time_limit: TimeLimit = None,
    engine: Annotated[str, typer.Option("--engine", help="auto or cp-sat.")] = "auto",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    sequence_parallel: Annotated[
        bool,
        typer.Option(
            "--sequence-parallel", help="Also share out the tokens of a sequence: for long prompts."
        ),
    ] = False,
    power_scope: Scope = None,
    why: Annotated[
        bool,
        typer.Option("--why", help="Also what binds, what more of it would buy, and other shapes."),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the plan here, as JSON.")] = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", help="Write what `planner verify` needs here, as JSON."),
    ] = None,
    format: Shape = "table",
) -> None:
    """Find the best plan, and prove it."""
    shape, machine, work = nouns(
        model, topology, weights, kv, batch, prompt, output, arrivals, chips, software, rate
    )
    work = work.replace(
        speculation=speculation_of(draft, speculative_tokens, acceptance, weights, kv)
    )
    check_writable(out)
    check_writable(certificate, "--certificate")
    result = partition(
        shape, machine, work, minimize=minimize, maximize=maximize, limits=limits_of(limit or []),
        time_limit_s=seconds(time_limit), power_scope=scope_of(power_scope), progress=Meter(), engine=engine_of(engine),
        seed=seed, sequence_parallel=sequence_parallel,
    )  # fmt: skip
    if out is not None:
        write_whole(out, result.plan.to_json())
    if certificate is not None:
        write_whole(certificate, result.certificate().to_json(), "--certificate")
    reasons = result.why(time_limit_s=seconds(time_limit)) if why else None
    text = str(result) if reasons is None else f"{result}\n\n{reasons}"
    answer(
        format,
        text,
        result_fields(result)
        | ({} if reasons is None else {"why": reasons.model_dump(mode="json")}),
    )


def disaggregate_pools(
    model: ModelName,
    prefill: TopologyName,
    decode: Annotated[
        str | None,
        typer.Argument(
            help="Machine of the decode pool; default: the chips of the first are shared out."
        ),
    ] = None,
    link: Annotated[
        str, typer.Option("--link", help="Bandwidth from one pool to the other: '50 GB/s'.")
    ] = "",
    link_latency: Annotated[
        str, typer.Option("--link-latency", help="Its latency: '10 us'.")
    ] = "0 s",
    weights: Weights = None,
    kv: Kv = "bf16",
    batch: Batch = None,
    rate: Rate = None,
    prompt: Prompt = 1024,
    output: Output = 256,
    chips: Chips = None,
    decode_chips: Annotated[
        int | None, typer.Option("--decode-chips", help="Chips of the second machine.")
    ] = None,
    minimize: Minimize = None,
    maximize: Maximize = None,
    limit: Limit = None,
    time_limit: TimeLimit = None,
    power_scope: Scope = None,
    format: Shape = "table",
) -> None:
    """Find the best prefill pool and decode pool, and prove them."""
    shape, machine, work = nouns(
        model, prefill, weights, kv, batch, prompt, output, "steady", chips, None, rate
    )
    other = None if decode is None else catalogue.load_topology(decode, chips=decode_chips)
    if other is None and decode_chips is not None:
        raise InputError(
            "--decode-chips needs a second machine; without one the pools share out the chips of the first"
        )
    joined = Link(
        bandwidth_bytes_per_s=parse_quantity(link, "bytes per second", "--link"),
        latency_s=parse_quantity(link_latency, "seconds", "--link-latency"),
    )
    result = disaggregate(
        shape, work, prefill=machine, decode=other, link=joined, minimize=minimize, maximize=maximize,
        limits=limits_of(limit or []), time_limit_s=seconds(time_limit), power_scope=scope_of(power_scope),
    )  # fmt: skip
    fields = result.model_dump(
        mode="json", exclude={"graph", "prefill_topology", "decode_topology"}
    ) | {"model": shape.name}
    for name, pool in (
        ("prefill_topology", result.prefill_topology),
        ("decode_topology", result.decode_topology),
    ):
        fields[name] = {"name": pool.name, "chips": pool.chips}
    answer(format, str(result), fields)


def plan_cluster(
    model: ModelName,
    cluster: Annotated[
        str,
        typer.Argument(help="A cluster of the catalogue (see `planner clusters`), or a TOML file."),
    ],
    unlike: Annotated[
        bool,
        typer.Option(
            "--unlike",
            help="Share the pools out between unlike deployments, for the most tokens a second.",
        ),
    ] = False,
    weights: Weights = None,
    kv: Kv = "bf16",
    batch: Batch = None,
    prompt: Prompt = 1024,
    output: Output = 256,
    minimize: Minimize = None,
    maximize: Maximize = None,
    limit: Limit = None,
    time_limit: TimeLimit = None,
    power_scope: Scope = None,
    format: Shape = "table",
) -> None:
    """Find the best plan on pools of unlike chips, and prove it."""
    shape, pools = (
        catalogue.load_model(model, weight_dtype=weights, kv_dtype=kv),
        catalogue.load_cluster(cluster),
    )
    if unlike and (minimize is not None or maximize not in (None, "tokens_per_s")):
        raise InputError(
            "--unlike plans for the most tokens a second; leave --minimize and --maximize out, and give --limit"
        )
    work = workload_of(batch or ("max" if unlike else None), None, prompt, output, "steady")
    options: dict[str, Any] = {
        "limits": limits_of(limit or []), "time_limit_s": seconds(time_limit), "power_scope": scope_of(power_scope),
        "progress": Meter(),
    }  # fmt: skip
    if unlike:
        found: Any = partition_fleet(shape, pools, work, **options)
        parts = {"deployments": [_pooled_fields(one) for one in found.deployments]}
        fields = found.model_dump(mode="json", exclude={"graph", "cluster", "deployments"}) | parts
    else:
        found = partition_cluster(
            shape, pools, work, minimize=minimize, maximize=maximize, **options
        )
        fields = _pooled_fields(found)
    answer(format, str(found), fields | {"model": shape.name, "cluster": pools.name})


def _pooled_fields(result: ClusterResult) -> dict[str, Any]:
    pools = [
        {"name": pool.name, "topology": pool.topology.name, "chips": pool.free_chips}
        for pool in result.cluster.pools
    ]
    return result.model_dump(mode="json", exclude={"graph", "cluster"}) | {"pools": pools}


def score(
    model: ModelName,
    topology: TopologyName,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="A plan in JSON, as `planner plan --out` writes it."),
    ] = None,
    tensor: Annotated[int, typer.Option("--tensor", help="Tensor parallel degree.")] = 1,
    pipeline: Annotated[int, typer.Option("--pipeline", help="Pipeline parallel degree.")] = 1,
    expert: Annotated[int, typer.Option("--expert", help="Expert parallel degree.")] = 1,
    data: Annotated[int, typer.Option("--data", help="Data parallel degree.")] = 1,
    weights: Weights = None,
    kv: Kv = "bf16",
    batch: Batch = None,
    rate: Rate = None,
    prompt: Prompt = 1024,
    output: Output = 256,
    arrivals: Arrivals = "steady",
    chips: Chips = None,
    software: Stack = None,
    draft: Draft = None,
    speculative_tokens: Drafted = "4",
    acceptance: Acceptance = 0.7,
    power_scope: Scope = None,
    format: Shape = "table",
) -> None:
    """Price a plan: one from a file, or the uniform plan of given degrees."""
    shape, machine, work = nouns(
        model, topology, weights, kv, batch, prompt, output, arrivals, chips, software, rate
    )
    work = work.replace(
        speculation=speculation_of(draft, speculative_tokens, acceptance, weights, kv)
    )
    if plan is not None:
        if (tensor, pipeline, expert, data) != (1, 1, 1, 1):
            raise InputError(
                "--plan and degrees are both given; a plan has its own degrees, so give one or the other"
            )
        scored = read_plan(plan)
    else:
        scored = uniform_plan(
            shape,
            machine,
            tensor_parallel=tensor,
            pipeline_parallel=pipeline,
            expert_parallel=expert,
            data_parallel=data,
        )
    price = score_plan(scored, shape, machine, work, power_scope=scope_of(power_scope))
    lines = [*question_lines(shape, machine, work), "", *score_lines(price), "", "assumptions"]
    lines += [f"  {line}" for line in assumption_lines(shape, machine, work)]
    answer(
        format,
        "\n".join(lines),
        {"score": price.model_dump(mode="json"), "plan": scored.model_dump(mode="json")},
    )


def compare(
    model: ModelName,
    topologies: Annotated[list[str], typer.Argument(help="Machines, each as NAME or NAME:CHIPS.")],
    weights: Weights = None,
    kv: Kv = "bf16",
    batch: Batch = None,
    rate: Rate = None,
    prompt: Prompt = 1024,
    output: Output = 256,
    arrivals: Arrivals = "steady",
    minimize: Minimize = None,
    maximize: Maximize = None,
    limit: Limit = None,
    time_limit: TimeLimit = None,
    power_scope: Scope = None,
    format: Shape = "table",
) -> None:
    """The best plan of one model on several machines, side by side."""
    results: list[Result] = []
    refusals: list[tuple[str, str]] = []
    unproved: NoPlanFoundError | None = None
    for entry in topologies:
        name, _, count = entry.partition(":")
        shape, machine, work = nouns(
            model,
            name,
            weights,
            kv,
            batch,
            prompt,
            output,
            arrivals,
            whole("chips", count) if count else None,
            None,
            rate,
        )
        try:
            found = partition(
                shape, machine, work, minimize=minimize, maximize=maximize, limits=limits_of(limit or []),
                time_limit_s=seconds(time_limit), power_scope=scope_of(power_scope), progress=Meter(),
            )  # fmt: skip
            results.append(found)
        except InfeasibleError as error:
            refusals.append((entry, str(error)))
        except NoPlanFoundError as error:
            unproved = error
            refusals.append((entry, str(error)))
    if not results:
        raise unproved or InfeasibleError(
            "; ".join(reason for _, reason in refusals),
            resource="every machine",
            demand=1,
            capacity=0,
        )
    fields = {"results": [result_fields(result) for result in results], "refused": dict(refusals)}
    answer(format, comparison(results, refusals), fields)


def verify(
    certificate: Annotated[
        Path, typer.Argument(help="A certificate, as `planner plan --certificate` writes it.")
    ],
    time_limit: TimeLimit = 60.0,
    format: Shape = "table",
) -> None:
    """Check a result without the solver: its plan, its objective and, as far as that goes, its
    bound."""
    try:
        given = Certificate.from_json(read_text(certificate, "a certificate"))
        verdict = check_certificate(given, time_limit_s=seconds(time_limit))
    except InputError as error:
        raise InputError(f"{certificate}: {error}") from None
    answer(format, str(verdict), verdict.model_dump(mode="json"))
