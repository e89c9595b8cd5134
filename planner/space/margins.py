"""By how much what would be measured may be worse than a price, with the probability that is asked
for: of plans of a form, whatever their cut and their number of replicas."""

from dataclasses import dataclass, field

from planner.plan import ChipRange, Plan, Stage
from planner.pricing.loads import PERCENTILES
from planner.scoring.score import factor_of
from planner.scoring.vouching import Setting, setting_of, vouched_setting
from planner.space.candidates import Candidates
from planner.space.forms import Form
from planner.space.layout import even_cut

Factors = dict[str, float]
"""By field, of which percentiles have that of their mean; what is counted has none."""
NONE: Factors = {}


@dataclass
class Margins:
    """Of one question."""

    candidates: Candidates
    _settings: dict[Form, Setting] = field(default_factory=dict)
    _known: dict[Setting, Factors] = field(default_factory=dict)

    def at(self, form: Form, sequences: float) -> Factors:
        """Of plans with so many in flight in a replica; nothing where the price itself is asked
        for."""
        if self.candidates.question.sure is None:
            return NONE
        setting = self._setting(form)._replace(sequences=max(1.0, sequences))
        known = self._known.get(setting)
        if known is None:
            known = self._known[setting] = self._factors(setting)
        return known

    def least(self, form: Form, low: float, high: float) -> Factors:
        """No more than those of any number between two: outside of what was measured they only
        grow with the distance, so of a range that has a part in it those of that part are
        least."""
        if self.candidates.question.sure is None:
            return NONE
        inside = [max(low, min(high, end)) for end in self._measured]
        each = [self.at(form, one) for one in {low, high, *inside}]
        return {name: min(one[name] for one in each) for name in each[0]}

    @property
    def _measured(self) -> tuple[float, ...]:
        """Ends of the ranges of sequences in flight that were measured on the stack."""
        covers = self.candidates.topology.software.covers
        return tuple(float(end) for one in covers for end in one.sequences)

    def _setting(self, form: Form) -> Setting:
        if form not in self._settings:
            asked = self.candidates
            plan = self._plan(form)
            self._settings[form] = setting_of(plan, asked.graph, asked.topology, asked.workload, 1)
        return self._settings[form]

    def _plan(self, form: Form) -> Plan:
        """Any plan of a form."""
        graph = self.candidates.graph
        inner = form.stages <= len(graph.inner_positions)
        layers = len(graph.layers)
        borders = even_cut(graph, form.stages) if inner else range(form.stages + 1)
        ends = [*list(borders)[:-1], layers]
        stages = tuple(
            Stage(
                layers=graph.names[tail:head],
                groups=(ChipRange(first=start, count=form.split.chips),),
                tensor_parallel=form.split.tensor,
                expert_parallel=form.split.expert,
                sequence_parallel=form.split.sequence,
            )
            for tail, head, start in zip(ends[:-1], ends[1:], form.starts, strict=True)
        )
        return Plan(stages=stages)

    def _factors(self, setting: Setting) -> Factors:
        sure = self.candidates.question.sure
        assert sure is not None
        residuals = vouched_setting(setting, self.candidates.topology.software).residuals
        factors = {one.field: factor_of(residuals, one.field, 2 * sure - 1) for one in residuals}
        # Where a rate says how much is served, that is counted.
        if self.candidates.workload.requests_per_s is not None:
            factors.pop("tokens_per_s", None)
        return factors | {name: factors[one.field] for name, one in PERCENTILES.items()}
