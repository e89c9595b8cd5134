"""`disaggregate`: the best prefill pool and the best decode pool together, with a proof.

Chips of one machine are shared out between the pools, or each has a machine of its own. What a
question wants of a pool only improves with its chips, so a rectangle of sizes (so many chips for
prefill, so many for decode) is bounded by the best plans of its largest pools, held by the fewest
chips; `Search` finds those plans, and proves them. The rectangle in which these plans stay best is
closed, the rest is cut in two; best first.
"""

import heapq
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from planner import allowance
from planner.answers.proof import StoppedBy, proved
from planner.answers.question import (
    FIELDS,
    PRICED,
    TOTALS,
    Limits,
    Question,
    as_priced,
    question_of,
)
from planner.answers.results import Disaggregation
from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.cost.energy import usd_per_million_tokens
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, TimeUpError, listed
from planner.guards import guarded
from planner.machines.accounts import (
    PowerBasis,
    alike_machines,
    common_price_basis,
    unlike_prices,
)
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.planning.engine_search import search_of
from planner.planning.first_plans import soon
from planner.planning.floors import floor_of
from planner.planning.partitioning import partition
from planner.planning.search import CLOSE
from planner.scoring.disaggregated import (
    DisaggregatedScore,
    Handover,
    Link,
    handover,
    score_disaggregated,
)
from planner.space.candidates import Candidates
from planner.units import PositiveBytes
from planner.workload import Workload

# What the prefill pool and the decode pool are each asked for.
SPEED = ("ttft_s", "request_s")
RATE = ("tokens_per_s", "tokens_per_s")
HELD = ("chips", "chips")
ASKED = {
    "ttft_s": SPEED,
    "tpot_s": SPEED,
    "tokens_per_s_per_user": SPEED,
    "request_s": SPEED,
    "tokens_per_s": RATE,
    "requests_per_s": RATE,
    "tokens_per_s_per_chip": RATE,
    "usd_per_million_tokens": RATE,
    "usd_per_hour": HELD,
    "chips": HELD,
}
"""Of the pools, for each field that may be optimised."""
FOR_A_TOKEN = ("tokens_per_s_per_chip", "usd_per_million_tokens")
"""Of them, those that count what is held for a token."""
POOL_SHARE = 0.4
"""Of the time that is left, that goes to a pool of one size."""
EARLY_SHARE, FLOOR_SHARE = 0.25, 0.6
"""And to a plan at once of one pool, and to a bound of pools of all sizes."""
CUTTABLE = ("switch", "full-mesh", "chain", "dragonfly")
"""Shapes of which a part is a smaller one of the kind."""


@guarded
@allowance.allowing
def disaggregate(
    graph: AnyModel,
    workload: Workload,
    *,
    prefill: AnyMachine,
    decode: AnyMachine | None = None,
    link: Link,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: Limits | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    space: Space = "engine",
) -> Disaggregation:
    """The prefill pool and the decode pool that make one field of `DisaggregatedScore` best
    together, with a proof.

    `decode` None: the chips of `prefill` are shared out between the two. Fields to optimise or
    limit: ttft_s, tpot_s, tokens_per_s, requests_per_s, tokens_per_s_per_user,
    tokens_per_s_per_chip, request_s (to optimise alone), chips, usd_per_hour,
    usd_per_million_tokens. Of the pools with the best value those with the fewest chips are
    taken where rates or chips are asked for, then the fastest. `space`: each pool's plans, as
    `partition` has them. InfeasibleError: proved that there
    are none; NoPlanFoundError: none were found in time.
    """
    graph, prefill = model_of(graph), machine_of(prefill)
    started = time.monotonic()
    asked_for = question_of(minimize, maximize, limits, power_scope, space=space)
    question = as_priced(asked_for, "pools of their own")
    given = (prefill,) if decode is None else (prefill, machine_of(decode))
    prefill, *others = alike_machines(given, price_basis, power_basis)
    decode = others[0] if others else None
    asked = _Asked(graph, workload, prefill, decode, handover(graph, workload, link), question)
    clock = _Clock(math.inf if time_limit_s is None else started + time_limit_s)
    found = _Rectangles(asked, clock)
    found.run()
    if found.best is None:
        if found.bound < math.inf:
            raise NoPlanFoundError(
                f"no pools of {graph.name} were found in {time.monotonic() - started:.1f} s;"
                f" nothing is proved: {allowance.remedy()}"
            )
        raise _refusal(asked, clock)
    first, second = _settled(asked, clock, found.best)
    machines = asked.prefill.replace(chips=first.chips), asked.decode.replace(chips=second.chips)
    with allowance.freely():
        score = score_disaggregated(
            *(first.plan, second.plan, graph, workload),
            prefill=machines[0],
            decode=machines[1],
            link=link,
            power_scope=power_scope,
        )
    return _result(
        asked, link, found, (first.plan, second.plan), machines, score, time.monotonic() - started
    )


