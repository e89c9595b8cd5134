"""Plans and scores as text, tables and small pictures, for people."""

import itertools
import math
from collections.abc import Mapping, Sequence

from planner.answers.certificates import Certificate, ClusterCertificate
from planner.answers.proof import Answer
from planner.answers.results import (
    ClusterResult,
    Disaggregation,
    Fleet,
    Move,
    Pairing,
    Replanning,
    Result,
)
from planner.errors import listed
from planner.machines.cluster import Cluster
from planner.machines.engine import Space
from planner.machines.prices import BASIS_WORDS, LICENSED, Price
from planner.machines.topology import Figure, Topology, described
from planner.models.graph import ModelGraph
from planner.plan import PairedPlan, Plan
from planner.pricing.engines import rules_said
from planner.pricing.formats import formats_of
from planner.pricing.loads import PERCENTILES
from planner.report.misses import near_miss_lines
from planner.report.nouns import reading_lines
from planner.report.plans import (
    cut_text,
    engine_cost_lines,
    from_to,
    has_stage_rows,
    offload_lines,
    plan_header,
    plan_line,
    plan_row,
    space_line,
    stages_header,
    stages_rows,
)
from planner.report.unused import idle_lines, left_out_deployments, left_out_pools
from planner.report.words import (
    HEADLINE_HEADER,
    field_text,
    headline,
    limit_text,
    pair_headline,
    pool_headline,
    range_text,
    seat_lines,
)
from planner.scoring.disaggregated import DisaggregatedScore
from planner.scoring.doubts import DOUBTFUL, WORDS, doubts_about
from planner.scoring.pairs import HalfScore, PairedScore
from planner.scoring.score import RATES, Score, StageScore, StageTime, Traffic
from planner.units import spoken, trimmed
from planner.workload import Speculation, Workload

CAUSES = ("compute", "memory", "collective", "hop", "overhead", "bubble")
LEAST_SHARE = 1e-3
"""Of a time, that is told."""
MOST_STAGES = 24
"""Rows of a table of stages; equal neighbours are told as one row before that."""


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────


def question_lines(graph: ModelGraph, topology: Topology, workload: Workload) -> list[str]:
    """What was asked."""
    matmuls = formats_of(graph, topology)
    formats = f"weights {graph.weight_dtype}, KV cache {graph.kv_dtype}, matmuls {matmuls}"
    size = f"{workload.prompt_tokens} prompt + {workload.output_tokens} output tokens"
    if graph.is_diffusion:
        passes = graph.passes_per_step
        size = (
            f"{graph.tokens_per_sample:,.0f} latent tokens, {graph.steps} steps of {passes}"
            f" pass{'es' * (passes != 1)}"
        )
    return [
        f"{graph.name} ({graph.parameters / 1e9:,.4g} B parameters: {formats})",
        f"on {_machine_text(topology)}",
        f"for {_batch_text(graph, workload)}, each {size}; {_start_text(graph, workload)}",
        *warning_lines(graph, workload),
    ]


def warning_lines(graph: ModelGraph, workload: Workload) -> list[str]:
    """What of a question is likely to be a mistake."""
    longest = workload.context_tokens
    if graph.is_diffusion or not 0 < graph.most_context_tokens < longest:
        return []
    prompt = workload.prompt_tokens
    what = f"the prompt of {prompt:,} tokens is"
    if prompt <= graph.most_context_tokens:
        what = f"prompt and output together, {longest:,} tokens, are"
    return [
        f"warning: {what} longer than the context of {graph.name}"
        f" ({graph.most_context_tokens:,} tokens)"
    ]


def _batch_text(graph: ModelGraph, workload: Workload) -> str:
    """How many there are of whatever is to be made."""
    if workload.requests_per_s is not None:
        return f"{trimmed(workload.requests_per_s, 4)} requests a second"
    if workload.is_open_stream:
        return "the most requests a second that keep the limits"
    what = "sample" if graph.is_diffusion else "sequence"
    count = workload.batch_size
    if count is None:
        return f"the best number of {what}s at once"
    waiting = f" and {workload.queued} more in a queue" if workload.queued else ""
    return f"{count:,} {what}{'s' * (count != 1)} at once{waiting}"


