"""`border_table`: which sizes one machine wins over others, against every baseline and under all
terms: what moves the border, and by how much.

Plans are priced once for each set of machines and terms; users and rates look at the same ones.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from planner.errors import InputError
from planner.guards import guarded
from planner.machines.topology import Topology
from planner.records import Record
from planner.studies.advantage.borders import Border
from planner.studies.advantage.family import Family
from planner.studies.advantage.maps import SIZES, MapGrids, map_grids
from planner.studies.advantage.records import AdvantageMap
from planner.studies.advantage.refining import Provers, refined
from planner.studies.advantage.stairs import Load
from planner.studies.advantage.terms import Terms, data_date
from planner.studies.study import Study, machine_of
from planner.units import Several

SPEEDS = (50.0, 100.0, 200.0)
CLOSE = 1.1
"""How far apart sizes around a border may be: closer than any border is known."""


class Stretch(Record):
    """Sizes that one machine wins at one speed, without a gap."""

    tokens_per_s_per_user: float
    start: Border | None
    """None: from the smallest size that was looked at."""
    end: Border | None
    """None: up to the largest."""

    def words(self) -> str:
        """Such as "from about 80 B (50 to 140) up to about 800 B (200 or more)"."""
        if self.start is None and self.end is None:
            return "all sizes"
        if self.start is None:
            assert self.end is not None
            return f"up to {self.end.words()}"
        if self.end is None:
            return f"from {self.start.words()} on"
        return f"from {self.start.words()} up to {self.end.words()}"


class Contest(Record):
    """A row that is asked for: who competes, and under which terms."""

    what: str
    """How it differs from the others, in words."""
    baseline: str | Topology = "hgx-h100"
    challenger: str | Topology = "groq-lpu-chain"
    others: tuple[str | Topology, ...] = ()
    """Who competes besides."""
    family: Family = "dense"
    metric: str = "energy_per_token_j"
    terms: Terms = Terms()

    @property
    def machines(self) -> tuple[str | Topology, ...]:
        """All of them, the baseline first."""
        return (self.baseline, self.challenger, *self.others)


class BorderRow(Record):
    """What became of a contest."""

    what: str
    baseline: str
    challenger: str
    others: tuple[str, ...]
    family: Family
    metric: str
    terms: Terms
    counts: str
    """What the metric counts, in words."""
    wins: tuple[Stretch, ...]
    """Of the challenger, by speed, then by size."""
    proved: str
    """What is known of plans beyond the grids', in words."""

    def at(self, speed: float) -> tuple[Stretch, ...]:
        """Of one speed."""
        return tuple(one for one in self.wins if one.tokens_per_s_per_user == speed)

    def words(self, speed: float) -> str:
        """Which sizes the challenger wins at a speed."""
        return "; then ".join(one.words() for one in self.at(speed)) or "none"

    def first_size(self, speed: float) -> float | None:
        """From which on it wins at a speed, 0 where from the smallest; None: it wins nowhere."""
        found = self.at(speed)
        if not found:
            return None
        return 0.0 if found[0].start is None else found[0].start.parameters


