"""Prices of uniform plans, as arrays: of what the stages of each shape take in steps of every size
(`uniform_stages`), what comes in all plans of many shapes at once.

The same sums as `timing`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.cost import energy
from planner.machines.topology import PowerScope
from planner.pricing.schedule import others_in_flight
from planner.pricing.timing import interruptions_s, packing_of, waits_of
from planner.pricing.trailing import (
    Trail,
    behind_s,
    first_share,
    fresh_share,
    met_share,
    synchronised,
)
from planner.scoring.plans import chosen_power
from planner.space.uniform_shapes import Shape
from planner.space.uniform_stages import Layouts, StagePricer, Stages
from planner.workload import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

PLANS_AT_ONCE = 2**15
"""As many as leave the arrays of a sum in a processor's caches."""


class Priced(NamedTuple):
    """Figures of plans, each of shape (plans,), or (shapes, sizes, turns)."""

    ttft_s: Floats
    tpot_s: Floats
    tokens_per_s: Floats
    energy_per_token_j: Floats
    usd_per_million_tokens: Floats
    power_w: Floats
    """Of all chips held, as loaded."""
    idle_w: Floats
    """Of the same where nothing runs."""

    @classmethod
    def without_plans(cls, shape: tuple[int, ...]) -> "Priced":
        """What has no price takes for ever, and serves nobody."""
        figures = {name: np.full(shape, np.inf) for name in cls._fields}
        figures["tokens_per_s"] = np.zeros(shape)
        return cls(**figures)


class Pricer:
    """One graph on one machine, for steps of every size; of a prefill pool one size counts."""

    def __init__(self, layouts: Layouts, workload: Workload, sizes: Ints) -> None:
        self.stages = StagePricer(layouts, workload, sizes)

    def priced(
        self,
        shapes: Sequence[Shape],
        micro_batches: Ints,
        may_run: Bools,
        power_scope: PowerScope | None,
    ) -> Priced:
        """Plans of so many micro-batches, shape (shapes, turns), where they may run, (shapes,
        sizes, turns)."""
        grid = Priced.without_plans(may_run.shape)
        bill = _Bill(self.stages, power_scope)
        for chosen in _at_once(may_run):
            allowance.look()
            few = [shapes[number] for number in chosen]
            ranks = np.array([shape.split.attention for shape in few], dtype=float)
            owner, size, turn = np.nonzero(may_run[chosen])
            turns = micro_batches[chosen[owner], turn].astype(np.float64)
            stages = self.stages.stages(few)
            plans = _Plans(self.stages, stages, owner, size, turns, ranks[owner])
            fits = plans.fits
            place = chosen[owner[fits]], size[fits], turn[fits]
            for field, values in zip(grid, bill.priced(plans.taken(fits)), strict=True):
                field[place] = values
        return grid


def _at_once(may_run: Bools) -> Iterator[Ints]:
    """Numbers of shapes whose plans are priced together."""
    plans = may_run.sum(axis=(1, 2))
    numbers = np.flatnonzero(plans)
    group = np.cumsum(plans[numbers]) // PLANS_AT_ONCE
    yield from np.split(numbers, np.flatnonzero(np.diff(group)) + 1) if len(numbers) else ()


