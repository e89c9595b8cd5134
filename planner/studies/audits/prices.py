"""What the engine says of a claim that no law forbids: from which batch on its best plan reaches
the figure, if any does."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, cast

from planner.errors import InfeasibleError, InputError
from planner.machines.topology import Topology
from planner.models.dtypes import Dtype, bytes_of, stored_bytes_of
from planner.models.pruning import pattern_of
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.degrees import uniform_plan
from planner.studies.advantage.crossovers import ONE_REQUEST
from planner.studies.audits.cases import Case, lacks, topology_of
from planner.studies.audits.claims import Claim
from planner.studies.audits.findings import Finding, found
from planner.studies.audits.laws import CAPACITY, CLOSE, cited, is_deployment, joules_of, ratio_of
from planner.studies.scalings import fewest_of, scaling
from planner.units import spoken, trimmed

SURE = 0.95
"""A figure within the interval of this probability is not called implausible."""
BATCHES = (1, 64)
"""At which machines are compared where a claim names no batch."""
PER_FORMAT = ("tokens_per_s", "tokens_per_s_per_user", "energy_per_token_j")
"""Tried in each format, the widest first; other figures in the narrowest, which is kindest to
them."""
PATIENCE_S = 1.0
"""For each plan of a large machine."""
ENGINE = "the engine"
SAID = {
    "energy_per_token_j": " J",
    "usd_per_million_tokens": " USD/M",
    "utilisation": "",
    "bubble_fraction": "",
}
"""Behind a figure of these fields; of all others " tokens/s"."""


class Asked(NamedTuple):
    """A claimed figure as a field of `Score`, and which way is better."""

    value: float
    field: str
    goal: str
    most: bool

    def measured(self, score: Score) -> float | None:
        """The figure that a plan has instead."""
        if self.field == "utilisation":
            return max(score.mfu_fraction, score.mbu_fraction)
        return cast(float | None, getattr(score, self.field))

    def is_met(self, value: float | None) -> bool:
        """Whether a plan with that figure does what is claimed."""
        if value is None:
            return False
        return value >= self.value if self.most else value <= self.value

    def off(self, value: float) -> float:
        """How many times the claim is better than that figure."""
        return self.value / value if self.most else value / self.value


class Reached(NamedTuple):
    """What the best plans in one format say of a figure."""

    finding: Finding
    by_a_plan: bool = False
    """Whether one reaches it, and does not merely come as near as prices err."""


def asked_of(case: Case) -> Iterator[Asked]:
    """The figures of a claim that plans have too."""
    claim = case.claim
    per_user = claim.tokens_per_s_per_user
    figures = (
        (claim.tokens_per_s, "tokens_per_s", "tokens_per_s", True),
        (per_user, "tokens_per_s_per_user", "tpot_s", True),
        (joules_of(claim), "energy_per_token_j", "energy_per_token_j", False),
        (claim.usd_per_million_tokens, "usd_per_million_tokens", "usd_per_million_tokens", False),
        (claim.utilisation_fraction, "utilisation", "tokens_per_s", True),
        (claim.bubble_fraction, "bubble_fraction", "tokens_per_s", False),
    )
    for value, field, goal, most in figures:
        if value:
            yield Asked(value, field, goal, most)


def reach(case: Case) -> Iterator[Finding]:
    """Whether the best plan reaches each figure, in the widest format in which it does."""
    if not is_deployment(case.claim) or case.claim.advantage is not None:
        return
    for asked in asked_of(case):
        missing = lacks(case.topology, asked.goal)
        if missing:
            yield found("no opinion", f"the {missing} of {case.topology.name} is not published")
            continue
        dtypes = case.dtypes if asked.field in PER_FORMAT else case.dtypes[-1:]
        yield _kindest(case, asked, [_reached(case, dtype, asked) for dtype in dtypes])


def _kindest(case: Case, asked: Asked, tried: Sequence[Reached]) -> Finding:
    """Of what was found in each format: reached, else reached as a share of more chips, else as
    near as prices err, alone or as a share, else the least wrong."""
    for one in tried:
        if one.by_a_plan:
            return one.finding
    share = _as_share(case, asked)
    near = [one.finding for one in tried if one.finding.verdict.startswith("plausible")]
    if share is not None and (share.by_a_plan or not near):
        return share.finding
    if near:
        return near[0]
    return min((one.finding for one in tried), key=lambda one: one.factor or math.inf)


def _as_share(case: Case, asked: Asked) -> Reached | None:
    """Whether a rate said to be one chip's is one chip's share of what several reach, or else of
    what comes as near as prices err; None where it is neither."""
    claim = case.claim
    if asked.field not in ("tokens_per_s", "energy_per_token_j"):
        return None
    if claim.chips is None or claim.batch_size is not None:
        return None
    near = None
    for times in (2, 4, 8):
        one = _share_of(case, asked, times)
        if one.by_a_plan:
            return one
        if near is None and one.finding.verdict.startswith("plausible"):
            near = one
    return near


def _share_of(case: Case, asked: Asked, times: int) -> Reached:
    """What so many times the chips of the claim say of a rate that is said to be one chip's."""
    claim = case.claim
    dtype = case.dtypes[-1]
    whole = asked
    if asked.field == "tokens_per_s":
        whole = asked._replace(value=asked.value * times)
    one = _reached(case, dtype, whole, times)
    if not one.finding.verdict.startswith("plausible"):
        return one
    many = cast(int, claim.chips) * times
    least = one.finding.least_batch
    share = found(
        "plausible at batch",
        f"not on {claim.chips} alone, only as a share of {many}: {one.finding.law}",
        tail=f">= {least or 1} in {dtype}, as a share of {many} chips",
        source=one.finding.source,
        least_batch=least,
    )
    return one._replace(finding=share)


