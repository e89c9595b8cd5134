"""The command `planner`: a face for a terminal, with no logic of its own.

Answers go to standard output, everything else to standard error. Exit status: 0 a plan, 2 something given is wrong,
3 proved infeasible, 4 no plan in time.
"""

import json
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from planner import catalogue
from planner.calibration.fitting import MEASURE, fit_software, profile_toml
from planner.calibration.measurements import COLLECTIVES, PUBLISHED, read_measurements
from planner.calibration.reporting import calibration_report
from planner.calibration.shipping import fit_draws, fit_recipe, left_out_errors, recipes, ship, ship_draws
from planner.calibration.validation import cases_of, families_of
from planner.certificates import Certificate
from planner.certificates import verify as check_certificate
from planner.cluster_planning import ClusterResult, partition_cluster
from planner.disaggregation import disaggregate
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    PlannerError,
    UnknownNameError,
    listed,
    shortened,
)
from planner.fleets import partition_fleet
from planner.graph import ModelGraph
from planner.plan import Plan
from planner.planning import Result, partition, uniform_plan
from planner.pools import Link
from planner.readers.files import read_text
from planner.report import aligned, assumption_lines, question_lines, score_lines
from planner.scoring import Score, score_plan
from planner.search import Engine, Progress
from planner.topology import PowerScope, Topology, described
from planner.units import parse_quantity, spoken
from planner.words import field_text
from planner.workload import Workload

app = typer.Typer(
    name="planner", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True,
    help="Spread a model over a machine, price it in seconds, joules and dollars, and prove that no better spread exists.",
)  # fmt: skip

Format = Literal["table", "json"]
ModelName = Annotated[str, typer.Argument(help="A name of the catalogue (see `planner models`), or a config.json.")]
TopologyName = Annotated[
    str, typer.Argument(help="A name of the catalogue (see `planner topologies`), or a TOML file.")
]
Weights = Annotated[str | None, typer.Option("--weights", help="Format of the weights; default: as published.")]
Kv = Annotated[str, typer.Option("--kv", help="Format of the KV cache.")]
Batch = Annotated[
    str | None, typer.Option("--batch", help="Sequences in flight in the whole deployment, or 'max'; default: 8.")
]
Rate = Annotated[float | None, typer.Option("--rate", help="Requests a second of all users, in place of a batch.")]
Prompt = Annotated[int, typer.Option("--prompt", help="Prompt tokens of a request.")]
Output = Annotated[int, typer.Option("--output", help="Output tokens of a request.")]
Arrivals = Annotated[
    str, typer.Option("--arrivals", help="steady: a finished request is replaced; together: one batch.")
]
Chips = Annotated[int | None, typer.Option("--chips", help="How many chips; default: as the catalogue has them.")]
Stack = Annotated[str | None, typer.Option("--software", help="Software stack; default: the machine's.")]
Scope = Annotated[str | None, typer.Option("--power-scope", help="chip or system; default: the widest that is known.")]
Shape = Annotated[str, typer.Option("--format", help="table or json.")]


@app.command()
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
    minimize: Annotated[
        str | None, typer.Option("--minimize", help="Field of the score; default: tpot_s (diffusion: image_s).")
    ] = None,
    maximize: Annotated[str | None, typer.Option("--maximize", help="Field of the score.")] = None,
    limit: Annotated[list[str] | None, typer.Option("--limit", help="Worst value of a field: tpot_s=0.02.")] = None,
    time_limit: Annotated[float | None, typer.Option("--time-limit", help="Seconds.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="auto or cp-sat.")] = "auto",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    power_scope: Scope = None,
    why: Annotated[
        bool, typer.Option("--why", help="Also what binds, what more of it would buy, and other shapes.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the plan here, as JSON.")] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Write what `planner verify` needs here, as JSON.")
    ] = None,
    format: Shape = "table",
) -> None:
    """Find the best plan, and prove it."""
    shape, machine, work = _nouns(model, topology, weights, kv, batch, prompt, output, arrivals, chips, software, rate)
    _check_writable(out)
    _check_writable(certificate, "--certificate")
    result = partition(
        shape, machine, work, minimize=minimize, maximize=maximize, limits=_limits(limit or []),
        time_limit_s=_seconds(time_limit), power_scope=_scope(power_scope), progress=_Meter(), engine=_engine(engine), seed=seed,
    )  # fmt: skip
    if out is not None:
        _write(out, result.plan.to_json())
    if certificate is not None:
        _write(certificate, result.certificate().to_json(), "--certificate")
    reasons = result.why(time_limit_s=_seconds(time_limit)) if why else None
    text = str(result) if reasons is None else f"{result}\n\n{reasons}"
    _answer(
        format, text, _result_fields(result) | ({} if reasons is None else {"why": reasons.model_dump(mode="json")})
    )


