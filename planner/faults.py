"""What pydantic finds wrong with a record, in one sentence of ours: the field as it was written,
what would be right, and what was given."""

import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, NamedTuple, Union

from pydantic import ValidationError

from planner.errors import InputError, listed, nearest_names, shortened, told

BRANCH = "\0"
"""Begins what pydantic is told to call an alternative of a field: nothing that anybody writes."""
FIRST = f"{BRANCH}first"
"""An alternative that takes nothing which the next one does not."""
MOST_FAULTS = 1_000
"""That are looked into, of which the first is told."""
MOST_MESSAGE = 500
"""Letters of what is said of a field: some faults tell all that was given."""
MOST_WORDS = 15
"""Of those that a field may be, as many as a refusal lists; of more it names the nearest."""

NOUNS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_unicode": "text of valid characters",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table of names and values",
    "model_type": "a table of fields",
    "none_required": "left out",
}
"""What a value of the wrong kind should have been, by what pydantic calls the fault."""
BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
"""How a bound is said, and what pydantic calls it."""
LENGTHS = {
    "too_short": ("at least", "min_length", ("entry", "entries")),
    "too_long": ("at most", "max_length", ("entry", "entries")),
    "string_too_short": ("at least", "min_length", ("letter", "letters")),
    "string_too_long": ("at most", "max_length", ("letter", "letters")),
}
"""Likewise of a length, with what is counted."""
IN_FILES = {True: "true", False: "false", None: "null"}
"""What Python writes otherwise than JSON."""
UNTOLD = ("missing", "extra_forbidden", "json_invalid", "recursion_loop", *LENGTHS)
"""Faults of which what was given says nothing more."""


class _Place(NamedTuple):
    """Where in a record a fault is."""

    path: tuple[int | str, ...]
    """Names of fields and numbers of entries, without what pydantic calls alternatives."""
    fields: tuple[str, ...]
    """That there are beside the last of them."""
    is_name: bool
    """Whether a name in a table is wrong, not what stands under it."""


def sentence_of(error: ValidationError, kind: type, whole: str | None = None) -> str:
    """The first fault of a record, in one sentence: field, what would be right, what was given.

    Fields are named behind the class of the record; where the reader of the sentence wrote no
    class, `whole` says what they wrote ("the question"), and fields are named alone.
    """
    name = kind.__name__ if whole is None else ""
    count = error.error_count()
    if count > MOST_FAULTS:  # listing them takes a hundred times the memory of what was given
        return f"{whole or name} has {count} faults; is it something else?"
    faults = _told_apart(error.errors(include_url=False))
    first = faults[0]
    place = _place(kind, first[0]["loc"])
    field = field_name(name, place.path) or str(whole)
    if place.is_name:
        field = f"a name in {field}"
    cause = first[0].get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    if isinstance(cause, Exception):
        said = f": {shortened(str(cause), MOST_MESSAGE)}"
    else:
        remedy = shortened(_remedy(first, place, whole or "it"), MOST_MESSAGE)
        said = f" {remedy}{_given(first[0], whole)}"
    more = len(faults) - 1
    return f"{field}{said}" + (f" (and {more} more such fault{'s' * (more > 1)})" if more else "")


def field_name(name: str, location: Sequence[int | str]) -> str:
    """'Topology.fabrics[0].latency_s'; without the record's name 'fabrics[0].latency_s'."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{shortened(part, 40)}" for part in location
    )
    return (name + "".join(parts)).removeprefix("" if name else ".")


def _told_apart(errors: Sequence[Any]) -> list[list[Any]]:
    """Faults by field: a field that may be one of several things has one of each."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for fault in errors:
        location = fault["loc"]
        if location[-1:] == (FIRST,):
            continue
        marks = [at for at, part in enumerate(location) if str(part).startswith(BRANCH)]
        found.setdefault(location[: marks[0]] if marks else location, []).append(fault)
    return [_relevant(faults) for faults in found.values()]


def _relevant(faults: list[Any]) -> list[Any]:
    """Of what each alternative says of a field, what says most: that the value is of the right
    kind, and yet wrong; else that it is none of their kinds."""
    near = [one for one in faults if one["type"] not in NOUNS and one["type"] != "literal_error"]
    return near[:1] or faults


def _given(fault: Any, whole: str | None) -> str:
    """What was given, where that says more."""
    if fault["type"] in UNTOLD:
        return ""
    given = fault["input"]
    # Whoever wrote a file or a question did not write Python.
    is_told = whole is not None and (given is None or isinstance(given, bool))
    return f", not {IN_FILES[given] if is_told else told(given)}"


