"""Plans and scores as text, tables and small pictures, for people."""

import itertools
from collections.abc import Sequence

from planner.answers.proof import Answer
from planner.answers.results import ClusterResult, Disaggregation, Fleet, Replanning, Result
from planner.errors import listed
from planner.machines.topology import Topology, described
from planner.models.graph import ModelGraph
from planner.report.words import field_text, headline, pool_headline
from planner.scoring.disaggregated import DisaggregatedScore
from planner.scoring.doubts import DOUBTFUL, WORDS, doubts_about
from planner.scoring.score import Score, StageScore, StageTime
from planner.units import spoken, trimmed
from planner.workload import Speculation, Workload

CAUSES = ("compute", "memory", "collective", "hop", "overhead", "bubble")
MOST_STAGES = 24
"""Rows of a table of stages; equal neighbours are told as one row before that."""


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def question_lines(graph: ModelGraph, topology: Topology, workload: Workload) -> list[str]:
    """What was asked."""
    count = workload.batch_size
    batch = "as many sequences as pay" if count is None else f"{count} sequence{'s' * (count != 1)}"
    size = f"{workload.prompt_tokens} + {workload.output_tokens} tokens"
    if graph.is_diffusion:
        batch = batch.replace("sequence", "sample")
        size = f"{graph.tokens_per_sample:,.0f} latent tokens in {graph.steps} steps of {graph.passes_per_step} passes"
    start = (
        "starting together"
        if workload.arrivals == "together"
        else "a finished one replaced at once"
    )
    if workload.requests_per_s is not None:
        batch, start = (
            f"{trimmed(workload.requests_per_s, 4)} requests a second",
            "whenever their users like",
        )
    if workload.phase != "both":
        start += f"; a pool for {workload.phase} alone"
    if workload.speculation is not None:
        start += f"; {drafting_text(workload.speculation)}"
    return [
        f"{graph.name} ({graph.parameters / 1e9:,.4g} B parameters: weights {graph.weight_dtype}, KV cache"
        f" {graph.kv_dtype}, matmuls {graph.activation_dtype})",
        f"on {described(topology)}; software {topology.software.name}",
        f"for {batch} of {size}, {start}",
    ]


def drafting_text(speculation: Speculation) -> str:
    """How tokens are drafted, and how many a pass is expected to keep."""
    drafter = "look-up" if speculation.draft is None else speculation.draft.name
    if speculation.tokens is None:
        return f"drafts by {drafter}"
    return (
        f"{speculation.tokens} token{'s' * (speculation.tokens > 1)} drafted by {drafter} for each pass, which keeps"
        f" {speculation.tokens_per_pass:.3g} at an acceptance rate of {trimmed(speculation.acceptance_rate, 4)}"
    )


def time_rows(breakdown: Sequence[StageTime]) -> list[tuple[str, float, float]]:
    """Cause, seconds, share; the largest first."""
    totals = {cause: sum(getattr(stage, f"{cause}_s") for stage in breakdown) for cause in CAUSES}
    whole = sum(totals.values()) or 1.0
    ordered = sorted(totals.items(), key=lambda pair: -pair[1])
    return [
        (cause, seconds, seconds / whole) for cause, seconds in ordered if seconds > 1e-4 * whole
    ]


STAGE_HEADER = (
    "stage",
    "layers",
    "chips",
    "TP",
    "EP",
    "memory on each chip",
    "decode pass",
    "prefill pass",
)


def stage_rows(score: Score) -> list[tuple[str, ...]]:
    """A row for each stage, or for each run of equal neighbours."""
    rows = [_stage_row(run, score.stages) for run in equal_runs(score.stages)]
    if len(rows) > MOST_STAGES:
        half = MOST_STAGES // 2
        rows = [*rows[:half], ("…", f"{len(rows) - 2 * half} more rows", *[""] * 6), *rows[-half:]]
    return rows


def equal_runs(stages: Sequence[StageScore]) -> list[list[int]]:
    """Numbers of neighbouring stages that are alike, together."""
    runs: list[list[int]] = []
    for number, stage in enumerate(stages):
        if runs and _alike(stages[runs[-1][-1]], stage):
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def numbers(run: Sequence[int]) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"


def _alike(one: StageScore, other: StageScore) -> bool:
    same = (
        "layers",
        "chips",
        "tensor_parallel",
        "expert_parallel",
        "sequence_parallel",
        "needed_bytes",
    )
    if any(getattr(one, name) != getattr(other, name) for name in same):
        return False
    return abs(one.decode_s - other.decode_s) < 1e-9 and abs(one.prefill_s - other.prefill_s) < 1e-9


