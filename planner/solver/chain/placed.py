"""Exact on pools: the chain problem where options belong to grounds, and links depend on the places
that they join.

Runs stand on grounds, each with a packing of its own. The runs on one ground follow one another,
and of the grounds of one owner only one is used, once; grounds come in any order, and any may be
left out. On a ground runs are packed in order, or stand anywhere (`anywhere`). Labels are set over
the items as in `solver.labels`, in classes: who may stand where from here on. Bounds come from the
chain without places: slots of all grounds together, every link at its cheapest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.solver.chain.bounds import least_peaks, relaxed
from planner.solver.chain.labels import (
    CROWD,
    FIRST_BEAM,
    LAST_BEAM,
    ROUNDING,
    Stopped,
    refuse_to_hold,
    used_criteria,
    weighed_peaks,
    widened,
)
from planner.solver.chain.packing import Packing
from planner.solver.chain.paths import cheapest, run_costs, run_loads
from planner.solver.chain.problem import TOLERANCE, ChainProblem, Floats, Ints, Measure

MOST_ANYWHERE = 62
"""Slots of a ground on which runs may stand anywhere."""


class Place(NamedTuple):
    """Slots of a ground, `width` of them from `first` on."""

    ground: int
    first: int
    width: int


@dataclass(frozen=True, slots=True)
class Ground:
    """Slots that runs may stand on, the first `budget` of its packing."""

    packing: Packing
    budget: int
    owner: int
    after: int | None = None
    """The owner that must have been used before: one that is like this one, so that only one
    order of the two is tried."""
    uniform: bool = True
    """Whether links between places on it cost the same wherever these are."""


class Link(NamedTuple):
    """What a link in front of each item adds."""

    sums: Floats
    """Shape (items + 1, sums)."""
    peaks: Floats
    """Its load on each peak, shape (items + 1, peaks)."""


class PlacedRun(NamedTuple):
    """Items tail to head - 1 under an option, at a place."""

    tail: int
    head: int
    option: int
    place: Place


@dataclass(frozen=True, slots=True)
class PlacedProblem:
    """A chain problem, and where its options may stand."""

    chain: ChainProblem
    """Its links are the cheapest that there are, its budget counts the slots of all owners; its
    packing is not used."""
    grounds: tuple[Ground, ...]
    ground_of: Ints
    """Of each option."""
    link_class: Ints
    """Of each option: options of one class and one ground have the same links behind them."""
    link: Callable[[int, Place, Place], Link | None]
    """Behind a run under an option, from its place to that of the next run; None where there is
    none."""
    plus: tuple[Floats, ...]
    """Weights of sums that are added to the value of each measure, the objective's first, each
    of shape (sums,)."""
    placed: Callable[[int, Place], Floats] | None = None
    """What items 0 to i - 1 add to the last sum under an option at a place, shape (items + 1,)."""
    anywhere: bool = False
    runs: int | None = None
    """How many a solution has; None: any number."""

    def value(self, number: int, sums: Floats, peaks: Floats) -> Floats:
        """A measure, the objective first, of one or many (sums, peaks)."""
        return np.asarray(self.chain.measures[number].value(sums, peaks) + sums @ self.plus[number])


@dataclass(frozen=True, slots=True)
class PlacedSolution:
    """What was found, and what was proved about it."""

    runs: tuple[PlacedRun, ...] | None
    objective: float
    bound: float
    """Proved: no solution is below it. Infinite: proved that there is none."""
    cut_off: int = 0
    """Labels that beams left out on the way."""


def solve(
    problem: PlacedProblem,
    *,
    incumbent: float = math.inf,
    first_beam: int = FIRST_BEAM,
    last_beam: int = LAST_BEAM,
    stop: Callable[[], bool] = lambda: False,
) -> PlacedSolution:
    """The best solution below `incumbent`, with a proved bound, as `thresholds.solve` does."""
    search = _Search(problem, incumbent, stop)
    if search.slots_left[0] > problem.chain.budget or search.beyond_limits:
        return search.solution(math.inf)
    proved = widened(search, first_beam, last_beam)
    return search.solution(search.best if proved >= search.goal else proved)


def root_bound(problem: PlacedProblem) -> float:
    """A lower bound from relaxations alone; infinite where there is no way at all."""
    search = _Search(problem, math.inf, lambda: False)
    return math.inf if search.slots_left[0] > problem.chain.budget else search.root_bound


def evaluate(problem: PlacedProblem, runs: tuple[PlacedRun, ...]) -> tuple[Floats, Floats]:
    """Sums and peaks of a solution, from the definition."""
    chain = problem.chain
    sums, peaks = np.zeros(chain.run_sums.shape[1]), np.zeros(chain.run_peaks.shape[1])
    for number, run in enumerate(runs):
        used = chain.prefix[run.option, run.head] - chain.prefix[run.option, run.tail]
        sums += chain.run_sums[run.option] @ used + chain.run_sums_fixed[run.option]
        peaks = np.maximum(
            peaks, chain.run_peaks[run.option] @ used + chain.run_peaks_fixed[run.option]
        )
        if problem.placed is not None:
            added = problem.placed(run.option, run.place)
            sums[-1] += added[run.head] - added[run.tail]
        if number + 1 < len(runs):
            link = problem.link(run.option, run.place, runs[number + 1].place)
            if link is None:
                raise AssertionError("a solution has neighbours that no link joins")
            sums += link.sums[run.head]
            peaks = np.maximum(peaks, link.peaks[run.head])
    return sums, peaks


class _State(NamedTuple):
    """What of a label's past decides where its next runs may stand."""

    owners: int
    """Bits of the owners used."""
    taken: int
    """Bits of the slots taken on the ground of the last run, where runs may stand anywhere."""
    option: int
    place: Place
    runs: int = 0
    """So far, where their number is given."""