def _start_text(graph: ModelGraph, workload: Workload) -> str:
    """When they start, and what else is special about them."""
    parts = ["a new one starts as soon as one ends"]
    if workload.arrivals == "together" or graph.is_diffusion:
        parts = ["all start together"]
    if workload.is_stream:
        parts = ["they arrive at random times"]
    if workload.phase != "both":
        parts.append(f"this machine runs {workload.phase} only")
    if workload.cached_prompt_share:
        share = 100 * workload.cached_prompt_share
        parts.append(f"{share:.4g} % of each prompt is in the cache already")
    if workload.speculation is not None:
        parts.append(drafting_text(workload.speculation))
    return "; ".join(parts)


def _of_kind(speculation: Speculation) -> str:
    """Which figure was taken, where a kind of draft gave it."""
    return "" if speculation.kind is None else f" ({speculation.acceptance_source})"


def drafting_text(speculation: Speculation) -> str:
    """How tokens are drafted, and how many a pass is expected to keep."""
    drafter = "look-up" if speculation.draft is None else speculation.draft.name
    if speculation.tokens is None:
        return f"drafts by {drafter}"
    return (
        f"{speculation.tokens} token{'s' * (speculation.tokens > 1)} drafted by {drafter}"
        f" for each pass, which keeps {speculation.tokens_per_pass:.3g}"
        f" at an acceptance rate of {trimmed(speculation.acceptance_rate, 4)}"
        f"{_of_kind(speculation)}"
    )


def time_rows(breakdown: Sequence[StageTime]) -> list[tuple[str, float, float]]:
    """Cause, seconds, share; the largest first."""
    totals = {cause: cause_s(breakdown, cause) for cause in CAUSES}
    whole = sum(totals.values()) or 1.0
    ordered = sorted(totals.items(), key=lambda pair: -pair[1])
    seen = [(cause, seconds) for cause, seconds in ordered if seconds > 1e-4 * whole]
    return [(cause, seconds, seconds / whole) for cause, seconds in seen]


def cause_s(breakdown: Sequence[StageTime], cause: str) -> float:
    """What one cause takes in all stages. [s]"""
    return float(sum(getattr(stage, f"{cause}_s") for stage in breakdown))


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


SAMPLING = {"chips": "on chips", "decode pass": "one step", "prefill pass": "once a sample"}
"""What a diffusion model's stage does instead of such passes: a denoising step, and what runs once,
text encoders and the autoencoder."""


def stage_header(score: Score) -> tuple[str, ...]:
    """Of the rows of a score."""
    if score.step_s is None:
        return STAGE_HEADER
    return tuple(SAMPLING.get(name, name) for name in STAGE_HEADER)


def stage_rows(score: Score) -> list[tuple[str, ...]]:
    """A row for each stage, or for each run of equal neighbours."""
    rows = [_stage_row(run, score.stages) for run in equal_runs(score.stages)]
    if len(rows) <= MOST_STAGES:
        return rows
    half = MOST_STAGES // 2
    blank = [""] * (len(STAGE_HEADER) - 2)
    between = ("…", f"{len(rows) - 2 * half} more rows", *blank)
    return [*rows[:half], between, *rows[-half:]]


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
    """ "3" or "3-5"."""
    return from_to(str(run[0]), str(run[-1]))


SAME = (
    "layers",
    "chips",
    "tensor_parallel",
    "expert_parallel",
    "sequence_parallel",
    "needed_bytes",
    "offloaded_bytes",
)
"""Fields in which stages are equal that are told in one row."""


def _alike(one: StageScore, other: StageScore) -> bool:
    if any(getattr(one, name) != getattr(other, name) for name in SAME):
        return False
    # Times of equal stages differ by rounding.
    slower_s = max(abs(one.decode_s - other.decode_s), abs(one.prefill_s - other.prefill_s))
    return slower_s < 1e-9


