"""What an engine's command line may hold, as its own parser says; and what a command holds of it.

The tables lie in `launches/options/`, one an engine.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field

from planner.errors import InputError, listed, nearest_names, shortened
from planner.launches.launch import EngineName, Told
from planner.launches.shell import Word
from planner.readers.files import read_toml
from planner.records import Record

NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")
READABLE = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT]i?)")
CAPITALS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
CAPITALS |= {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
PREFIXES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
PREFIXES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
POWERS = {"readable": CAPITALS, "prefixed": PREFIXES}
"""What letters behind a number stand for: vLLM's capitals are powers of 1,024, SGLang keeps to the
prefixes of the SI and the IEC."""
MOST_NEAREST = 20
"""Of unknown options, as many are told with the nearest names: to find those takes longest."""
MOST_DIGITS = 18
"""Of a whole number: none that an engine is told has more."""

ENGINES: tuple[EngineName, ...] = ("vllm", "sglang", "llama.cpp", "tensorrt-llm")
"""That have a table."""

Takes = Literal["one", "two", "none", "switch", "optional", "some", "any"]
Kind = Literal["text", "integer", "readable", "prefixed", "number", "json"]


class Option(Record):
    """One option of an engine."""

    names: Annotated[tuple[str, ...], Field(min_length=1)]
    """The first is what it is called here; others are short forms and aliases."""
    off: tuple[str, ...] = ()
    """Names that turn it off."""
    takes: Takes = "one"
    """How many values: one or two, none, none but with a name that turns it off, at most one, one
    or more, any number."""
    value: Kind = "text"
    """What a value is; "readable", "prefixed": a whole number such as 32k (see `POWERS`)."""
    choices: tuple[str, ...] = ()
    """All that a value may be; none: anything."""
    variable: str = ""
    """Of the environment, that the engine takes for the option where that is not given."""


class Rows(Record):
    """All options of an engine."""

    options: tuple[Option, ...]
    keys: tuple[Option, ...] = ()
    """Of its file of options alone."""


class Table(Record):
    """What one version of an engine can be told."""

    engine: EngineName
    version: str
    source: str
    confidence: str
    abbreviated: bool = False
    """Whether the beginning of an option stands for it, where only one begins so."""
    underscores: bool = False
    """Whether they are taken for dashes in the names of long options."""
    dotted: bool = False
    """Whether a dot after an option leads into its JSON."""
    keys: bool = False
    """Whether its file of options holds nested keys."""
    means: dict[str, str]
    """Options that are read, with what they are."""
    costs: dict[str, str]
    """Options that change what a pass takes and are not priced, with what they do."""
    rows: Rows

    def named(self, name: str) -> Option | None:
        """The option of a name."""
        return self.kept(_by_name).get(name)


def _by_name(table: Table) -> dict[str, Option]:
    every = (*table.rows.options, *table.rows.keys)
    return {name: option for option in every for name in (*option.names, *option.off)}


@lru_cache
def option_table(engine: EngineName) -> Table:
    """Of an engine."""
    folder = resources.files("planner.launches") / "options"
    with resources.as_file(folder / f"{engine}.toml") as path:
        return Table.from_fields(read_toml(path, "a table of options"))


@dataclass(slots=True)
class Given:
    """What a command tells an engine."""

    table: Table
    values: dict[str, Any] = field(default_factory=dict)
    """By the first name of each option: its value, or True and False."""
    texts: dict[str, str] = field(default_factory=dict)
    """The same as they stand in the command."""
    others: list[str] = field(default_factory=list)
    """Words that belong to no option."""
    told: list[Told] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    most_nearest: int = MOST_NEAREST
    """Of unknown options, as many are told with the nearest names."""

    def value(self, name: str) -> Any:
        """Of an option, by any of its names; None: it is not given."""
        option = self.table.named(name)
        assert option is not None, name
        return self.values.get(option.names[0])

    def whole(self, name: str, least: int = 1) -> int | None:
        """A whole number."""
        value = self.value(name)
        if value is None:
            return None
        if value < least:
            raise InputError(f"{self.text(name)}: it must be at least {least}, not {value}")
        if value > 10_000_000:
            raise InputError(f"{self.text(name)}: it must be at most 10,000,000, not {value}")
        return int(value)

    def share(self, name: str) -> float | None:
        """A share of a whole."""
        value = self.value(name)
        if value is not None and not 0 < value <= 1:
            raise InputError(f"{self.text(name)}: it must be above 0 and at most 1")
        return None if value is None else float(value)

    def text(self, name: str) -> str:
        """As it stands in the command."""
        option = self.table.named(name)
        assert option is not None, name
        return shortened(self.texts.get(option.names[0], name), 80)

    def passed_over(self, name: str, words: str) -> None:
        """Say that an option is not taken up, and why."""
        self.told.append(Told(text=self.text(name), words=words, taken=False))
        option = self.table.named(name)
        assert option is not None, name
        self.values.pop(option.names[0], None)

    def lines(self) -> tuple[Told, ...]:
        """All that was told, what is taken first."""
        taken = []
        left = []
        for name, text in self.texts.items():
            means = _of_any(self.table, name, self.table.means)
            costs = _of_any(self.table, name, self.table.costs)
            shown = shortened(text, 80)
            if means is not None and name in self.values:
                taken.append(Told(text=shown, words=means))
            elif costs is not None:
                words = f"not priced, though it matters: {costs}"
                left.append(Told(text=shown, words=words, taken=False))
            elif means is None:
                left.append(Told(text=shown, words="has no effect on the price", taken=False))
        return (*taken, *self.told, *left)


def _of_any(table: Table, name: str, words: Mapping[str, str]) -> str | None:
    option = table.named(name)
    names = option.names if option is not None else ()
    return next((words[one] for one in names if one in words), None)


def given_in(words: Sequence[Word], table: Table, *, most_nearest: int = MOST_NEAREST) -> Given:
    """What the words after the name of a program tell it, as its own parser would have it."""
    given = Given(table, most_nearest=most_nearest)
    nested: dict[str, dict[str, Any]] = {}
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not _is_option(word.text, table):
            _take_other(word, given)
            continue
        name, equals, inline = word.text.partition("=")
        name = _dashed(name, table)
        if table.dotted and "." in name and name.startswith("--"):
            value = Word(inline, word.unknown)
            if not equals:
                value = words[at] if at < len(words) else Word("")
                at += 1
            _take_nested(name, value, word, given, nested)
            continue
        found = _option_of(name, table)
        if found is None:
            at = _pass_over(name, word, words, at, given, has_value=bool(equals))
            continue
        name, option = found
        values = [Word(inline, word.unknown)] if equals else []
        if not equals:
            count = _taken(option, words[at:], table, name)
            values = list(words[at : at + count])
            at += count
        _take(option, name, word, values, given)
    for name, fields in nested.items():
        _put(given, name, fields, f"{name}.… {json.dumps(fields)}")
    return given


def _is_option(text: str, table: Table) -> bool:
    if len(text) < 2 or not text.startswith("-") or NEGATIVE.fullmatch(text):
        return False
    if " " in text.partition("=")[0]:
        return False
    return text != "--"


def _dashed(name: str, table: Table) -> str:
    if not table.underscores or not name.startswith("--"):
        return name
    head, dot, rest = name.partition(".") if table.dotted else (name, "", "")
    return head.replace("_", "-") + dot + rest


def _option_of(name: str, table: Table) -> tuple[str, Option] | None:
    """An option by its name, or by the beginning of one, with that name in full."""
    found = table.named(name)
    if found is not None:
        return name, found
    if not table.abbreviated:
        return None
    every = table.kept(_by_name)
    known = sorted(one for one in every if one.startswith(name))
    if len({(id(every[one]), one in every[one].off) for one in known}) == 1:
        return known[0], every[known[0]]
    return None


def _take_other(word: Word, given: Given) -> None:
    if word.unknown:
        given.asked.append(
            f"{listed(f'${name}' for name in word.unknown)} has no value"
            f" ({shortened(word.text)}); set it before the command"
        )
    given.others.append(word.text)


def _pass_over(
    name: str, word: Word, words: Sequence[Word], at: int, given: Given, *, has_value: bool
) -> int:
    """Leave out an option that the engine does not have, with what look like its values: all of
    them where the model stands elsewhere, else one."""
    text = word.text
    is_alone = not given.others and given.table.named("--model-path") is None
    most = 1 if is_alone else len(words)
    while not has_value and most and at < len(words) and _is_value(words[at].text, given.table):
        text = f"{text} {words[at].text}"
        at += 1
        most -= 1
    every = given.table.kept(_by_name)
    begun = sorted(one for one in every if one.startswith(name) and name.startswith("--"))
    engine = f"{given.table.engine} {given.table.version}"
    if begun and given.table.abbreviated:
        sentence = (
            f"left out: in {engine} this is short for {listed(begun[:4], 'or')}; write the whole"
            " name"
        )
    else:
        sentence = f"left out: {engine} has no option {shortened(name)}"
        if len(given.told) < given.most_nearest:
            near = nearest_names(name, [one for one in every if one.startswith("--")])
            sentence += f"; nearest are {listed(near, 'or')}"
    given.told.append(Told(text=shortened(text, 80), words=sentence, taken=False))
    return at


def _taken(option: Option, rest: Sequence[Word], table: Table, name: str) -> int:
    """How many of the words that follow are an option's values."""
    free = 0
    while free < len(rest) and _is_value(rest[free].text, table):
        free += 1
    fewest, most = {
        "none": (0, 0),
        "switch": (0, 0),
        "one": (1, 1),
        "two": (2, 2),
        "optional": (0, 1),
        "some": (1, len(rest)),
        "any": (0, len(rest)),
    }[option.takes]
    if free < fewest and _is_old_switch(option, table):
        return 0
    if free < fewest:
        raise InputError(f"{shortened(name)} needs a value; write one after it")
    return min(free, most)


