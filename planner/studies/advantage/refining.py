"""Borders between sizes that are priced ever closer, from plans that the solver proved, and where
machines end.

On a map the winner changes between two of its sizes, which are some 15 % apart. At some speeds the
sizes in between are halved until they are REFINED apart; at each the machines that compete have,
beside all uniform plans, the one that `partition` finds for that size and speed. These plans join
the map's.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from planner.errors import InfeasibleError, NoPlanFoundError, check_word
from planner.machines.topology import Topology
from planner.planning.partitioning import partition
from planner.space.uniform_shapes import Ground
from planner.studies.advantage.borders import Border, Edge, border_between
from planner.studies.advantage.family import member
from planner.studies.advantage.records import AdvantageMap, Check, Square, nearest
from planner.studies.advantage.stairs import Load, Proved, priced

if TYPE_CHECKING:
    from planner.studies.advantage.maps import MapGrids

Provers = Literal["engines", "all", "none"]
"""Machines of which plans are proved: those whose software has known rules, all, or none."""
PROVERS: tuple[Provers, ...] = ("engines", "all", "none")
BORDER_SPEEDS = (50.0, 100.0, 200.0)
REFINED = 1.02
"""How far apart sizes around a border may be."""
NEAR = 1.5
"""What a machine's uniform plan may cost over the winner's for its best plan to be looked for:
uniform plans of engines were never found more than a fifth from the proved best."""
QUICKER = 1.15
"""The same of speeds, where no uniform plan is as fast."""
ROOM = 2
"""Times the chips of the uniform plan that the solver may take."""
TIME_LIMIT_S = 3.0


def refined(
    drawn: AdvantageMap,
    grids: "MapGrids",
    *,
    borders_at: Sequence[float] | Literal["all"] = BORDER_SPEEDS,
    proved: Provers = "engines",
    time_limit_s: float = TIME_LIMIT_S,
    close: float = REFINED,
    ends: bool = True,
) -> AdvantageMap:
    """The map with its borders at some speeds ("all": at every one), each between sizes that are
    `close`, and with where its machines end. Plans that the solver finds join those of the grids,
    and squares are looked up again."""
    check_word(proved, PROVERS, "proved")
    search = _Search(drawn, grids, proved, time_limit_s, close)
    if borders_at == "all":
        speeds = list(range(len(drawn.speeds)))
    else:
        speeds = sorted({nearest(drawn.speeds, speed) for speed in borders_at})
    for speed in speeds:
        search.prove_row(speed)
    if search.checks:
        again = grids.map(
            drawn.metric,
            speeds=drawn.speeds,
            most_users=drawn.most_users,
            requests_per_s=search.load.requests_per_s,
        )
        drawn = search.drawn = drawn.replace(rows=again.rows)
    lines = tuple(line for speed in speeds for line in search.lines(speed))
    found = tuple(edges(drawn, grids)) if ends else ()
    return drawn.replace(lines=lines, checks=tuple(search.checks.values()), edges=found)


def is_provable(drawn: AdvantageMap, topology: Topology) -> bool:
    """Whether the solver's question is the map's: under a rate, at a share of hours or in pools of
    one phase it is not."""
    terms = drawn.terms
    if terms is None:
        return True
    return (
        terms.requests_per_s is None
        and terms.utilisation in (None, 1.0)
        and not terms.has_pools(topology)
    )


def load_of(drawn: AdvantageMap) -> Load:
    """What a map was drawn of."""
    rate = None if drawn.terms is None else drawn.terms.requests_per_s
    return Load(drawn.metric, drawn.most_users, rate)


class Question(NamedTuple):
    """One machine at one size and speed."""

    machine: int
    size: float
    speed: float


class _Search:
    """Around the borders of one map."""

    def __init__(
        self,
        drawn: AdvantageMap,
        grids: "MapGrids",
        proved: Provers,
        time_limit_s: float,
        close: float,
    ) -> None:
        self.drawn, self.grids, self.close = drawn, grids, close
        self.proved, self.time_limit_s = proved, time_limit_s
        self.load = load_of(drawn)
        self.checks: dict[Question, Check] = {}
        self.asked: dict[Question, bool] = {}
        """Whether the solver answered."""

    def prove_row(self, speed: int) -> None:
        """Prove the squares on both sides of each border of a row."""
        row = self.drawn.rows[speed :: len(self.drawn.speeds)]
        for below, above in itertools.pairwise(row):
            if _kind(below) != _kind(above):
                self._prove(below)
                self._prove(above)

    def lines(self, speed: int) -> Iterator[Border]:
        """The borders of a row, each between sizes that are close."""
        row = self.drawn.rows[speed :: len(self.drawn.speeds)]
        for at in range(len(row) - 1):
            coarse = border_between(row[at::-1], row[at + 1 :])
            for below, above in self._closer(row[at], row[at + 1]):
                yield coarse.replace(
                    below=below.winner,
                    above=above.winner,
                    parameters=math.sqrt(below.parameters * above.parameters),
                    within=(below.parameters, above.parameters),
                    proved=tuple(
                        one.winner for one in (below, above) if one.winner and self._is_proved(one)
                    ),
                )

    def _closer(self, below: Square, above: Square) -> Iterator[tuple[Square, Square]]:
        """Pairs of sizes next to each other between which the winner changes."""
        if _kind(below) == _kind(above):
            return
        if above.parameters / below.parameters <= self.close:
            yield below, above
            return
        size = math.sqrt(below.parameters * above.parameters)
        middle = self.grids.square_at(size, below.tokens_per_s_per_user, self.load)
        if self._prove(middle):
            middle = self.grids.square_at(size, below.tokens_per_s_per_user, self.load)
        yield from self._closer(below, middle)
        yield from self._closer(middle, above)

    def _prove(self, square: Square) -> bool:
        """Look for the best plans of the machines that compete for a square; whether any is among
        the plans now that was not."""
        found = [self._proved(Question(*one)) for one in self._competing(square)]
        return any(found)

    def _competing(self, square: Square) -> Iterator[tuple[int, float, float]]:
        """Machines that the solver is asked about whose plans are as cheap as the winner's, or
        nearly, or would be if they were a little faster."""
        known = [value for value in square.values if value is not None]
        for machine, value in enumerate(square.values):
            if not self._may_prove(machine):
                continue
            stair = self.grids.stair_at(machine, square.parameters, self.load)
            speed = square.tokens_per_s_per_user
            if value is None:
                competes = bool(len(stair.speeds)) and stair.speeds[0] * QUICKER >= speed
            else:
                competes = value <= NEAR * min(known)
            if competes:
                yield machine, square.parameters, speed

    def _may_prove(self, machine: int) -> bool:
        topology = self.grids.topologies[machine]
        is_asked = self.proved == "all" or (
            self.proved == "engines" and topology.software.engine.is_known
        )
        return is_asked and is_provable(self.drawn, topology)

    def _is_proved(self, square: Square) -> bool:
        """Whether the solver answered for the winner's plan."""
        machine = self.drawn.topologies.index(square.winner or "")
        question = Question(machine, square.parameters, square.tokens_per_s_per_user)
        return self.asked.get(question, False)

    def _proved(self, question: Question) -> bool:
        if question in self.asked:
            return False
        machine, size, speed = question
        plans = self.grids.plans_at(machine, size)
        assert plans is not None
        topology = self.grids.topologies[machine]
        stair = self.grids.stair_at(machine, size, self.load)
        uniform, step = (one[0] for one in stair.at(np.array([speed])))
        step = max(int(step), 0)
        way = plans.ways[int(stair.ways[step])]
        work = self.grids.workload.replace(speculation=way.grid.workload.speculation)
        if self.load.most_users is not None:
            work = work.replace(batch_size=int(stair.users[step]))
        try:
            result = partition(
                plans.graph,
                topology.replace(chips=min(topology.limit_chips, ROOM * int(stair.chips[step]))),
                work,
                minimize=self.load.metric,
                limits={"tpot_s": 1.0 / speed},
                time_limit_s=self.time_limit_s,
                power_scope=self.grids.terms.power_scope,
                space=self.grids.space,
                explain=False,
            )
        except InfeasibleError:
            # That no plan is as fast is an answer too.
            self.asked[question] = True
            return False
        except NoPlanFoundError:
            self.asked[question] = False
            return False
        self.asked[question] = True
        value = min(float(uniform), result.objective)
        self.checks[question] = Check(
            parameters=size,
            tokens_per_s_per_user=speed,
            topology=topology.name,
            users=result.score.batch_size,
            value=value,
            bound=result.bound,
            gap=value / result.bound - 1.0,
            status=result.status,
            merged=True,
            uniform_gap=float(uniform) / result.bound - 1.0 if math.isfinite(uniform) else None,
        )
        if result.objective >= uniform:
            return False
        plan = Proved(
            speed=max(speed, 1.0 / result.score.tpot_s),
            value=result.objective,
            chips=result.score.chips,
            users=result.score.batch_size,
            way=int(stair.ways[step]),
        )
        self.grids.proved.setdefault((topology.name, size, self.load), []).append(plan)
        return True