def _reached(case: Case, dtype: Dtype, asked: Asked, times: int = 1) -> Reached:
    """In one format, on so many times the chips of the claim."""

    def within(score: Score) -> bool:
        return asked.is_met(asked.measured(score))

    batch, tried = case.least_batch(dtype, asked.goal, within, times)
    if not tried:
        model = case.graph(dtype).name
        law = f"{model} in {dtype} has no plan on {case.topology.name}"
        return Reached(found("no opinion", law))

    law = _priced_words(case, dtype, asked, tried)
    source = f"the engine on {case.topology.name}"
    best, at, score = _best_of(tried, asked)
    if batch is None:
        field = "mbu_fraction" if asked.field == "utilisation" else asked.field
        width = _width(score, field)
        off = asked.off(best)
        if off > width:
            # Of a share next to nothing a ratio says nothing.
            factor = None if asked.field == "bubble_fraction" else off
            return Reached(found("implausible", law, factor=factor, source=source))
        law += f"; the claim lies within the engine's error there ({width:.2g}× at {SURE:.0%})"

    least = batch or at
    is_firm = batch is not None
    is_alone = asked.field == "tokens_per_s_per_user" or case.claim.batch_size is not None
    if least == 1 or is_alone:
        return Reached(found("plausible", law, source=source), is_firm)
    tail = f">= {least} in {dtype}"
    return Reached(
        found("plausible at batch", law, tail=tail, source=source, least_batch=least), is_firm
    )


def _priced_words(
    case: Case, dtype: Dtype, asked: Asked, tried: Sequence[tuple[int, Score]]
) -> str:
    """What was priced, from the first batch to the last."""
    ends = tried if len(tried) == 1 else (tried[0], tried[-1])
    ladder = [f"{_said(asked.measured(score), asked)} at batch {size}" for size, score in ends]
    machine = f"{tried[-1][1].chips} × {case.topology.chip.name}"
    return f"the best plan on {machine} in {dtype}: {', '.join(ladder)}"