def _is_value(text: str, table: Table) -> bool:
    """Whether a word may be an option's value: for argparse whatever is no option; llama.cpp takes
    any word, and people who leave a value out write the name of an option there."""
    if table.abbreviated or table.keys:
        return not _is_option(text, table)
    return table.named(_dashed(text, table)) is None


def _is_old_switch(option: Option, table: Table) -> bool:
    """Of llama.cpp, options that took no value in older builds, such as -fa, and mean nothing here."""
    is_meant = any(name in table.means for name in option.names)
    return not (table.abbreviated or table.keys or is_meant)


def _take(option: Option, name: str, word: Word, values: Sequence[Word], given: Given) -> None:
    text = " ".join([word.text, *(value.text for value in values if "=" not in word.text)])
    unknown = [one for value in values for one in value.unknown]
    if unknown and not any(name in given.table.means for name in option.names):
        given.texts[option.names[0]] = text
        return
    if unknown:
        given.asked.append(
            f"{shortened(text)} is left out: {listed(f'${one}' for one in unknown)} has no value;"
            " set it before the command"
        )
        return
    if option.takes in ("none", "switch"):
        if values:
            raise InputError(f"{shortened(name)} takes no value, and {shortened(text)!r} has one")
        _put(given, option.names[0], name not in option.off, text)
        return
    read = [_value(option, value.text, name) for value in values]
    several = option.takes in ("some", "any", "two")
    _put(given, option.names[0], read if several else next(iter(read), True), text)