def _stage_row(run: Sequence[int], stages: Sequence[StageScore]) -> tuple[str, ...]:
    first = stages[run[0]]
    last = stages[run[-1]]
    last_chip = last.first_chip + last.chips - 1
    each = f" each of {len(run)}" if len(run) > 1 else ""
    layers = from_to(first.first_layer, last.last_layer, "…")
    sequences = f" × {first.sequence_parallel} SP" if first.sequence_parallel > 1 else ""
    used = first.needed_bytes / first.usable_bytes if first.usable_bytes > 0 else 0.0
    needed = spoken(first.needed_bytes, "B")
    usable = spoken(first.usable_bytes, "B")
    filled = f"{needed} of {usable} ({100 * used:.0f} %)"
    if first.offloaded_layers:
        filled += (
            f" + {spoken(first.offloaded_bytes, 'B')} of {first.offloaded_layers} layers beyond"
        )
    return (
        numbers(run),
        f"{first.layers}{each} ({layers})",
        from_to(str(first.first_chip), str(last_chip)),
        f"{first.tensor_parallel}{sequences}",
        str(first.expert_parallel),
        filled,
        spoken(first.decode_s, "s"),
        spoken(first.prefill_s, "s"),
    )


ROUNDED = 1e-9
"""Of sums: a gap that is none."""


def proof_line(result: Answer) -> str:
    """What was proved, and no more."""
    better = "lower" if result.direction == "minimize" else "higher"
    beyond = "below" if result.direction == "minimize" else "above"
    objective = f"{result.field} = {field_text(result.field, result.objective)}"
    if isinstance(result, Result) and any(stage.offloaded for stage in result.plan.stages):
        return (
            f"optimal: {objective}, and no uniform plan with as few layers off the chips has a"
            f" {better} one; it is proved that no plan with all layers on them fits"
        )
    bound = field_text(result.field, result.bound)
    if result.status == "optimal" and result.gap > ROUNDED:
        return (
            f"optimal: {objective}, with the fewest chips of the plans within 0.1 % of the best; it is"
            f" proved that no plan is {beyond} {bound} (a gap of {100 * result.gap:.2g} %)"
        )
    if result.status == "optimal":
        return f"optimal: {objective}, and it is proved that no plan has a {better} one"
    return (
        f"feasible: {objective}; a better plan may exist, but it is proved that no plan is {beyond}"
        f" {bound} (a gap of {100 * result.gap:.2g} %){ENDED.get(result.stopped_by or '', '')}"
    )


ENDED = {
    "time": "; the search ran out of time",
    "interrupt": "; the search was stopped by Ctrl-C",
    "beam": "; the search kept only its most promising plans",
}
"""Why a search ended without a proof."""


def seated_proof_line(result: Result | ClusterResult) -> str:
    """The same of plans as many sequences of which are in flight as any holds."""
    line = proof_line(result)
    score = result.score
    if score.batch_size == (result.workload.batch_size or score.batch_size):
        return line
    holding = f"no plan that has {score.batch_size:,} sequences in flight"
    most = "no plan has room for more sequences"
    if result.workload.arrivals == "together":
        most = "no plan takes the sequences in fewer batches"
    return f"{line.replace('no plan', holding)}; {most}"


def doubt_lines(result: Result) -> list[str]:
    """The inputs of low confidence that move the answer."""
    scope = None if result.score.power_scope == "unknown" else result.score.power_scope
    found = doubts_about(
        result.field, result.plan, result.graph, result.topology, result.workload, power_scope=scope
    )
    lines = []
    for doubt in found:
        figure = doubt.figure
        origin = f"{WORDS[figure.confidence]}, {figure.source or 'no source'}{_within(figure)}"
        step = f"{100 * doubt.step:+.0f} %"
        effect = f"{100 * doubt.effect:+.1f} %"
        lines.append(
            f"{figure.path} = {figure.value:.4g} ({origin}): a change of {step} changes"
            f" {result.field} by {effect}"
        )
    return lines


def _within(figure: Figure) -> str:
    """How far off it may be, where it says so itself."""
    return "" if figure.within is None else f", within a factor of {figure.within:g}"


def unvouched_lines(score: Score) -> list[str]:
    """How near the plan is to what was measured, and what no measurement vouches for."""
    if score.evidence == "measured":
        return []
    head = f"evidence: {score.evidence}, so the intervals are wider"
    return [head, *(f"  - {doubt}" for doubt in score.unvouched)]


def unvouched_line(score: Score) -> list[str]:
    """The same in a line, for answers of several plans; none where all is measured."""
    if score.evidence == "measured":
        return []
    return [f"evidence: {score.evidence}, so the intervals are wider: {'; '.join(score.unvouched)}"]