def _best_of(tried: Sequence[tuple[int, Score]], asked: Asked) -> tuple[float, int, Score]:
    """The best figure that was priced, at which batch, and its score; the first of equals."""
    values = [(asked.measured(score), size, score) for size, score in tried]
    known = [(value, size, score) for value, size, score in values if value is not None]
    best = max if asked.most else min
    return best(known, key=lambda one: one[0])


def _said(value: float | None, asked: Asked) -> str:
    if value is None:
        return "not known"
    return f"{trimmed(value)}{SAID.get(asked.field, ' tokens/s')}"


def zeros(case: Case) -> Iterator[Finding]:
    """What pruned weights bring: arithmetic that a chip skips, bytes that need not be read."""
    claim = case.claim
    if claim.sparsity is None or claim.topology is None:
        return
    if claim.utilisation_fraction:
        yield from _used(case, claim.sparsity, claim.utilisation_fraction)
    if claim.speed_up is not None:
        yield from _sped_up(case, claim.sparsity, claim.speed_up)


def _used(case: Case, sparsity: str, claimed: float) -> Iterator[Finding]:
    """A utilisation, of a chip that multiplies zeros or skips them."""
    pattern, density = _pattern(sparsity)
    chip = case.topology.chip
    source = _entry_of(case)
    if density is not None and ratio_of(claimed, density) <= 1.001:
        law = (
            f"zeros: {density:.0%} is the share of weights that {pattern} keeps, not a utilisation"
        )
        yield found("wrong scope", law, source=source)
    elif pattern not in chip.skips:
        law = (
            f"zeros: nothing is published that {chip.name} skips, so of its work at most the"
            f" density of the weights is useful: {claimed:.0%} takes weights of which"
            f" {claimed:.0%} are left"
        )
        factor = None if density is None else claimed / density
        yield found("implausible", law, source=source, factor=factor)


def _sped_up(case: Case, sparsity: str, claimed: float) -> Iterator[Finding]:
    """A speed-up, against all that zeros can bring."""
    _, density = _pattern(sparsity)
    most = most_sped_up(case)
    law = (
        f"zeros: at a density of {density:.0%} skipped arithmetic or saved bytes bring at most"
        f" {most:.3g}×"
    )
    if claimed > CLOSE * most:
        yield found("impossible", law, factor=claimed / most, source=_entry_of(case))
    elif not is_deployment(case.claim):
        yield found("plausible", f"{law}, to pruned matrices alone", source=_entry_of(case))


def _pattern(sparsity: str) -> tuple[str, float | None]:
    """The pattern and its density; None where that is not said."""
    return ("unstructured", None) if sparsity == "unstructured" else pattern_of(sparsity)


def _entry_of(case: Case) -> str:
    return f"the catalogue's entry of {case.topology.chip.name}"


def most_sped_up(case: Case) -> float:
    """By zeros: 1 / density where the chip skips them, else what bytes they save."""
    pattern, density = pattern_of(cast(str, case.claim.sparsity))
    saved = max(bytes_of(one) / stored_bytes_of(one, density, pattern) for one in case.dtypes)
    skipped = 1 / density if pattern in case.topology.chip.skips else 1.0
    return max(skipped, saved)


def sparse_speed(case: Case) -> Iterator[Finding]:
    """What the engine makes of a whole model's speed-up: throughput of its best plan pruned over
    that dense."""
    claim = case.claim
    if claim.speed_up is None or claim.sparsity is None or not is_deployment(claim):
        return
    dense = Case(claim.replace(sparsity=None))
    rows = []
    for batch in BATCHES:
        ours, theirs = (one.score(case.dtypes[-1], batch, "tokens_per_s") for one in (case, dense))
        if ours is not None and theirs is not None:
            gain = ours.tokens_per_s / theirs.tokens_per_s
            rows.append((gain, _width(ours, "tokens_per_s")))
    if not rows:
        return
    best, width = max(rows)
    law = (
        f"zeros: at most {most_sped_up(case):.3g}× at that density; the engine prices {best:.3g}×"
        f" in one format; its error there is {width:.2g}× at {SURE:.0%}"
    )
    off = claim.speed_up / best
    yield _judged(case, law, is_fine=off <= width, off=off)