def _put(given: Given, name: str, value: Any, text: str) -> None:
    """The last one counts, as parsers have it."""
    before = given.values.get(name)
    if name in given.values and before != value:
        given.told.append(
            Told(
                text=shortened(given.texts[name], 80),
                words=f"given again as {shortened(text)!r}: the last one counts",
                taken=False,
            )
        )
    given.values[name] = value
    given.texts[name] = text


def _take_nested(
    name: str, value: Word, word: Word, given: Given, nested: dict[str, dict[str, Any]]
) -> None:
    """`--option.key value`: all of one option are one JSON object."""
    head, *keys = name.split(".")
    found = _option_of(head, given.table)
    if found is None:
        _pass_over(head, word, [], 0, given, has_value=True)
        return
    _, option = found
    if value.unknown:
        given.asked.append(
            f"{shortened(word.text)} is left out: {listed(f'${one}' for one in value.unknown)} has"
            " no value; set it before the command"
        )
        return
    text = value.text
    if keys[-1].endswith("+"):
        keys[-1] = keys[-1][:-1]
        text = json.dumps(text.split(","))
    into = nested.setdefault(option.names[0], {})
    for key in keys[:-1]:
        deeper = into.get(key)
        into[key] = deeper if isinstance(deeper, dict) else {}
        into = into[key]
    into[keys[-1]] = _loose(text)