def assumption_lines(graph: ModelGraph, topology: Topology, workload: Workload) -> list[str]:
    """What the figures rest on."""
    lines = [*reading_lines(graph), *_machine_assumptions(topology)]
    if graph.confidence in ("guess", "C", "M"):
        article = "a " if graph.confidence in ("guess", "C") else ""
        lines.append(
            f"the shape of {graph.name} is {article}{WORDS[graph.confidence]}: {graph.source}"
        )
    if workload.speculation is not None:
        lines.append(
            "every drafted token is accepted with the same probability; the draft model runs on the"
            " chips of the last stage"
        )
    if workload.cached_prompt_share:
        lines.append(
            "the part of a prompt that is cached is not computed again, but each sequence is counted"
            " with memory for its whole prompt"
        )
    if graph.is_diffusion:
        lines.append(
            "text encoders and the decoder of samples run unsplit on every chip; a batch starts when"
            " the one before it is done"
        )
    return lines


def _machine_assumptions(topology: Topology) -> list[str]:
    lines = []
    if not topology.software.engine.is_known:
        lines.append(rules_said(topology.software))
    if topology.figures:
        doubtful = sum(figure.confidence in DOUBTFUL for figure in topology.figures)
        lines.append(
            f"{doubtful} of the {len(topology.figures)} figures of {topology.name} are fitted,"
            " guessed, claimed by a vendor or contested"
        )
    price = topology.price
    if price.basis == "token":
        lines.append("price: a provider's list price for tokens, the same for every plan")
    elif price.basis != "unknown":
        lines.append(
            f"price: {BASIS_WORDS[price.basis]}, {price.usd_per_chip_hour:.3g} USD an hour for each"
            f" chip{_economics(price)}"
        )
    if topology.divisible:
        lines.append(
            "power and price are counted for the filled share of each chip's memory alone, as the"
            " claim does"
        )
    return lines


def _economics(price: Price) -> str:
    """What of the owner's costs is assumed."""
    offer = price.offer(price.basis)
    assumed = price.economics
    words = []
    if offer is not None and offer.purchase_usd is not None:
        words = [f"{assumed.lifetime_years:g} years"]
    if offer is not None and offer.basis in LICENSED:
        words += [f"{assumed.usd_per_kwh:.2f} USD/kWh", f"PUE {assumed.pue:g}"]
        if price.licence_usd_per_chip_year:
            words.append(f"software at {price.licence_usd_per_chip_year:,.0f} USD/year")
    if words or assumed.utilisation < 1:
        words.append(f"{100 * assumed.utilisation:.3g} % of the time in use")
    return f" ({', '.join(words)})" if words else ""


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────


def result_text(result: Result) -> str:
    """A planning result for a terminal."""
    asked = (result.graph, result.topology, result.workload)
    notes = [*assumption_lines(*asked), *doubt_lines(result)]
    lines = [
        *question_lines(*asked),
        *seat_lines(result.score),
        "",
        *_rate_lines(result),
        seated_proof_line(result),
        *chosen_lines(result),
        *interval_lines(result),
        *_limit_lines(result),
        *near_miss_lines(result),
        "",
        *plan_section(result.plan, there=result.topology.chips),
        *idle_lines(result),
        "",
        *score_lines(result.score),
        "",
        "assumptions",
        *_indented(notes),
    ]
    return "\n".join(lines)


def _rate_lines(result: Result) -> list[str]:
    """At what rate requests come, where that was left open."""
    rate = result.plan.requests_per_s
    if not result.workload.is_open_stream or rate is None:
        return []
    said = f"at {trimmed(rate, 4)} requests a second"
    if result.field in PERCENTILES:
        return [f"{said}: the least that the limits ask for"]
    if not result.limits:
        return [f"{said}: the most that the plan can serve"]
    sure = "" if result.sure is None else f" with a probability of {result.sure:g}"
    return [f"{said}: the most at which the plan keeps the limits{sure}"]


def chosen_lines(result: Result) -> list[str]:
    """From which plans the answer was chosen, and what the limits of the software's engine cost
    where others were allowed too."""
    line = _space_line(result.space, [result.topology], alike=_is_of_like_stages(result))
    if result.micro_batches is not None:
        several = "es" * (result.micro_batches > 1)
        line += f"; all with {result.micro_batches} micro-batch{several}, as asked for"
    return [
        line,
        *offload_lines(result.plan, result.topology),
        *engine_cost_lines(result),
    ]


