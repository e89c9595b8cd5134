"""How the solver measures each field of `Score`: one row of `MEASURES` for each.

A box of plans is a range of batches, and a field is measured where it is best of them all, so that
its measure bounds every plan of the box: at the low end what grows with the batch, at the high end
what shrinks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from planner.answers.question import FIELDS
from planner.cost.energy import SECONDS_PER_HOUR, Draw, usd_per_million_tokens
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.price_list import PriceList
from planner.pricing.schedule import Schedule
from planner.pricing.timing import active_chip_s, useful_of_cycle
from planner.solver.chain.problem import Line, Measure
from planner.space.boxes import Box
from planner.space.measures import Clock, Peak, Sum, measure_of
from planner.workload import Workload

WHOLE = ("chips", "tokens_per_s_per_chip")
"""Fields that count chips whole, also where price and power count the share that is filled."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What the fields are measured by: a model, a machine and its traffic, and their prices."""

    graph: ModelGraph
    topology: Topology
    workload: Workload
    prices: PriceList
    draws: tuple[Draw, ...]
    """Bounds on what a chip draws, of which the least counts; () where it is not known."""
    averages: bool
    """Whether the power that is asked about follows the plan."""

    @property
    def hourly_usd(self) -> float:
        """Price of a chip for an hour; 0 where it is not known."""
        return self.topology.price.usd_per_chip_hour or 0.0

    def per_chip(self) -> dict[str, float]:
        """Fields that count the chips held, and what each adds."""
        watts = self.draws[0].held_w if self.draws else 0.0
        each = {"chips": 1.0, "power_w": watts, "usd_per_hour": self.hourly_usd}
        if self.workload.requests_per_s is not None:
            tokens_per_s = self.workload.requests_per_s * self.workload.output_tokens
            each["energy_per_token_j"] = watts / tokens_per_s
            usd = usd_per_million_tokens(1.0, self.hourly_usd, tokens_per_s)
            each["usd_per_million_tokens"] = float(usd)
            each["tokens_per_s_per_chip"] = 1.0 / tokens_per_s
        return each

    def is_filled(self, name: str) -> bool:
        """Whether a field counts of each chip the share that is filled, not whole chips."""
        return self.topology.divisible and name not in WHOLE


@dataclass(frozen=True, slots=True)
class Corner:
    """Where in a box a field is measured."""

    basis: Basis
    box: Box
    ends: tuple[Schedule, ...]
    """The passes at the low and at the high end of the box."""
    passes: int
    """The end whose passes count."""
    turns: int
    """The end whose turns of all passes count."""
    tokens: float
    """That a replica gives in a cycle."""

    @property
    def fixed(self) -> bool:
        """Whether the workload fixes the batch."""
        return self.box.batch_size is not None

    @property
    def clock(self) -> Clock:
        """Of the requests of one replica."""
        rate = self.basis.workload.requests_per_s
        each = 0.0 if rate is None else rate / self.box.replicas
        waiting = min(at.waiting_share for at in self.ends)
        return Clock(self.ends[self.passes], self.passes, self.turns, each, waiting)

    def held(self, name: str) -> Sum:
        """What a field counts of the chips held."""
        return Sum.FILL if self.basis.is_filled(name) else Sum.CHIPS

    def counted(self, name: str) -> Measure:
        """A field that follows from the chips held alone."""
        each = self.basis.per_chip()[name]
        return measure_of(sums={self.held(name): 1.0}, scale=each * self.box.replicas)

    def drawn(self, held: Measure, at: Schedule) -> Measure:
        """Joules of what is held, from its chip-seconds; its activity is the same for all plans."""
        draws = self.basis.draws
        if len(draws) == 1:
            return replace(held, scale=held.scale * draws[0].held_w)
        active = held.scale * active_chip_s(self.basis.prices, at)
        lines = tuple(Line(draw.held_w, draw.active_w * active) for draw in draws)
        return replace(held, lines=lines)

    @property
    def useful(self) -> tuple[float, float]:
        """Chip-seconds that the useful operations and the useful bytes of a cycle need at the
        peak."""
        at = self.ends[0] if self.fixed else self.ends[1]
        operations, useful_bytes = useful_of_cycle(self.basis.graph, at)
        chip = self.basis.topology.chip
        flop_per_s = peak_flop_per_s(self.basis.graph, self.basis.topology)
        return operations / flop_per_s, useful_bytes / chip.memory[0].bandwidth_bytes_per_s


