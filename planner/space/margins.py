"""By how much what would be measured may be worse than a price, with the probability that is asked
for: of plans whose stages have one
split, whatever their cut and their number of replicas."""

import itertools
from dataclasses import dataclass, field
from functools import cached_property

from planner.plan import ChipRange, Plan, Stage
from planner.pricing.loads import PERCENTILES
from planner.pricing.price_list import Split
from planner.scoring.score import COUNTED_AT_A_RATE, factor_of
from planner.scoring.vouching import NEAR_LOAD, Setting, setting_of, vouched_setting
from planner.space.candidates import Candidates

Factors = dict[str, float]
"""By field, of which percentiles have that of their mean; what is counted has none."""
NONE: Factors = {}


@dataclass
class Margins:
    """Of one question."""

    candidates: Candidates
    _settings: dict[tuple[Split, int], Setting] = field(default_factory=dict)
    _known: dict[Setting, Factors] = field(default_factory=dict)

    def at(self, split: Split, stages: int, sequences: float) -> Factors:
        """Of plans with so many in flight in a replica; nothing where the price itself is asked
        for."""
        if self.candidates.question.sure is None:
            return NONE
        setting = self._setting(split, stages)._replace(sequences=max(1.0, sequences))
        known = self._known.get(setting)
        if known is None:
            known = self._known[setting] = self._factors(setting)
        return known

    def least(self, split: Split, stages: int, low: float, high: float) -> Factors:
        """No more than those of any number between two: outside of what was measured they only
        grow with the distance, so of a range that has a part in it those of that part are
        least."""
        if self.candidates.question.sure is None:
            return NONE
        inside = [max(low, min(high, end)) for end in self.edges]
        each = [self.at(split, stages, one) for one in {low, high, *inside}]
        return {name: min(one[name] for one in each) for name in each[0]}

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """Numbers in flight at which a margin may change: ends of what was measured on the stack,
        and of what is near that, ascending."""
        found = set()
        for one in self.candidates.topology.software.covers:
            least, most = one.sequences
            found |= {least / NEAR_LOAD, least / 1.02, least, most, most * 1.02, most * NEAR_LOAD}
        return tuple(sorted(found))

    def _setting(self, split: Split, stages: int) -> Setting:
        key = split, stages
        if key not in self._settings:
            asked = self.candidates
            plan = self._plan(split, stages)
            self._settings[key] = setting_of(plan, asked.graph, asked.topology, asked.workload, 1)
        return self._settings[key]

    def _plan(self, split: Split, stages: int) -> Plan:
        """Any plan of so many stages, which all have one split."""
        names = self.candidates.graph.names
        borders = [*range(stages), len(names)]
        return Plan(
            stages=tuple(
                Stage(
                    layers=names[tail:head],
                    groups=(ChipRange(first=number * split.chips, count=split.chips),),
                    tensor_parallel=split.tensor,
                    expert_parallel=split.expert,
                    sequence_parallel=split.sequence,
                )
                for number, (tail, head) in enumerate(itertools.pairwise(borders))
            )
        )

    def _factors(self, setting: Setting) -> Factors:
        sure = self.candidates.question.sure
        assert sure is not None
        residuals = vouched_setting(setting, self.candidates.topology.software).residuals
        factors = {one.field: factor_of(residuals, one.field, 2 * sure - 1) for one in residuals}
        # Where a rate says how much is served, that is counted.
        if self.candidates.workload.is_stream:
            factors = {name: one for name, one in factors.items() if name not in COUNTED_AT_A_RATE}
        return factors | {name: factors[one.field] for name, one in PERCENTILES.items()}
