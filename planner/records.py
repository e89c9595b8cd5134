"""`Record`: what every noun that crosses our edge is made of.

Frozen, extra fields forbidden, infinities refused; changed with `replace()`, which validates; JSON
both ways, exactly. A record that is refused says so in one sentence that names the field.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic_core import (
    CoreSchema,
    PydanticKnownError,
    PydanticSerializationError,
    core_schema,
)

from planner.errors import InputError, shortened, told
from planner.faults import BRANCH, FIRST, check_unique, sentence_of

T = TypeVar("T")

LINE = 200
"""Of what `repr` says of a record. [characters]"""
MOST_BRIEF = 6
"""Values of a list that are told one by one where a record is told in brief."""

MOST_LISTED = 2**20
"""Entries of a list in a record."""
MOST_VALUES = 2**21
"""Of a JSON text; a sweep of forty thousand cells has as many."""
MOST_OPENED = 2**18
"""Of its lists and objects, each of which takes some 700 bytes."""


BOOLEANS = ("bool", "bool_")
"""What Python and numpy call the class of True."""


def _settled(node: Any, record: type) -> Any:
    """The schema of a record as we want it.

    Every list ends, and is refused at its first fault: each fault is kept with what was given,
    which of a list of a million is more than a machine holds. True is no number, though Python
    counts with it. Alternatives of a field are called by a mark, so that `faults` finds them.
    """
    if isinstance(node, list | tuple):
        return type(node)(_settled(one, record) for one in node)
    # Records inside are settled already.
    if not isinstance(node, dict) or node.get("cls", record) is not record:
        return node
    sort = node.get("type")
    if sort in ("int", "float"):
        return _untrue(node)
    made = {name: _settled(one, record) for name, one in node.items()}
    if sort in ("tuple", "list", "set", "frozenset"):
        made.setdefault("fail_fast", True)
        if sort != "tuple" or "variadic_item_index" in made:
            made.setdefault("max_length", MOST_LISTED)
    if sort == "union":
        made["choices"] = [
            one if isinstance(one, tuple) else (one, f"{BRANCH}{number}")
            for number, one in enumerate(made["choices"])
        ]
    return made


def _untrue(node: Any) -> CoreSchema:
    """The schema of a number, which True is not.

    Numbers are taken by the first alternative, where nothing of Python's is called; what is left
    are texts, whole floats, and what is refused.
    """
    refuse = _no_whole_truth if node["type"] == "int" else _no_truth
    return core_schema.union_schema(
        [
            ({**node, "strict": True}, FIRST),
            (core_schema.no_info_before_validator_function(refuse, node), BRANCH),
        ],
        mode="left_to_right",
        serialization=core_schema.simple_ser_schema(node["type"]),
    )


def _no_whole_truth(given: Any) -> Any:
    if type(given).__name__ in BOOLEANS:
        raise PydanticKnownError("int_type")
    return given


def _no_truth(given: Any) -> Any:
    if type(given).__name__ in BOOLEANS:
        raise PydanticKnownError("float_type")
    return given


class Record(BaseModel):
    """A frozen, validated noun."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=False,
    )

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(sentence_of(error, type(self))) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cast(CoreSchema, _settled(handler(source), cls))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """With the docstrings of the fields, read here: pydantic would read those of all records at
        the start of every command."""
        json_schema = handler(schema)
        fields = handler.resolve_ref_schema(json_schema).get("properties", {})
        for name, text in _docstrings_of(cls):
            if name in fields:
                fields[name].setdefault("description", text)
        return json_schema

    # Tells pydantic that records nested in records need no call of this __init__: they are built
    # without it, fast.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated as a whole."""
        return type(self)(
            **{**{name: getattr(self, name) for name in type(self).model_fields}, **changes}
        )

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], *, whole: str | None = None) -> Self:
        """A record from plain nested data, such as a parsed file.

        Refusals name the class, or, for people who wrote none, what they wrote: the `whole`.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise InputError(sentence_of(error, cls, whole)) from None

    def kept(self, make: Callable[[Self], T]) -> T:
        """What `make` finds out about this record, found out once and kept as long as the record
        is: what a cached property is to the record itself, to the floors above it."""
        if make not in self._kept:
            self._kept[make] = make(self)
        found: T = self._kept[make]
        return found

    def __getstate__(self) -> dict[Any, Any]:
        """What is sent to another process: the record, not what was found out about it."""
        state = super().__getstate__()
        fields = {name: value for name, value in state["__dict__"].items() if name != "_kept"}
        return {**state, "__dict__": fields}

    @functools.cached_property
    def _kept(self) -> dict[Callable[..., Any], Any]:
        return {}

    def to_json(self, *, indent: int | None = 1) -> str:
        """The record as JSON text; `from_json` gives back an equal record."""
        try:
            return self.model_dump_json(indent=indent)
        except (PydanticSerializationError, UnicodeEncodeError):
            raise InputError(
                f"{type(self).__name__} holds text that UTF-8 cannot hold; it cannot be written"
            ) from None

    @classmethod
    def from_json(cls, text: str | bytes, *, whole: str | None = None, edited: bool = True) -> Self:
        """The record that `to_json` wrote; `whole` as of `from_fields`. Where nobody can have
        `edited` it, no name is looked for twice, which takes a third of the time."""
        _check_text(text, whole or cls.__name__)
        if edited:
            check_unique(text, whole or cls.__name__)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InputError(sentence_of(error, cls, whole)) from None

    def __str__(self) -> str:
        """As a person reads it, where somebody said how; else its fields, those that hold much in
        brief."""
        shown = as_text(self)
        return " ".join(_fields_in_brief(self)) if shown is None else shown

    def __repr__(self) -> str:
        """One line, whatever the record holds: a result has a model and a machine inside."""
        return as_line(self)

    def __dir__(self) -> list[str]:
        """Our own names: pydantic's work too, and would hide them among thirty others."""
        own = type(self).model_fields
        return [
            name
            for name in super().__dir__()
            if name in own or name.startswith("__") or name not in PYDANTIC
        ]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Text, and HTML where somebody said how the record looks in a notebook."""
        bundle = {"text/plain": str(self)}
        html = as_html(self)
        if html is not None:
            bundle["text/html"] = html
        return bundle

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema (draft 2020-12) of this record."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **cls.model_json_schema(),
        }


def _docstrings_of(cls: type) -> Iterator[tuple[str, str]]:
    """Fields of a record and the docstring under each, its own first, then those of its bases."""
    import ast
    import inspect
    import textwrap

    for one in cls.__mro__[: cls.__mro__.index(Record)]:
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        except (OSError, TypeError):
            continue  # of a class that was typed in, or made by code, there is no source
        assert isinstance(tree, ast.ClassDef)
        for field, below in itertools.pairwise(tree.body):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield field.target.id, inspect.cleandoc(text.value)


PYDANTIC = frozenset(dir(BaseModel))
"""What every model of pydantic has."""


class Portrait(NamedTuple):
    """How the records of one class show themselves; None: not in this form."""

    line: Callable[[Any], str] | None = None
    """What stands in the brackets of its `repr`."""
    text: Callable[[Any], str] | None = None
    html: Callable[[Any], str] | None = None
    svg: Callable[[Any], str] | None = None
    figure: Callable[..., Any] | None = None
    """An interactive picture (plotly), from the record and what of it is to be seen."""


@functools.singledispatch
def portrait(record: Any) -> Portrait:
    """The portrait of a record's class: `portrait.register(Plan, lambda _: Portrait(…))` says
    one."""
    return Portrait()


def show_as(kind: type[Record], **forms: Callable[..., Any]) -> None:
    """Say how the records of a class show themselves, in some of the forms of a `Portrait`."""
    shown = Portrait(**forms)
    portrait.register(kind, lambda _: shown)


def as_line(record: Record) -> str:
    """A record in one line of at most `LINE` characters: "Workload(batch_size=8, …)"."""
    name = type(record).__name__
    draw = _portrait_of(record).line
    try:
        said = "" if draw is None else draw(record)
    except AttributeError:  # built without checks, it may lack what the line tells
        said = ""
    said = said or ", ".join(_fields_in_brief(record, changed=True))
    return f"{name}({shortened(said, LINE - len(name) - 2)})"


def _fields_in_brief(record: Record, *, changed: bool = False) -> list[str]:
    """Names and values; `changed`: of the fields alone that are not as they are by default."""
    fields = type(record).model_fields
    # A record that is being built, or was built without checks, has not all of them.
    held = {name: value for name, value in record.__dict__.items() if name in fields}
    return [
        f"{name}={_in_brief(value)}"
        for name, value in held.items()
        if not (changed and _is_default(value, fields[name].default))
    ]


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _in_brief(value: Any) -> str:
    """A value of a field, in some words."""
    if isinstance(value, Record):
        return _named_in_brief(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple | list):
        return _listed_in_brief(value)
    return told(value)


def _named_in_brief(record: Record) -> str:
    """By its name, where it has one."""
    name = record.__dict__.get("name")
    return f"{type(record).__name__}({told(name) if isinstance(name, str) else '…'})"


def _listed_in_brief(values: Sequence[Any]) -> str:
    """One by one where there are a few plain ones; else how many of what there are."""
    if len(values) > MOST_BRIEF or any(isinstance(value, Record) for value in values):
        return f"{len(values)} × {type(values[0]).__name__}"
    comma = "," if len(values) == 1 else ""
    return f"({', '.join(map(_in_brief, values))}{comma})"


def as_text(record: Record) -> str | None:
    """A record for a terminal; None where nobody said how."""
    draw = _portrait_of(record).text
    return None if draw is None else draw(record)


def as_html(record: Record) -> str | None:
    """A record for a notebook; None where nobody said how."""
    draw = _portrait_of(record).html
    return None if draw is None else draw(record)


def as_svg(record: Record) -> str:
    """A static picture of a record, as SVG."""
    draw = _portrait_of(record).svg
    if draw is None:
        raise InputError(f"{type(record).__name__} has no picture")
    return draw(record)


def as_figure(record: Record, *seen: Any) -> Any:
    """An interactive picture of a record (needs plotly); `seen` says what of it."""
    draw = _portrait_of(record).figure
    if draw is None:
        raise InputError(f"{type(record).__name__} has no picture")
    return draw(record, *seen)


def _portrait_of(record: Record) -> Portrait:
    # The one import that runs up the floors: a record shows itself whatever was imported before it.
    from planner import report

    return report.portrait(record)


def _check_text(text: object, name: str) -> None:
    """Refuse JSON that holds more than a machine has room for, told without reading it."""
    if not isinstance(text, str | bytes):
        raise InputError(f"{name} is read from JSON text, not from {told(text)}")
    encoded = text.encode("utf-8", "replace") if isinstance(text, str) else text
    opened = encoded.count(b"[") + encoded.count(b"{")
    values = opened + encoded.count(b",")
    if values > MOST_VALUES or opened > MOST_OPENED:
        raise InputError(
            f"{name} holds {values} values in {opened} lists and objects; at most {MOST_VALUES} in"
            f" {MOST_OPENED} are read"
        )