@app.command(name="disaggregate")
def disaggregate_pools(
    model: ModelName,
    prefill: TopologyName,
    decode: Annotated[
        str | None, typer.Argument(help="Machine of the decode pool; default: the chips of the first are shared out.")
    ] = None,
    link: Annotated[str, typer.Option("--link", help="Bandwidth from one pool to the other: '50 GB/s'.")] = "",
    link_latency: Annotated[str, typer.Option("--link-latency", help="Its latency: '10 us'.")] = "0 s",
    weights: Weights = None,
    kv: Kv = "bf16",
    batch: Batch = None,
    rate: Rate = None,
    prompt: Prompt = 1024,
    output: Output = 256,
    chips: Chips = None,
    decode_chips: Annotated[int | None, typer.Option("--decode-chips", help="Chips of the second machine.")] = None,
    minimize: Annotated[str | None, typer.Option("--minimize", help="Field of the score; default: tpot_s.")] = None,
    maximize: Annotated[str | None, typer.Option("--maximize", help="Field of the score.")] = None,
    limit: Annotated[list[str] | None, typer.Option("--limit", help="Worst value of a field: tpot_s=0.02.")] = None,
    time_limit: Annotated[float | None, typer.Option("--time-limit", help="Seconds.")] = None,
    power_scope: Scope = None,
    format: Shape = "table",
) -> None:
    """Find the best prefill pool and decode pool, and prove them."""
    shape, machine, work = _nouns(model, prefill, weights, kv, batch, prompt, output, "steady", chips, None, rate)
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
        limits=_limits(limit or []), time_limit_s=_seconds(time_limit), power_scope=_scope(power_scope),
    )  # fmt: skip
    fields = result.model_dump(mode="json", exclude={"graph", "prefill_topology", "decode_topology"}) | {
        "model": shape.name
    }
    for name, pool in (("prefill_topology", result.prefill_topology), ("decode_topology", result.decode_topology)):
        fields[name] = {"name": pool.name, "chips": pool.chips}
    _answer(format, str(result), fields)


@app.command(name="cluster")
def plan_cluster(
    model: ModelName,
    cluster: Annotated[
        str, typer.Argument(help="A cluster of the catalogue (see `planner clusters`), or a TOML file.")
    ],
    unlike: Annotated[
        bool,
        typer.Option("--unlike", help="Share the pools out between unlike deployments, for the most tokens a second."),
    ] = False,
    weights: Weights = None,
    kv: Kv = "bf16",
    batch: Batch = None,
    prompt: Prompt = 1024,
    output: Output = 256,
    minimize: Annotated[str | None, typer.Option("--minimize", help="Field of the score; default: tpot_s.")] = None,
    maximize: Annotated[str | None, typer.Option("--maximize", help="Field of the score.")] = None,
    limit: Annotated[list[str] | None, typer.Option("--limit", help="Worst value of a field: tpot_s=0.02.")] = None,
    time_limit: Annotated[float | None, typer.Option("--time-limit", help="Seconds.")] = None,
    power_scope: Scope = None,
    format: Shape = "table",
) -> None:
    """Find the best plan on pools of unlike chips, and prove it."""
    shape, pools = catalogue.load_model(model, weight_dtype=weights, kv_dtype=kv), catalogue.load_cluster(cluster)
    if unlike and (minimize is not None or maximize not in (None, "tokens_per_s")):
        raise InputError(
            "--unlike plans for the most tokens a second; leave --minimize and --maximize out, and give --limit"
        )
    work = _workload(batch or ("max" if unlike else None), None, prompt, output, "steady")
    options: dict[str, Any] = {
        "limits": _limits(limit or []), "time_limit_s": _seconds(time_limit), "power_scope": _scope(power_scope),
        "progress": _Meter(),
    }  # fmt: skip
    if unlike:
        found: Any = partition_fleet(shape, pools, work, **options)
        parts = {"deployments": [_pooled_fields(one) for one in found.deployments]}
        fields = found.model_dump(mode="json", exclude={"graph", "cluster", "deployments"}) | parts
    else:
        found = partition_cluster(shape, pools, work, minimize=minimize, maximize=maximize, **options)
        fields = _pooled_fields(found)
    _answer(format, str(found), fields | {"model": shape.name, "cluster": pools.name})


