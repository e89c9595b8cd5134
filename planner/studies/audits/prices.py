"""What the engine says of a claim that no law forbids: from which batch on its best plan reaches
the figure, if any does."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, cast

from planner.catalogue import topology_names
from planner.cost.energy import SECONDS_PER_HOUR
from planner.errors import InfeasibleError, InputError
from planner.machines.topology import Topology
from planner.models.dtypes import Dtype, bytes_of, stored_bytes_of
from planner.models.pruning import pattern_of
from planner.pricing.price_list import Step, useful_work
from planner.pricing.schedule import denoising
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.degrees import uniform_plan
from planner.studies.advantage.best_plans import ONE_REQUEST
from planner.studies.audits.cases import OF_SAMPLES, Case, lacks, topology_of
from planner.studies.audits.claims import Claim
from planner.studies.audits.findings import Finding, found
from planner.studies.audits.laws import (
    CAPACITY,
    CLOSE,
    cited,
    counted,
    is_deployment,
    joules_of,
    parameters_of,
    ratio_of,
)
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
}
"""Behind a figure of these fields; of all others " tokens/s"."""
SHARES = {"utilisation": "utilisation", "bubble_fraction": "of the time waiting"}
"""Behind a figure that is a share, in percent."""


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
            yield _asked_for(case, asked, missing)
            continue
        dtypes = case.dtypes if asked.field in PER_FORMAT else case.dtypes[-1:]
        yield _kindest(case, asked, (_reached(case, dtype, asked) for dtype in dtypes))


def _asked_for(case: Case, asked: Asked, missing: str) -> Finding:
    """Where the machine's power or price is not published: what it may be for the claim to hold,
    by the best plan's rate."""
    dtype = case.dtypes[-1]
    batches = (case.claim.batch_size,) if case.claim.batch_size else BATCHES
    scores = [case.score(dtype, batch, "tokens_per_s_per_chip") for batch in batches]
    rates = [(one.tokens_per_s / one.chips, one) for one in scores if one is not None]
    unknown = f"the {missing} of {case.topology.name} is not published"
    if not rates:
        return found("no opinion", f"{unknown}, and no plan of {case.graph(dtype).name} fits on it")
    rate, score = max(rates, key=lambda pair: pair[0])
    what = "samples" if score.step_s is not None else "tokens"
    made = f"the best plan in {dtype} makes {trimmed(rate)} {what}/s {on_chips(score)}"
    if missing == "price":
        hourly = asked.value / 1e6 * rate * SECONDS_PER_HOUR
        most = f"{trimmed(hourly)} USD/h"
        law = f"{unknown}; {made}, so at {asked.value:,g} USD a million a chip may cost {most}"
        return found("plausible if", law, tail=f"a chip costs at most {most}", figure=most)
    most = spoken(asked.value * rate, "W")
    law = f"{unknown}; {made}, so at {asked.value:.3g} J a {what[:-1]} a chip may draw {most}"
    return found("plausible if", law, tail=f"a chip draws at most {most}", figure=most)


def _kindest(case: Case, asked: Asked, in_formats: Iterable[Reached]) -> Finding:
    """Of what is found in each format: reached, else reached as a share of more chips, else as
    near as prices err, alone or as a share, else the least wrong."""
    tried = []
    for one in in_formats:
        # Formats that come after one that reaches it are not even priced.
        if one.by_a_plan:
            return one.finding
        tried.append(one)
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
        f"{counted(cast(int, claim.chips), 'chip')} alone cannot reach it, only as a share of"
        f" {many} chips: {one.finding.law}",
        tail=f">= {least or 1} in {dtype}, as a share of {many} chips",
        source=one.finding.source,
        least_batch=least,
        figure=one.finding.figure,
    )
    return one._replace(finding=share)


