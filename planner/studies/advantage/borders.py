"""Where winners change as models grow, quoted to the digits that are known, and where machines
end."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from planner.records import Record
from planner.studies.advantage.rounding import digits_within, rounded
from planner.studies.advantage.uncertainty import SURE

if TYPE_CHECKING:
    from planner.studies.advantage.records import Square

STEPS = 1.2
"""Ends of an interval whose ratio is no larger are quoted to all digits that are ever told."""


class Border(Record):
    """Where the winner changes as models grow, at one speed; None on either side: no machine is as
    fast, or it is not known."""

    tokens_per_s_per_user: float
    below: str | None
    above: str | None
    parameters: float
    interval: tuple[float | None, float | None]
    """80 %: the largest size at which what is below is sure, and the smallest at which what is
    above is; None: beyond the map."""
    within: tuple[float, float] | None = None
    """Sizes that were priced on either side, between which it lies as predicted; None: said
    before this was."""
    proved: tuple[str, ...] = ()
    """Winners whose plans at these sizes the solver proved to be the best of all that their engines
    run, or bounded (see `AdvantageMap.checks`)."""

    @property
    def is_proved(self) -> bool:
        """Whether that is so of both sides; where no machine is as fast there is nothing to
        prove."""
        return all(one in self.proved for one in (self.below, self.above) if one is not None)

    @property
    def digits(self) -> int:
        """To how many its size is known: one where the ends of its interval, or the sizes that were
        priced around it, are further apart than a factor of two, two where than a fifth."""
        low, high = self.interval
        if low is None or high is None:
            return 1
        if self.within is not None:
            low, high = min(low, self.within[0]), max(high, self.within[1])
        return digits_within(high / low, STEPS)

    def words(self) -> str:
        """Its size and its interval, such as "about 80 B (50 to 140)"."""
        digits = self.digits
        low, high = (None if end is None else spoken(end, digits) for end in self.interval)
        about = f"about {spoken(self.parameters, digits)} B"
        if low is None and high is None:
            return f"{about} (or anywhere on the map)"
        if high is None:
            return f"{about} ({low} or more)"
        if low is None:
            return f"{about} ({high} or less)"
        return f"{about} ({low} to {high})"


class Edge(Record):
    """Where one machine ends: the largest model of the map that it serves at all."""

    topology: str
    chips: int
    """The most that was ever described of it."""
    parameters: float
    """The largest that was priced and served, at the lowest speed of the map."""
    next_parameters: float
    """The smallest that was priced and not served; between both it ends."""
    why: Literal["memory full", "engine", "too slow"]
    """Memory full: of all its chips. Engine: its chips have room, but its software cannot be
    started with so large a plan. Too slow: it holds larger ones, but not at the lowest speed."""

    def words(self) -> str:
        """In one clause."""
        digits = digits_within(self.next_parameters / self.parameters, STEPS)
        size = spoken(self.parameters, digits)
        why = {
            "memory full": f"the memory of all its {self.chips:,} chips is full",
            "engine": "its software has no plan for more, though its chips had room",
            "too slow": "larger ones are too slow on it",
        }
        return f"{self.topology} ends at {size} B: {why[self.why]}"


def spoken(parameters: float, digits: int) -> str:
    """A size in 10⁹, rounded; where it begins with a one it has a digit more, as a step of its
    last digit would else be twice as large as of any other."""
    billions = parameters / 1e9
    power = math.floor(math.log10(billions))
    # What rounds up to the next power of ten begins with a one too.
    leading = billions / 10.0**power
    digits += 1 if digits == 1 and not 2.0 <= leading < 9.5 else 0
    places = digits - 1 - power
    return f"{rounded(billions, digits):,.{max(0, places)}f}"


def border_between(smaller: Sequence["Square"], larger: Sequence["Square"]) -> Border:
    """Between two neighbours at one speed, each followed by those beyond it. The interval reaches
    to the first square on either side that is sure, or that another machine wins."""
    below, above = smaller[0], larger[0]
    return Border(
        tokens_per_s_per_user=below.tokens_per_s_per_user,
        below=below.winner,
        above=above.winner,
        parameters=math.sqrt(below.parameters * above.parameters),
        interval=(_end_of_doubt(smaller), _end_of_doubt(larger)),
        within=(below.parameters, above.parameters),
    )


def _end_of_doubt(squares: Sequence["Square"]) -> float | None:
    """Between the last doubtful square and the first sure one, where the share of draws reaches
    that of a sure one, on a straight line."""
    before = None
    for square in squares:
        share = square.likely_share or 0.0
        if square.winner != squares[0].winner or square.unknown != squares[0].unknown:
            return square.parameters
        if share >= SURE:
            if before is None:
                return square.parameters
            way = (SURE - (before.likely_share or 0.0)) / (share - (before.likely_share or 0.0))
            return float(before.parameters * (square.parameters / before.parameters) ** way)
        before = square
    return None