def _kind(square: Square) -> tuple[str | None, tuple[str, ...]]:
    """What a border parts."""
    return square.winner, square.unknown


def edges(drawn: AdvantageMap, grids: "MapGrids") -> Iterator[Edge]:
    """Where machines end before the map does, between sizes that are close."""
    load = load_of(drawn)
    lowest = min(drawn.speeds)
    for machine, topology in enumerate(grids.topologies):

        def serves(size: float, machine: int = machine) -> bool:
            return grids.stair_at(machine, size, load).fastest >= lowest

        served = [size for size in drawn.sizes if serves(size)]
        if not served or served[-1] == drawn.sizes[-1]:
            continue
        low = served[-1]
        high = drawn.sizes[drawn.sizes.index(low) + 1]
        while high / low > REFINED:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if serves(middle) else (low, middle)
        yield Edge(
            topology=topology.name,
            chips=topology.limit_chips,
            parameters=low,
            next_parameters=high,
            why=_why(grids, machine, high, load),
        )


def _why(
    grids: "MapGrids", machine: int, size: float, load: Load
) -> Literal["memory full", "engine", "too slow"]:
    """Why a machine does not serve a size."""
    if grids.stair_at(machine, size, load).fastest:
        return "too slow"
    topology = grids.topologies[machine]
    if grids.space == "any" or not topology.software.engine.is_known:
        return "memory full"
    # What any plan would hold, the engine's do not.
    free = grids.terms.replace(space="any", drafts="none", pools=False)
    graph = member(grids.family, size, free.dtype_on(topology))
    return (
        "memory full" if priced(graph, Ground(topology), free, grids.family) is None else "engine"
    )