def _is_of_like_stages(result: Result) -> bool:
    """Whether plans whose stages are split alike were all that was searched: for percentiles, for
    how sure a limit is kept, and for the greatest rate."""
    asked = any(name in PERCENTILES for name in (result.field, *result.limits))
    return asked or result.sure is not None or result.plan.requests_per_s is not None


def _space_line(space: Space, machines: Sequence[Topology], *, alike: bool = False) -> str:
    softwares = [machine.software for machine in machines]
    return f"chosen from: {space_line(space, softwares, alike=alike)}"


def plan_section(plan: Plan, title: str = "plan", there: int | None = None) -> list[str]:
    """A plan: in one line, in one table, and stage by stage where that says more; `there`: chips
    that there are to be used."""
    lines = [f"{title}: {plan_line(plan)}", *aligned([plan_header(plan), plan_row(plan, there)])]
    if has_stage_rows(plan):
        lines += aligned([stages_header(plan), *stages_rows(plan)])
    return lines


def plan_text(plan: Plan) -> str:
    """A plan for a terminal."""
    made = "chosen from: any plan"
    if plan.space == "engine":
        made = "chosen from: plans that the machine's software can run"
    return "\n".join([*plan_section(plan), made])


def certificate_text(one: Certificate) -> str:
    """What a certificate claims, for a terminal."""
    asked = question_lines(one.graph, one.topology, one.workload)
    return "\n".join([*asked, *_claim_lines(one, one.topology.chips)])


def cluster_certificate_text(one: ClusterCertificate) -> str:
    """The same of a plan on a cluster."""
    model, _, *load = question_lines(one.graph, one.cluster.pools[0].topology, one.workload)
    chips = sum(pool.free_chips for pool in one.cluster.pools)
    return "\n".join([model, *_pool_lines(one.cluster), *load, *_claim_lines(one, chips)])


def _claim_lines(one: Certificate | ClusterCertificate, chips: int) -> list[str]:
    return [
        *[f"limit: {limit_text(name, value)}" for name, value in one.limits],
        "",
        f"claim: {one.status}, {one.field} = {field_text(one.field, one.objective)}; no plan is"
        f" better than {field_text(one.field, one.bound)}",
        *plan_section(one.plan, there=chips),
        "check the claim with verify(certificate), or `planner verify FILE`",
    ]


def _pool_lines(cluster: Cluster) -> list[str]:
    """The pools of a cluster, one a line."""
    lines = []
    for number, pool in enumerate(cluster.pools):
        on = "  " if number else "on"
        lines.append(f"{on} {pool.name}: {_machine_text(pool.topology)}")
    return lines


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def disaggregation_text(result: Disaggregation) -> str:
    """Two pools for a terminal."""
    model, _, *load = question_lines(result.graph, result.prefill_topology, result.workload)
    lines = [
        model,
        f"prefill on {_machine_text(result.prefill_topology)}",
        f"decode on {_machine_text(result.decode_topology)}",
        *load,
        "",
        proof_line(result).replace("no plan", "no pair of plans"),
        _space_line(result.space, [result.prefill_topology, result.decode_topology]),
        *[f"prefill pool: {line}" for line in unvouched_line(result.score.prefill)],
        *[f"decode pool: {line}" for line in unvouched_line(result.score.decode)],
        *_limit_lines(result),
        "",
        *plan_section(
            result.prefill_plan, "plan of the prefill pool", result.prefill_topology.chips
        ),
        "",
        *plan_section(result.decode_plan, "plan of the decode pool", result.decode_topology.chips),
        "",
        *disaggregated_lines(result.score),
    ]
    return "\n".join(lines)


def _machine_text(topology: Topology) -> str:
    return f"{described(topology)}; software {topology.software.name}"


def disaggregated_lines(score: DisaggregatedScore) -> list[str]:
    """The figures of two pools, what sets their rate, where the time goes, their stages."""
    return [
        *_headline_lines(pool_headline(score)),
        "",
        *_breakdown_lines("a later token", score.breakdown, POOLED),
        "",
        *_breakdown_lines("the first token", score.prefill_breakdown, FIRST),
        "",
        "prefill pool",
        *_stage_lines(score.prefill),
        "",
        "decode pool",
        *_stage_lines(score.decode),
    ]