class _Pair(NamedTuple):
    """A plan, and the chips of its pool."""

    plan: Plan
    chips: int


class _Best(NamedTuple):
    value: float
    values: tuple[float, float]
    """Of each pool."""
    prefill: _Pair
    decode: _Pair


@dataclass
class _Clock:
    deadline: float
    interrupted: bool = False

    @property
    def left_s(self) -> float | None:
        if self.interrupted:
            return 0.0
        return None if self.deadline == math.inf else max(0.0, self.deadline - time.monotonic())

    @property
    def over(self) -> bool:
        return self.interrupted or allowance.is_up() or time.monotonic() >= self.deadline

    def end(self, up: TimeUpError) -> None:
        """Nothing more is asked."""
        self.interrupted |= up.interrupted
        self.deadline = min(self.deadline, time.monotonic())


class _Asked:
    """The question, taken apart: what each pool must keep, and what both together cost."""

    def __init__(
        self,
        graph: ModelGraph,
        workload: Workload,
        prefill: Topology,
        decode: Topology | None,
        over: Handover,
        question: Question,
    ) -> None:
        self.graph = graph
        self.workload = workload
        self.over = over
        self.question = question
        self.shared = decode is None
        self.prefill = prefill
        self.decode = prefill if decode is None else decode
        self.limits = dict(question.limits)
        self._check()
        rate = workload.requests_per_s
        self.tokens_per_s = None if rate is None else rate * workload.output_tokens
        self.later_tokens = workload.output_tokens - 1
        self.least = (_least(self.prefill), _least(self.decode))
        held = self.prefill.chips + self.decode.chips
        self.most = (self.prefill.chips, self.decode.chips)
        if self.shared:
            # The smallest decode pool is left out of what the prefill pool may take; and of one
            # machine both have the same least.
            held = self.prefill.chips
            spare = held - self.least[1]
            self.most = (spare, spare)
        self.most_held = min(held, math.floor(self.limits.get("chips", held)))
        self.pool_limits = self._limits_of_pools()

    def _limits_of_pools(self) -> tuple[dict[str, float], dict[str, float]]:
        """What each pool must keep by itself for both together to keep the limits: a pool serves
        as many tokens as both do, and a request waits in the decode pool for all later tokens."""
        prefill: dict[str, float] = {}
        decode: dict[str, float] = {}
        served = self.wanted_tokens_per_s
        if served and self.tokens_per_s is None:
            prefill["tokens_per_s"] = served
            decode["tokens_per_s"] = served
        if "ttft_s" in self.limits:
            prefill["ttft_s"] = self.limits["ttft_s"]
        tpot_s = self.limits.get("tpot_s", math.inf)
        each_s = 1.0 / self.limits.get("tokens_per_s_per_user", 1e-300)
        request_s = self.later_tokens * min(tpot_s, each_s)
        if request_s < 1e200:
            decode["request_s"] = request_s
        return prefill, decode

    def _check(self) -> None:
        rated = self.workload.requests_per_s is not None
        for name in self.question.fields:
            self._check_field(name, rated)
        if "request_s" in self.limits:
            raise InputError(
                "limits['request_s']: two pools cannot limit the whole request; limit its parts,"
                " ttft_s and tpot_s"
            )
        by_rate = rated or ASKED[self.question.objective] is RATE
        for name in FOR_A_TOKEN:
            if name in self.limits and not by_rate:
                raise InputError(
                    f"limits['{name}'] depends on the rate of requests;"
                    " give Workload.requests_per_s, or optimise tokens_per_s"
                )
        if self.shared:
            _check_shared(self.prefill)

    def _check_field(self, name: str, rated: bool) -> None:
        if name not in ASKED:
            raise InputError(
                f"{name} cannot be optimised or limited for two pools; ask for"
                f" {listed(ASKED, 'or')}, and read {name} from the score"
            )
        if name in TOTALS and rated:
            raise InputError(f"{name} is fixed by Workload.requests_per_s; ask for another field")
        if name in PRICED and None in self._prices:
            raise InputError(f"{name} needs the price of both machines; write it into their files")
        machines = (self.prefill, self.decode)
        if name in PRICED and common_price_basis(machines) is None:
            raise InputError(unlike_prices(name, machines))

    @property
    def wanted_tokens_per_s(self) -> float:
        """That limits ask for at least; 0 where none does."""
        asked = self.limits.get("requests_per_s", 0.0) * self.workload.output_tokens
        return max(self.limits.get("tokens_per_s", 0.0), asked)

    @property
    def _prices(self) -> tuple[float | None, float | None]:
        return self.prefill.price.usd_per_chip_hour, self.decode.price.usd_per_chip_hour

    def value(self, sizes: tuple[int, int], values: tuple[float, float]) -> float:
        """Canonical value of the objective with pools of such sizes, whose own values are such;
        infinite beyond a limit. It grows with each of the four."""
        if math.inf in values or sum(sizes) > self.most_held:
            return math.inf
        token_s = 0.0 if self.tokens_per_s is None else 1.0 / self.tokens_per_s
        if self.fields is RATE:
            token_s = max(*values, self.link_token_s)
        for name in ("usd_per_hour", *FOR_A_TOKEN):
            allowed = self.limits.get(name)
            if allowed is None:
                continue
            most = 1.0 / allowed if FIELDS[name].best == "most" else allowed
            if self._held(name, sizes, token_s) > most * (1 + 1e-12):
                return math.inf
        if self.wanted_tokens_per_s * self.link_token_s > 1 + 1e-12:
            return math.inf
        asked = self.question.objective
        if asked in ("usd_per_hour", *FOR_A_TOKEN):
            return self._held(asked, sizes, token_s)
        return {
            "ttft_s": values[0],
            "tpot_s": values[1] / self.later_tokens,
            "tokens_per_s_per_user": values[1] / self.later_tokens,
            "request_s": sum(values),
            "tokens_per_s": token_s,
            "requests_per_s": token_s * self.workload.output_tokens,
            "chips": float(sum(sizes)),
        }[asked]

    def field_value(self, canonical: float) -> float:
        """The objective's own value: of what is better the more of it there is, canonical values
        are inverse."""
        if self.question.direction == "minimize":
            return canonical
        return 1.0 / canonical if canonical > 0 else math.inf

    @property
    def fields(self) -> tuple[str, str]:
        """What each pool is asked for; where the rate is given, a price counts chips alone."""
        fields = ASKED[self.question.objective]
        return HELD if fields is RATE and self.tokens_per_s is not None else fields

    @property
    def link_token_s(self) -> float:
        """For each output token that the link lets through."""
        return 1.0 / (self.over.link_requests_per_s * self.workload.output_tokens)

    def window(
        self, sizes: tuple[int, int], prefill_value: float, best: float
    ) -> tuple[float, float]:
        """Between which values the decode pool's matters, with pools of at least such sizes:
        below, the prefill pool or the link is slower; above, no two pools are better than the
        best known."""
        if self.fields is not RATE:
            return -math.inf, math.inf
        objective = self.question.objective
        if objective in FOR_A_TOKEN:
            each = self._held(objective, sizes, 1.0)
        else:
            each = float(self.workload.output_tokens) if objective == "requests_per_s" else 1.0
        return max(prefill_value, self.link_token_s), best / each

    def _held(self, name: str, sizes: tuple[int, int], token_s: float) -> float:
        """Canonical value of a field that counts what is held, at so long for each token."""
        if name == "tokens_per_s_per_chip":
            return sum(sizes) * token_s
        hourly = sum(size * (price or 0.0) for size, price in zip(sizes, self._prices, strict=True))
        if name == "usd_per_hour":
            return hourly
        return float(usd_per_million_tokens(1.0, hourly, 1.0)) * token_s

    def pool(
        self, number: int, clock: _Clock, field: str, more: dict[str, float] | None = None
    ) -> "_Pool":
        """The prefill pool (0) or the decode pool (1), asked for a field; under more limits
        where there are any."""
        machine = (self.prefill, self.decode)[number]
        work = self.over.decode if number else self.over.prefill
        limits = self.pool_limits[number] | (more or {})
        question = replace(self.question, objective=field, limits=tuple(sorted(limits.items())))
        return _Pool(self.graph, machine, work, question, clock)