class _Step(NamedTuple):
    """From a state to others under one option: their numbers, and those of the links."""

    states: Ints
    links: Ints


def _may_enter(state: "_State", ground: Ground) -> bool:
    """Whether a run may go to a ground that the one before it did not stand on: not to an owner
    that was left already, and to a part only after the one that comes before it."""
    if (state.owners >> ground.owner) & 1:
        return False
    return ground.after is None or bool((state.owners >> ground.after) & 1)


class _Map:
    """States and links by number, made as the search meets them."""

    def __init__(self, problem: PlacedProblem) -> None:
        self.problem = problem
        chain = problem.chain
        self.states = [_State(0, 0, -1, Place(-1, 0, 0))]
        self.number = {self.states[0]: 0}
        nothing = (
            np.zeros((chain.items + 1, chain.run_sums.shape[1])),
            np.zeros((chain.items + 1, chain.run_peaks.shape[1])),
        )
        self.links: list[Link] = [Link(*nothing)]
        self._link_number: dict[int, int] = {}
        self._steps: dict[tuple[int, int], _Step] = {}
        self._of_all: tuple[Floats, Floats] | None = None
        owners = {ground.owner: ground.budget for ground in problem.grounds}
        for ground in problem.grounds:
            owners[ground.owner] = max(owners[ground.owner], ground.budget)
        self.slots_of = owners
        self._added: list[Floats] = [np.zeros(chain.items + 1)]

    def step(self, state: int, option: int) -> _Step:
        """Where a run under an option may stand behind a state."""
        known = self._steps.get((state, option))
        if known is None:
            known = self._steps[state, option] = self._made_step(self.states[state], option)
        return known

    def _made_step(self, state: _State, option: int) -> _Step:
        states, links = [], []
        for after in self._after(state, option):
            link = self._link(state, after)
            if link is not None:
                states.append(self._numbered(after))
                links.append(link)
        return _Step(np.array(states, dtype=np.intp), np.array(links, dtype=np.intp))

    def _after(self, state: _State, option: int) -> list[_State]:
        problem = self.problem
        runs = 0 if problem.runs is None else state.runs + 1
        if runs > (problem.runs or 0):
            return []
        number = int(problem.ground_of[option])
        ground = problem.grounds[number]
        stays = state.place.ground == number
        if not stays and not _may_enter(state, ground):
            return []
        if problem.anywhere:
            return self._anywhere(state, option, stays, runs)
        width = int(problem.chain.widths[option])
        if ground.packing.rule(width) is None:
            return []
        end = state.place.first + state.place.width if stays else 0
        start = int(ground.packing.start(np.array(end), width))
        if start + width > ground.budget:
            return []
        owners = state.owners | 1 << ground.owner
        return [_State(owners, 0, option, Place(number, start, width), runs)]

    def _anywhere(self, state: _State, option: int, stays: bool, runs: int) -> list[_State]:
        """The same where runs may stand on any free slots, which a state keeps as bits."""
        number = int(self.problem.ground_of[option])
        ground = self.problem.grounds[number]
        width = int(self.problem.chain.widths[option])
        owners = state.owners | 1 << ground.owner
        taken = state.taken if stays else 0
        found: list[_State] = []
        for start in ground.packing.starts(width):
            block = ((1 << width) - 1) << start
            if start + width <= ground.budget and not taken & block:
                place = Place(number, start, width)
                found.append(_State(owners, taken | block, option, place, runs))
        return found

    def _link(self, state: _State, after: _State) -> int | None:
        if state.option < 0:
            return 0
        link = self.problem.link(state.option, state.place, after.place)
        if link is None:
            return None
        if id(link) not in self._link_number:
            self._link_number[id(link)] = len(self.links)
            self.links.append(link)
            self._of_all = None
        return self._link_number[id(link)]

    def _numbered(self, state: _State) -> int:
        if state not in self.number:
            self.number[state] = len(self.states)
            self.states.append(state)
            if self.problem.placed is not None:
                self._added.append(self.problem.placed(state.option, state.place))
        return self.number[state]

    @property
    def link_arrays(self) -> tuple[Floats, Floats]:
        """Of all links met so far, shapes (links, items + 1, sums) and (links, items + 1,
        peaks)."""
        if self._of_all is None:
            self._of_all = (
                np.stack([link.sums for link in self.links]),
                np.stack([link.peaks for link in self.links]),
            )
        return self._of_all

    def added(self, states: Ints, item: int) -> Floats:
        """What the items before one add to the last sum at the places of the states, shape (n,)."""
        return np.array([self._added[state][item] for state in states.tolist()])

    def left(self, state: int) -> int:
        """Slots that runs behind a state may take at most."""
        here = self.states[state]
        rest = sum(
            slots for owner, slots in self.slots_of.items() if not (here.owners >> owner) & 1
        )
        if here.option < 0:
            return rest
        budget = self.problem.grounds[here.place.ground].budget
        used = (
            here.taken.bit_count() if self.problem.anywhere else here.place.first + here.place.width
        )
        return rest + budget - used

    def dominable(self, numbers: Ints) -> NDArray[np.bool_]:
        """Whether what follows the second of two states may follow the first, at no higher cost,
        shape (n, n)."""
        problem = self.problem
        states = [self.states[number] for number in numbers.tolist()]
        owners = np.array([state.owners for state in states])
        taken = np.array([state.taken for state in states])
        ground, first, width = np.array([state.place for state in states]).T
        end = first + width
        kind = np.array([self._link_kind(state) for state in states])
        runs = np.array([state.runs for state in states])
        uniform = np.array([self._is_uniform(state) for state in states])
        # What is packed in order later stands elsewhere, which a placed cost would see.
        uniform &= problem.anywhere or problem.placed is None
        like = (
            (ground[:, None] == ground)
            & (kind[:, None] == kind)
            & (runs[:, None] == runs)
            & (owners[:, None] & ~owners[None] == 0)
        )
        same = (first[:, None] == first) & (width[:, None] == width)
        if problem.anywhere:
            free = taken[:, None] & ~taken[None] == 0
            return np.asarray(like & free & (same | uniform[:, None]))
        return np.asarray(like & (same | (uniform[:, None] & (end[:, None] <= end))))

    def _link_kind(self, state: _State) -> int:
        """The class of the links that may follow a state; -1 in front of the first run."""
        return -1 if state.option < 0 else int(self.problem.link_class[state.option])

    def _is_uniform(self, state: _State) -> bool:
        """Whether it makes no difference where on its ground a state ends."""
        return state.option < 0 or bool(self.problem.grounds[state.place.ground].uniform)