class BorderTable(Study):
    """Rows of contests, in the order in which they were asked for."""

    rows: tuple[BorderRow, ...]
    speeds: tuple[float, ...]
    sizes: tuple[float, ...]
    """Between the first and the last of which borders were looked for."""
    data_date: str
    """As of when figures and prices are."""

    def row(self, what: str) -> BorderRow:
        """The row of that name."""
        return {one.what: one for one in self.rows}[what]

    def factor(self, row: BorderRow, speed: float) -> float | None:
        """How many times further up a row's challenger begins to win than the first row's; None
        where one of both has no such border."""
        here, there = row.first_size(speed), self.rows[0].first_size(speed)
        return here / there if here and there else None

    def markdown(self, speeds: Sequence[float] | None = None) -> str:
        """The table as a page has it: one line a row, one column a speed."""
        chosen = tuple(speeds or self.speeds)
        head = ["what", *(f"at {speed:g} tokens/s a user" for speed in chosen)]
        lines = [head, ["---"] * len(head)]
        lines += [[row.what, *map(row.words, chosen)] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def moves(self, speed: float) -> str:
        """How far each row moves the first row's border at one speed, as a page has it."""
        lines = [["what is changed", "LPUs win", "their border moves by"], ["---"] * 3]
        for row in self.rows:
            factor = self.factor(row, speed)
            moved = (
                "" if row is self.rows[0] else "no border" if factor is None else f"× {factor:.2g}"
            )
            lines.append([row.what, row.words(speed), moved])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def __str__(self) -> str:
        return self.markdown()


@dataclass(slots=True)
class _Shelf:
    """Plans that were priced already: by family and terms, of all machines that any contest of
    these names."""

    contests: tuple[Contest, ...]
    sizes: tuple[float, ...]
    known: dict[str, MapGrids] = field(default_factory=dict)

    def grids(self, contest: Contest) -> MapGrids:
        """Of the machines of one contest, the baseline first."""
        key = _key(contest)
        if key not in self.known:
            alike = [one for one in self.contests if _key(one) == key]
            named = {one.name: one for each in alike for one in map(machine_of, each.machines)}
            self.known[key] = map_grids(
                tuple(named.values()),
                family=contest.family,
                sizes=self.sizes,
                models=(),
                terms=_without_load(contest.terms),
                loads=_loads_of(alike),
            )
        grids = self.known[key]
        # Before some of the machines are chosen, so that it is done once for each.
        grids.uncertainties(contest.metric)
        return grids.only(*(machine_of(one).name for one in contest.machines))


def _without_load(terms: Terms) -> Terms:
    return terms.replace(most_users=None, requests_per_s=None)


def _loads_of(contests: Sequence[Contest]) -> tuple[Load, ...]:
    """Of which these contests are decided, and at which doubts are taken."""
    asked = [
        (Load(one.metric, one.terms.most_users, one.terms.requests_per_s), Load(one.metric))
        for one in contests
    ]
    return tuple(dict.fromkeys(itertools.chain.from_iterable(asked)))


def _key(contest: Contest) -> str:
    return f"{contest.family} {_without_load(contest.terms).model_dump_json()}"


@guarded
def border_table(
    contests: Sequence[Contest],
    *,
    speeds: Several = SPEEDS,
    sizes: Several = SIZES,
    proved: Provers = "none",
    close: float = CLOSE,
    progress: Callable[[BorderRow], None] | None = None,
) -> BorderTable:
    """Which sizes the challenger of each contest wins, at each speed. [tokens/s for a user]

    The first contest is what others are held against. Machines that compete under the same terms
    count alike, also where they meet in different rows. `proved` has the solver prove plans on both
    sides of each border, as in `advantage_map`; `close` is how far apart sizes around a border may
    be.

    InputError: no contest, or terms that do not go together.
    """
    if not contests:
        raise InputError("contests must name one contest or more")
    wanted = tuple(float(speed) for speed in speeds)
    looked_at = tuple(float(size) for size in sizes)
    shelf = _Shelf(tuple(contests), looked_at)
    rows = []
    for contest in contests:
        rows.append(_row(contest, shelf.grids(contest), wanted, proved, close))
        if progress is not None:
            progress(rows[-1])
    return BorderTable(rows=tuple(rows), speeds=wanted, sizes=looked_at, data_date=data_date())


def _row(
    contest: Contest, grids: MapGrids, speeds: tuple[float, ...], proved: Provers, close: float
) -> BorderRow:
    terms = contest.terms
    drawn = grids.map(
        contest.metric,
        speeds=speeds,
        most_users=terms.most_users,
        requests_per_s=terms.requests_per_s,
    )
    drawn = refined(drawn, grids, borders_at="all", proved=proved, close=close, ends=False)
    baseline, challenger, *others = drawn.topologies
    return BorderRow(
        what=contest.what,
        baseline=baseline,
        challenger=challenger,
        others=tuple(others),
        family=contest.family,
        metric=contest.metric,
        terms=terms,
        counts=drawn.counts,
        wins=tuple(one for speed in speeds for one in stretches(drawn, challenger, speed)),
        proved=drawn.proved,
    )


def stretches(drawn: AdvantageMap, topology: str, speed: float) -> Iterator[Stretch]:
    """Sizes that a machine wins on a map at one of its speeds."""
    winner = drawn.rows[drawn.speeds.index(speed)].winner
    start: Border | None = None
    for border in drawn.borders(speed):
        if winner == topology != border.above:
            yield Stretch(tokens_per_s_per_user=speed, start=start, end=border)
        if border.above == topology != winner:
            start = border
        winner = border.above
    if winner == topology:
        yield Stretch(tokens_per_s_per_user=speed, start=start, end=None)