def _reached(case: Case, dtype: Dtype, asked: Asked, times: int = 1) -> Reached:
    """In one format, on so many times the chips of the claim."""

    def within(score: Score) -> bool:
        return asked.is_met(asked.measured(score))

    batch, tried = case.least_batch(dtype, asked.goal, within, times)
    if not tried:
        model = case.graph(dtype).name
        law = f"no plan of {model} in {dtype} fits on {case.topology.name}"
        return Reached(found("no opinion", law))

    law = _priced_words(case, dtype, asked, tried)
    source = f"the engine on {case.topology.name}"
    best, at, score = _best_of(tried, asked)
    figure = _said(best, asked)
    if batch is None:
        field = "mbu_fraction" if asked.field == "utilisation" else asked.field
        width = _width(score, field)
        off = asked.off(best)
        if off > width:
            # Of a share next to nothing a ratio says nothing.
            factor = None if asked.field == "bubble_fraction" else off
            return Reached(found("implausible", law, factor=factor, source=source, figure=figure))
        law += _within_error(width)

    least = batch or at
    is_firm = batch is not None
    is_alone = asked.field == "tokens_per_s_per_user" or case.claim.batch_size is not None
    if least == 1 or is_alone:
        return Reached(found("plausible", law, source=source, figure=figure), is_firm)
    tail = f">= {least} in {dtype}"
    at_batch = found("plausible at batch", law, tail=tail, source=source, least_batch=least)
    return Reached(at_batch.replace(figure=figure), is_firm)


def _priced_words(
    case: Case, dtype: Dtype, asked: Asked, tried: Sequence[tuple[int, Score]]
) -> str:
    """What was priced, from the first batch to the last."""
    ends = tried if len(tried) == 1 else (tried[0], tried[-1])
    ladder = [f"{_said(asked.measured(score), asked)} at batch {size}" for size, score in ends]
    machine = f"{tried[-1][1].chips:,} × {case.topology.chip.name}"
    plans = "plan" if len(ends) == 1 else "plans"
    return f"the best {plans} on {machine} in {dtype}: {', '.join(ladder)}"


def _within_error(width: float) -> str:
    return (
        "; the claim is within the engine's error"
        f" (a factor of {width:.2g} either way, with {SURE:.0%} probability)"
    )


def on_chips(score: Score) -> str:
    """Where a rate of one chip is made: "on each of 8 chips"."""
    return "on one chip" if score.chips == 1 else f"on each of {score.chips:,} chips"


def _best_of(tried: Sequence[tuple[int, Score]], asked: Asked) -> tuple[float, int, Score]:
    """The best figure that was priced, at which batch, and its score; the first of equals."""
    values = [(asked.measured(score), size, score) for size, score in tried]
    known = [(value, size, score) for value, size, score in values if value is not None]
    best = max if asked.most else min
    return best(known, key=lambda one: one[0])


def _said(value: float | None, asked: Asked) -> str:
    if value is None:
        return "not known"
    if asked.field in SHARES:
        return f"{trimmed(100 * value)}% {SHARES[asked.field]}"
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
            f"zeros: {density:.0%} is the share of weights that the pattern {pattern} keeps,"
            " not a utilisation"
        )
        yield found("wrong scope", law, source=source, figure=f"a density of {density:.0%}")
    elif pattern not in chip.skips:
        law = (
            f"zeros: {chip.name} is not known to skip zeros, so the useful share of its work is at"
            f" most the density of the weights; {claimed:.0%} needs weights of which {claimed:.0%}"
            " are not zero"
        )
        factor = None if density is None else claimed / density
        yield found("implausible", law, source=source, factor=factor, figure="its density")