def _pooled_fields(result: ClusterResult) -> dict[str, Any]:
    pools = [
        {"name": pool.name, "topology": pool.topology.name, "chips": pool.free_chips} for pool in result.cluster.pools
    ]
    return result.model_dump(mode="json", exclude={"graph", "cluster"}) | {"pools": pools}


@app.command()
def score(
    model: ModelName,
    topology: TopologyName,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="A plan in JSON, as `planner plan --out` writes it.")
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
    power_scope: Scope = None,
    format: Shape = "table",
) -> None:
    """Price a plan: one from a file, or the uniform plan of given degrees."""
    shape, machine, work = _nouns(model, topology, weights, kv, batch, prompt, output, arrivals, chips, software, rate)
    if plan is not None:
        if (tensor, pipeline, expert, data) != (1, 1, 1, 1):
            raise InputError("--plan and degrees are both given; a plan has its own degrees, so give one or the other")
        scored = _read_plan(plan)
    else:
        scored = uniform_plan(
            shape,
            machine,
            tensor_parallel=tensor,
            pipeline_parallel=pipeline,
            expert_parallel=expert,
            data_parallel=data,
        )
    price = score_plan(scored, shape, machine, work, power_scope=_scope(power_scope))
    lines = [*question_lines(shape, machine, work), "", *score_lines(price), "", "assumptions"]
    lines += [f"  {line}" for line in assumption_lines(shape, machine, work)]
    _answer(format, "\n".join(lines), {"score": price.model_dump(mode="json"), "plan": scored.model_dump(mode="json")})


@app.command()
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
    minimize: Annotated[str | None, typer.Option("--minimize")] = None,
    maximize: Annotated[str | None, typer.Option("--maximize")] = None,
    limit: Annotated[list[str] | None, typer.Option("--limit")] = None,
    time_limit: Annotated[float | None, typer.Option("--time-limit")] = None,
    power_scope: Scope = None,
    format: Shape = "table",
) -> None:
    """The best plan of one model on several machines, side by side."""
    results: list[Result] = []
    refusals: list[tuple[str, str]] = []
    unproved: NoPlanFoundError | None = None
    for entry in topologies:
        name, _, count = entry.partition(":")
        shape, machine, work = _nouns(
            model,
            name,
            weights,
            kv,
            batch,
            prompt,
            output,
            arrivals,
            _whole("chips", count) if count else None,
            None,
            rate,
        )
        try:
            found = partition(
                shape, machine, work, minimize=minimize, maximize=maximize, limits=_limits(limit or []),
                time_limit_s=_seconds(time_limit), power_scope=_scope(power_scope), progress=_Meter(),
            )  # fmt: skip
            results.append(found)
        except InfeasibleError as error:
            refusals.append((entry, str(error)))
        except NoPlanFoundError as error:
            unproved = error
            refusals.append((entry, str(error)))
    if not results:
        raise unproved or InfeasibleError(
            "; ".join(reason for _, reason in refusals), resource="every machine", demand=1, capacity=0
        )
    fields = {"results": [_result_fields(result) for result in results], "refused": dict(refusals)}
    _answer(format, _comparison(results, refusals), fields)


@app.command()
def verify(
    certificate: Annotated[Path, typer.Argument(help="A certificate, as `planner plan --certificate` writes it.")],
    time_limit: Annotated[float | None, typer.Option("--time-limit", help="Seconds.")] = 60.0,
    format: Shape = "table",
) -> None:
    """Check a result without the solver: its plan, its objective and, as far as that goes, its bound."""
    try:
        given = Certificate.from_json(read_text(certificate, "a certificate"))
        verdict = check_certificate(given, time_limit_s=_seconds(time_limit))
    except InputError as error:
        raise InputError(f"{certificate}: {error}") from None
    _answer(format, str(verdict), verdict.model_dump(mode="json"))