def _least(machine: Topology) -> int:
    """The smallest pool that can be cut from a machine: all of it, where a part would be wired
    otherwise."""
    return 1 if all(level.fabric.shape in CUTTABLE for level in machine.levels) else machine.chips


def _check_shared(machine: Topology) -> None:
    if machine.chips < 2 or _least(machine) > 1:
        raise InputError(
            f"{machine.name} cannot be split into a prefill pool and a decode pool;"
            " give two machines, prefill= and decode="
        )
    unit = machine.levels[-1].unit_chips
    if machine.chips % unit:
        raise InputError(
            f"{machine.name} has {machine.chips} chips, which is not a multiple of {unit}, the chips"
            " of one unit; two pools need whole units, so give other chips"
        )


class _Answer(NamedTuple):
    """What a pool of some size reaches."""

    value: float
    """Canonical; infinite where no plan was found."""
    bound: float
    plan: Plan | None
    packed: int
    """Chips from the first to the last that the plan uses: a pool that small reaches as much."""


class _Pool:
    """The best plans of one pool by its size, found once each."""

    def __init__(
        self,
        graph: ModelGraph,
        machine: Topology,
        workload: Workload,
        question: Question,
        clock: _Clock,
    ) -> None:
        self.graph = graph
        self.machine = machine
        self.workload = workload
        self.question = question
        self.clock = clock
        self.least = _least(machine)
        self.known: list[tuple[int, _Answer]] = []

    def answer(self, chips: int, enough: float = -math.inf, hopeless: float = math.inf) -> _Answer:
        """Of a pool of that size; exact, or as good as `enough`, or proved to be no better than
        `hopeless`."""
        known = self._known(chips, enough, hopeless)
        if known is not None:
            return known
        left_s = self.clock.left_s
        search = search_of(
            self._candidates(chips),
            # The other pool, and other sizes, want time too.
            time_limit_s=None if left_s is None else POOL_SHARE * left_s,
            enough=enough,
            hopeless=hopeless,
            nice=False,
        )
        search.run()
        self.clock.interrupted |= search.interrupted
        value = search.best.value
        bound = search.bound if search.bound < value * CLOSE else value
        packed = max(_packed(search.best.plan), self.least)
        found = _Answer(value, bound, search.best.plan, packed)
        self.known.append((chips, found))
        return found

    def soon(self, chips: int) -> _Answer:
        """Of a pool of that size a plan at once, of which nothing is proved."""
        candidates = self._candidates(chips)
        known = soon(candidates)
        with allowance.in_part(math.inf, EARLY_SHARE):
            better = search_of(candidates, time_limit_s=allowance.left_s(), nice=False).early()
        found = better if better.value < known.value else known
        return _Answer(found.value, 0.0, found.plan, max(_packed(found.plan), self.least))

    def floor(self, chips: int) -> float:
        """Canonical value that no pool of up to that size is below."""
        return floor_of(self._candidates(chips))

    def _candidates(self, chips: int) -> Candidates:
        machine = self.machine.replace(chips=chips)
        return Candidates(self.graph, machine, self.workload, self.question)

    def _known(self, chips: int, enough: float, hopeless: float) -> _Answer | None:
        """What the answers of larger pools, whose plans a pool of that size may hold too, say of
        it; None where that is not enough."""
        for high, known in self.known:
            if chips > high:
                continue
            held = chips >= known.packed
            if known.bound >= hopeless:
                if held:
                    return known
                return known._replace(plan=None, value=math.inf, packed=self.least)
            if held and (known.bound >= known.value or known.value <= enough):
                return known
        return None


