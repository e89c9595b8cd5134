"""Values out of a part of a file that somebody else has written, each checked as it is read."""

from collections.abc import Mapping
from typing import Any

from planner.errors import InputError, told

OVERRIDE = "give weight_dtype (--weights)"
"""What helps whoever has a checkpoint that is not read."""


class Section:
    """A table of a file, and where it stands."""

    def __init__(self, fields: Mapping[str, Any], path: str, place: str) -> None:
        self.fields = fields
        self.path = path
        self.place = place

    def said(self, key: str) -> str:
        """Where a value stands, for a sentence."""
        return f"{self.path}: {self.place}.{key}" if self.place else f"{self.path}: {key}"

    def wrong(self, key: str, wanted: str) -> InputError:
        """A refusal of a value."""
        given = told(self.fields.get(key), 30)
        return InputError(f"{self.said(key)} must be {wanted}, not {given}; or {OVERRIDE}")

    def has(self, *keys: str) -> bool:
        """Whether one of them is stated."""
        return any(self.fields.get(key) is not None for key in keys)

    def first(self, *keys: str) -> str:
        """The first of several spellings of a key that is stated, else the first of all."""
        return next((key for key in keys if self.has(key)), keys[0])

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.fields.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def whole(self, key: str, default: int | None = None, least: int = 1, most: int = 10**6) -> int:
        """A whole number between two others."""
        value = self.fields.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"a whole number between {least} and {most}")
        return value

    def bits(
        self, key: str, allowed: tuple[int, ...] = (2, 3, 4, 5, 6, 8), default: int | None = None
    ) -> int:
        """Bits of a weight."""
        value = self.fields.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise self.wrong(key, f"one of {', '.join(map(str, allowed))}")
        return value

    def number(self, key: str, least: float, most: float) -> float:
        """A number that need not be whole."""
        value = self.fields.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, f"a number between {least:g} and {most:g}")
        if not least <= value <= most:
            raise self.wrong(key, f"a number between {least:g} and {most:g}")
        return float(value)

    def group(self, key: str = "group_size", default: int = 128) -> int:
        """Neighbours that share a scale; 0: all of an output."""
        value = self.fields.get(key)
        if value is None:
            return default
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or (value != -1 and not (8 <= value <= 2**17 and value % 8 == 0)):
            raise self.wrong(key, "-1, or a multiple of 8 such as 128")
        return 0 if value == -1 else int(value)

    def sides(self, key: str) -> tuple[int, ...]:
        """The sides of the blocks that share a scale; (): none are stated."""
        stated = self.fields.get(key)
        if stated is None or stated == []:
            return ()
        if isinstance(stated, str):
            # Some write "128x128".
            stated = [int(side) if side.isdecimal() else side for side in stated[:20].split("x")]
        sides = stated if isinstance(stated, list) else [stated]
        whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
        if not whole or not 1 <= len(sides) <= 2 or min(sides) < 1 or max(sides) > 10**6:
            raise self.wrong(key, "whole numbers of at least 1, such as [128, 128]")
        return tuple(sides) if len(sides) == 2 else (sides[0], sides[0])

    def text(self, key: str, default: str = "") -> str:
        """A word."""
        value = self.fields.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def names(self, *keys: str) -> tuple[str, ...]:
        """Names of modules, of all these keys."""
        found: list[str] = []
        for key in keys:
            value = self.fields.get(key)
            if value is None:
                continue
            if not isinstance(value, list) or not all(
                isinstance(name, str) and name and len(name) <= 2_000 for name in value
            ):
                raise self.wrong(key, "a list of names")
            found.extend(value)
        return tuple(found)

    def part(self, key: str) -> "Section | None":
        """A table within this one; None: it is not there."""
        value = self.fields.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(key, "a table")
        return Section(value, self.path, f"{self.place}.{key}" if self.place else key)

    def parts(self, key: str) -> "list[tuple[str, Section]]":
        """The tables within a table within this one, by their names."""
        table = self.part(key)
        if table is None:
            return []
        found = []
        for name in table.fields:
            inner = table.part(name)
            if inner is None:
                raise table.wrong(name, "a table")
            found.append((str(name), inner))
        return found
