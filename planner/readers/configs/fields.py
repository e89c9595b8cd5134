"""The fields of a config.json as a reader asks for them: typed, by any of their names, and none
that says how layers are made left unread.

Families borrow keys from each other and add their own. A reader that passes over a key which it
does not know is silently wrong, so each key that is asked for is ticked off, and `refuse_unread`
names the first that says something of the structure and was not.
"""

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

from planner.errors import InputError, listed, nearest_names, shortened, told
from planner.readers.configs.keys import INERT, LETTERS, STRUCTURAL, SWITCH

Names = str | tuple[str, ...]

MOST = 10**8
"""No count or width of a model is larger."""
MOST_LAYERS = 10_000
MOST_UNLIKE = 1_000
"""Layers that differ from each other; no model has a tenth of them."""
MOST_KEYS = 10_000
LONGEST_KEY = 100


class ConfigFields:
    """Fields of a config, the text part brought to the top, with a tick for each that was asked
    for."""

    def __init__(self, fields: Mapping[str, Any], path: str) -> None:
        self.fields = fields
        self.path = path
        self.read: set[str] = set()

    def fault(self, said: str) -> InputError:
        """A refusal that names the file."""
        return InputError(f"{self.path}: {said}")

    # ── One value ────────────────────────────────────────────────────────────────────────────────

    def get(self, names: Names) -> Any:
        """The first value of these names that is there and not null; None: there is none."""
        for name in _each(names):
            self.read.add(name)
        return next(
            (self.fields[name] for name in _each(names) if self.fields.get(name) is not None), None
        )

    def has(self, names: Names) -> bool:
        return self.get(names) is not None

    def name_of(self, names: Names) -> str:
        """By which of its names a value is there."""
        found = (name for name in _each(names) if self.fields.get(name) is not None)
        return next(found, _each(names)[0])

    def whole(self, names: Names, default: int | None = None, *, most: int = MOST) -> int:
        """A count or a width; a list of equal numbers is that number. None as default: it must be
        there."""
        value = self.get(names)
        name = self.name_of(names)
        if isinstance(value, list) and len(value) > 1 and all(each == value[0] for each in value):
            value = value[0]
        if value is None:
            if default is None:
                raise self.fault(f"{name} is missing")
            return default
        return self._whole(name, value, least=0 if default == 0 else 1, most=most)

    def _whole(self, name: str, value: Any, least: int = 0, most: int = MOST) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            limit = f" of at most {most:,}" if isinstance(value, int) and value > most else ""
            raise self.fault(f"{name} must be a whole number{limit}, not {told(value, 30)}")
        if value < least:
            raise self.fault(f"{name} must be at least {least}, not {value}")
        return value

    def number(self, names: Names, default: float) -> float:
        """A factor."""
        value = self.get(names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MOST:
            raise self.fault(
                f"{self.name_of(names)} must be a number above 0, not {told(value, 30)}"
            )
        return float(value)

    def flag(self, names: Names, default: bool = False) -> bool:
        """True or false; a word that looks like either is refused, since "false" would be true."""
        value = self.get(names)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fault(f"{self.name_of(names)} must be true or false, not {told(value, 30)}")
        return value

    def word(self, names: Names, known: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self.get(names)
        if value is None:
            return default
        if value not in known:
            raise self.fault(
                f"{self.name_of(names)} must be {listed([repr(word) for word in known], 'or')},"
                f" not {told(value, 30)}"
            )
        return str(value)

    # ── A value for each layer ───────────────────────────────────────────────────────────────────

    def each(self, names: Names, layers: int, what: str = "one for each layer") -> list[Any] | None:
        """A list with a value for each layer; None: it is not there. Longer ones, whose end is for
        prediction layers, are cut."""
        value = self.get(names)
        if value is None:
            return None
        name = self.name_of(names)
        if not isinstance(value, list):
            raise self.fault(f"{name} must be a list, {what}, not {told(value, 30)}")
        if len(value) < layers:
            raise self.fault(f"{name} has {len(value)} entries; there must be {layers}, {what}")
        return value[:layers]

    def each_whole(self, names: Names, layers: int, *, least: int = 0) -> list[int] | None:
        """A whole number for each layer; null counts as 0."""
        values = self.each(names, layers)
        if values is None:
            return None
        name = self.name_of(names)
        return [
            self._whole(f"{name}[{number}]", value or 0, least=least)
            for number, value in enumerate(values)
        ]

    def each_word(self, names: Names, layers: int, meanings: Mapping[str, Any]) -> list[Any] | None:
        """For each layer what its word means."""
        values = self.each(names, layers)
        if values is None:
            return None
        for number, value in enumerate(values):
            if not isinstance(value, str) or value not in meanings:
                near = nearest_names(str(value), meanings, 3)
                raise self.fault(
                    f"{self.name_of(names)}[{number}] is {told(value, 40)}, which is not a known"
                    " kind of layer; the nearest known kinds are"
                    f" {listed([repr(word) for word in near], 'or')}"
                )
        return [meanings[value] for value in values]

    def positions(self, names: Names, layers: int, *, first: int = 0) -> set[int] | None:
        """Numbers of some layers, counted from `first`; None: it is not there."""
        value = self.get(names)
        if value is None:
            return None
        name = self.name_of(names)
        if not isinstance(value, list) or len(value) > MOST_LAYERS:
            raise self.fault(f"{name} must be a list of layers, not {told(value, 30)}")
        places = set()
        for each in value:
            place = self._whole(name, each) - first
            if not 0 <= place < layers:
                raise self.fault(f"{name} names layer {each}; there are {layers}")
            places.add(place)
        return places

    def table(self, names: Names) -> "ConfigFields | None":
        """A group of fields; None: it is not there, or empty."""
        value = self.get(names)
        if value is None or value == {}:
            return None
        name = self.name_of(names)
        if not isinstance(value, dict):
            raise self.fault(f"{name} must be an object, not {told(value, 30)}")
        return ConfigFields(value, f"{self.path}: {name}")

    def check_unlike(self, made: Sized) -> None:
        """Refuse more unlike layers than any model has."""
        if len(made) > MOST_UNLIKE:
            raise self.fault(f"its layers are of more than {MOST_UNLIKE:,} kinds")

    # ── What was not read ────────────────────────────────────────────────────────────────────────

    def tick(self, *names: str) -> None:
        """Say of keys that they were considered."""
        self.read.update(names)

    def refuse_two_names(self, aliases: Iterable[tuple[str, ...]]) -> None:
        """Refuse two names of one thing with unlike values, where no family says which counts."""
        for names in aliases:
            stated = [name for name in names if self.fields.get(name) is not None]
            unlike = [x for x in stated if self.fields[x] != self.fields[stated[0]]]
            if unlike:
                raise self.fault(
                    f"{stated[0]} and {unlike[0]} mean the same but have different values; keep"
                    " one of them"
                )

    def refuse_unread(self, stated: Iterable[str] | None = None, *, stranger: bool = False) -> None:
        """Refuse the first key that may say how layers are made, is set, and was not asked for;
        `stated` are the keys of the file itself, where defaults stand beside them. Of a `stranger`,
        a family that is not known, any count may."""
        keys = list(self.fields if stated is None else stated)
        if len(keys) > MOST_KEYS:
            raise self.fault(f"it has {len(keys):,} keys; at most {MOST_KEYS:,} are read")
        for key in keys:
            value = self.fields[key]
            if len(key) > LONGEST_KEY:
                raise self.fault(f"{shortened(key, 30)} is too long for a key")
            if key in self.read or INERT.fullmatch(key):
                continue
            if not _says(key, value) and not (stranger and _may_say(key, value)):
                continue
            raise self.fault(
                f"{shortened(key)} is not a known key and may change how layers are built, so that"
                " the planner would read a different model"
            )


def _says(key: str, value: Any) -> bool:
    """Whether a field may say something of the structure: null, false, zero and nothing do not."""
    if value is None or value is False or value in (0, "", [], {}):
        return False
    if isinstance(value, float) and not value.is_integer():
        return False
    return bool(STRUCTURAL.fullmatch(key)) or _is_long(value)


def _may_say(key: str, value: Any) -> bool:
    """Whether a field of a family that is not known may say something of the structure."""
    if isinstance(value, bool):
        return bool(SWITCH.fullmatch(key))
    if isinstance(value, str):
        return bool(LETTERS.fullmatch(value))
    if isinstance(value, float):
        return bool(STRUCTURAL.fullmatch(key))
    return isinstance(value, list | dict) or (isinstance(value, int) and value > 1)


def _is_long(value: Any) -> bool:
    """Whether it is a list that may stand for layers."""
    return isinstance(value, list) and (len(value) > 3 or any(isinstance(v, dict) for v in value))


def _each(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
