"""Slurm's way to write many names: "tux[0-3,12,18-20]", "r[1-2]n[01-16]", "a,b[1-2]"."""

import itertools
import re

from planner.errors import InputError, shortened

MOST_NAMES = 65_536
PART = re.compile(r"[^\[\],\s]+|\[[^\[\]]*\]|,")
RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
MOST_BRACKETS = 8


def names_of(text: str, field: str) -> tuple[str, ...]:
    """All names that a list stands for; `field` is named where it is none."""
    found: list[str] = []
    for terms in _lists(text, field):
        count = 1
        for term in terms:
            count *= len(term)
        if count + len(found) > MOST_NAMES:
            raise InputError(f"{field} stands for more than {MOST_NAMES} names; give fewer")
        found += ["".join(words) for words in itertools.product(*terms)]
    return tuple(found)


def _lists(text: str, field: str) -> list[list[list[str]]]:
    """For each name apart by a comma, what stands at each place of it."""
    parts = PART.findall(text)
    if "".join(parts) != text.strip() or not parts:
        raise InputError(
            f"{field} is {shortened(text)!r}; it must be a list of names such as 'tux[0-3,12]'"
        )
    found: list[list[list[str]]] = [[]]
    for part in parts:
        if part == ",":
            found.append([])
            continue
        found[-1].append(_numbers(part, field) if part.startswith("[") else [part])
        if len(found[-1]) > MOST_BRACKETS * 2:
            raise InputError(f"{field} has a name with more than {MOST_BRACKETS} brackets")
    if not all(found):
        raise InputError(f"{field} is {shortened(text)!r}, with a comma too many")
    return found


def _numbers(bracket: str, field: str) -> list[str]:
    """Of '[0-3,12]', as written: leading zeros stay."""
    found: list[str] = []
    for term in bracket[1:-1].split(","):
        match = RANGE.fullmatch(term.strip())
        first = 0 if match is None else int(match[1])
        last = first if match is None or match[2] is None else int(match[2])
        if match is None or last < first or last - first > MOST_NAMES:
            raise InputError(
                f"{field} has {shortened(term, 20)!r} in brackets, which should be a number or a"
                " range such as 0-3"
            )
        width = len(match[1]) if match[1].startswith("0") else 0
        found += [str(number).zfill(width) for number in range(first, last + 1)]
        if len(found) > MOST_NAMES:
            raise InputError(f"{field} stands for more than {MOST_NAMES} names; give fewer")
    return found