def _sped_up(case: Case, sparsity: str, claimed: float) -> Iterator[Finding]:
    """A speed-up, against all that zeros can bring."""
    _, density = _pattern(sparsity)
    most = most_sped_up(case)
    law = (
        f"zeros: at a density of {density:.0%}, skipped arithmetic or saved bytes give a speed-up"
        f" of at most {most:.3g}×"
    )
    if claimed > CLOSE * most:
        yield found(
            "impossible",
            law,
            factor=claimed / most,
            source=_entry_of(case),
            figure=f"at most {most:.3g} times",
        )
    elif not is_deployment(case.claim):
        yield found(
            "plausible",
            f"{law}, and only in pruned matrices",
            source=_entry_of(case),
            figure=f"at most {most:.3g} times",
        )


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
        f"zeros: at that density at most {most_sped_up(case):.3g}× is possible; the engine's best"
        f" plans give {best:.3g}×, within a factor of {width:.2g} either way"
        f" ({SURE:.0%} probability)"
    )
    off = claim.speed_up / best
    yield _judged(case, law, is_fine=off <= width, off=off, figure=f"{best:.3g} times")


def _judged(case: Case, law: str, *, is_fine: bool, off: float, figure: str) -> Finding:
    """By the engine: plausible, or by how much not."""
    source = f"the engine on {case.topology.name}"
    if is_fine:
        return found("plausible", law, source=source, figure=figure)
    return found("implausible", law, factor=off, source=source, figure=figure)


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
            f"capacity: {spoken(roof.graph.weight_bytes, 'B')} of weights fit in the memory of"
            f" {roof.chips} × {case.topology.chip.name}"
        )
        figure = f"{roof.fewest_chips} {'chip' if roof.fewest_chips == 1 else 'chips'}"
        yield found("plausible", law, source=cited(case.topology, CAPACITY), figure=figure)


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
        gain, law, width = _gain(claim, machines)
        claimed = cast(float, claim.advantage)
        if gain is None and lacks(machines[0], claim.metric) == "power":
            yield _frugal_enough(claim, machines)
        elif gain is None:
            yield found("no opinion", law)
        elif gain * max(CLOSE, width) < claimed:
            figure = f"{gain:.2g} times"
            yield found("implausible", law, factor=claimed / gain, source=ENGINE, figure=figure)
        else:
            if gain * CLOSE < claimed:
                law += _within_error(width)
            yield found("plausible", law, source=ENGINE, figure=f"{gain:.2g} times")


def _frugal_enough(claim: Claim, machines: Sequence[Topology]) -> Finding:
    """How many watts a chip of unknown power may draw for the advantage to be there, at the batch
    that allows it most."""
    ours, theirs = (Case(claim.replace(topology=one, sparsity=None)) for one in machines)
    claimed = cast(float, claim.advantage)
    rows = []
    for batch in (claim.batch_size,) if claim.batch_size else BATCHES:
        mine = ours.score(ours.dtypes[-1], batch, "tokens_per_s_per_chip")
        other = _metric_of(theirs, batch)
        if mine is not None and other is not None:
            watts = other / claimed * mine.tokens_per_s / mine.chips
            rows.append((watts, batch, other, mine))
    if not rows:
        return found("no opinion", _homeless([ours, theirs]))
    watts, batch, other, mine = max(rows, key=lambda row: row[0])
    least = min(row[0] for row in rows)
    what = "sample" if mine.step_s is not None else "token"
    law = (
        f"the power of {machines[0].name} is not published; at batch {batch} the best plan on"
        f" {machines[1].name} takes {other:.3g} J a {what}, and {machines[0].name} makes"
        f" {trimmed(mine.tokens_per_s / mine.chips)} {what}s/s {on_chips(mine)};"
        f" for {claimed:g} times fewer joules a chip may draw {spoken(watts, 'W')}"
    )
    if len(rows) > 1 and least < watts:
        law += f" ({spoken(least, 'W')} at the other batch)"
    most = spoken(watts, "W")
    tail = f"a chip draws at most {most}"
    return found("plausible if", law, tail=tail, source=ENGINE, figure=f"at most {most} a chip")