@app.command()
def models(format: Shape = "table") -> None:
    """The models of the catalogue."""
    graphs = [catalogue.load_model(name) for name in catalogue.model_names()]
    header = ("model", "parameters", "active", "layers", "as published", "KV cache of a token", "confidence")
    rows = [
        (
            graph.name, f"{graph.parameters / 1e9:.4g} B", f"{graph.parameters_active / 1e9:.4g} B", str(len(graph.layers) - 2),
            graph.weight_dtype, spoken(graph.kv_bytes_per_token, "B"), graph.confidence,
        )
        for graph in graphs
    ]  # fmt: skip
    _answer(format, "\n".join(aligned([header, *rows])), [dict(zip(header, row, strict=True)) for row in rows])


@app.command()
def topologies(format: Shape = "table") -> None:
    """The machines of the catalogue."""
    machines = [catalogue.load_topology(name) for name in catalogue.topology_names()]
    header = ("topology", "chips", "at most", "memory", "bandwidth", "power a chip", "software", "made of")
    rows = [
        (
            machine.name, str(machine.chips), str(machine.limit_chips),
            spoken(machine.chip.memory[0].capacity_bytes, "B"), spoken(machine.chip.memory[0].bandwidth_bytes_per_s, "B/s"),
            spoken(machine.power.system_w or machine.power.chip_w, "W"), machine.software.name, described(machine),
        )
        for machine in machines
    ]  # fmt: skip
    _answer(format, "\n".join(aligned([header, *rows])), [dict(zip(header, row, strict=True)) for row in rows])


@app.command()
def clusters(format: Shape = "table") -> None:
    """The clusters of the catalogue."""
    known = [catalogue.load_cluster(name) for name in catalogue.cluster_names()]
    header = ("cluster", "pools", "made of")
    rows = [
        (one.name, " + ".join(f"{pool.free_chips} × {pool.topology.name}" for pool in one.pools), one.title)
        for one in known
    ]
    _answer(format, "\n".join(aligned([header, *rows])), [dict(zip(header, row, strict=True)) for row in rows])


@app.command()
def validate(
    measurements: Annotated[
        Path | None, typer.Argument(help="A CSV of measurements; default: those that we ship.")
    ] = None,
    format: Shape = "table",
) -> None:
    """Compare predictions with measurements, family by family."""
    cases, refused = cases_of(read_measurements(measurements or PUBLISHED))
    families = families_of(cases, refused)
    header = ("family", "rows", "predicted", "median error", "p90", "bias", "within 80 % interval")
    rows = [
        (
            one.name, str(one.rows), str(one.predicted), f"{100 * one.median:.1f} %", f"{100 * one.p90:.0f} %",
            f"{100 * one.bias:+.1f} %", f"{100 * one.covered:.0f} %",
        )
        for one in families
    ]  # fmt: skip
    lines = aligned([header, *rows])
    reasons = Counter(shortened(re.sub(r"[\d.,]+", "#", one.reason), 110) for one in refused)
    lines += ["", *(f"{count} × {reason}" for reason, count in reasons.most_common(5))] if refused else []
    _answer(format, "\n".join(lines), [one._asdict() for one in families])


@app.command()
def calibrate(
    measurements: Annotated[Path | None, typer.Argument(help="A CSV of measurements.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the calibrated software stack here, as TOML.")
    ] = None,
    software: Annotated[str | None, typer.Option("--software", help="Take only rows of this stack.")] = None,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Fit the constants that are shipped, on the tables that are shipped.")
    ] = False,
    report: Annotated[Path | None, typer.Option("--report", help="With --shipped: write its report here.")] = None,
    format: Shape = "table",
) -> None:
    """Fit a software stack's constants to your own measurements; use the result as --software FILE."""
    if shipped and measurements is None:
        if report is not None:
            _check_writable(report)
        _ship(software, report, format)
    elif measurements is not None and out is not None and not shipped:
        _check_writable(out)
        _calibrate(measurements, out, software, format)
    else:
        raise InputError("give a CSV of measurements and --out FILE, or --shipped alone")