class _Plans:
    """Some plans, each of a shape, a size and a number of micro-batches; all figures of shape
    (plans,)."""

    def __init__(
        self,
        pricer: StagePricer,
        stages: Stages,
        owner: Ints,
        size: Ints,
        turns: Floats,
        ranks: Floats,
    ) -> None:
        self.pricer, self.at, self.stages = pricer, pricer.at, stages
        self.owner, self.size, self.turns, self.ranks = owner, size, turns, ranks
        self.batch = pricer.sequences[size] * turns
        self.in_flight = np.ceil(self.batch / ranks)
        is_pool = pricer.workload.phase == "prefill"
        # Of a prefill pool, as many as its engine holds at once (see `Schedule`).
        self.held = 0.0 * turns + self.at.held_sequences(1) if is_pool else self.in_flight

    def taken(self, chosen: Bools) -> "_Plans":
        """Some of them."""
        owner, size = self.owner[chosen], self.size[chosen]
        turns, ranks = self.turns[chosen], self.ranks[chosen]
        return _Plans(self.pricer, self.stages, owner, size, turns, ranks)

    @property
    def fits(self) -> Bools:
        """Which of them the machine has room for, and its software takes."""
        stages = self.stages
        needed = stages.held_bytes[:, self.owner, self.size]
        needed = needed + stages.sequence_bytes[:, self.owner] * self.held
        room = needed.max(axis=0) <= self.pricer.prices.usable_bytes
        taken = self.in_flight <= self.pricer.topology.software.most_sequences
        return np.asarray(room & taken)

    @property
    def chips(self) -> Floats:
        """That count for power and price."""
        stages, owner = self.stages, self.owner
        return np.asarray(stages.chips[owner] + stages.sequence_chips[owner] * self.held)

    def times(self) -> tuple[Floats, Floats, Floats]:
        """To a first token, between later ones, and of a cycle in which as many requests are
        served as are in flight. [s]"""
        at, stages, owner, size = self.at, self.stages, self.owner, self.size
        # Of the others in flight, each has its prompt between the tokens of a request.
        others = np.maximum(0.0, others_in_flight(at.workload, self.in_flight))
        decode = stages.decode_s[:, owner, size]
        prompt, more = stages.prompt_s[:, owner], stages.more_s[:, owner]
        turn = self.turns * decode.max(axis=0)

        met = at.prefill_passes * synchronised(at, others, self.ranks, self.turns)
        fresh = fresh_share(at, others, self.turns)
        lost = interruptions_s(at, met * (fresh * prompt + (1.0 - fresh) * more))
        first = first_share(at, others)
        queued = at.prefill_passes * others * (first * prompt + (1.0 - first) * more)
        others_s = np.asarray(queued).max(axis=0)
        slowest = prompt.max(axis=0)
        passing = stages.passing_s[owner, size] + self.pricer.latent_s

        waits = waits_of(
            at,
            pass_s=passing,
            turn_s=turn,
            interrupted_s=(self.turns * decode + lost).max(axis=0),
            trailing_s=self._trail(others, passing, turn, prompt, more).round_s,
            others_s=others_s,
            prompt_pass_s=stages.prompt_pass_s[owner],
            prompt_slowest_s=slowest,
            waiting_share=at.waiting_among(others_in_flight(at.workload, self.batch)),
        )
        joined, tpot = (np.asarray(one) for one in (waits.joined_s, waits.tpot_s))
        if at.workload.phase == "prefill":
            return joined, tpot, at.prefill_passes * slowest / self.ranks
        return joined, tpot, joined + at.later_tokens * tpot + at.late_share * others_s

    def _trail(
        self, others: Floats, passing: Floats, turn: Floats, prompt: Floats, more: Floats
    ) -> Trail:
        at, stages = self.at, self.stages
        met = np.asarray(met_share(at, others))
        held_up = stages.held_up_s[self.owner, self.size] + self.pricer.latent_s
        behind = behind_s(
            at,
            others,
            self.turns,
            chunk_s=prompt,
            more_s=more,
            quicker_s=stages.quicker_s[:, self.owner, self.size],
        )
        return Trail(
            met_share=met,
            passing_s=(1.0 - met) * passing,
            quiet_s=(1.0 - met) * turn,
            held_up_s=met * held_up,
            behind_s=np.asarray(behind).max(axis=0),
        )


class _Bill:
    """What plans are charged: watts and dollars, of all that is held."""

    def __init__(self, pricer: StagePricer, power_scope: PowerScope | None) -> None:
        self.at, self.prices = pricer.at, pricer.prices
        self.draws, _ = chosen_power(pricer.topology, power_scope)
        self.price = pricer.topology.price.usd_per_chip_hour
        self.output_tokens = pricer.workload.output_tokens
        tokens = pricer.verified * pricer.sequences
        steps = [
            self.at.decode._replace(tokens=verified, sequences=sequences)
            for verified, sequences in zip(tokens, pricer.sequences, strict=True)
        ]
        counts = self.prices.counts
        self.decode_s = counts @ self.prices.active_kinds_s(steps)
        """What the power of a step of each size follows, shape (sizes,)."""
        passes = self.prices.active_kinds_s([self.at.prefill, self.at.packed])
        self.one_s, self.full_s = (counts @ passes).tolist()

    def priced(self, plans: _Plans) -> Priced:
        """Times, rates and costs of some plans."""
        joined, tpot, cycle = plans.times()
        rate = plans.batch / cycle * self.output_tokens
        power = idle = joules = dollars = np.full(len(rate), math.inf)
        if self.draws:
            power = np.asarray(energy.energy_j(self.draws, plans.chips, self._active(plans, cycle)))
            idle = np.asarray(energy.energy_j(self.draws, plans.chips, 0.0))
            joules = power / rate
        if self.price is not None:
            dollars = np.asarray(energy.usd_per_million_tokens(plans.chips, self.price, rate))
        return Priced(joined, tpot, rate, joules, dollars, power, idle)

    def _active(self, plans: _Plans, cycle: Floats) -> Floats:
        """What the power of their chips follows, in a second of a cycle. [1]"""
        one, full = packing_of(self.at, plans.batch)
        prompts = self.at.prefill_passes * (one * self.one_s + full * self.full_s)
        decodes = self.at.rounds * plans.turns * self.decode_s[plans.size]
        return np.asarray((plans.batch * prompts + decodes) / cycle)