def frugality(case: Case) -> Iterator[Finding]:
    """What an advantage in joules over a machine takes of one that nobody knows: operations for
    each joule, beside the peak over the watts of every chip of the catalogue."""
    claim = case.claim
    if claim.topology is not None or claim.over is None or claim.advantage is None:
        return
    if claim.metric != "energy_per_token_j" or not (claim.model or claim.parameters):
        return
    theirs = Case(claim.replace(topology=claim.over, over=None))
    dtype = theirs.dtypes[-1]
    best, name = best_flop_per_j()
    rows = []
    for batch in (claim.batch_size,) if claim.batch_size else BATCHES:
        joules = _metric_of(theirs, batch)
        if joules is not None:
            flop = _flop_of_one(theirs, dtype)
            rows.append((flop / joules * claim.advantage / best, batch, joules, flop))
    if not rows:
        return
    share, batch, joules, flop = min(rows)
    needs = "; ".join(
        f"{spoken(work / each * claim.advantage, 'FLOP')}/J at batch {size}, where that plan takes"
        f" {each:.3g} J"
        for _, size, each, work in rows
    )
    law = (
        f"frugality: {claim.advantage:g} times fewer joules than the best plan on"
        f" {theirs.topology.name} need {needs}; the highest peak for each watt in the catalogue is"
        f" {spoken(best, 'FLOP')}/J ({name})"
    )
    figure = f"{share:.2g} of the best peak"
    if share > 1:
        yield found("implausible", law, factor=share, source=ENGINE, figure=figure)
        return
    tail = f"it reaches {share:.2g} of the best peak a watt at batch {batch}"
    yield found("plausible if", law, tail=tail, source=ENGINE, figure=figure)


def _flop_of_one(case: Case, dtype: Dtype) -> float:
    """Operations of a token, or of all steps of a sample. [FLOP]"""
    graph = case.graph(dtype)
    if graph.is_diffusion:
        return graph.steps * useful_work(graph, denoising(graph, 1))[0]
    return useful_work(graph, Step(1, 1, case.context_tokens, True))[0]


@functools.cache
def best_flop_per_j() -> tuple[float, str]:
    """The highest peak at 8 bit or more over a chip's watts, and whose it is. [FLOP/J]"""
    found_here = []
    for name in topology_names():
        machine = topology_of(name)
        watts = machine.power.chip_w
        wide = [peak.flop_per_s for peak in machine.chip.peaks if bytes_of(peak.dtype) >= 1]
        if watts and wide and machine.software.name not in ("claims", "claims-chain"):
            found_here.append((max(wide) / watts, machine.chip.name))
    return max(found_here)


def saved(case: Case) -> Iterator[Finding]:
    """What arithmetic beside a memory could keep from its wires: of all that the best plan moves
    there for a token of one user, the weights and caches; and what crosses fabrics all the same."""
    claim = case.claim
    if not claim.near_memory or not is_deployment(claim):
        return
    dtype = case.dtypes[-1]
    batch = claim.batch_size or 1
    score = case.score(dtype, batch, "tokens_per_s")
    if score is None:
        yield found(
            "no opinion", f"no plan of {case.graph(dtype).name} fits on {case.topology.name}"
        )
        return
    near, *others = score.traffic
    graph = case.graph(dtype)
    _, useful = useful_work(graph, Step(batch, batch, _mean_context(case), True))
    # The first token of each answer is its prompt's.
    later = 1 - 1 / case.workload(batch).output_tokens
    kept = min(1.0, later * useful / batch / near.decode_bytes)
    law = (
        f"traffic: for a token of {graph.name} in {dtype} at batch {batch}, the best plan on"
        f" {score.chips} × {case.topology.chip.name} moves {spoken(near.decode_bytes, 'B')} in or"
        f" out of {near.tier}; {kept:.1%} of these are weights and caches, the part that"
        " arithmetic inside the memory can save"
    )
    for one in others:
        law += f"; {spoken(one.decode_bytes, 'B')} cross {one.tier}"
    figure = f"{kept:.1%} of {spoken(near.decode_bytes, 'B')} a token"
    yield found("plausible", law, source=f"the engine on {case.topology.name}", figure=figure)


def _mean_context(case: Case) -> float:
    work = case.workload(1)
    return work.prompt_tokens + work.output_tokens / 2