def _calibrate(measurements: Path, out: Path, software: str | None, format: str) -> None:
    rows = read_measurements(measurements)
    cases, _ = cases_of([row for row in rows if software in (None, row.software)])
    if not cases:
        raise InputError(f"{measurements} has no row that can be predicted{f' of {software}' if software else ''}")
    fit = fit_software(cases)
    _write(out, profile_toml(fit).rstrip())
    header = ("constant", "before", "after", "effect")
    lines = aligned(
        [header, *((c.name, f"{c.before:.4g}", f"{c.after:.4g}", f"{c.effect:.2f}") for c in fit.constants)]
    )
    lines += [
        "",
        f"median error of {fit.rows} rows: {100 * fit.median_before:.1f} %, now {100 * fit.median_after:.1f} %",
    ]
    if fit.untouched:
        lines.append(f"no row tells {listed(fit.untouched)}; next, measure {MEASURE[fit.untouched[0]]}")
    _answer(format, "\n".join(lines), fit.model_dump(mode="json", exclude={"software"}))


def _ship(stack: str | None, report: Path | None, format: str) -> None:
    wanted = [recipe for recipe in recipes() if stack in (None, recipe.stack)]
    if not wanted:
        raise UnknownNameError("recipe", str(stack), [recipe.stack for recipe in recipes()])
    fitted = []
    for recipe in wanted:
        fitted.append(fit_recipe(recipe))
        ship(recipe, fitted[-1], catalogue.topologies_folder())
        print(f"{recipe.stack}: {fitted[-1].rows} rows, median error {fitted[-1].median:.1%}", file=sys.stderr)
    if stack is None or report is not None:
        draws, host_share = fit_draws()
    if stack is None:
        ship_draws(draws, host_share, catalogue.topologies_folder())
    if report is not None:
        left_out = [left_out_errors(recipe, by) for recipe in wanted for by in recipe.left_out]
        rows = [*read_measurements(PUBLISHED), *read_measurements(COLLECTIVES)]
        _write(report, calibration_report(*cases_of(rows), left_out, fitted, draws, host_share).rstrip())
    rows_shown = [(one.stack, name, f"{value:.3g}") for one in fitted for name, value in one.constants.items()]
    _answer(
        format,
        "\n".join(aligned([("stack", "constant", "value"), *rows_shown])),
        [one.model_dump(exclude={"residuals"}) for one in fitted],
    )


# ── Arguments ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _nouns(
    model: str,
    topology: str,
    weights: str | None,
    kv: str,
    batch: str | None,
    prompt: int,
    output: int,
    arrivals: str,
    chips: int | None,
    software: str | None,
    rate: float | None,
) -> tuple[ModelGraph, Topology, Workload]:
    graph = catalogue.load_model(model, weight_dtype=weights, kv_dtype=kv)
    machine = catalogue.load_topology(topology, chips=chips, software=software)
    return graph, machine, _workload(batch, rate, prompt, output, arrivals)


def _workload(batch: str | None, rate: float | None, prompt: int, output: int, arrivals: str) -> Workload:
    if rate is not None and batch is not None:
        raise InputError(
            "--batch and --rate are both given; under a rate the batch is an outcome, so give one or the other"
        )
    size = None if batch == "max" or rate is not None else _whole("--batch", batch or "8")
    fields: dict[str, Any] = {
        "batch_size": size,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "arrivals": arrivals,
    }
    return Workload.from_fields(fields | ({} if rate is None else {"requests_per_s": rate}))


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} must be a whole number, not {shortened(text)!r}") from None


