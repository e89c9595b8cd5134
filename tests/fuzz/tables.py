"""Tampering with TOML and CSV: the tree of a table is changed as that of JSON is, and written as
TOML again; of a CSV cells, rows and columns."""

import csv
import datetime
import io
import tomllib

from tests.fuzz.headers import tampered_bytes
from tests.fuzz.trees import Object, Raw, tampered_figures, tampered_tree, written

ODD = (
    "nan", "inf", "-inf", "1_000", "0x7fffffffffffffff", "0o7", "1979-05-27", "07:32:00",
    "1979-05-27T07:32:00Z", "1e400", "-1e400", "5e-324", "9" * 400, "'''\nx\n'''", "[", "{", "}",
    "[[", "{a.b.c = 1}", "{a = 1, a = 2}", '"\\ud800"', '"\\u0000"', "true", "[" * 400 + "]" * 400,
    "{a = " * 400 + "1" + "}" * 400, '"' + "x" * 100_000 + '"', "[" + "0, " * 30_000 + "]",
)  # fmt: skip
"""Values as TOML alone writes them, valid or not."""
PATHS = (
    "/dev/zero", "/etc/passwd", "/proc/self/environ", "../stack.toml", "stack.toml", "machine.toml",
    "a/../../b.toml", "nowhere.toml", "~/x.toml", "x.toml\0.toml", "C:\\x.toml", "file:///etc/passwd",
    "./.", "//etc/passwd", "stack.toml:8", "é.toml", "a" * 300 + ".toml", "a" * 5000 + ".toml", "",
    "hgx-h100:8", "hgx-h100:99999999999999999999", "cluster.toml", ".", "..", "s0.toml", "s1.toml",
)  # fmt: skip
"""What a name may be that is a path, or looks like one."""
QUANTITIES = (
    "450 GB/s", "1e400 GB/s", "-1 us", "0 s", "5e-324 s", "1e308 GB", "nan GB/s", "inf us", "1 furlong",
    "9" * 400 + " GB", "GB/s", "1 2 GB", "1 GB/s/s", "1e-320 GB/s", "1.7e308 GFLOP/s", "1e-300 W", "١ GB",
    "1,5 GB", "1 GiB", "99999999 TB", "1e-9 GB/s", "10 USD/h", "1e30 USD", "0.59/0.79 USD/Mtok",
)  # fmt: skip
"""Figures with units, absurd or in another place than they should be."""


def table_of(held):
    """The tree of a TOML text, tables as pairs."""
    return _paired(tomllib.loads(held.decode("utf-8")))


def _paired(value):
    if isinstance(value, dict):
        return Object([(name, _paired(inner)) for name, inner in value.items()])
    if isinstance(value, list):
        return [_paired(inner) for inner in value]
    return value


def written_table(tree):
    """A tree as TOML: a line for each name at the top, tables inside a line."""
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in tree)


def _key(name):
    return written(name)


def _value(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Object):
        return "{" + ", ".join(f"{_key(name)} = {_value(inner)}" for name, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if value is None:
        return "nan"
    return written(value)


def seasoned(tree, draw):
    """The same with one value, now and then, that stands for a path, a figure or an odd word."""
    if draw.random() < 0.5:
        return tree
    places = [(holder, at) for holder, at in _leaves(tree)]
    if not places:
        return tree
    holder, at = draw.choice(places)
    made = draw.choice([*map(Raw, ODD), *PATHS, *QUANTITIES, *QUANTITIES])
    holder[at] = (holder[at][0], made) if isinstance(holder, Object) else made
    return tree


def _leaves(tree):
    """Where values stand that hold no others."""
    for at, one in enumerate(tree):
        value = one[1] if isinstance(tree, Object) else one
        if isinstance(value, list):
            yield from _leaves(value)
        else:
            yield tree, at


def tampered_toml(held, draw, others=()):
    """A TOML file that was tampered with: its tree, its figures alone, or its bytes now and then."""
    way = draw.random()
    if way < 0.08:
        return tampered_bytes(held, draw)
    if way < 0.4:
        return written_table(tampered_figures(table_of(held), draw)).encode()
    trees = [table_of(other) for other in others]
    tree = tampered_tree(table_of(held), draw, trees)
    tree = seasoned(tree, draw) if isinstance(tree, Object) else Object([("x", tree)])
    text = written_table(tree)
    if draw.random() < 0.03:
        text += draw.choice(
            [text, "[x]\n" * 2, ".".join(["a"] * 5000) + " = 1\n", "x = 1 # " + "é" * 9]
        )
    return text.encode("utf-8", "surrogatepass")


CELLS = (
    "", "nan", "inf", "-1", "0", "1e400", "1e308", "5e-324", "9" * 400, "9" * 5000, "true", "x" * 70_000,
    '"', '"a\nb"', "a,b", "\0", "é", "\ud800", "1_0", "0x8", " 8", "8 ", "tpot_s", "hgx-h100", "llama-3.2-1b",
    "=1+1", "collective_s", "all_reduce", "../x.toml", "/etc/passwd", "/dev/zero.toml", "best", "decode",
    "100000000000000000000", "10000000", "0.5", "fp8", "q4_k_m", "None", "null",
)  # fmt: skip


def tampered_csv(held, draw, others=()):
    """Cells, rows and columns dropped, doubled, moved or changed for odd ones; bytes now and then."""
    if draw.random() < 0.08:
        return tampered_bytes(held, draw)
    rows = list(csv.reader(io.StringIO(held.decode("utf-8"))))
    for _ in range(draw.randint(1, 4)):
        row = draw.choice(rows) if draw.random() < 0.9 else rows[0]
        at = draw.randrange(len(row)) if row else 0
        what = draw.randrange(8)
        if what < 4 and row:
            row[at] = draw.choice([*CELLS, *draw.choice(rows)])
        elif what == 4 and row:
            del row[at]
        elif what == 5:
            row.insert(at, draw.choice(CELLS))
        elif what == 6:
            rows.insert(draw.randrange(len(rows)), list(row))
        else:
            at = draw.randrange(len(rows[0])) if rows[0] else 0
            for one in rows:
                del one[at : at + 1]
    if draw.random() < 0.02:
        rows += rows[1:] * draw.choice([50, 2000])
    text = io.StringIO()
    csv.writer(text, lineterminator=draw.choice(["\n", "\n", "\r\n"])).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")