def _loose(text: str) -> Any:
    """JSON, a number such as 4k, or the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return _scaled(text, CAPITALS)
    except ValueError:
        return text


def _value(option: Option, text: str, name: str) -> Any:
    if option.choices and text not in option.choices:
        near = listed(nearest_names(text, option.choices), "or")
        raise InputError(f"{name} cannot be {shortened(text)!r}; did you mean {near}?")
    if option.value == "text":
        return text
    try:
        return _converted(option, text)
    except (ValueError, OverflowError, RecursionError):
        wanted = {
            "integer": "a whole number",
            "readable": "a whole number, such as 8192 or 8k",
            "prefixed": "a whole number, such as 8192, 8k or 8Ki",
            "number": "a number",
            "json": "JSON",
        }[option.value]
        raise InputError(f"{name} needs {wanted}, not {shortened(text)!r}") from None


def _converted(option: Option, text: str) -> Any:
    if option.value == "json":
        return json.loads(text)
    if option.value == "number":
        return float(text)
    if option.value in POWERS:
        if option.value == "readable" and text.strip().lower() == "auto":
            return -1
        return _scaled(text.strip(), POWERS[option.value])
    return _whole(text)


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(text)
    return int(text)


def _scaled(text: str, powers: Mapping[str, int]) -> int:
    """A whole number, or one with a letter behind it."""
    readable = READABLE.fullmatch(text)
    if readable is None or len(text) > MOST_DIGITS:
        return _whole(text)
    number, letter = readable.groups()
    if letter not in powers:
        raise ValueError(text)
    if powers[letter] % 1000:
        return int(number) * powers[letter]
    return int(Decimal(number) * powers[letter])


def words_of_variables(known: Mapping[str, str], table: Table) -> Iterator[Word]:
    """The options that an engine's environment states, as words."""
    for option in table.rows.options:
        value = known.get(option.variable) if option.variable else None
        if value is None:
            continue
        if option.takes == "one":
            yield Word(f"{option.names[-1]}={value}")
        elif value.lower() in ("1", "true", "on", "enabled"):
            yield Word(option.names[-1])
        elif option.off and value.lower() in ("0", "false", "off", "disabled"):
            yield Word(option.off[-1])


def words_of_file(fields: Mapping[str, Any], table: Table) -> Iterator[Word]:
    """The options of a file as words, as the engine's own parser turns them into some."""
    for key, value in fields.items():
        name = f"--{key}"
        option = table.named(_dashed(name, table))
        is_parted = option is None or any(
            known.startswith(f"{name}.") for known in table.kept(_by_name)
        )
        if isinstance(value, dict) and table.keys and is_parted:
            yield from words_of_file({f"{key}.{one}": inner for one, inner in value.items()}, table)
        else:
            yield from _words_of_key(name, value, option, table)


def _words_of_key(name: str, value: Any, option: Option | None, table: Table) -> Iterator[Word]:
    if isinstance(value, bool):
        if value:
            yield Word(name)
        elif option is not None and option.takes == "switch":
            yield Word(f"--no-{name[2:]}")
    elif value is None:
        return
    elif isinstance(value, list) and option is not None and option.value != "json":
        if value:
            yield Word(name)
        yield from (Word(str(item)) for item in value)
    elif isinstance(value, dict | list):
        yield Word(f"{name}={_dumped(value)}")
    else:
        yield Word(f"{name}={value}")


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, default=str)
    except (ValueError, RecursionError):
        raise InputError("a file of options includes itself; write its values out") from None