def _to_lose(claim: Claim, end: float, machines: Sequence[Topology]) -> Iterator[Finding]:
    """An advantage that is said to end somewhere must be there well before."""
    gain, law, _ = _gain(claim.replace(parameters=end / 4), machines)
    lead = f"at a quarter of {parameters_of(end)} parameters, {law}"
    if gain is None:
        return
    if gain < 1:
        none = f"there is no advantage to lose: {lead}"
        yield found("implausible", none, factor=1 / gain, source=ENGINE, figure=f"{gain:.2g} times")
    else:
        yield found("plausible", lead, source=ENGINE, figure=f"{gain:.2g} times")


def _gain(claim: Claim, machines: Sequence[Topology]) -> tuple[float | None, str, float]:
    """The most over a few batches, each machine in its narrowest format, and in words; and within
    which factor it is sure."""
    metric = claim.metric
    for machine in machines:
        missing = lacks(machine, metric)
        if missing:
            return None, f"the {missing} of {machine.name} is not published", 1.0

    cases = [Case(claim.replace(topology=machine, sparsity=None)) for machine in machines]
    rows = []
    for batch in (claim.batch_size,) if claim.batch_size else BATCHES:
        ours, theirs = (_metric_of(case, batch) for case in cases)
        if ours is not None and theirs is not None:
            rows.append((theirs / ours, batch, ours, theirs))
    if not rows:
        return None, _homeless(cases), 1.0
    gain, batch, mine, other = max(rows)
    law = (
        f"with the best plans at batch {batch}, {metric} is {mine:.3g} on {machines[0].name} and"
        f" {other:.3g} on {machines[1].name}"
    )
    return gain, law, _width_of_both(cases, batch)


def _width_of_both(cases: Sequence[Case], batch_size: int) -> float:
    """The factor either way within which the quotient of two machines' figures lies: errors of unlike
    stacks are independent, those of one stack are the same."""
    if len({case.topology.software.name for case in cases}) == 1:
        return 1.0
    widths = []
    for case in cases:
        metric = case.claim.metric
        score = case.score(case.dtypes[-1], batch_size, metric)
        if score is not None:
            field = OF_SAMPLES.get(metric, metric) if score.step_s is not None else metric
            widths.append(math.log(_width(score, field)))
    return math.exp(math.hypot(*widths))


def _homeless(cases: Sequence[Case]) -> str:
    machines = [case.topology.name for case in cases if _metric_of(case, 1) is None]
    model = cases[0].graph(cases[0].dtypes[-1]).name
    return f"no plan of {model} fits on {' or '.join(machines)}"


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
        f"a token of {case.graph(dtype).name} in {dtype} takes {spoken(least[few], 's')} on"
        f" {few:,} chips and {spoken(least[many], 's')} on {many:,}: the time grows as the number"
        f" of chips to the power {exponent:.2f}; the claim says {claim.latency_exponent:g}"
    )
    apart = abs(claim.latency_exponent - exponent)
    figure = f"power {exponent:.2f} of the chips"
    yield _judged(case, law, is_fine=apart < 0.1, off=(many / few) ** apart, figure=figure)


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
        law = f"no plan of {graph.name} in {dtype} fits on {claim.chips} chips of {case.topology.name}"
        yield found("no opinion", law)
        return
    base = _base_of(claim.chips, fewest)
    row = scaling(
        graph, case.topology, chips=(claim.chips,), base_chips=base, time_limit_s=PATIENCE_S
    ).at(claim.chips)
    share = row.efficiency_fraction or 0.0
    law = (
        f"at 8 users a chip, {claim.chips} chips in {dtype} ({row.parallelism}) reach {share:.0%}"
        f" of {claim.chips / base:g} times the throughput of {counted(base, 'chip')}"
    )
    is_reached = share * CLOSE >= claim.efficiency_fraction
    off = ratio_of(share, claim.efficiency_fraction)
    figure = f"{share:.0%}"
    yield _judged(case, law, is_fine=is_reached != claim.denied, off=off, figure=figure)
