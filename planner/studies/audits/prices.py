"""What the engine says of a claim that no law forbids: from which batch on its best plan reaches
the figure, if any does."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, cast

from planner.errors import InfeasibleError, InputError
from planner.machines.topology import Topology
from planner.models.dtypes import Dtype, bytes_of, stored_bytes_of
from planner.models.graph import ENDS
from planner.models.pruning import pattern_of
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.degrees import uniform_plan
from planner.studies.advantage.crossovers import ONE_REQUEST
from planner.studies.audits.cases import Case, lacks, topology_of
from planner.studies.audits.claims import Claim
from planner.studies.audits.findings import Finding, found
from planner.studies.audits.laws import CLOSE, cited, is_deployment, ratio_of
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


class Asked(NamedTuple):
    """A claimed figure as a field of `Score`, and which way is better."""

    value: float
    field: str
    goal: str
    most: bool


def asked_of(case: Case) -> Iterator[Asked]:
    """The figures of a claim that plans have too."""
    claim = case.claim
    joules = claim.energy_per_token_j or (
        1 / claim.tokens_per_s_per_w if claim.tokens_per_s_per_w else None
    )
    if claim.tokens_per_s:
        yield Asked(claim.tokens_per_s, "tokens_per_s", "tokens_per_s", True)
    if claim.tokens_per_s_per_user:
        yield Asked(claim.tokens_per_s_per_user, "tokens_per_s_per_user", "tpot_s", True)
    if joules:
        yield Asked(joules, "energy_per_token_j", "energy_per_token_j", False)
    if claim.usd_per_million_tokens:
        yield Asked(
            claim.usd_per_million_tokens, "usd_per_million_tokens", "usd_per_million_tokens", False
        )
    if claim.utilisation_fraction:
        yield Asked(claim.utilisation_fraction, "utilisation", "tokens_per_s", True)
    if claim.bubble_fraction:
        yield Asked(claim.bubble_fraction, "bubble_fraction", "tokens_per_s", False)


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
        tried = [_reached(case, dtype, asked) for dtype in dtypes]
        firm = next((one for one, reached in tried if reached), None)
        near = next((one for one, _ in tried if one.verdict.startswith("plausible")), None)
        yield (
            firm
            or _as_share(case, asked)
            or near
            or min((one for one, _ in tried), key=lambda one: one.factor or math.inf)
        )


def _as_share(case: Case, asked: Asked) -> Finding | None:
    """Whether a rate said to be one chip's is one chip's share of what several reach; None where
    it is not."""
    claim = case.claim
    if (
        asked.field not in ("tokens_per_s", "energy_per_token_j")
        or claim.chips is None
        or claim.batch_size is not None
    ):
        return None
    dtype = case.dtypes[-1]
    for times in (2, 4, 8):
        share = (
            asked._replace(value=asked.value * times) if asked.field == "tokens_per_s" else asked
        )
        finding, reached = _reached(case, dtype, share, times)
        if reached:
            law = f"not on {claim.chips} alone, only as a share of {claim.chips * times}: {finding.law}"
            tail = f">= {finding.least_batch or 1} in {dtype}, as a share of {claim.chips * times} chips"
            return found(
                "plausible at batch",
                law,
                tail=tail,
                source=finding.source,
                least_batch=finding.least_batch,
            )
    return None


def _reached(case: Case, dtype: Dtype, asked: Asked, times: int = 1) -> tuple[Finding, bool]:
    """The finding in one format; and whether a plan reaches the figure, and does not merely come
    as near as prices err."""

    def within(score: Score) -> bool:
        value = measured(score, asked)
        return value is not None and (value >= asked.value if asked.most else value <= asked.value)

    batch, tried = case.least_batch(dtype, asked.goal, within, times)
    if not tried:
        return found(
            "no opinion", f"{case.graph(dtype).name} in {dtype} has no plan on {case.topology.name}"
        ), False
    ladder = ", ".join(
        f"{_said(measured(score, asked), asked)} at batch {size}" for size, score in _ends(tried)
    )
    law = f"the best plan on {tried[-1][1].chips} × {case.topology.chip.name} in {dtype}: {ladder}"
    values = [
        (value, size, score)
        for size, score in tried
        if (value := measured(score, asked)) is not None
    ]
    best, at, score = (max if asked.most else min)(values, key=lambda one: one[0])
    width = _width(score, "mbu_fraction" if asked.field == "utilisation" else asked.field)
    off = asked.value / best if asked.most else best / asked.value
    source = f"the engine on {case.topology.name}"
    if batch is None and off > width:
        ratio = (
            None if asked.field == "bubble_fraction" else off
        )  # of a share next to nothing it says nothing
        return found("implausible", law, factor=ratio, source=source), False
    if batch is None:
        law += f"; the claim lies within the engine's error there ({width:.2g}× at {SURE:.0%})"
    least = batch or at
    if least == 1 or case.claim.batch_size is not None or asked.field == "tokens_per_s_per_user":
        return found("plausible", law, source=source), batch is not None
    tail = f">= {least} in {dtype}"
    return found(
        "plausible at batch", law, tail=tail, source=source, least_batch=least
    ), batch is not None


def measured(score: Score, asked: Asked) -> float | None:
    """The field, of a score."""
    if asked.field == "utilisation":
        return max(score.mfu_fraction, score.mbu_fraction)
    return cast(float | None, getattr(score, asked.field))


def _said(value: float | None, asked: Asked) -> str:
    units = {
        "energy_per_token_j": " J",
        "usd_per_million_tokens": " USD/M",
        "utilisation": "",
        "bubble_fraction": "",
    }
    return (
        "not known" if value is None else f"{trimmed(value)}{units.get(asked.field, ' tokens/s')}"
    )


def _ends(tried: tuple[tuple[int, Score], ...]) -> tuple[tuple[int, Score], ...]:
    """The first and the last."""
    return tried if len(tried) == 1 else (tried[0], tried[-1])


def zeros(case: Case) -> Iterator[Finding]:
    """What pruned weights bring: arithmetic that a chip skips, bytes that need not be read."""
    claim = case.claim
    if (
        claim.sparsity is None
        or claim.topology is None
        or not (claim.speed_up or claim.utilisation_fraction)
    ):
        return
    pattern, density = (
        pattern_of(claim.sparsity) if claim.sparsity != "unstructured" else ("unstructured", None)
    )
    chip, source = case.topology.chip, f"the catalogue's entry of {case.topology.chip.name}"
    skips = pattern in chip.skips
    claimed = claim.utilisation_fraction
    if claimed is not None and density is not None and ratio_of(claimed, density) <= 1.001:
        yield found(
            "wrong scope",
            f"zeros: {density:.0%} is the share of weights that {pattern} keeps, not a utilisation",
            source=source,
        )
    elif claimed is not None and not skips:
        law = (
            f"zeros: nothing is published that {chip.name} skips, so of its work at most the density of the weights is useful:"
            f" {claimed:.0%} takes weights of which {claimed:.0%} are left"
        )
        yield found(
            "implausible", law, source=source, factor=None if density is None else claimed / density
        )
    if claim.speed_up is None:
        return
    most = most_sped_up(case)
    law = f"zeros: at a density of {density:.0%} skipped arithmetic or saved bytes bring at most {most:.3g}×"
    if claim.speed_up > CLOSE * most:
        yield found("impossible", law, factor=claim.speed_up / most, source=source)
    elif not is_deployment(claim):
        yield found("plausible", f"{law}, to pruned matrices alone", source=source)


def most_sped_up(case: Case) -> float:
    """By zeros: 1 / density where the chip skips them, else what bytes they save."""
    pattern, density = pattern_of(cast(str, case.claim.sparsity))
    saved = max(bytes_of(one) / stored_bytes_of(one, density, pattern) for one in case.dtypes)
    return max(1 / density if pattern in case.topology.chip.skips else 1.0, saved)


def sparse_speed(case: Case) -> Iterator[Finding]:
    """What the engine makes of a whole model's speed-up: throughput of its best plan pruned over
    that dense."""
    claim = case.claim
    if claim.speed_up is None or claim.sparsity is None or not is_deployment(claim):
        return
    dense, rows = Case(claim.replace(sparsity=None)), []
    for batch in BATCHES:
        pair = [one.score(case.dtypes[-1], batch, "tokens_per_s") for one in (case, dense)]
        if pair[0] is not None and pair[1] is not None:
            rows.append(
                (pair[0].tokens_per_s / pair[1].tokens_per_s, _width(pair[0], "tokens_per_s"))
            )
    if rows:
        best, width = max(rows)
        law = f"zeros: at most {most_sped_up(case):.3g}× at that density; the engine prices {best:.3g}× in one format"
        off = claim.speed_up / best
        fine = off <= width
        law += f"; its error there is {width:.2g}× at {SURE:.0%}"
        source = f"the engine on {case.topology.name}"
        yield found(
            "plausible" if fine else "implausible", law, factor=None if fine else off, source=source
        )


def _width(score: Score, field: str) -> float:
    """The factor either way within which a field lies with the probability SURE."""
    low, high = score.interval(field, SURE)
    return math.sqrt(high / low) if low else 1.0


def residence(case: Case) -> Iterator[Finding]:
    """That weights stay in memory is a matter of capacity alone."""
    claim = case.claim
    if claim.resident and is_deployment(claim):
        roof = case.roof(case.dtypes[0], claim.chips)
        if roof.fewest_chips <= roof.chips:
            law = f"capacity: {spoken(roof.graph.weight_bytes, 'B')} of weights fit {roof.chips} × {case.topology.chip.name}"
            yield found(
                "plausible", law, source=cited(case.topology, "chip.memory[0].capacity_bytes")
            )


def advantage(case: Case) -> Iterator[Finding]:
    """How much better one machine's best plan is than another's, at the batch that suits the
    claim best."""
    claim = case.claim
    if (
        claim.over is None
        or claim.topology is None
        or not (claim.model or claim.parameters or claim.ends_at_parameters)
    ):
        return
    if claim.ends_at_parameters is not None:
        gain, law = _gain(
            claim.replace(parameters=claim.ends_at_parameters / 4),
            (case.topology, topology_of(claim.over)),
        )
        lead = f"at a quarter of {spoken(claim.ends_at_parameters, '')} parameters, {law}"
        if gain is not None and gain < 1:
            yield found(
                "implausible",
                f"there is no advantage to lose: {lead}",
                factor=1 / gain,
                source="the engine",
            )
        elif gain is not None:
            yield found("plausible", lead, source="the engine")
        return
    gain, law = _gain(claim, (case.topology, topology_of(claim.over)))
    if gain is None:
        yield found("no opinion", law)
    elif gain * CLOSE < cast(float, claim.advantage):
        yield found(
            "implausible", law, factor=cast(float, claim.advantage) / gain, source="the engine"
        )
    else:
        yield found("plausible", law, source="the engine")


def _gain(claim: Claim, machines: Sequence[Topology]) -> tuple[float | None, str]:
    """The most over a few batches, each machine in its narrowest format, and in words."""
    metric, rows = claim.metric, []
    names = f"{metric} of {machines[0].name} and {machines[1].name}"
    cases = [Case(claim.replace(topology=machine, sparsity=None)) for machine in machines]
    for case in cases:
        if lacks(case.topology, metric):
            return (
                None,
                f"the {lacks(case.topology, metric)} of {case.topology.name} is not published",
            )
    for batch in (claim.batch_size,) if claim.batch_size else BATCHES:
        ours, theirs = (case.score(case.dtypes[-1], batch, metric) for case in cases)
        if ours is not None and theirs is not None:
            rows.append(
                (
                    getattr(theirs, metric) / getattr(ours, metric),
                    batch,
                    getattr(ours, metric),
                    getattr(theirs, metric),
                )
            )
    if not rows:
        homeless = [
            case.topology.name for case in cases if case.score(case.dtypes[-1], 1, metric) is None
        ]
        return (
            None,
            f"{cases[0].graph(cases[0].dtypes[-1]).name} has no plan on {' and '.join(homeless)}",
        )
    gain, batch, mine, other = max(rows)
    return gain, f"{names}, best plans at batch {batch}: {mine:.3g} and {other:.3g}"


def trend(case: Case) -> Iterator[Finding]:
    """With which power of the chips the time per token grows, over uniform plans of more and
    more chips."""
    claim = case.claim
    if claim.latency_exponent is None or not is_deployment(claim):
        return
    dtype, topology = case.dtypes[-1], case.topology.replace(chips=case.topology.limit_chips)
    graph, work = case.graph(dtype), case.workload(claim.batch_size or 1)
    least: dict[int, float] = {}
    deepest = sum(layer.kind not in ENDS for layer in graph.layers)
    for tensor in (2**n for n in range(7)):
        for pipeline in {deepest, *(2**n for n in range(deepest.bit_length()))}:
            if not case.roof(dtype).fewest_chips <= tensor * pipeline <= topology.chips:
                continue
            with suppress(InfeasibleError, InputError):
                plan = uniform_plan(
                    graph, topology, tensor_parallel=tensor, pipeline_parallel=pipeline
                )
                tpot_s = score_plan(plan, graph, topology, work).tpot_s
                least[plan.chips] = min(tpot_s, least.get(plan.chips, math.inf))
    if len(least) < 2:
        return
    few, many = min(least), max(least)
    exponent = math.log(least[many] / least[few]) / math.log(many / few)
    law = (
        f"a token of {graph.name} in {dtype} takes {spoken(least[few], 's')} on {few} chips and {spoken(least[many], 's')} on"
        f" {many}: it grows with the power {exponent:.2f} of the chips, and {claim.latency_exponent:g} is claimed"
    )
    off = (many / few) ** abs(claim.latency_exponent - exponent)
    fine = abs(claim.latency_exponent - exponent) < 0.1
    yield found(
        "plausible" if fine else "implausible",
        law,
        factor=None if fine else off,
        source=f"the engine on {topology.name}",
    )


def efficiency(case: Case) -> Iterator[Finding]:
    """Speed on so many chips over that many times the fewest's, by the engine."""
    claim = case.claim
    if claim.efficiency_fraction is None or claim.chips is None or not is_deployment(claim):
        return
    dtype = case.dtypes[-1]
    graph, halves = (
        case.graph(dtype),
        [claim.chips // 2**n for n in range(1, 12) if claim.chips % 2**n == 0],
    )
    fewest = fewest_of(graph, case.topology, ONE_REQUEST.replace(batch_size=None))
    if fewest is None or fewest > claim.chips:
        yield found(
            "no opinion",
            f"{graph.name} in {dtype} has no plan on {claim.chips} × {case.topology.name}",
        )
        return
    base = min((count for count in halves if count >= fewest), default=fewest)
    row = scaling(
        graph, case.topology, chips=(claim.chips,), base_chips=base, time_limit_s=PATIENCE_S
    ).at(claim.chips)
    share = row.efficiency_fraction or 0.0
    law = (
        f"throughput of {claim.chips} chips in {dtype} is {share:.0%} of that in proportion to {base}, by {row.parallelism},"
        " at 8 users a chip"
    )
    fine = (share * CLOSE >= claim.efficiency_fraction) != claim.denied
    off = None if fine else ratio_of(share, claim.efficiency_fraction)
    yield found(
        "plausible" if fine else "implausible",
        law,
        factor=off,
        source=f"the engine on {case.topology.name}",
    )