def pairing_text(result: Pairing) -> str:
    """A pair of machines for a terminal."""
    model, _, *load = question_lines(result.graph, result.attention_topology, result.workload)
    link = result.link
    lines = [
        model,
        f"attention on {_machine_text(result.attention_topology)}",
        f"feed-forward parts on {_machine_text(result.experts_topology)}",
        f"joined by {spoken(link.bandwidth_bytes_per_s, 'B/s')} each way,"
        f" {spoken(link.latency_s, 's')} from end to end",
        *load,
        "",
        proof_line(result).replace("no plan", "no pair of plans"),
        "chosen from: any plan; no engine's rules for such a pair are known",
        *_limit_lines(result),
        "",
        *paired_plan_lines(result.plan),
        "",
        *paired_lines(result.score),
    ]
    return "\n".join(lines)


def paired_plan_lines(plan: PairedPlan) -> list[str]:
    """What runs where."""
    stages = plan.experts.stages
    straight = any(stage.expert_parallel > stage.tensor_parallel for stage in stages)
    sent = "straight to the chips of its experts" if straight else "to its stage once"
    count = len(stages)
    rows = [
        ("attention", plan_line(plan.attention), f"{plan.attention.chips} chips"),
        (
            "feed-forward parts",
            f"{count} stage{'s' * (count > 1)} of {stages[0].group_chips} chips, layers"
            f" {cut_text(plan.experts)}",
            f"{plan.experts.chips} chips",
        ),
    ]
    each = plan.micro_batches
    return [
        f"plan: {plan.batch_size:,} sequences in {each} micro-batch{'es' * (each > 1)}, each token"
        f" {sent}",
        *aligned(rows),
    ]


def paired_plan_text(plan: PairedPlan) -> str:
    """A plan for a terminal."""
    return "\n".join(paired_plan_lines(plan))


def paired_lines(score: PairedScore) -> list[str]:
    """The figures of a pair, where the time goes, and both machines."""
    sent = spoken(score.sent_bytes_per_token, "B")
    return [
        *_headline_lines(pair_headline(score)),
        "",
        *_breakdown_lines("a token", score.breakdown, PAIRED),
        "",
        *aligned(
            [
                ("", "time of a token", "busy", "chips", "memory on the fullest chip", "power"),
                _half_row("attention", score.attention),
                _half_row("feed-forward parts", score.experts),
                (
                    "the link",
                    spoken(score.transfer_s, "s"),
                    f"{100 * score.link_busy_fraction:.3g} %",
                    "",
                    f"{sent} cross it for a token",
                    "",
                ),
                ("waiting for its turn", spoken(score.waiting_s, "s"), "", "", "", ""),
            ]
        ),
    ]


def _half_row(name: str, half: HalfScore) -> tuple[str, ...]:
    return (
        name,
        spoken(half.time.total_s, "s"),
        f"{100 * half.busy_fraction:.3g} %",
        f"{half.chips:,}",
        f"{spoken(half.needed_bytes, 'B')} of {spoken(half.usable_bytes, 'B')}",
        "not known" if half.power_w is None else spoken(half.power_w, "W"),
    )


def paired_text(score: PairedScore) -> str:
    """The score of a pair of machines for a terminal."""
    return "\n".join(paired_lines(score))


def _score_headline_lines(score: Score) -> list[str]:
    """The figures, with intervals and what they count where any has such."""
    rows = headline(score)
    columns = [n for n in range(len(HEADLINE_HEADER)) if n < 2 or any(row[n] for row in rows)]
    table = [[row[n] for n in columns] for row in (HEADLINE_HEADER, *rows)]
    return aligned(table if len(columns) > 2 else table[1:])


def _headline_lines(headline: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(title) for title, _ in headline)
    return [f"  {title:<{width}}  {words}" for title, words in headline]


def _stage_lines(score: Score) -> list[str]:
    return aligned([stage_header(score), *stage_rows(score)])


def cluster_result_text(result: ClusterResult) -> str:
    """A result on a cluster for a terminal."""
    asked = question_lines(result.graph, result.cluster.pools[0].topology, result.workload)
    way = [name for name, _ in itertools.groupby(stage.pool for stage in result.plan.stages)]
    lines = [
        asked[0],
        *_pool_lines(result.cluster),
        *asked[2:],
        "",
        proof_line(result),
        _space_line(result.space, [pool.topology for pool in result.cluster.pools]),
        *interval_lines(result),
        *_limit_lines(result),
        f"pools in the order of the layers: {listed(way, 'then')}",
        "",
        *plan_section(result.plan, there=sum(pool.free_chips for pool in result.cluster.pools)),
        *left_out_pools(result),
        "",
        *score_lines(result.score),
    ]
    return "\n".join(lines)


