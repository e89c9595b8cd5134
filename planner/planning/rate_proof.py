"""That no plan keeps its limits at a rate that would better a claim: shown anew, form by form, with
nothing of the search.

A form is worth more than the claim only beyond some rate. There, the least that its times can be by
even cuts break a limit, or the least of all cuts that trying loads allows (`engine_proof`).
"""

import time

import numpy as np

from planner.planning.engine_proof import Loads
from planner.pricing.loads import Load
from planner.space.candidates import Candidates
from planner.space.engine_space import EngineSpace, Figures
from planner.space.forms import Form, forms_of, parts
from planner.space.streams import Streams

CLOSE = 1e-6
"""Relative: rates closer than this are one."""


class RateProof:
    """That no plan has a canonical value below a claim, or how far that can be shown."""

    def __init__(self, candidates: Candidates, claim: float) -> None:
        self.space = EngineSpace(candidates)
        self.streams = Streams(self.space)
        self.claim = claim
        self.boxes = 0

    def least(self, deadline: float) -> float:
        """The least bound over all plans: the claim where all is shown, 0 where time ran out."""
        reached = self.claim
        todo = [
            [form for form in forms if self.space.most_replicas(form)]
            for forms in forms_of(self.space.candidates, in_ranges=True)
        ]
        while todo:
            forms = self.streams.fitting(todo.pop())
            if not forms:
                continue
            for form, load in zip(forms, self.streams.loads(forms), strict=True):
                if time.monotonic() >= deadline:
                    return 0.0
                self.boxes += 1
                if load is None:
                    continue
                bound = self._bound(form, load)
                if bound < self.claim and form.is_range:
                    todo.append(parts(form))
                else:
                    reached = min(reached, bound)
        return reached

    def _bound(self, form: Form, load: Load) -> float:
        """Of all plans of a form: the claim, or what saturation alone makes of it; of a range that
        has to be cut up, 0."""
        each = self.streams.value_at_one(form)
        needed = each / self.claim * (1 + CLOSE)
        if self._broken(form, load, needed):
            return self.claim
        if needed >= self.streams.most_in_rounds_per_s(form, load.most):
            return self.claim
        if form.is_range:
            return 0.0
        least = self._tightened(form, load.most) if form.stages > 1 else load
        if least is None or self._broken(form, least, needed):
            return self.claim
        return each / least.most_requests_per_s

    def _broken(self, form: Form, load: Load, rate: float) -> bool:
        if rate >= load.most_requests_per_s:
            return True
        return not self.streams.may(form, load.at(rate))

    def _tightened(self, form: Form, most: int) -> Load | None:
        """By the least that each load of any cut can be by itself; None where there is no cut."""

        def figures(count: int) -> Figures | None:
            at = self.streams.moment(form, count)
            held = self.streams.moment(form, form.least_in_flight)
            chain = self.space.chain(form, at, held)
            loads = Loads(chain.loads[0], tuple(chain.links))
            least = loads.least(loads.no_tops)
            return self.space.figures(form, at, least) if np.isfinite(least).all() else None

        among = self.streams.among(form, most)
        found = [figures(count) for count in (*among, most)]
        if any(one is None for one in found):
            return None
        return self.streams.of_figures(most, among, [one for one in found if one is not None])
