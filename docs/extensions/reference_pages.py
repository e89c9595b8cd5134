"""Pages of the reference: a block of names becomes what their docstrings say.

A page writes

    ```{reference} planner
    partition
    Result
    ```

and gets the signature of each as its source has it, the docstring, a table of the fields of a
record with their units, and its methods.
"""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from sphinx.application import Sphinx

BLOCK = re.compile(
    r"^```\{reference\} (?P<module>[\w.]+)\n(?P<names>.*?)^```$", re.DOTALL | re.MULTILINE
)

ALIASES = {
    "Seconds": ("float", "s"),
    "Time": ("float", "s"),
    "Bytes": ("float", "B"),
    "PositiveBytes": ("float", "B"),
    "BytesPerS": ("float", "B/s"),
    "FlopPerS": ("float", "FLOP/s"),
    "Watts": ("float", "W"),
    "Joules": ("float", "J"),
    "Dollars": ("float", "USD"),
    "Fraction": ("float", "share"),
    "Positive": ("float", ""),
    "Count": ("int", ""),
    "Degree": ("int", ""),
    "Width": ("int", ""),
    "ChipNumber": ("int", ""),
}
"""What annotations of numbers stand for, and their unit."""

UNITS = (
    ("_bytes_per_token", "B/token"),
    ("bytes_per_sequence", "B/sequence"),
    ("_bytes_per_s", "B/s"),
    ("_flop_per_s", "FLOP/s"),
    ("tokens_per_s_per_user", "tokens/s"),
    ("tokens_per_s_per_chip", "tokens/s"),
    ("tokens_per_s_per_w", "tokens/s/W"),
    ("tokens_per_s", "tokens/s"),
    ("requests_per_s", "requests/s"),
    ("samples_per_s", "samples/s"),
    ("energy_per_token_j", "J/token"),
    ("energy_per_sample_j", "J/sample"),
    ("usd_per_million_tokens", "USD per 10⁶ tokens"),
    ("usd_per_sample", "USD/sample"),
    ("usd_per_hour", "USD/h"),
    ("usd_per_year", "USD/year"),
    ("usd_per_kwh", "USD/kWh"),
    ("_bytes", "B"),
    ("_flop", "FLOP"),
    ("_fraction", "share"),
    ("_share", "share"),
    ("_efficiency", "share"),
    ("_tokens", "tokens"),
    ("_years", "years"),
    ("_usd", "USD"),
    ("_j", "J"),
    ("_w", "W"),
    ("_s", "s"),
)
"""By how a name ends; the first that fits."""

NUMBERS = {"float", "int", "Floats", "Ints"}
OWN_BASES = ("Record", "BaseModel", "Exception", "ValueError", "NamedTuple", "tuple", "object")
"""What they bring is told once, or by Python."""


class FieldOf(NamedTuple):
    """One field of a record, as its class writes it."""

    name: str
    kind: str
    unit: str
    default: str | None
    words: str


class _Simply(ast.NodeTransformer):
    """Annotations without the bounds of their numbers."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated":
            assert isinstance(node.slice, ast.Tuple)
            return self.visit(node.slice.elts[0])
        return self.generic_visit(node)


def simply(annotation: ast.expr) -> str:
    """An annotation as people read it."""
    return ast.unparse(_Simply().visit(annotation)).replace("'", "")


def unit_of(name: str, kind: str) -> str:
    """Of a number, by its type or by how its name ends; empty where it has none."""
    first = kind.removesuffix(" | None")
    if first in ALIASES and ALIASES[first][1]:
        return ALIASES[first][1]
    numbers = NUMBERS | set(ALIASES)
    if first not in numbers:
        return ""
    return next((unit for end, unit in UNITS if name.endswith(end)), "")


def fields_of(cls: type) -> tuple[FieldOf, ...]:
    """The fields of a record, a dataclass or a named tuple, those of its bases first."""
    found: dict[str, FieldOf] = {}
    for one in reversed(cls.__mro__):
        if one.__module__.startswith("planner.") and one.__name__ != "Record":
            found |= {field.name: field for field in _written(one)}
    return tuple(found.values())


def _written(cls: type) -> Iterator[FieldOf]:
    """Those that a class writes itself."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    for node, behind in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        kind = simply(node.annotation)
        name = node.target.id
        if name.startswith("_") or kind.startswith("ClassVar"):
            continue
        unit = unit_of(name, kind)
        for alias, (plain, _) in ALIASES.items():
            kind = re.sub(rf"\b{alias}\b", plain, kind)
        default = None if node.value is None else ast.unparse(node.value)
        yield FieldOf(name, kind, unit, default, _words_behind(behind))