def _stage_row(run: Sequence[int], stages: Sequence[StageScore]) -> tuple[str, ...]:
    first, last = stages[run[0]], stages[run[-1]]
    span = (
        first.first_layer
        if first.first_layer == last.last_layer
        else f"{first.first_layer}…{last.last_layer}"
    )
    used = first.needed_bytes / first.usable_bytes if first.usable_bytes > 0 else 0.0
    last_chip = last.first_chip + last.chips - 1
    each = f" each of {len(run)}" if len(run) > 1 else ""
    return (
        numbers(run),
        f"{first.layers}{each} ({span})",
        str(first.first_chip)
        if first.first_chip == last_chip
        else f"{first.first_chip}-{last_chip}",
        f"{first.tensor_parallel}{f' × {first.sequence_parallel} SP' if first.sequence_parallel > 1 else ''}",
        str(first.expert_parallel),
        f"{spoken(first.needed_bytes, 'B')} of {spoken(first.usable_bytes, 'B')} ({100 * used:.0f} %)",
        spoken(first.decode_s, "s"),
        spoken(first.prefill_s, "s"),
    )


def proof_line(result: Answer) -> str:
    """What was proved, and no more."""
    better = "lower" if result.direction == "minimize" else "higher"
    objective, bound = (
        field_text(result.field, result.objective),
        field_text(result.field, result.bound),
    )
    if result.status == "optimal":
        return f"optimal: {result.field} = {objective}, and it is proved that no plan has a {better} one"
    return f"feasible: {result.field} = {objective}; no plan can be better than {bound}, a gap of {100 * result.gap:.2g} %"


def doubt_lines(result: Result) -> list[str]:
    """The inputs of low confidence that move the answer."""
    lines, field = [], result.field
    scope = None if result.score.power_scope == "unknown" else result.score.power_scope
    found = doubts_about(
        field, result.plan, result.graph, result.topology, result.workload, power_scope=scope
    )
    for doubt in found:
        figure = doubt.figure
        lines.append(
            f"{figure.path} = {figure.value:.4g} ({WORDS[figure.confidence]}, {figure.source or 'no source'}):"
            f" {100 * doubt.step:+.0f} % moves {field} by {100 * doubt.effect:+.1f} %"
        )
    return lines


def assumption_lines(graph: ModelGraph, topology: Topology, workload: Workload) -> list[str]:
    """What the figures rest on."""
    doubtful = sum(figure.confidence in DOUBTFUL for figure in topology.figures)
    lines = []
    if topology.figures:
        lines.append(
            f"{doubtful} of {len(topology.figures)} figures of {topology.name} are fits, guesses, claims or contested"
        )
    if topology.price.basis != "unknown":
        lines.append(
            f"price: {topology.price.basis} basis, {topology.price.usd_per_chip_hour:.3g} USD an hour for each chip"
        )
    if topology.divisible:
        lines.append(
            "power and price count the share of each chip's memory that is filled, as the claim does"
        )
    if graph.confidence in ("guess", "C", "M"):
        article = "a " if graph.confidence in ("guess", "C") else ""
        lines.append(
            f"the shape of {graph.name} is {article}{WORDS[graph.confidence]}: {graph.source}"
        )
    if workload.speculation is not None:
        lines.append(
            "each drafted token is kept with the same probability; what drafts runs on the chips of the last stage"
        )
    if graph.is_diffusion:
        lines.append(
            "texts are encoded and samples decoded whole on every chip, the next batch starts after this one"
        )
    if graph.most_context_tokens and workload.context_tokens > graph.most_context_tokens:
        lines.append(
            f"{workload.context_tokens} tokens are more than the {graph.most_context_tokens} that {graph.name} was made for"
        )
    return lines


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def result_text(result: Result) -> str:
    """A planning result for a terminal."""
    lines = [*question_lines(result.graph, result.topology, result.workload), ""]
    lines += [proof_line(result), *interval_lines(result), *_limit_lines(result), ""]
    lines += [*score_lines(result.score), ""]
    lines += [
        "assumptions",
        *(f"  {line}" for line in assumption_lines(result.graph, result.topology, result.workload)),
    ]
    doubts = doubt_lines(result)
    lines += [*(f"  {line}" for line in doubts)]
    return "\n".join(lines)


def disaggregation_text(result: Disaggregation) -> str:
    """Two pools for a terminal."""
    model, _, load = question_lines(result.graph, result.prefill_topology, result.workload)
    machines = (("prefill", result.prefill_topology), ("decode", result.decode_topology))
    lines = [
        model,
        *(f"{name} on {described(one)}; software {one.software.name}" for name, one in machines),
        load,
        "",
    ]
    lines += [proof_line(result).replace("no plan", "no pair of plans"), *_limit_lines(result), ""]
    return "\n".join([*lines, *disaggregated_lines(result.score)])


def disaggregated_lines(score: DisaggregatedScore) -> list[str]:
    """The figures of two pools, what sets their rate, where the time goes, their stages."""
    titles = pool_headline(score)
    width = max(len(title) for title, _ in titles)
    lines = [f"  {title:<{width}}  {words}" for title, words in titles]
    lines += [
        "",
        *_breakdown_lines(
            ("a later token", "the first token"), (score.breakdown, score.prefill_breakdown)
        ),
    ]
    for name, pool in (("prefill", score.prefill), ("decode", score.decode)):
        lines += ["", f"{name} pool", *aligned([STAGE_HEADER, *stage_rows(pool)])]
    return lines


