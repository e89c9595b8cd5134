"""What a public function is given, held against what it says it takes, before it does anything.

`@guarded` reads the annotations of a function once. Whoever calls it with something else gets an
InputError in one sentence that names the argument, not whatever would have come of it further
down.
"""

import functools
import inspect
import itertools
import math
import numbers
import operator
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

from planner.errors import InputError, listed, nearest_names, told

P = ParamSpec("P")
T = TypeVar("T")

MOST_WHOLE = 2**63
"""Beyond, no array and no solver holds a whole number."""
MOST_LETTERS = 4_096
"""As many as a path has; no name has so many."""
MOST_LISTED = 2**20
"""Of anything that is given one after the other; more would never end, or fill the memory."""


class WrongError(Exception):
    """A value is not of a kind; never leaves this module."""


class Kind(NamedTuple):
    """What an annotation stands for."""

    words: str
    """Such as "a whole number"."""
    taken: Callable[[Any], Any]
    """What is handed on of a value; raises WrongError where it is not of the kind."""
    known: tuple[str, ...] = ()
    """Words that a value may be."""


def guarded(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which refuses what its annotations do not take."""
    signature = inspect.signature(function)
    name = function.__name__

    @functools.lru_cache(maxsize=1)
    def kinds() -> dict[str, Kind]:
        given = typing.get_type_hints(function, include_extras=True)
        return {one: _kind_of(given[one]) for one in signature.parameters if one in given}

    @functools.wraps(function)
    def called(*values: P.args, **named: P.kwargs) -> T:
        try:
            bound = signature.bind(*values, **named)
        except TypeError as error:
            raise InputError(_unbound(name, signature, named, error)) from None
        for one, value in bound.arguments.items():
            variadic = signature.parameters[one].kind in (
                inspect.Parameter.VAR_POSITIONAL,
                inspect.Parameter.VAR_KEYWORD,
            )
            if one in kinds() and not variadic:
                bound.arguments[one] = _taken(value, kinds()[one], f"{name}: {one}")
        return function(*bound.args, **bound.kwargs)

    return called


def _unbound(
    name: str, signature: inspect.Signature, named: Mapping[str, Any], error: TypeError
) -> str:
    """What is wrong with a call that does not fit: the argument that there is not, with the nearest
    that there are, or the one that is missing."""
    for one in named:
        if one not in signature.parameters:
            nearest = listed(nearest_names(one, signature.parameters), "or")
            return f"{name} takes no {told(one)}; did you mean {nearest}?"
    return f"{name}: {error}"


def _taken(value: Any, kind: Kind, field: str) -> Any:
    try:
        return kind.taken(value)
    except WrongError:
        more = ""
        if kind.known and isinstance(value, str):
            more = f"; did you mean {listed(nearest_names(value, kind.known), 'or')}?"
        raise InputError(f"{field} must be {kind.words}, not {told(value)}{more}") from None


def _kind_of(annotation: Any) -> Kind:
    """Of an annotation of a parameter."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    origin = typing.get_origin(annotation)
    inside = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _within(_kind_of(inside[0]), inside[1:])
    if origin in (typing.Union, types.UnionType):
        return _one_of([_kind_of(one) for one in inside])
    if origin is Literal:
        return _words(inside)
    if origin is tuple and Ellipsis not in inside:
        return _row([_kind_of(one) for one in inside])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _table(*(_kind_of(one) for one in inside))
    if origin is Callable:
        return Kind("a function", _only(callable))
    if isinstance(origin, type) and issubclass(origin, Iterable) and inside:
        return _array(origin) if origin.__module__ == "numpy" else _several(_kind_of(inside[0]))
    if isinstance(annotation, type):
        return _instance(annotation)
    return ANYTHING


def _only(is_so: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Takes what is so, as it is."""

    def taken(value: Any) -> Any:
        if not is_so(value):
            raise WrongError
        return value

    return taken


def _whole(value: Any) -> int:
    is_number: bool = isinstance(value, numbers.Integral)
    if not is_number or isinstance(value, bool) or not -MOST_WHOLE <= value < MOST_WHOLE:
        raise WrongError
    return int(value)


def _figure(value: Any) -> float:
    if isinstance(value, int):  # of any length, which no float need hold
        return _whole(value)
    is_number: bool = isinstance(value, numbers.Real)
    if not is_number or not math.isfinite(value):
        raise WrongError
    return value if type(value) is float else float(value)


def _figure_or_infinity(value: Any) -> float:
    return math.inf if isinstance(value, float) and value == math.inf else _figure(value)


def _truth(value: Any) -> bool:
    if type(value).__name__ not in ("bool", "bool_"):
        raise WrongError
    return bool(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_LETTERS:
        raise WrongError
    return value


ANYTHING = Kind("anything", lambda value: value)
PLAIN: dict[Any, Kind] = {
    int: Kind("a whole number", _whole),
    float: Kind("a number", _figure),
    bool: Kind("True or False", _truth),
    str: Kind("text", _text),
    type(None): Kind("None", _only(lambda value: value is None)),
    None: Kind("None", _only(lambda value: value is None)),
    Any: ANYTHING,
    object: ANYTHING,
}
"""What numbers, words and nothing stand for."""


def _one_of(kinds: Sequence[Kind]) -> Kind:
    """Of a union: the first that takes a value."""

    def taken(value: Any) -> Any:
        for kind in kinds:
            with suppress(WrongError):
                return kind.taken(value)
        raise WrongError

    words = listed(dict.fromkeys(kind.words for kind in kinds), "or")
    return Kind(words, taken, tuple(word for kind in kinds for word in kind.known))


def _words(known: Sequence[Any]) -> Kind:
    """One of a few."""

    def taken(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise WrongError
        return value

    shown = [repr(one) for one in known]
    words = listed(shown, "or") if len(shown) <= 6 else f"one of {listed(shown)}"
    return Kind(words, taken, tuple(known))


def _row(kinds: Sequence[Kind]) -> Kind:
    """So many values, each of a kind of its own."""

    def taken(value: Any) -> Any:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise WrongError
        if len(value) != len(kinds):
            raise WrongError
        return tuple(kind.taken(one) for kind, one in zip(kinds, value, strict=True))

    return Kind(f"({', '.join(kind.words for kind in kinds)})", taken)


def _within(kind: Kind, told_besides: Sequence[Any]) -> Kind:
    """A number between what pydantic's `Field` says of it; a text says in words what is meant."""
    # pydantic keeps each bound as a record of its own, which has the bound's name.
    bounds = [one for beside in told_besides for one in getattr(beside, "metadata", ())]
    if any(getattr(one, "allow_inf_nan", False) for one in bounds):
        kind = Kind("a number or infinity", _figure_or_infinity)
    if kind is PLAIN[str] and any(hasattr(one, "max_length") for one in bounds):
        # Whoever states how long a text may be takes more than a name.
        kind = Kind("text", _only(lambda value: isinstance(value, str)))
    words = [next((one for one in told_besides if isinstance(one, str)), kind.words)]
    tests: list[Callable[[Any], bool]] = []
    for name, sentence, is_kept in BOUNDS:
        for bound in (getattr(one, name) for one in bounds if hasattr(one, name)):
            words.append(f"{sentence} {bound:,}")
            tests.append(functools.partial(is_kept, bound))

    def taken(value: Any) -> Any:
        found = kind.taken(value)
        if not all(test(found) for test in tests):
            raise WrongError
        return found

    return Kind(" ".join([words[0], listed(words[1:])][: len(words)]), taken)


BOUNDS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("ge", "of at least", operator.le),
    ("gt", "above", operator.lt),
    ("le", "of at most", operator.ge),
    ("lt", "below", operator.gt),
    ("min_length", "with an entry count of at least", lambda least, found: len(found) >= least),
    ("max_length", "with an entry count of at most", lambda most, found: len(found) <= most),
)
"""What a bound is called, how it is said, and how it compares to a value that keeps it."""


def _several(kind: Kind) -> Kind:
    """Any number of values of one kind, one after the other."""

    def taken(values: Any) -> Any:
        # A record lists its fields when asked; nobody who gives one means them.
        is_one = isinstance(values, str | bytes | Mapping) or hasattr(type(values), "model_fields")
        if is_one or not isinstance(values, Iterable):
            raise WrongError
        found = tuple(itertools.islice(values, MOST_LISTED + 1))
        if len(found) > MOST_LISTED:
            raise WrongError
        return tuple(kind.taken(one) for one in found)

    return Kind(f"a list, each of it {kind.words}", taken)


def _table(keys: Kind = ANYTHING, entries: Kind = ANYTHING) -> Kind:
    """A mapping."""

    def taken(table: Any) -> Any:
        if not isinstance(table, Mapping):
            raise WrongError
        return {keys.taken(key): entries.taken(entry) for key, entry in table.items()}

    return Kind(f"a table of {keys.words}: {entries.words}", taken)


def _array(origin: Any) -> Kind:
    """An array of numbers."""

    def is_one(value: Any) -> bool:
        return isinstance(value, origin) and value.dtype.kind in "iuf"

    return Kind("an array of numbers", _only(is_one))


def _instance(kind: type) -> Kind:
    """Of one class; what is shaped like an executor is one."""
    if kind.__name__ == "Executor":
        return Kind("an Executor", _only(lambda value: callable(getattr(value, "submit", None))))
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    return Kind(f"{article} {kind.__name__}", _only(lambda value: isinstance(value, kind)))