FLEET_HEADER = (
    "pools",
    "chips",
    "plan",
    "micro-batches",
    "sequences",
    "tokens/s",
    "per token",
    "first token",
    "status",
    "evidence",
)


def fleet_text(found: Fleet) -> str:
    """Deployments side by side, for a terminal."""
    asked = question_lines(found.graph, found.cluster.pools[0].topology, found.workload)
    limits = [f"limit of each: {limit_text(name, value)}" for name, value in found.limits]
    costs = []
    for name in ("energy_per_token_j", "usd_per_million_tokens", "usd_per_hour"):
        value = getattr(found, name)
        if value is not None:
            costs.append(f"{name} over all: {field_text(name, value)}")

    lines = [
        asked[0],
        *asked[2:],
        "",
        proof_line(found).replace("no plan", "no other use of the pools"),
        _space_line(found.space, [pool.topology for pool in found.cluster.pools]),
        *limits,
        *costs,
        "",
        *aligned([FLEET_HEADER, *map(_deployment_row, found.deployments)]),
        *left_out_deployments(found),
    ]
    for one in found.deployments:
        there = sum(pool.free_chips for pool in one.cluster.pools)
        lines += ["", *plan_section(one.plan, f"plan on {_pools_of(one)}", there)]
    return "\n".join(lines)


def _deployment_row(one: ClusterResult) -> tuple[str, ...]:
    return (
        _pools_of(one),
        str(one.score.chips),
        plan_line(one.plan),
        str(one.plan.micro_batches),
        str(one.score.batch_size),
        f"{one.score.tokens_per_s:.4g}",
        spoken(one.score.tpot_s, "s"),
        spoken(one.score.ttft_s, "s"),
        one.status,
        one.score.evidence,
    )


def _pools_of(one: ClusterResult) -> str:
    return listed([pool.name for pool in one.cluster.pools], "with")


def replanning_text(found: Replanning) -> str:
    """What a new plan moves, and the plan, for a terminal."""
    proved = f"no plan as good moves fewer than {spoken(found.moved_bound_bytes, 'B')}"
    if found.status == "optimal":
        proved = "no plan as good moves fewer bytes"
    lines = [
        f"without chips {listed(found.result.exclude)}: moves {spoken(found.moved_bytes, 'B')} in"
        f" {spoken(found.moving_s, 's')}; {proved}"
    ]

    shown = found.moves[:MOST_STAGES]
    if shown:
        lines += aligned([_move_row(move) for move in shown])
    more = len(found.moves) - len(shown)
    if more:
        lines.append(f"  … and {more} more")
    return "\n".join([*lines, "", result_text(found.result)])


def _move_row(move: Move) -> tuple[str, ...]:
    origin = f"from chips {listed(move.sources)}" if move.sources else "read anew"
    layers = f"{move.layers[0]}…{move.layers[-1]}"
    return f"chip {move.chip}", layers, spoken(move.moved_bytes, "B"), origin


def interval_lines(result: Result | ClusterResult) -> list[str]:
    """How sure the price itself is, which the proof takes as given."""
    low, high = _interval(result)
    doubts = unvouched_lines(result.score)
    if low == high:
        return doubts
    least = field_text(result.field, low)
    between = range_text(least, field_text(result.field, high))
    said = f"4 of 5 measurements of {result.field} would lie in {between}"
    if high == math.inf:
        said = (
            f"9 of 10 measurements of {result.field} would lie above {least}; in 1 of 10 the plan"
            " is too slow to serve all requests, and the queue has no end"
        )
    return [f"interval: {said}", *doubts]


def _interval(result: Result | ClusterResult) -> tuple[float, float]:
    """Where the measured objective would lie, with a probability of 80 %."""
    asked = PERCENTILES.get(result.field)
    if asked is None:
        return result.score.interval(result.field, 0.8)
    return result.score.percentile_interval(*asked, within=0.8)


