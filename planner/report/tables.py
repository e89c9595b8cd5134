"""Tables for a terminal whose cells are sentences."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

WIDTH = 120
"""Of a table where nobody asks. [characters]"""
BETWEEN = 2
LEAST = 8
"""Of a column that is wrapped."""


def framed(
    header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int] | None = None
) -> str:
    """Rows in columns of these widths, None: as wide as they need and together no wider than
    `WIDTH`; what is longer goes on in the next line, and a line parts the header from the rows."""
    columns = list(widths or fitted([header, *rows]))
    lines = _wrapped(header, columns)
    lines.append((" " * BETWEEN).join("-" * width for width in columns))
    for row in rows:
        lines += _wrapped(row, columns)
    return "\n".join(lines)


class Cut(NamedTuple):
    """A table of as many columns as there is room for."""

    text: str
    left_out: tuple[str, ...]
    """Heads of the columns that there is no room for."""


def cut_to_width(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Cut:
    """Columns from the left, as long as `WIDTH` has room for all of their words; one at least."""
    kept = 0
    room = WIDTH + BETWEEN
    for column, name in enumerate(header):
        room -= max(len(name), *(len(row[column]) for row in rows)) + BETWEEN
        if room < 0 and column:
            break
        kept = column + 1
    text = framed(header[:kept], [row[:kept] for row in rows])
    return Cut(text, tuple(header[kept:]))


def fitted(rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[int]:
    """Widths of columns: what each needs, the widest cut until all fit. [characters]"""
    room = width - BETWEEN * (len(rows[0]) - 1)
    each = range(len(rows[0]))
    needed = [min(room, max(1, *(len(row[column]) for row in rows))) for column in each]
    while sum(needed) > room and max(needed) > LEAST:
        needed[needed.index(max(needed))] -= 1
    return needed


def _wrapped(cells: Sequence[str], columns: Sequence[int]) -> list[str]:
    parts = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, columns, strict=True)]
    height = max(map(len, parts))
    lines = []
    for number in range(height):
        row = [part[number] if number < len(part) else "" for part in parts]
        padded = [text.ljust(width) for text, width in zip(row, columns, strict=True)]
        lines.append((" " * BETWEEN).join(padded).rstrip())
    return lines