def cluster_result_text(result: ClusterResult) -> str:
    """A result on a cluster for a terminal."""
    asked = question_lines(result.graph, result.cluster.pools[0].topology, result.workload)
    pools = [
        f"{pool.name}: {described(pool.topology)}; software {pool.topology.software.name}"
        for pool in result.cluster.pools
    ]
    pools = [f"on {pools[0]}", *(f"   {line}" for line in pools[1:])]
    way = listed(
        [name for name, _ in itertools.groupby(stage.pool for stage in result.plan.stages)], "then"
    )
    lines = [
        asked[0],
        *pools,
        *asked[2:],
        "",
        proof_line(result),
        *interval_lines(result),
        *_limit_lines(result),
    ]
    return "\n".join(
        [*lines, f"pools in the order of the layers: {way}", "", *score_lines(result.score)]
    )


def fleet_text(found: Fleet) -> str:
    """Deployments side by side, for a terminal."""
    asked = question_lines(found.graph, found.cluster.pools[0].topology, found.workload)
    header = (
        "pools",
        "chips",
        "replicas",
        "sequences",
        "tokens/s",
        "per token",
        "first token",
        "status",
    )
    rows = [
        (
            listed([pool.name for pool in one.cluster.pools], "with"), str(one.score.chips), str(one.plan.replicas),
            str(one.score.batch_size), f"{one.score.tokens_per_s:.4g}", spoken(one.score.tpot_s, "s"),
            spoken(one.score.ttft_s, "s"), one.status,
        )
        for one in found.deployments
    ]  # fmt: skip
    costs = {
        "energy_per_token_j": found.energy_per_token_j,
        "usd_per_million_tokens": found.usd_per_million_tokens,
    }
    cost_lines = [
        f"{name} over all: {field_text(name, value)}"
        for name, value in costs.items()
        if value is not None
    ]
    limits = [f"limit of each: {name} {field_text(name, value)}" for name, value in found.limits]
    proof = proof_line(found).replace("no plan", "no sharing out of the pools")
    return "\n".join(
        [asked[0], asked[2], "", proof, *limits, *cost_lines, "", *aligned([header, *rows])]
    )


def replanning_text(found: Replanning) -> str:
    """What a new plan moves, and the plan, for a terminal."""
    proved = "no plan as good moves fewer bytes" if found.status == "optimal" else (
        f"no plan as good moves fewer than {spoken(found.moved_bound_bytes, 'B')}"
    )  # fmt: skip
    rows = [
        (
            f"chip {move.chip}",
            f"{move.layers[0]}…{move.layers[-1]}",
            spoken(move.moved_bytes, "B"),
            _origin(move.sources),
        )
        for move in found.moves[:MOST_STAGES]
    ]
    more = len(found.moves) - len(rows)
    lines = [
        f"without chips {listed(found.result.exclude)}: moves {spoken(found.moved_bytes, 'B')} in"
        f" {spoken(found.moving_s, 's')}; {proved}",
        *(aligned(rows) if rows else []),
        *([f"  … and {more} more"] if more else []),
    ]
    return "\n".join([*lines, "", result_text(found.result)])


def _origin(sources: Sequence[int]) -> str:
    return f"from chips {listed(sources)}" if sources else "read anew"


def interval_lines(result: Result | ClusterResult) -> list[str]:
    """How sure the price itself is, which the proof takes as given."""
    low, high = result.score.interval(result.field, 0.8)
    if low == high:
        return []
    return [
        f"the price itself: 4 of 5 measurements of such a plan would lie between {field_text(result.field, low)} and"
        f" {field_text(result.field, high)}"
    ]


def _limit_lines(result: Result | ClusterResult | Disaggregation) -> list[str]:
    return [
        f"limit: {name} = {field_text(name, getattr(result.score, name))}, allowed {field_text(name, value)}"
        for name, value in result.limits
    ]


def score_lines(score: Score) -> list[str]:
    """The figures, where the time goes, the stages."""
    width = max(len(title) for title, _ in headline(score))
    lines = [f"  {title:<{width}}  {words}" for title, words in headline(score)]
    titles = (
        ("an output token", "the first token")
        if score.step_s is None
        else ("a step", "a batch of samples")
    )
    lines += ["", *_breakdown_lines(titles, (score.breakdown, score.prefill_breakdown))]
    return [*lines, "", *aligned([STAGE_HEADER, *stage_rows(score)])]


def score_text(score: Score) -> str:
    """A score for a terminal."""
    return "\n".join(score_lines(score))


def disaggregated_text(score: DisaggregatedScore) -> str:
    """The score of two pools for a terminal."""
    return "\n".join(disaggregated_lines(score))


def _breakdown_lines(titles: Sequence[str], breakdowns: Sequence[Sequence[StageTime]]) -> list[str]:
    lines: list[str] = []
    for title, breakdown in zip(titles, breakdowns, strict=True):
        lines += [*([""] if lines else []), f"where the time of {title} goes"]
        for cause, seconds, share in time_rows(breakdown):
            lines.append(
                f"  {cause:<11}{spoken(seconds, 's'):>10}  {100 * share:4.1f} %  {'█' * round(30 * share)}".rstrip()
            )
    return lines


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
