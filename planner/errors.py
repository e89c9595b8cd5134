"""What can go wrong, and what each word promises.

    PlannerError
    ├── InputError             something given is wrong; the sentence names the field and the remedy
    │   │                      (also a ValueError)
    │   └── UnknownNameError   no such model, topology, software or field; names the nearest three
    ├── InfeasibleError        proved: there is no plan; says demand, capacity, gap, and how many
    │                          chips would do
    ├── NoPlanFoundError       time ran out or Ctrl-C came before any plan; nothing is proved
    │   └── TimeUpError        the same of a part of the work: whoever has an answer catches it
    └── TooLargeError          the work would take more memory than is allowed; nothing is proved

Every message is one sentence that stands alone. A solver that broke our own rules is our bug:
`AssertionError`.
"""

import difflib
import reprlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

MOST_WHOLE = 10**300
"""Python refuses to write out a whole number of thousands of digits."""
MOST_WRITTEN = 20
"""Times the width of a message: of a long text no more is looked at."""


class PlannerError(Exception):
    """The base class of all errors that this package raises on purpose."""


class InputError(PlannerError, ValueError):
    """Something given is wrong: the sentence names the field and says what would be right."""


class UnknownNameError(InputError):
    """A name that is not known; the message gives the nearest three."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.nearest = nearest_names(name, known)
        super().__init__(
            f"there is no {kind} called {shortened(name)!r}; the nearest"
            f" {'name is' if len(self.nearest) == 1 else 'names are'} {listed(self.nearest)}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """For processes that hand errors on."""
        return type(self), (self.kind, self.name, self.nearest)


class InfeasibleError(PlannerError):
    """Proved: no plan meets the demand.

    `resource` names what binds; `demand`, `capacity` and `gap` are in the resource's unit;
    `smallest_chips` is the fewest chips of the same kind that would do (None where no number of
    them does, or where none was searched for). `brief` is the message without what `more` adds to
    it: that is asked for once, when somebody first reads the whole message, since it may take a
    second or two to find out, and many who catch the error never do.
    """

    def __init__(
        self,
        message: str,
        *,
        resource: str,
        demand: float,
        capacity: float,
        smallest_chips: int | None = None,
        more: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(message)
        self.brief = message
        self.more = more
        self.resource = resource
        self.demand = demand
        self.capacity = capacity
        self.gap = demand - capacity
        self.smallest_chips = smallest_chips

    def __str__(self) -> str:
        more = self.more
        if more is not None:
            self.more = None
            self.args = (f"{self.brief}{more()}",)
        return super().__str__()

    def saying(self, message: str) -> "InfeasibleError":
        """The same proof in other words, to which the same may be added."""
        return self._made()(message, more=self.more)

    def __reduce__(self) -> tuple[Any, ...]:
        """For processes that hand errors on."""
        return self._made(), (str(self),)

    def _made(self) -> "partial[InfeasibleError]":
        names = ("resource", "demand", "capacity", "smallest_chips")
        return partial(type(self), **{name: getattr(self, name) for name in names})


class NoPlanFoundError(PlannerError):
    """Time ran out, or Ctrl-C came, before any plan was found; nothing is proved."""


class TimeUpError(NoPlanFoundError):
    """A look at a clock that has run out; `interrupted`: that Ctrl-C has ended.

    Whoever has an answer so far catches it; where nobody has, it says so to the user.
    """

    def __init__(self, *, interrupted: bool = False) -> None:
        self.interrupted = interrupted
        how = "Ctrl-C came" if interrupted else "time ran out"
        remedy = "let it run longer" if interrupted else "allow more time"
        super().__init__(f"{how} before any plan was found; nothing is proved: {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        """For processes that hand errors on."""
        return partial(type(self), interrupted=self.interrupted), ()


class TooLargeError(PlannerError):
    """The work would take more memory than is allowed; nothing is proved."""


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The `count` known names most like `name`, whatever its case or punctuation."""
    plain = {candidate: plain_name(candidate) for candidate in known}
    wanted = plain_name(name[:100])

    def likeness(candidate: str) -> tuple[float, str]:
        ratio = difflib.SequenceMatcher(None, wanted, plain[candidate]).ratio()
        return (
            -ratio
            - 0.3 * (bool(wanted) and (wanted in plain[candidate] or plain[candidate] in wanted)),
            candidate,
        )

    return tuple(sorted(plain, key=likeness)[:count])


def check_word(given: str | None, known: Sequence[str], field: str) -> None:
    """Refuse a word that is none of a few, with those that are nearest; None is no word."""
    if given is None or given in known:
        return
    nearest = nearest_names(str(given), known)
    # All of them again would say nothing.
    hint = f"; did you mean {listed(nearest, 'or')}?" if len(nearest) < len(known) else ""
    raise InputError(f"{field} must be {listed(known, 'or')}, not {told(given)}{hint}")


def plain_name(name: str) -> str:
    """Lower case, letters and digits only: what two spellings of one name share."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def listed(names: Iterable[object], conjunction: str = "and") -> str:
    """'a, b and c'."""
    words = [str(name) for name in names]
    return (
        words[0]
        if len(words) == 1
        else f"{', '.join(words[:-1])} {conjunction} {words[-1]}"
        if words
        else "none"
    )


def shortened(text: object, width: int = 60) -> str:
    """At most `width` characters of something a user gave, for a message that stays one line."""
    given = text if isinstance(text, str) else _written(text)
    line = " ".join(given[: MOST_WRITTEN * width].split())
    return line if len(line) <= width else line[: width - 1] + "…"


def told(value: object, width: int = 40) -> str:
    """A value that a user gave as Python writes it, whatever it is, in at most so many
    characters."""
    return repr(shortened(value, width)) if isinstance(value, str) else shortened(value, width)


def _written(value: object) -> str:
    """What is long or deep in part; what cannot be written is told by its class."""
    if isinstance(value, int) and abs(value) >= MOST_WHOLE:
        return "a number of hundreds of digits"
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 100
    try:
        if isinstance(value, list | tuple | dict | set | frozenset):
            return brief.repr(value)
        return str(value)
    except Exception:  # whoever wrote the class of it says how it is written
        return f"a {type(value).__name__}"