@dataclass
class _Labels:
    """Starts of solutions that have reached one item."""

    state: Ints
    sums: Floats
    peaks: Floats
    parent: Ints
    """Number of the label before, -1 for the first."""

    def __len__(self) -> int:
        return len(self.state)

    def taken(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "_Labels":
        return _Labels(
            self.state[chosen], self.sums[chosen], self.peaks[chosen], self.parent[chosen]
        )


@dataclass
class _Opened:
    """Labels with a next run of one option begun, by the item where it begins: states, sums,
    peaks, loads, parents."""

    parts: list[tuple[Ints, Floats, Floats, Floats, Ints] | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Product:
    """A lower bound on a measure that multiplies its total by a sum: what the one costs at least
    for each value of the other.

    Shortest paths under total + price × sum are lines below that curve; a product of a sum and a
    curve of lines is least where two of them meet, or at the least sum.
    """

    measure: Measure
    sum: int
    least: tuple[tuple[Floats, Floats], ...]
    """For each item what is still to come, where lines meet: the sum and the total, shape
    (points,) each."""
    peaks: Floats
    """Least peaks from each item to the end, shape (items + 1, peaks)."""

    def value(self, item: int, sums: Floats, peaks: Floats) -> Floats:
        """Of partial solutions that end before `item`, shape (n,)."""
        whole = sums @ self.measure.as_sums() + self.measure.of_peaks(
            np.maximum(peaks, self.peaks[item])
        )
        more, cost = self.least[item]
        products = (sums[:, self.sum, None] + more) * (whole[:, None] + cost)
        return np.asarray(self.measure.scale * products.min(axis=1))


def _product_of(chain: ChainProblem, measure: Measure) -> _Product | None:
    if measure.held is None or measure.lines:
        return None
    weights, unit = measure.as_sums(), np.zeros(chain.run_sums.shape[1])
    unit[measure.held] = 1.0
    free, alone = cheapest(chain, weights, 0.0).cost, cheapest(chain, unit, 0.0).cost
    if not (np.isfinite(free[0]) and alone[0] > 0):
        return None
    prices = [0.0, *(free[0] / alone[0] * 2.0**power for power in range(-7, 8))]
    costs = np.stack([cheapest(chain, weights + price * unit, 0.0).cost for price in prices])
    # Where all that is weighed is held, nothing is left to price, and all prices are one.
    dearer = np.diff(prices) > 0
    least = []
    for item in range(chain.items + 1):
        allowance.look()
        if not np.isfinite(alone[item]):
            least.append((np.zeros(1), np.full(1, np.inf)))
            continue
        meet = np.diff(costs[:, item])[dearer] / np.diff(prices)[dearer]
        more = np.array([alone[item], *meet[meet > alone[item]]])
        cost = (costs[:, item, None] - np.outer(prices, more)).max(axis=0)
        least.append((more, cost))
    return _Product(measure, measure.held, tuple(least), least_peaks(chain)[0])


class _Search:
    def __init__(self, problem: PlacedProblem, incumbent: float, stop: Callable[[], bool]) -> None:
        self.problem, self.stop, self.best = problem, stop, incumbent
        self.best_runs: tuple[PlacedRun, ...] | None = None
        chain = problem.chain
        self.map = _Map(problem)
        relaxation = relaxed(chain)
        self.bounds = relaxation.bounds
        self.products = [_product_of(chain, measure) for measure in chain.measures]
        self.rests = [
            cheapest(chain, weights, 0.0).cost if weights.any() else np.zeros(chain.items + 1)
            for weights in problem.plus
        ]
        self.slots_left = relaxation.narrow.cost
        self.used_sums, self.used_peaks = used_criteria(chain)
        for weights in problem.plus:
            self.used_sums = self.used_sums | (weights > 0)
        self.weighed = weighed_peaks(chain)
        self.run_costs, self.run_loads = run_costs(chain), run_loads(chain)
        self.cut_off = 0

    @property
    def goal(self) -> float:
        """What a better solution must stay below."""
        return self.best - TOLERANCE * abs(self.best) if math.isfinite(self.best) else self.best

    @property
    def root_bound(self) -> float:
        return float(self._lower(0, 0, self._first())[0])

    @property
    def beyond_limits(self) -> bool:
        """Whether bounds alone say that some limit cannot be kept."""
        limits = enumerate(self.problem.chain.limits, 1)
        return any(
            float(self._lower(number, 0, self._first())[0]) > limit.most * (1 + TOLERANCE)
            for number, limit in limits
        )

    def solution(self, proved: float) -> PlacedSolution:
        if self.best_runs is None:
            return PlacedSolution(None, math.inf, proved, self.cut_off)
        return PlacedSolution(self.best_runs, self.best, min(proved, self.best), self.cut_off)

    def run(self, beam: int) -> float:
        """One pass with at most `beam` labels at each item; the least bound of what was left
        out."""
        chain, left_out, count = self.problem.chain, math.inf, 0
        opened = [_Opened() for _ in range(chain.options)]
        history: list[tuple[int, _Labels]] = []
        held_bytes = 0
        for item in range(chain.items + 1):
            if self.stop():
                raise Stopped
            labels = self._first() if item == 0 else self._arriving(item, opened)
            if item == chain.items:
                self._finish(labels, history)
                break
            labels, dropped = self._chosen(item, labels, beam)
            left_out = min(left_out, dropped)
            for option in range(chain.options):
                part = self._begun(item, labels, option, count)
                opened[option].parts.append(part)
                held_bytes += sum(column.nbytes for column in part or ())
            refuse_to_hold(held_bytes)
            history.append((count, labels))
            count += len(labels)
        return left_out

    def _first(self) -> _Labels:
        chain = self.problem.chain
        nothing = np.zeros((1, chain.run_sums.shape[1])), np.zeros((1, chain.run_peaks.shape[1]))
        return _Labels(np.zeros(1, dtype=np.intp), *nothing, np.full(1, -1))

    def _arriving(self, item: int, opened: list[_Opened]) -> _Labels:
        """All labels that a run can bring to an item, below the goal."""
        arrivals = [self._first().taken(np.zeros(0, dtype=np.intp))]
        for option, waiting in enumerate(opened):
            tails = np.flatnonzero(self.problem.chain.feasible[option, :item, item]).tolist()
            allowance.look()
            parts = [part for tail in tails if (part := waiting.parts[tail]) is not None]
            if not parts:
                continue
            state, sums, peaks, loads, parent = (
                np.concatenate(column) for column in zip(*parts, strict=True)
            )
            sums = sums + self.run_costs[option, item]
            if self.problem.placed is not None:
                sums[:, -1] += self.map.added(state, item)
            labels = _Labels(
                state, sums, np.maximum(peaks, loads + self.run_loads[option, item]), parent
            )
            arrivals.append(labels.taken(self._alive(item, labels)))
        return _Labels(
            *(
                np.concatenate([getattr(part, name) for part in arrivals])
                for name in ("state", "sums", "peaks", "parent")
            )
        )

    def _begun(
        self, item: int, labels: _Labels, option: int, count: int
    ) -> tuple[Ints, Floats, Floats, Floats, Ints] | None:
        """Pay the link from each label to a next run under an option, and place that run."""
        chain = self.problem.chain
        if not len(labels) or not chain.feasible[option, item].any():
            return None
        unique, inverse = np.unique(labels.state, return_inverse=True)
        steps = [self.map.step(state, option) for state in unique.tolist()]
        counts = np.array([len(step.states) for step in steps])
        each = counts[inverse]
        if not each.any():
            return None
        source = np.repeat(np.arange(len(labels)), each)
        begins = (np.cumsum(counts) - counts)[inverse]
        position = np.arange(len(source)) + np.repeat(begins - (np.cumsum(each) - each), each)
        state = np.concatenate([step.states for step in steps])[position]
        link = np.concatenate([step.links for step in steps])[position]
        link_sums, link_peaks = self.map.link_arrays
        sums = (
            labels.sums[source]
            + link_sums[link, item]
            + chain.run_sums_fixed[option]
            - self.run_costs[option, item]
        )
        if self.problem.placed is not None:
            sums[:, -1] -= self.map.added(state, item)
        peaks = np.maximum(labels.peaks[source], link_peaks[link, item])
        loads = np.broadcast_to(
            chain.run_peaks_fixed[option] - self.run_loads[option, item], peaks.shape
        )
        return state, sums, peaks, loads, count + source

    def _alive(self, item: int, labels: _Labels) -> NDArray[np.bool_]:
        alive = np.asarray(self._left(labels) >= self.slots_left[item])
        for number, limit in enumerate(self.problem.chain.limits, 1):
            alive &= self._lower(number, item, labels) <= limit.most * (1 + TOLERANCE)
        return alive & (self._lower(0, item, labels) < self.goal)

    def _left(self, labels: _Labels) -> Ints:
        unique, inverse = np.unique(labels.state, return_inverse=True)
        return np.array([self.map.left(state) for state in unique.tolist()], dtype=np.intp)[inverse]

    def _lower(self, number: int, item: int, labels: _Labels) -> Floats:
        """A lower bound on a measure, the objective first, of whatever a label becomes."""
        slots = self.problem.chain.budget - self._left(labels)
        value = self.bounds[number].value(item, slots, labels.sums, labels.peaks)
        product = self.products[number]
        if product is not None:
            value = np.maximum(value, product.value(item, labels.sums, labels.peaks))
        return np.asarray(
            value + labels.sums @ self.problem.plus[number] + self.rests[number][item]
        )

    def _chosen(self, item: int, labels: _Labels, beam: int) -> tuple[_Labels, float]:
        """The labels worth keeping, at most `beam`; and the least bound of those beyond."""
        labels, crowded_out = self._best_of(item, labels, CROWD * beam)
        labels, beyond = self._best_of(item, self._undominated(item, labels), beam)
        return labels, min(crowded_out, beyond)

    def _best_of(self, item: int, labels: _Labels, most: int) -> tuple[_Labels, float]:
        if len(labels) <= most:
            return labels, math.inf
        self.cut_off += len(labels) - most
        lower = self._lower(0, item, labels)
        order = np.argsort(lower, kind="stable")
        return labels.taken(np.sort(order[:most])), float(lower[order[most]])

    def _undominated(self, item: int, labels: _Labels) -> _Labels:
        if len(labels) < 2:
            return labels
        criteria = np.concatenate(
            [labels.sums[:, self.used_sums], labels.peaks[:, self.used_peaks]], axis=1
        )
        order = np.lexsort((labels.state, *criteria.T[::-1]))
        labels, criteria = labels.taken(order), criteria[order]
        peaks = labels.peaks.copy()
        for peak, (number, rest) in self.weighed.items():
            peaks[:, peak] = np.maximum(peaks[:, peak], labels.sums[:, number] + rest.cost[item])
        harmless = np.concatenate(
            [labels.sums[:, self.used_sums], peaks[:, self.used_peaks]], axis=1
        )
        harmless = harmless + ROUNDING * np.abs(harmless)
        unique, inverse = np.unique(labels.state, return_inverse=True)
        dominable = self.map.dominable(unique)
        kept, alive = [], np.ones(len(labels), dtype=bool)
        for index in range(len(labels)):
            if alive[index]:
                allowance.look()
                kept.append(index)
                later = slice(index + 1, None)
                worse = (harmless[later] >= criteria[index]).all(axis=1)
                alive[later] &= ~(worse & dominable[inverse[index], inverse[later]])
        return labels.taken(np.array(kept))

    def _finish(self, labels: _Labels, history: list[tuple[int, _Labels]]) -> None:
        """Take the best of the labels that have reached the end, if it is better than what is
        known."""
        values = self.problem.value(0, labels.sums, labels.peaks)
        order = np.lexsort((labels.state, values))
        if self.problem.runs is not None:
            wanted = [self.map.states[state].runs == self.problem.runs for state in labels.state]
            order = order[np.array(wanted, dtype=bool)[order]]
        for index in order[:8].tolist():
            runs = self._traced(index, labels, history)
            sums, peaks = evaluate(self.problem, runs)
            limits = enumerate(self.problem.chain.limits, 1)
            if any(
                float(self.problem.value(number, sums, peaks)) > limit.most * (1 + TOLERANCE)
                for number, limit in limits
            ):
                continue
            value = float(self.problem.value(0, sums, peaks))
            if value < self.goal:
                self.best, self.best_runs = value, runs

    def _traced(
        self, index: int, labels: _Labels, history: list[tuple[int, _Labels]]
    ) -> tuple[PlacedRun, ...]:
        """The runs that led to a label at the end."""
        firsts, head, runs = np.array([count for count, _ in history]), len(history), []
        number, parent = int(labels.state[index]), int(labels.parent[index])
        while parent >= 0:
            tail = int(np.searchsorted(firsts, parent, side="right")) - 1
            state = self.map.states[number]
            runs.append(PlacedRun(tail, head, state.option, state.place))
            first, before = history[tail]
            number, parent, head = (
                int(before.state[parent - first]),
                int(before.parent[parent - first]),
                tail,
            )
        return tuple(reversed(runs))