def _judged(case: Case, law: str, *, is_fine: bool, off: float) -> Finding:
    """By the engine: plausible, or by how much not."""
    source = f"the engine on {case.topology.name}"
    if is_fine:
        return found("plausible", law, source=source)
    return found("implausible", law, factor=off, source=source)


def _width(score: Score, field: str) -> float:
    """The factor either way within which a field lies with the probability SURE."""
    low, high = score.interval(field, SURE)
    return math.sqrt(high / low) if low else 1.0


def residence(case: Case) -> Iterator[Finding]:
    """That weights stay in memory is a matter of capacity alone."""
    claim = case.claim
    if not claim.resident or not is_deployment(claim):
        return
    roof = case.roof(case.dtypes[0], claim.chips)
    if roof.fewest_chips <= roof.chips:
        law = (
            f"capacity: {spoken(roof.graph.weight_bytes, 'B')} of weights fit"
            f" {roof.chips} × {case.topology.chip.name}"
        )
        yield found("plausible", law, source=cited(case.topology, CAPACITY))


def advantage(case: Case) -> Iterator[Finding]:
    """How much better one machine's best plan is than another's, at the batch that suits the
    claim best."""
    claim = case.claim
    if claim.over is None or claim.topology is None:
        return
    machines = (case.topology, topology_of(claim.over))
    if claim.ends_at_parameters is not None:
        yield from _to_lose(claim, claim.ends_at_parameters, machines)
    elif claim.model or claim.parameters:
        gain, law = _gain(claim, machines)
        claimed = cast(float, claim.advantage)
        if gain is None:
            yield found("no opinion", law)
        elif gain * CLOSE < claimed:
            yield found("implausible", law, factor=claimed / gain, source=ENGINE)
        else:
            yield found("plausible", law, source=ENGINE)


def _to_lose(claim: Claim, end: float, machines: Sequence[Topology]) -> Iterator[Finding]:
    """An advantage that is said to end somewhere must be there well before."""
    gain, law = _gain(claim.replace(parameters=end / 4), machines)
    lead = f"at a quarter of {spoken(end, '')} parameters, {law}"
    if gain is None:
        return
    if gain < 1:
        none = f"there is no advantage to lose: {lead}"
        yield found("implausible", none, factor=1 / gain, source=ENGINE)
    else:
        yield found("plausible", lead, source=ENGINE)


def _gain(claim: Claim, machines: Sequence[Topology]) -> tuple[float | None, str]:
    """The most over a few batches, each machine in its narrowest format, and in words."""
    metric = claim.metric
    for machine in machines:
        missing = lacks(machine, metric)
        if missing:
            return None, f"the {missing} of {machine.name} is not published"

    cases = [Case(claim.replace(topology=machine, sparsity=None)) for machine in machines]
    rows = []
    for batch in (claim.batch_size,) if claim.batch_size else BATCHES:
        ours, theirs = (_metric_of(case, batch) for case in cases)
        if ours is not None and theirs is not None:
            rows.append((theirs / ours, batch, ours, theirs))
    if not rows:
        return None, _homeless(cases)
    gain, batch, mine, other = max(rows)
    return gain, (
        f"{metric} of {machines[0].name} and {machines[1].name}, best plans at batch {batch}:"
        f" {mine:.3g} and {other:.3g}"
    )


def _homeless(cases: Sequence[Case]) -> str:
    machines = [case.topology.name for case in cases if _metric_of(case, 1) is None]
    model = cases[0].graph(cases[0].dtypes[-1]).name
    return f"{model} has no plan on {' and '.join(machines)}"