def corner_of(name: str, basis: Basis, box: Box, ends: tuple[Schedule, ...]) -> Corner:
    """The corner of a box where a field is best."""
    output_tokens = basis.workload.output_tokens
    if box.batch_size is not None:
        # Micro-batches alone are open: a pass is shortest at the low end, where they are many and
        # small, a turn of all of them at the high end.
        taken = basis.workload.taken_share * box.batch_size
        tokens = taken * output_tokens / box.replicas
        return Corner(basis, box, ends, 0, 1, tokens)
    turns = 0 if FIELDS[name].end == "low" else 1
    # Where a replica holds less than the high end's micro-batches would take, a pass is certain to
    # take as long as at the low end, and no longer.
    full = ends[1].sequences == math.prod(box.corners[1])
    passes = 1 if turns and full else 0
    return Corner(basis, box, ends, passes, turns, ends[turns].sequences * output_tokens)


# ── The fields ───────────────────────────────────────────────────────────────────────────────────


def _ttft(corner: Corner) -> Measure:
    return corner.clock.time(0, waited=corner.basis.workload.cycles_waited)


def _tpot(corner: Corner) -> Measure:
    each = 1.0 / corner.ends[corner.passes].tokens_per_pass
    return measure_of(larger=(corner.clock.turns(each),))


def _request(corner: Corner) -> Measure:
    waited = corner.basis.workload.cycles_waited
    return corner.clock.time(corner.ends[corner.passes].rounds, waited=waited)


def _tokens_per_s(corner: Corner) -> Measure:
    return corner.clock.cycle(scale=1.0 / (corner.tokens * corner.box.replicas))


def _requests_per_s(corner: Corner) -> Measure:
    requests = corner.tokens / corner.basis.workload.output_tokens
    return corner.clock.cycle(scale=1.0 / (requests * corner.box.replicas))


def _tokens_per_s_per_chip(corner: Corner) -> Measure:
    if corner.basis.workload.requests_per_s is not None:
        return corner.counted("tokens_per_s_per_chip")
    return corner.clock.cycle(held=Sum.CHIPS, scale=1.0 / corner.tokens)


def _energy_per_token(corner: Corner) -> Measure:
    name = "energy_per_token_j"
    if corner.basis.workload.requests_per_s is not None:
        return corner.counted(name)
    held = corner.clock.cycle(held=corner.held(name), scale=1.0 / corner.tokens)
    return corner.drawn(held, corner.ends[corner.turns])


def _usd_per_million_tokens(corner: Corner) -> Measure:
    name = "usd_per_million_tokens"
    if corner.basis.workload.requests_per_s is not None:
        return corner.counted(name)
    scale = 1e6 * corner.basis.hourly_usd / SECONDS_PER_HOUR / corner.tokens
    return corner.clock.cycle(held=corner.held(name), scale=scale)


def _usd_per_hour(corner: Corner) -> Measure:
    return corner.counted("usd_per_hour")


def _power(corner: Corner) -> Measure:
    """The average over a cycle, where that follows the plan; of several batches at least what is
    drawn idle."""
    follows = corner.basis.averages and corner.box.single
    if corner.basis.workload.requests_per_s is not None or not follows:
        return corner.counted("power_w")
    clock = corner.clock
    held = clock.cycle(held=corner.held("power_w"), scale=float(corner.box.replicas))
    return replace(corner.drawn(held, clock.at), averaged=True)


def _chips(corner: Corner) -> Measure:
    return corner.counted("chips")


def _needed_bytes(corner: Corner) -> Measure:
    return measure_of(peaks={Peak.NEEDED: 1.0})


def _mfu(corner: Corner) -> Measure:
    operations_s, _ = corner.useful
    return corner.clock.cycle(held=Sum.CHIPS, scale=1.0 / operations_s)


def _mbu(corner: Corner) -> Measure:
    # Useful bytes do not grow in step with the time of a cycle, for weights are read once a pass:
    # of an open batch the shortest cycle, at the low end, goes with the most bytes, at the high.
    _, bytes_s = corner.useful
    low = Clock(corner.ends[0], 0, corner.turns if corner.fixed else 0, 0.0)
    return low.cycle(held=Sum.CHIPS, scale=1.0 / bytes_s)


MEASURES: dict[str, Callable[[Corner], Measure]] = {
    "ttft_s": _ttft,
    "tpot_s": _tpot,
    "request_s": _request,
    "tokens_per_s": _tokens_per_s,
    "requests_per_s": _requests_per_s,
    "tokens_per_s_per_chip": _tokens_per_s_per_chip,
    "tokens_per_s_per_user": _tpot,
    "energy_per_token_j": _energy_per_token,
    "usd_per_million_tokens": _usd_per_million_tokens,
    "usd_per_hour": _usd_per_hour,
    "power_w": _power,
    "chips": _chips,
    "memory_headroom_bytes": _needed_bytes,
    "mfu_fraction": _mfu,
    "mbu_fraction": _mbu,
}
"""Each field of `question.FIELDS`, as the solver minimises it: a rate as the time of one token."""


def measured(name: str, basis: Basis, box: Box, ends: tuple[Schedule, ...]) -> Measure:
    """A field of `Score` as a measure of sums and peaks, where the box has it best."""
    return MEASURES[name](corner_of(name, basis, box, ends))
