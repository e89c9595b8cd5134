"""`Deployment`: one plan in service, and what check, queue and score ask of it."""

from collections.abc import Sequence
from functools import cached_property

from planner.plan import Plan
from planner.pricing.holdings import Ledger, StageHoldings, most_fitting
from planner.pricing.schedule import Schedule
from planner.pricing.served import Served
from planner.pricing.timing import Timing, timing_of


class Deployment:
    """A plan whose every stage serves one and the same workload, on chips of its own kind;
    ledgers and timings are made once for each number of sequences."""

    def __init__(self, plan: Plan, each: Sequence[Served]) -> None:
        self.plan = plan
        self.each = each
        """What each stage is made of; the first says how prompts are cut and interleaved."""
        self._ledgers: dict[int, tuple[Ledger, ...]] = {}
        self._timings: dict[int, Timing] = {}

    @property
    def served(self) -> Served:
        return self.each[0]

    def cut_into(self, micro_batches: int) -> "Deployment":
        """The same with other micro-batches."""
        return Deployment(self.plan.replace(micro_batches=micro_batches), self.each)

    def schedule(self, batch_size: int) -> Schedule:
        """The passes of its busiest replica with so many sequences in all of them."""
        return self.served.schedule(batch_size, self.plan.replicas, self.plan.micro_batches)

    @cached_property
    def _holdings(self) -> list[StageHoldings]:
        stages = zip(self.each, self.plan.stages, strict=True)
        return [StageHoldings(served, stage) for served, stage in stages]

    def ledgers(self, at: Schedule) -> tuple[Ledger, ...]:
        """What the busiest chip of each stage holds under a schedule of its own."""
        if at.sequences not in self._ledgers:
            self._ledgers[at.sequences] = tuple(held.ledger(at) for held in self._holdings)
        return self._ledgers[at.sequences]

    def timing(self, at: Schedule) -> Timing:
        """How its passes add up under a schedule of its own."""
        if at.sequences not in self._timings:
            self._timings[at.sequences] = self._timed(at)
        return self._timings[at.sequences]

    def _timed(self, at: Schedule) -> Timing:
        return timing_of(self.served.prices, self.plan, at)

    @cached_property
    def most_sequences(self) -> int:
        """The most sequences in one replica that every stage can hold, and its software takes on
        each rank; 0 where not even one fits."""

        def headroom_bytes(sequences: int) -> float:
            ledgers = self.ledgers(self.schedule(sequences * self.plan.replicas))
            return min(ledger.headroom_bytes for ledger in ledgers)

        return most_fitting(headroom_bytes, self.most_taken)

    @property
    def most_taken(self) -> int:
        """The most sequences in one replica that its software takes, whether they fit or not."""
        stages = zip(self.each, self.plan.stages, strict=True)
        return min(
            served.software.most_sequences * stage.attention_parallel for served, stage in stages
        )