def _remedy(faults: list[Any], place: _Place, whole: str) -> str:
    """What would be right."""
    fault = faults[0]
    sort = fault["type"]
    context = fault.get("ctx", {})
    if sort == "missing":
        return "is missing"
    if sort == "extra_forbidden":
        return _unknown(str(place.path[-1]), place.fields, whole)
    if sort == "json_invalid":
        return f"is not valid JSON ({fault['msg'].partition(': ')[2]})"
    if sort == "recursion_loop":
        return "holds itself"
    if sort in BOUNDS:
        words, bound = BOUNDS[sort]
        return f"must be {words} {_figure(context[bound])}"
    if sort in LENGTHS:
        return _length(sort, context)
    if sort.startswith("union_tag"):
        return _untagged(context)
    wanted = [*dict.fromkeys(word for one in faults for word in _wanted(one))]
    if wanted:
        return f"must be {_among(wanted, fault['input'])}"
    return str(fault["msg"])  # of our own


def _figure(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _unknown(name: str, fields: Sequence[str], whole: str) -> str:
    nearest = listed(nearest_names(name, fields), "or")
    said = f"is not a field of {whole}"
    return f"{said}; did you mean {nearest}?" if fields else said


def _length(sort: str, context: Mapping[str, Any]) -> str:
    words, bound, (one, several) = LENGTHS[sort]
    limit, actual = context[bound], context.get("actual_length")
    said = f"must have {words} {limit:,} {one if limit == 1 else several}"
    return said if actual is None else f"{said}, not {actual:,}"


def _untagged(context: Mapping[str, Any]) -> str:
    """Of a record of one of several kinds, whose kind is none of them, or is not told."""
    field = context["discriminator"].strip("'")
    if "tag" not in context:
        return f"must say in {field} of which kind it is"
    known = context["expected_tags"].replace("'", "").split(", ")
    return f"must be of a {field} that there is: {listed(known, 'or')}"


def _wanted(fault: Any) -> list[str]:
    """What a value should have been: a word of a few, or a kind of thing."""
    if fault["type"] == "literal_error":
        *first, last = fault["ctx"]["expected"].split(" or ")
        return [word.strip() for word in ", ".join([*first, last]).split(", ")]
    return [NOUNS[fault["type"]]] if fault["type"] in NOUNS else []


def _among(wanted: Sequence[str], given: Any) -> str:
    if len(wanted) <= MOST_WORDS:
        return listed(wanted, "or")
    known = [word.strip("'") for word in wanted]
    nearest = [repr(word) for word in nearest_names(shortened(given, 100), known)]
    return (
        f"one of {len(wanted)} words, such as {listed(wanted[:4], 'or')}, or rather"
        f" {listed(nearest, 'or')}"
    )


# ── Names that are given twice ──────────────────────────────────────────────────────────────────


def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON from its names and values; an InputError names what is given twice, of
    which Python would take the last and others the first."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InputError(f"{shortened(name)} is given twice; give it once")
            seen.add(name)
    return made


def check_unique(text: str | bytes, whole: str) -> None:
    """Refuse JSON that gives a name twice; what is no JSON is told by whoever reads it."""
    try:
        json.loads(text, object_pairs_hook=unique)
    except InputError as error:
        raise InputError(f"{whole}: {error}") from None
    except (ValueError, RecursionError):
        return


# ── Where a fault is ────────────────────────────────────────────────────────────────────────────


def _place(kind: type, location: Sequence[int | str]) -> _Place:
    """Of what pydantic calls a location: names of fields, but also names of alternatives."""
    path: list[int | str] = []
    known: list[Any] = [kind]
    fields: tuple[str, ...] = tuple(kind.model_fields)  # type: ignore[attr-defined]
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        if str(part).startswith(BRANCH) or part == "[key]":
            continue
        records = [one for one in known if hasattr(one, "model_fields")]
        within = [one for one in records if isinstance(part, str) and part in one.model_fields]
        if records and not within and not is_last and isinstance(part, str):
            # The kind of a record that is of one of several: pydantic's, not in what was written.
            known = [one for one in records if _is_of_kind(one, part)] or records
            continue
        fields = tuple(dict.fromkeys(name for one in records for name in one.model_fields))
        path.append(part)
        known = [
            deeper
            for annotation in (
                [one.model_fields[part].annotation for one in within] or _entries(known)
            )
            for deeper in _kinds(annotation)
        ]
    is_name = "[key]" in location
    return _Place(tuple(path[:-1] if is_name else path), fields, is_name)


def _is_of_kind(record: Any, tag: str) -> bool:
    return any(field.default == tag for field in record.model_fields.values())


def _entries(known: Sequence[Any]) -> list[Any]:
    """What stands in lists and tables."""
    return [inside for one in known for inside in typing.get_args(one) if inside is not Ellipsis]


def _kinds(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation."""
    if typing.get_origin(annotation) is typing.Annotated:
        yield from _kinds(typing.get_args(annotation)[0])
    elif typing.get_origin(annotation) in (Union, UnionType):
        for one in typing.get_args(annotation):
            yield from _kinds(one)
    else:
        yield annotation