def _limit_lines(result: Result | ClusterResult | Disaggregation | Pairing) -> list[str]:
    lines = []
    for name, value in result.limits:
        reached = field_text(name, getattr(result.score, name))
        lines.append(
            f"limit: {limit_text(name, value)}; the plan has {reached}{_sure_text(result, name)}"
        )
    return lines


def _sure_text(result: Result | ClusterResult | Disaggregation | Pairing, name: str) -> str:
    """What a limited field is kept to, with the probability that was asked for; '' where none was,
    or it is counted and not predicted."""
    score = result.score
    if result.sure is None or not isinstance(score, Score):
        return ""
    kept = score.sure(name, result.sure)
    if kept == getattr(score, name):
        return ""
    least = "least" if name in RATES else "most"
    return f", with a probability of {result.sure:g} at {least} {field_text(name, kept)}"


def score_lines(score: Score) -> list[str]:
    """The figures, where the time goes, the stages."""
    each = "an output token"
    first = "the first token"
    if score.step_s is not None:
        each = "a step"
        first = "a batch of samples"
    return [
        *_score_headline_lines(score),
        "",
        *_breakdown_lines(each, score.breakdown),
        *_prompts_lines(score),
        "",
        *_breakdown_lines(first, score.prefill_breakdown, FIRST),
        "",
        *_traffic_lines(score),
        *_stage_lines(score),
    ]


def traffic_header(score: Score) -> tuple[str, ...]:
    """Of the rows of what is moved."""
    if score.step_s is None:
        return ("moved for an output token", "decode", "prompts", "of the bandwidth")
    return ("moved for a sample", "steps", "once", "of the bandwidth")


def traffic_rows(score: Score) -> list[tuple[str, ...]]:
    """A row for each memory and fabric."""
    return [
        (
            f"{one.tier} ({one.kind})" if one.kind != "memory" else one.tier,
            spoken(one.decode_bytes, "B"),
            spoken(one.prefill_bytes, "B"),
            _moved_share(one, score.tokens_per_s),
        )
        for one in score.traffic
    ]


def _moved_share(one: Traffic, tokens_per_s: float) -> str:
    if one.most_bytes_per_s is None:
        return ""
    return f"{100 * tokens_per_s * one.moved_bytes / one.most_bytes_per_s:.2g} %"


def _traffic_lines(score: Score) -> list[str]:
    if not score.traffic:
        return []
    return [*aligned([traffic_header(score), *traffic_rows(score)]), ""]


def score_text(score: Score) -> str:
    """A score for a terminal."""
    return "\n".join(score_lines(score))


def disaggregated_text(score: DisaggregatedScore) -> str:
    """The score of two pools for a terminal."""
    return "\n".join(disaggregated_lines(score))


LATER = {"bubble": "bubble (waiting for the slowest stage)", "hop": "hops between stages"}
"""Causes that need more words, of a later token."""
FIRST = LATER | {"bubble": "waiting for the passes and prompts before it"}
"""The same of the first token, whose prompt waits; its stages do not."""
POOLED = {"bubble": "waiting for its turn", "hop": "links (KV cache, hops between stages)"}
"""The same of a later token that a decode pool makes."""
PAIRED = {"bubble": "waiting for its turn", "hop": "link between the machines"}
"""The same of a token that goes from one machine to another and back in every layer."""


def _breakdown_lines(
    title: str, breakdown: Sequence[StageTime], words: Mapping[str, str] = LATER
) -> list[str]:
    rows = [
        (words.get(cause, cause), seconds, share) for cause, seconds, share in time_rows(breakdown)
    ]
    width = max((len(cause) for cause, _, _ in rows), default=0)
    lines = [f"where the time of {title} goes"]
    for cause, seconds, share in rows:
        bar = "█" * round(30 * share)
        line = f"  {cause:<{width}}{spoken(seconds, 's'):>10}  {100 * share:4.1f} %  {bar}"
        lines.append(line.rstrip())
    return lines


def _prompts_lines(score: Score) -> list[str]:
    """How much of an output token's time goes to other requests' prompts, which is no bubble: the
    chips compute them."""
    share = score.others_prompts_s / score.tpot_s if score.tpot_s else 0.0
    if share < LEAST_SHARE:
        return []
    return [
        f"  of these {spoken(score.others_prompts_s, 's')} ({100 * share:.1f} %) are for the prompts"
        " of other requests"
    ]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