def _packed(plan: Plan | None) -> int:
    """Chips from the first to the last that a plan uses; 1 where there is none."""
    if plan is None:
        return 1
    return 1 + max(group.last for stage in plan.stages for group in stage.groups)


Rectangle = tuple[int, int, int, int]
"""Fewest and most chips of the prefill pool, then of the decode pool."""


class _Rectangles:
    """The search over sizes of both pools."""

    def __init__(self, asked: _Asked, clock: _Clock) -> None:
        self.asked, self.clock = asked, clock
        self.pools = tuple(
            asked.pool(number, clock, field) for number, field in enumerate(asked.fields)
        )
        self.best: _Best | None = None
        self.left: list[float] = []
        """Bounds of what was closed without a proof."""
        self.open: list[tuple[float, int, Rectangle]] = []
        self.count = itertools.count()
        # Whatever the pools reach, the link lets no more through.
        linked = asked.value(asked.least, (0.0, 0.0))
        bound = linked if linked < math.inf else -math.inf
        self._add(bound, (asked.least[0], asked.most[0], asked.least[1], asked.most[1]))

    @property
    def bound(self) -> float:
        return min([self._least_value, *self.left, *(bound for bound, _, _ in self.open)])

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        if self.bound >= self._least_value * CLOSE:
            return "proof"
        if self.clock.interrupted:
            return "interrupt"
        return "time" if self.clock.over else "beam"

    @property
    def _least_value(self) -> float:
        return math.inf if self.best is None else self.best.value

    def run(self) -> None:
        spare = None
        try:
            spare = self._soon()
            if self.clock.left_s is not None:
                self._find_floor()
        except TimeUpError as up:
            self.clock.end(up)
        self._work_off()
        if spare is not None and spare.value < self._least_value:
            self.best = spare

    def _soon(self) -> _Best | None:
        """Pools of half the chips each, and a plan at once for either, where time is short."""
        if self.clock.left_s is None:
            return None
        half = self.asked.most_held // 2
        sizes = [max(least, min(most, half)) for least, most in self._ends]
        first, second = (pool.soon(chips) for pool, chips in zip(self.pools, sizes, strict=True))
        if first.plan is None or second.plan is None:
            return None
        held = first.packed, second.packed
        if sum(held) > self.asked.most_held:
            return None
        values = first.value, second.value
        pairs = _Pair(first.plan, held[0]), _Pair(second.plan, held[1])
        value = self.asked.value(held, values)
        return _Best(value, values, *pairs) if value < math.inf else None

    def _find_floor(self) -> None:
        """A bound of pools of all sizes, as far as a part of the time goes."""
        with suppress(TimeUpError), allowance.in_part(math.inf, FLOOR_SHARE):
            floors = [
                pool.floor(chips) for pool, chips in zip(self.pools, self.asked.most, strict=True)
            ]
            bound = self.asked.value(self.asked.least, (floors[0], floors[1]))
            if bound < math.inf:
                self.open = [(max(bound, known), number, at) for known, number, at in self.open]

    @property
    def _ends(self) -> Iterator[tuple[int, int]]:
        """The fewest and the most chips of each pool."""
        return zip(self.asked.least, self.asked.most, strict=True)

    def _work_off(self) -> None:
        while self.open and not self.clock.over and self.open[0][0] < self._least_value * CLOSE:
            first = heapq.heappop(self.open)
            try:
                self._cut(first[0], first[2])
            except TimeUpError as up:
                heapq.heappush(self.open, first)
                self.clock.end(up)

    def _add(self, bound: float, rectangle: Rectangle) -> None:
        """What is left of a rectangle once no more chips are held than there are."""
        x0, x1, y0, y1 = rectangle
        x1, y1 = min(x1, self.asked.most_held - y0), min(y1, self.asked.most_held - x0)
        if x0 <= x1 and y0 <= y1:
            heapq.heappush(self.open, (bound, next(self.count), (x0, x1, y0, y1)))

    def _cut(self, bound: float, rectangle: Rectangle) -> None:
        x0, x1, y0, y1 = rectangle
        first = self.pools[0].answer(x1)
        if first.bound == math.inf:
            return
        second = self.pools[1].answer(
            y1, *self.asked.window((x0, y0), first.value, self._least_value)
        )
        bound = max(bound, self.asked.value((x0, y0), (first.bound, second.bound)))
        if bound >= self._least_value * CLOSE:
            return
        x = max(x0, min(x1, first.packed))
        y = max(y0, min(y1, second.packed))
        if x + y > self.asked.most_held:
            self._halve(bound, rectangle)
            return
        value = self.asked.value((x, y), (first.value, second.value))
        if value < self._least_value and first.plan is not None and second.plan is not None:
            self.best = _Best(
                value, (first.value, second.value), _Pair(first.plan, x), _Pair(second.plan, y)
            )
        unproved = self.asked.value((x, y), (first.bound, second.bound))
        if unproved < value * CLOSE:
            self.left.append(unproved)
        # Pools of at least x and y chips reach no more than these plans do, and cost no less: what
        # is left has a smaller prefill pool, or a smaller decode pool.
        self._add(bound, (x0, x - 1, y0, y1))
        self._add(bound, (x, x1, y0, y - 1))

    def _halve(self, bound: float, rectangle: Rectangle) -> None:
        """Cut a rectangle in two along its longer side."""
        x0, x1, y0, y1 = rectangle
        if x1 - x0 >= y1 - y0:
            middle = (x0 + x1) // 2
            self._add(bound, (x0, middle, y0, y1))
            self._add(bound, (middle + 1, x1, y0, y1))
        else:
            middle = (y0 + y1) // 2
            self._add(bound, (x0, x1, y0, middle))
            self._add(bound, (x0, x1, middle + 1, y1))