def _limits(entries: list[str]) -> dict[str, float]:
    limits = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        try:
            limits[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--limit must look like tpot_s=0.02, not {shortened(entry)!r}") from None
    return limits


def _one_of(name: str, given: str, *known: str) -> str:
    if given not in known:
        raise InputError(f"{name} must be {' or '.join(known)}, not {shortened(given)!r}")
    return given


def _seconds(given: float | None) -> float | None:
    if given is not None and not given >= 0:
        raise InputError(f"--time-limit must be a number of seconds of at least 0, not {given}")
    return given


def _engine(given: str) -> Engine:
    return cast(Engine, _one_of("--engine", given, "auto", "cp-sat"))


def _scope(given: str | None) -> PowerScope | None:
    return None if given is None else cast(PowerScope, _one_of("--power-scope", given, "chip", "system"))


def _read_plan(path: Path) -> Plan:
    text = read_text(path, "a plan")
    try:
        return Plan.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _answer(format: str, text: str, fields: Any) -> None:
    """The answer on standard output, and nothing else there."""
    if _one_of("--format", format, "table", "json") == "json":
        print(json.dumps(fields, indent=1))
    else:
        print(text)


def _result_fields(result: Result) -> dict[str, Any]:
    """A result without its inputs, which the caller has."""
    return result.model_dump(mode="json", exclude={"graph", "topology"}) | {
        "model": result.graph.name,
        "topology": {"name": result.topology.name, "chips": result.topology.chips},
    }


COMPARED = (
    "tpot_s",
    "ttft_s",
    "tokens_per_s",
    "tokens_per_s_per_user",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "chips",
)
COMPARED_SAMPLES = ("step_s", "image_s", "samples_per_s", "energy_per_sample_j", "chips")


def _comparison(results: list[Result], refusals: list[tuple[str, str]]) -> str:
    first = results[0]
    lines = [*question_lines(first.graph, first.topology, first.workload)]
    lines = [lines[0], lines[2], f"the best {first.field} of each machine", ""]
    compared = COMPARED_SAMPLES if first.graph.is_diffusion else COMPARED
    header = ("", *(f"{result.topology.name}:{result.topology.chips}" for result in results))
    rows = [(name, *(field_text(name, getattr(result.score, name)) for result in results)) for name in compared]
    rows.insert(0, ("status", *(result.status for result in results)))
    rows.append(("power counts", *(_scope_word(result.score) for result in results)))
    rows.append(("price is by", *(result.topology.price.basis for result in results)))
    lines += aligned([header, *rows])
    if len({result.score.power_scope for result in results}) > 1:
        lines += ["", "energy is not comparable here: power counts different things; give --power-scope"]
    if len({result.topology.price.basis for result in results} - {"unknown"}) > 1:
        lines += ["", "prices are not comparable here: some are rented, some bought"]
    lines += ["", *(f"{name}: {reason}" for name, reason in refusals)] if refusals else []
    return "\n".join(lines)


def _scope_word(score: Score) -> str:
    return {"chip": "chips alone", "system": "at the wall", "unknown": "not published"}[score.power_scope]


INTERRUPTED = 130
"""Status after Ctrl-C, as shells count it; the command line library hands it back and does not exit."""


class _Meter:
    """Progress on standard error, from the second second on, where somebody is watching."""

    def __init__(self) -> None:
        self.shown_s = 1.0

    def __call__(self, progress: Progress) -> None:
        if progress.elapsed_s < self.shown_s or not sys.stderr.isatty():
            return
        self.shown_s = progress.elapsed_s + 0.5
        best = "no plan yet" if progress.objective is None else f"best {progress.objective:.4g}"
        bound = "" if progress.bound is None else f", bound {progress.bound:.4g}"
        boxes = f"{progress.boxes_done} done, {progress.boxes_open} open"
        line = f"{progress.elapsed_s:5.0f} s  {best}{bound}  ({boxes}; Ctrl-C stops)"
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_writable(path: Path | None, option: str = "--out") -> None:
    """Refuse an output path before the work, not after it."""
    if path is None or _is_stream(path):
        return
    target = path.resolve()
    if target.is_dir():
        raise InputError(f"{option} {path} is a folder; give the name of a file")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise InputError(f"{option} {path} cannot be written: {target.parent} is not a folder that may be written to")


def _is_stream(path: Path) -> bool:
    """Whether something other than a file or a folder stands there: a pipe, /dev/stdout."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _write(path: Path, text: str, option: str = "--out") -> None:
    """The whole file or nothing; what is no file is written to as it is."""
    try:
        if _is_stream(path):
            path.write_text(text + "\n", encoding="utf-8")
            return
        target = path.resolve()
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text + "\n")
            os.chmod(name, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def main() -> None:
    """Run the command; every fault is one sentence."""
    as_json = any(word in ("json", "--format=json") for word in sys.argv)
    try:
        status = app(standalone_mode=False)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except InfeasibleError as error:
        _refuse(error, 3, as_json, "infeasible", demand=error.demand, capacity=error.capacity, gap=error.gap,
                resource=error.resource, smallest_chips=error.smallest_chips)  # fmt: skip
    except NoPlanFoundError as error:
        _refuse(error, 4, as_json, "no plan found")
    except PlannerError as error:
        _refuse(error, 2, as_json, "input")
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        if not error.format_message():  # no arguments: the help has been shown
            sys.exit(2)
        _refuse(error, 2, as_json, "usage")


def _refuse(error: Exception, status: int, as_json: bool, kind: str, **details: Any) -> None:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if as_json:
        print(json.dumps({"error": kind, "message": message, **details}, indent=1))
    print(f"planner: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