def _words_behind(node: ast.stmt | None) -> str:
    """The docstring under a field."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return ""
    return " ".join(str(node.value.value).split())


def to_rst(text: str) -> str:
    """A docstring of this house as reStructuredText: what stands in single backticks is code, and
    nothing else is markup."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(_escaped(part, number % 2 == 1) for number, part in enumerate(parts))


def _escaped(part: str, is_code: bool) -> str:
    if is_code:
        return f"`{part}`"  # in double ones then
    return re.sub(r"(?<=\w)_(?!\w)", r"\\_", re.sub(r"([*|])", r"\\\1", part))


RAISES = re.compile(r"(\w+Error): (.+?)(?:; (?=\w+Error:)|\.(?=\s|$))", re.DOTALL)


def with_raises(text: str) -> tuple[str, list[tuple[str, str]]]:
    """A docstring without its sentences of the kind "InputError: why", and these."""
    found = [(one[1], " ".join(one[2].split())) for one in RAISES.finditer(text)]
    if not found:
        return text, found
    rest = re.sub(r"(?<=\S) {2,}", " ", RAISES.sub("", text))
    return re.sub(r"^ (?=\S)", "", rest, flags=re.MULTILINE).rstrip(), found


def table_of(fields: tuple[FieldOf, ...]) -> list[str]:
    """The fields as a table."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 24 22 12 42", ""]
    rows = [("field", "type", "unit", "what it is")]
    for one in fields:
        default = "" if one.default is None else f" Default: ``{one.default}``."
        kind = f"``{one.kind}``"
        rows.append((f"``{one.name}``", kind, one.unit, (to_rst(one.words) + default).strip()))
    for row in rows:
        for number, cell in enumerate(row):
            lines.append(f"   {'*' if number == 0 else ' '} - {cell}".rstrip())
    return [*lines, ""]


def methods_of(cls: type) -> list[str]:
    """Public methods and properties that are explained, in the order in which they are written."""
    known = {field.name for field in fields_of(cls)}
    found: list[str] = []
    for one in reversed(cls.__mro__):
        if one.__name__ in OWN_BASES or not one.__module__.startswith("planner."):
            continue
        found += [name for name, member in vars(one).items() if _is_told(name, member)]
    return [name for name in dict.fromkeys(found) if name not in known]


def _is_told(name: str, member: Any) -> bool:
    if name.startswith(("_", "check_", "model_")):
        return False
    function = getattr(member, "func", None) or getattr(member, "fget", None)
    function = function or getattr(member, "__func__", member)
    return inspect.isfunction(function) and bool(inspect.getdoc(function))


def block_of(module: str, names: list[str]) -> str:
    """What stands on a page in place of a block of names."""
    home = importlib.import_module(module)
    lines: list[str] = []
    for name in names:
        thing = getattr(home, name)
        if not inspect.isclass(thing):
            lines += [f".. autofunction:: {module}.{name}", ""]
            continue
        lines += [f".. autoclass:: {module}.{name}"]
        methods = methods_of(thing)
        lines += [f"   :members: {', '.join(methods)}", ""] if methods else [""]
    return "```{eval-rst}\n" + "\n".join(lines) + "\n```"


def names_on(page: str) -> list[tuple[str, str]]:
    """Module and name of all that a page explains."""
    return [
        (found["module"], name) for found in BLOCK.finditer(page) for name in found["names"].split()
    ]


def _filled(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put what docstrings say in the place of the names."""
    source[0] = BLOCK.sub(
        lambda found: block_of(found["module"], found["names"].split()), source[0]
    )


def signature_of(function: Any) -> tuple[str, str | None]:
    """Arguments and what is returned, as the source has them."""
    inner = inspect.unwrap(function)
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(inner))).body
    assert isinstance(tree, ast.FunctionDef)
    arguments = tree.args
    everyone = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for one in everyone:
        if one.annotation is not None:
            one.annotation = ast.parse(simply(one.annotation), mode="eval").body
    written = f"({ast.unparse(arguments)})"
    return written, None if tree.returns is None else simply(tree.returns)


def _signed(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str, returned: str
) -> tuple[str, str | None] | None:
    """Classes have a table in place of a signature, functions the one that is written."""
    if what in ("class", "exception"):
        return None if signature is None else ("", None)
    if what == "function":
        return signature_of(thing)
    return None


def _told(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings as they are written here, and the fields of records."""
    text, raises = with_raises("\n".join(lines))
    lines[:] = to_rst(text).split("\n")
    if raises:
        lines += ["", "It raises", ""]
        lines += [f"- :py:exc:`~planner.{error}`: {to_rst(why)}" for error, why in raises]
        lines += [""]
    if what not in ("class", "exception") or not inspect.isclass(thing):
        return
    fields = fields_of(thing)
    if fields:
        lines += ["", *table_of(fields)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.connect("source-read", _filled)
    app.connect("autodoc-process-signature", _signed)
    app.connect("autodoc-process-docstring", _told)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