def _metric_of(case: Case, batch_size: int) -> float | None:
    """Of the best plan in the narrowest format; None where nothing fits."""
    metric = case.claim.metric
    score = case.score(case.dtypes[-1], batch_size, metric)
    return None if score is None else float(getattr(score, metric))


def trend(case: Case) -> Iterator[Finding]:
    """With which power of the chips the time per token grows, over uniform plans of more and
    more chips."""
    claim = case.claim
    if claim.latency_exponent is None or not is_deployment(claim):
        return
    dtype = case.dtypes[-1]
    least = _least_by_chips(case, dtype)
    if len(least) < 2:
        return
    few, many = min(least), max(least)
    exponent = math.log(least[many] / least[few]) / math.log(many / few)
    law = (
        f"a token of {case.graph(dtype).name} in {dtype} takes {spoken(least[few], 's')} on {few}"
        f" chips and {spoken(least[many], 's')} on {many}: it grows with the power"
        f" {exponent:.2f} of the chips, and {claim.latency_exponent:g} is claimed"
    )
    apart = abs(claim.latency_exponent - exponent)
    yield _judged(case, law, is_fine=apart < 0.1, off=(many / few) ** apart)


def _least_by_chips(case: Case, dtype: Dtype) -> dict[int, float]:
    """The least time per token of uniform plans, by the chips that they hold. [s]"""
    topology = case.topology.replace(chips=case.topology.limit_chips)
    graph = case.graph(dtype)
    work = case.workload(case.claim.batch_size or 1)
    fewest = case.roof(dtype).fewest_chips
    deepest = len(graph.inner_positions)
    depths = {deepest, *(2**n for n in range(deepest.bit_length()))}
    least: dict[int, float] = {}
    for tensor, pipeline in itertools.product((2**n for n in range(7)), depths):
        if not fewest <= tensor * pipeline <= topology.chips:
            continue
        with suppress(InfeasibleError, InputError):
            plan = uniform_plan(graph, topology, tensor_parallel=tensor, pipeline_parallel=pipeline)
            tpot_s = score_plan(plan, graph, topology, work).tpot_s
            least[plan.chips] = min(tpot_s, least.get(plan.chips, math.inf))
    return least


def _base_of(chips: int, fewest: int) -> int:
    """The fewest chips that hold the model and divide those of a claim by a power of two, so that
    both fill the machine alike; else the fewest."""
    halves = [chips // 2**n for n in range(1, 12) if chips % 2**n == 0]
    return min((count for count in halves if count >= fewest), default=fewest)


def efficiency(case: Case) -> Iterator[Finding]:
    """Speed on so many chips over that many times the fewest's, by the engine."""
    claim = case.claim
    if claim.efficiency_fraction is None or claim.chips is None or not is_deployment(claim):
        return
    dtype = case.dtypes[-1]
    graph = case.graph(dtype)
    fewest = fewest_of(graph, case.topology, ONE_REQUEST.replace(batch_size=None))
    if fewest is None or fewest > claim.chips:
        law = f"{graph.name} in {dtype} has no plan on {claim.chips} × {case.topology.name}"
        yield found("no opinion", law)
        return
    base = _base_of(claim.chips, fewest)
    row = scaling(
        graph, case.topology, chips=(claim.chips,), base_chips=base, time_limit_s=PATIENCE_S
    ).at(claim.chips)
    share = row.efficiency_fraction or 0.0
    law = (
        f"throughput of {claim.chips} chips in {dtype} is {share:.0%} of that in proportion to"
        f" {base}, by {row.parallelism}, at 8 users a chip"
    )
    is_reached = share * CLOSE >= claim.efficiency_fraction
    off = ratio_of(share, claim.efficiency_fraction)
    yield _judged(case, law, is_fine=is_reached != claim.denied, off=off)
