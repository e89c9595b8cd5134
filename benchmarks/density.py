"""How dense code is: `python -m benchmarks.density FOLDER …`, one column a folder or file.

A mirror and no gate: a shorter line that says less is no gain. What each figure counts stands in
the docstring of its field; a figure "per 1,000" is for each 1,000 lines of code. All is read from
the source; nothing is imported or run.
"""

import argparse
import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

MOST_COLUMNS = 100
MOST_COMPLEX = 10

FOR_TOOLS = re.compile(r"#\s*(fmt|type|noqa|pragma|mypy|ruff|pylint|isort)\b|#!")
"""A comment that a tool reads says why to nobody."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
"""Tokens that are no code."""


@dataclass(frozen=True, slots=True)
class Density:
    """Figures of some source files."""

    lines: int
    """All of them: code, docstrings, comments and blank ones."""
    code_lines: int
    """Those with code on them; a docstring is none."""
    code_characters: int
    """Of the code lines, without the indentation."""
    long_lines: int
    """Of all lines, those over 100 columns."""
    choices: int
    """`a if b else c`."""
    comprehensions: int
    tuple_assignments: int
    """`a, b = x, y`: a tuple on both sides, hence two thoughts on one line."""
    comments: int
    """Lines with a comment, but for those that a tool reads."""
    complexities: tuple[int, ...]
    """Of each function, much as radon counts: one, and one more for each branch, loop, `and`, `or`,
    choice, handler, assertion and comprehension."""
    bodies: tuple[int, ...]
    """Lines of each function, without its signature and its docstring."""

    def __add__(self, other: "Density") -> "Density":
        """Of both together: counts add up, and what is told of each function stands in a row."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Density(*(mine + theirs for mine, theirs in pairs))

    def a_thousand(self, count: int) -> float:
        """A count for each 1,000 lines of code."""
        return 1000 * count / max(1, self.code_lines)


def density(paths: Sequence[Path]) -> Density:
    """Figures of all Python files below some folders; a path may be a file as well."""
    whole = read_density("")
    for path in sorted(_files(paths)):
        whole = whole + read_density(path.read_text(encoding="utf-8"))
    return whole


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from path.rglob("*.py")
        else:
            yield path


def read_density(source: str) -> Density:
    """Figures of one file."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    kinds = Counter(type(node) for node in nodes)
    functions = [node for node in nodes if isinstance(node, Function)]

    lines = source.splitlines()
    code = [lines[number - 1].strip() for number in _code_lines(source, tree)]
    return Density(
        lines=len(lines),
        code_lines=len(code),
        code_characters=sum(map(len, code)),
        long_lines=sum(len(line) > MOST_COLUMNS for line in lines),
        choices=kinds[ast.IfExp],
        comprehensions=sum(kinds[kind] for kind in COMPREHENSIONS),
        tuple_assignments=sum(map(_assigns_a_tuple, nodes)),
        comments=len(list(_comments(source))),
        complexities=tuple(map(complexity, functions)),
        bodies=tuple(map(_body_lines, functions)),
    )


def complexity(function: ast.AST) -> int:
    """One way through a function, and one more for each place where ways part."""
    return 1 + sum(_partings(node) for node in ast.walk(function))


def _partings(node: ast.AST) -> int:
    match node:
        case ast.If() | ast.IfExp() | ast.Assert():
            return 1
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.For() | ast.AsyncFor() | ast.While():
            return 1 + bool(node.orelse)
        case ast.Try():
            return len(node.handlers) + bool(node.orelse)
        case ast.comprehension():
            return 1 + len(node.ifs)
        case ast.Match():
            return len(node.cases)
        case _:
            return 0


def _assigns_a_tuple(node: ast.AST) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    return isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Tuple)


def _code_lines(source: str, tree: ast.Module) -> list[int]:
    """Numbers of the lines that hold a token which is neither comment nor docstring."""
    coded: set[int] = set()
    for token in _tokens(source):
        if token.type not in SILENT:
            coded.update(range(token.start[0], token.end[0] + 1))

    documented: set[int] = set()
    for node in ast.walk(tree):
        documented.update(_documentation(node))
    return sorted(coded - documented)


def _documentation(node: ast.AST) -> range:
    """Lines of a string that stands alone, as docstrings and those of fields do."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return range(0)
    if not isinstance(node.value.value, str):
        return range(0)
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(source).readline)


def _comments(source: str) -> Iterator[str]:
    for token in _tokens(source):
        if token.type == tokenize.COMMENT and not FOR_TOOLS.match(token.string):
            yield token.string


def _body_lines(function: Function) -> int:
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    if not body:
        return 0
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def rows(measured: Density) -> list[tuple[str, str]]:
    """The table: what, and how much."""
    bodies = sorted(measured.bodies) or [0]
    complex_ones = sum(each > MOST_COMPLEX for each in measured.complexities)
    p95 = bodies[int(0.95 * (len(bodies) - 1))]
    return [
        ("lines", f"{measured.lines:,}"),
        ("characters a code line", f"{measured.code_characters / max(1, measured.code_lines):.1f}"),
        (
            "% of lines over 100 columns",
            f"{100 * measured.long_lines / max(1, measured.lines):.1f}",
        ),
        ("`a if b else c`, per 1,000", f"{measured.a_thousand(measured.choices):.0f}"),
        ("comprehensions, per 1,000", f"{measured.a_thousand(measured.comprehensions):.0f}"),
        ("`a, b = x, y`, per 1,000", f"{measured.a_thousand(measured.tuple_assignments):.1f}"),
        ("comments, per 1,000", f"{measured.a_thousand(measured.comments):.1f}"),
        ("functions over complexity 10", f"{complex_ones} of {len(measured.complexities)}"),
        ("most complex", f"{max(measured.complexities, default=0)}"),
        ("body median / p95 / max", f"{median(bodies):.0f} / {p95} / {bodies[-1]}"),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one column for each folder, and one for all of them where there are several."""
    parser = argparse.ArgumentParser(prog="benchmarks.density", description="How dense code is.")
    parser.add_argument("folders", type=Path, nargs="+", help="folders or files of Python")
    folders: list[Path] = parser.parse_args(arguments).folders

    columns = {str(folder): rows(density([folder])) for folder in folders}
    if len(folders) > 1:
        columns["all"] = rows(density(folders))

    print(" | ".join(["", *columns]))
    print(" | ".join(["---"] * (1 + len(columns))))
    for same in zip(*columns.values(), strict=True):
        title = same[0][0]
        print(" | ".join([title, *(figure for _, figure in same)]))


if __name__ == "__main__":
    main()
