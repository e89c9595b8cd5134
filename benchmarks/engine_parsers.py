"""`python -m benchmarks.engine_parsers vllm|sglang [COUNT]`: random commands read by an engine's own
parser and by ours, and where the two differ.

The engine must be importable. Commands have names in full, aliases, short forms, beginnings of
names, underscores, equals signs, JSON with dots, values that are none, and options that are none.
"""

import argparse
import dataclasses
import json
import random
import sys
from collections import Counter
from typing import Any, NamedTuple, cast

from benchmarks.engine_options import PARSERS
from planner.errors import InputError
from planner.launches.launch import EngineName
from planner.launches.options import Given, Option, Table, given_in, option_table
from planner.launches.shell import Word

VALUES = {
    "integer": ["1", "4", "8", "16", "0", "-1"],
    "readable": ["4096", "8k", "32K", "1.5k", "-1"],
    "prefixed": ["4096", "8k", "32Ki", "1.5k"],
    "number": ["0.9", "1", "0.85", "1e-1"],
    "json": ["{}"],
    "text": ["auto", "abc", "a/b", "x y"],
}
BAD = {"integer": "four", "readable": "1.5K", "prefixed": "32K", "number": "nine", "json": "{a"}


class Refused(Exception):
    """What a parser says of a command that it does not take."""


class Outcome(NamedTuple):
    """What a parser makes of a command."""

    kind: str
    values: dict[str, Any]


def word_of(option: Option, table: Table, pick: random.Random) -> str:
    """One of the names of an option, written in one of the ways."""
    name = pick.choice([*option.names, *option.off])
    if name.startswith("--") and pick.random() < 0.15:
        name = name[: pick.randint(max(4, len(name) // 2), len(name))]
    if table.underscores and name.startswith("--") and pick.random() < 0.3:
        name = "--" + name[2:].replace("-", "_")
    return name


def command_of(table: Table, choices: dict[str, list[str]], pick: random.Random) -> list[str]:
    """A random one: a third of its options are those that are read."""
    meant = [option for name in table.means if (option := table.named(name))]
    words = ["model/name"] if table.engine == "vllm" else ["--model-path", "model/name"]
    for _ in range(pick.randint(1, 7)):
        option = pick.choice(meant if pick.random() < 0.6 else table.rows.options)
        if option.names[0] in ("--config", "-h", "--help", "--model", "--model-path"):
            continue
        words += option_words(option, table, choices, pick)
    if pick.random() < 0.08:
        words += [pick.choice(["--no-such-option", "--tensor-paralel-size=4", "-zz"])]
    return words


def option_words(
    option: Option, table: Table, choices: dict[str, list[str]], pick: random.Random
) -> list[str]:
    """An option with values, mostly right ones."""
    name = word_of(option, table, pick)
    if option.takes in ("none", "switch"):
        return [name]
    # Of options that mean nothing to us the tables have no choices; the parser has.
    values = choices.get(option.names[0]) or VALUES[option.value]
    value = pick.choice(values)
    if pick.random() < 0.04:
        value = BAD.get(option.value, value)
    if (
        table.dotted
        and "--speculative-config" in option.names
        and name.startswith("--")
        and pick.random() < 0.5
    ):
        return [
            f"{option.names[0]}.num_speculative_tokens",
            pick.choice(["4", "mtp", "true", "8k"]),
        ]
    if pick.random() < 0.03:
        return [name]
    count = 1 if option.takes == "one" else pick.randint(1, 2)
    if count == 1 and pick.random() < 0.4:
        return [f"{name}={value}"]
    return [name, *(pick.choice(values) for _ in range(count - 1)), value]


def real_outcome(parser: argparse.ArgumentParser, words: list[str], engine: str) -> Outcome:
    """What the engine's own parser makes of a command."""
    try:
        found = parser.parse_args(words)
    except Refused as refusal:
        text = str(refusal)
        is_unknown = "unrecognized" in text or "ambiguous" in text
        return Outcome("unknown" if is_unknown else "refused", {"says": text})
    except (ValueError, IndexError, TypeError) as error:
        return Outcome("refused", {"says": str(error)})
    values = {}
    for action in parser._actions:
        if action.option_strings and hasattr(found, action.dest):
            values[action.dest] = getattr(found, action.dest)
    return Outcome("read", values)


def our_outcome(words: list[str], table: Table) -> tuple[Outcome, Given | None]:
    """What ours makes of it."""
    try:
        given = given_in([Word(word) for word in words], table)
    except InputError as error:
        return Outcome("refused", {"says": str(error)}), None
    left = [one for one in given.told if one.words.startswith("left out")]
    return Outcome("unknown" if left else "read", given.values), given


def differences(
    parser: argparse.ArgumentParser, real: dict[str, Any], ours: dict[str, Any]
) -> list[str]:
    """Options of which the two have different values."""
    found = []
    by_name = {name: action for action in parser._actions for name in action.option_strings}
    stated = {}
    for name, value in ours.items():
        stated[by_name[name].dest] = (name, value)
    for dest, (name, value) in stated.items():
        if not alike(real[dest], value):
            found.append(f"{name}: {real[dest]!r} and {value!r}")
    return found


def alike(real: Any, ours: Any) -> bool:
    """Whether two values are one; what an engine makes an object of is not looked into."""
    if dataclasses.is_dataclass(real) or type(real).__module__.partition(".")[0] in (
        "vllm",
        "sglang",
    ):
        return True
    if real == [ours]:  # a list of one, which the parser makes of a text
        return True
    if isinstance(ours, str) and not isinstance(real, str):
        return str(real) == ours or real is None or json.dumps(real) == ours
    return bool(real == ours)


def main() -> None:
    """Compare, and say what differs."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("engine", choices=list(PARSERS))
    asked.add_argument("count", type=int, nargs="?", default=200)
    given = asked.parse_args()
    parser = PARSERS[given.engine]()

    def refuse(message: str) -> None:
        raise Refused(message)

    parser.error = refuse  # type: ignore[method-assign,assignment]
    table = option_table(cast(EngineName, given.engine))
    pick = random.Random(1)
    tally: Counter[str] = Counter()
    choices = {
        action.option_strings[0]: [str(one) for one in action.choices]
        for action in parser._actions
        if action.option_strings and action.choices is not None
    }
    for _ in range(given.count):
        words = command_of(table, choices, pick)
        real = real_outcome(parser, words, given.engine)
        ours, _ = our_outcome(words, table)
        if "read" not in (real.kind, ours.kind):
            tally["read by neither"] += 1
            continue
        if real.kind != ours.kind:
            tally[f"{real.kind} by its parser, {ours.kind} by ours"] += 1
            print(words, real.kind, ours.kind, real.values.get("says", ""), file=sys.stderr)
            continue
        tally[f"{real.kind} by both"] += 1
        if real.kind == "read":
            told = differences(parser, real.values, ours.values)
            tally["of these with another value"] += bool(told)
            tally["values alike"] += len(ours.values) - len(told)
            for one in told:
                print(words, one, file=sys.stderr)
    for name, count in tally.most_common():
        print(f"{count:6} {name}")


if __name__ == "__main__":
    main()
