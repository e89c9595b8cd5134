"""What NVIDIA's nccl-tests (and AMD's rccl-tests) print: `all_reduce_perf` and its like.

The size of a line is the larger of what a rank sends and what it ends with, which is how
`cost.collectives` counts; times are those out of place. Versions before 2.17 do not say which
collective they time: a command in the text, the file's name, or the ratio of both bandwidths does.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from planner.errors import InputError, listed, shortened
from planner.machines.software import CollectiveKind
from planner.readers.benchmarks.figures import as_number
from planner.readers.benchmarks.measured import Measured, TimedCollective

FORMAT = "nccl-tests text"
KINDS: dict[str, CollectiveKind] = {
    "all_reduce": "all_reduce", "all_gather": "all_gather", "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all", "broadcast": "broadcast", "sendrecv": "send_recv",
}  # fmt: skip
PROGRAM = re.compile(r"\b([a-z][a-z_]{2,30}?)_perf\b")
RANK = re.compile(
    r"^#\s+Rank\s+(\d{1,7})\b.* on\s+(\S{1,255})\s+device\s+\S+\s+\[[^\]]*\]\s*(.*?)\s*$"
)
VERSION = re.compile(
    r"^# nccl-tests version (\S{1,40})(?:.* nccl-library=(\d{3,6}))?", re.MULTILINE
)
MOST_LINES = 100_000
MOST_EMPTY = 2
"""Columns before the time that may have no word."""
MOST_RATIO_OFF = 0.02


class _Rank(NamedTuple):
    host: str
    chip: str


class _Line(NamedTuple):
    """Of the table."""

    message_bytes: float
    time_s: float
    ratio: float
    """Of the bandwidth on the wire to that of the algorithm."""
    wrong: float
    """Results that were not as they should be."""


def is_nccl_tests(text: str) -> bool:
    """Whether a text holds such a table."""
    return any(_is_header(line) for line in text.splitlines()[:MOST_LINES])


def read_nccl_tests(text: str, path: Path) -> Measured:
    """All sizes of one collective."""
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        raise InputError(f"{path} has {len(lines)} lines; at most {MOST_LINES} are read")
    ranks = _ranks(lines)
    table = _table(lines, path)
    right = [one for one in table if not one.wrong and one.message_bytes and one.time_s]
    if len(ranks) < 2 or not right:
        needed = "two ranks" if len(ranks) < 2 else "a line with a size and a time"
        raise InputError(
            f"{path} needs {needed}, as nccl-tests print for a collective; give their whole output"
        )
    kind = _kind(text, right, len(ranks), path)
    hosts = {one.host for one in ranks.values()}
    remarks: tuple[str, ...] = ()
    if len(right) < len(table):
        left = len(table) - len(right)
        remarks = (f"{left} of {len(table)} lines are left out: empty, or with wrong results",)
    version = VERSION.search(text)
    timed = tuple(
        TimedCollective(
            tool="nccl-tests",
            version=_version(version),
            chip=next(iter(ranks.values())).chip[:1000],
            kind=kind,
            ranks=len(ranks),
            ranks_per_node=max(1, len(ranks) // len(hosts)),
            message_bytes=one.message_bytes,
            time_s=one.time_s,
        )
        for one in right
    )
    return Measured(collectives=timed, remarks=remarks)


def _version(found: re.Match[str] | None) -> str:
    if found is None:
        return ""
    code = int(found[2] or 0)
    library = f", NCCL {code // 10_000}.{code // 100 % 100}.{code % 100}" if code > 9999 else ""
    return f"{found[1]}{library}"


def _ranks(lines: Sequence[str]) -> dict[int, _Rank]:
    found = (RANK.match(line) for line in lines)
    return {int(one[1]): _Rank(one[2], one[3]) for one in found if one}


def _is_header(line: str) -> bool:
    words = line.lstrip("# ").split()
    return words[:2] == ["size", "count"] and words.count("busbw") >= 1


def _table(lines: Sequence[str], path: Path) -> list[_Line]:
    found = []
    header: list[str] = []
    for line in lines:
        if _is_header(line):
            header = line.lstrip("# ").split()
        elif header and re.match(r"\s*\d", line):
            words = line.split()
            time = next(at for at, word in enumerate(header) if word.endswith("time"))
            # Where a collective has no operator or no root, early versions leave that column empty.
            empty = min(MOST_EMPTY, max(0, len(header) - len(words)))
            found.append(_line(words, time - empty, path))
    return found


def _line(words: Sequence[str], width: int, path: Path) -> _Line:
    """Of the columns behind the call: time, bandwidth of the algorithm, of the wire, errors."""
    told = [*words[width : width + 4], *["0"] * 4][:4]
    size = as_number(words[0])
    time_us, algorithm, bus = (as_number(word) for word in told[:3])
    if not (0 <= size < 1e15 and 0 <= time_us < 1e12):
        raise InputError(
            f"{path}: this is not a line of nccl-tests: {shortened(' '.join(words))!r}; a line has"
            " a size, a count, a type, a time in microseconds and two bandwidths"
        )
    ratio = bus / algorithm if algorithm else math.nan
    wrong = 0.0 if told[3] == "N/A" else as_number(told[3])
    return _Line(size, time_us * 1e-6, ratio, wrong)


def _kind(text: str, table: Sequence[_Line], ranks: int, path: Path) -> CollectiveKind:
    named = [*PROGRAM.findall(text), *PROGRAM.findall(path.name), path.name]
    for name in named:
        for word, kind in KINDS.items():
            if name == word or name.startswith(f"{word}_") or name.startswith(f"{word}."):
                return kind
    programs = PROGRAM.findall(text)
    if programs:
        raise InputError(
            f"{path} was measured with {programs[0]}_perf, which cannot be priced; give a result"
            f" of {listed(f'{name}_perf' for name in KINDS)}"
        )
    # Only an all-reduce sends nearly all of its tensor twice.
    twice = 2 * (ranks - 1) / ranks
    largest = max(table, key=lambda one: one.message_bytes)
    if ranks > 2 and abs(largest.ratio / twice - 1) < MOST_RATIO_OFF:
        return "all_reduce"
    raise InputError(
        f"{path} does not say which collective was measured; name the file after the collective,"
        " such as all_gather_perf.txt"
    )