def _settled(asked: _Asked, clock: _Clock, best: _Best) -> tuple[_Pair, _Pair]:
    """Among pools as good: for throughput those with the fewest chips that keep up with the
    slowest, then the fastest plans."""
    pairs = best.prefill, best.decode
    if asked.fields is SPEED:
        return pairs
    more: dict[str, float] = {}
    if asked.fields is RATE:
        slowest = max(*best.values, asked.link_token_s)
        more = {"tokens_per_s": (1 - 1e-13) / slowest}
        fewest = tuple(
            _fewest(asked.pool(number, clock, "chips", more), pair)
            for number, pair in enumerate(pairs)
        )
        pairs = (fewest[0], fewest[1])
    fast = (
        _faster(asked.pool(number, clock, SPEED[number], more), pair)
        for number, pair in enumerate(pairs)
    )
    return next(fast), next(fast)


def _fewest(pool: "_Pool", known: _Pair) -> _Pair:
    """The smallest pool that keeps its limits, no larger than one that is known."""
    with suppress(TimeUpError):
        while known.chips > pool.least and not pool.clock.over:
            found = pool.answer(known.chips)
            if found.plan is not None and found.packed < known.chips:
                known = _Pair(found.plan, found.packed)
                continue
            smaller = pool.answer(known.chips - 1)
            if smaller.plan is None:
                break
            known = _Pair(smaller.plan, smaller.packed)
    return known


def _faster(pool: "_Pool", known: _Pair) -> _Pair:
    found: Plan | None = None
    with suppress(TimeUpError):
        found = None if pool.clock.over else pool.answer(known.chips).plan
    return known if found is None else _Pair(found, known.chips)


def _result(
    asked: _Asked,
    link: Link,
    found: _Rectangles,
    plans: tuple[Plan, Plan],
    machines: tuple[Topology, Topology],
    score: DisaggregatedScore,
    elapsed_s: float,
) -> Disaggregation:
    assert found.best is not None
    name, bound = asked.question.objective, asked.field_value(found.bound)
    if not math.isfinite(bound):
        raise NoPlanFoundError(
            f"time ran out before anything was proved of {name}; {allowance.remedy()}"
        )
    proof = proved(
        asked.question,
        objective=float(getattr(score, name)),
        promised=asked.field_value(found.best.value),
        bound=bound,
        elapsed_s=elapsed_s,
        stopped_by=found.stopped_by,
    )
    return Disaggregation(
        prefill_plan=plans[0],
        decode_plan=plans[1],
        prefill_topology=machines[0],
        decode_topology=machines[1],
        score=score,
        graph=asked.graph,
        workload=asked.workload,
        link=link,
        **proof,
    )


def _refusal(asked: _Asked, clock: _Clock) -> InfeasibleError:
    """Which pool cannot be had even alone; else that both cannot be had together."""
    fewest = []
    for number, (name, most) in enumerate(zip(("prefill", "decode"), asked.most, strict=True)):
        pool = asked.pool(number, clock, "chips")
        found = pool.answer(most)
        if found.plan is None:
            try:
                partition(
                    asked.graph,
                    pool.machine.replace(chips=most),
                    pool.workload,
                    minimize="chips",
                    limits=dict(pool.question.limits),
                    space=pool.question.space,
                )
            except InfeasibleError as error:
                return error.saying(f"no {name} pool: {error}")
        else:
            fewest.append(_fewest(pool, _Pair(found.plan, found.packed)).chips)
    if sum(fewest) > asked.most_held:
        return InfeasibleError(
            f"{asked.graph.name} needs at least {fewest[0]} chips for the prefill pool and"
            f" {fewest[1]} for the decode pool, but there are {asked.most_held} chips in all",
            resource="chips",
            demand=sum(fewest),
            capacity=asked.most_held,
            smallest_chips=sum(fewest),
        )
    names = listed(name for name, _ in asked.question.limits)
    return InfeasibleError(
        f"each pool alone can keep the limits on {names}, but both together over this link cannot",
        resource="limits together",
        demand=float(len(asked.limits)),
        capacity=float(len(asked.limits) - 1),
    )
