"""Shell scripts: commands that a person can read, and paste."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap

ADDRESS = re.compile(r"\$(NODE_\d+)")
"""A node's address, which whoever starts the script must say."""
WITH_ADDRESS = re.compile(r"[\w:/.,-]*(?:\$NODE_\d+[\w:/.,-]*)+\Z", re.ASCII)
"""A word that the shell may fill addresses into, and that has nothing else to fill in."""
WIDTH = 98

Words = tuple[tuple[str, ...], ...]
"""A command: what stands together on a line, line by line."""


@dataclass(frozen=True, slots=True)
class Start:
    """One process that is started on one node."""

    replica: int
    node: int
    """Of the machine."""
    rank: int
    """Of the node among those of its engine."""
    environment: tuple[tuple[str, str], ...]
    command: Words
    port: int | None = None
    """Where it answers; None: another process of its engine does."""


def node_address(node: int, nodes: int) -> str:
    """Where a node is reached: on one node alone, itself."""
    return "127.0.0.1" if nodes == 1 else f"$NODE_{node}"


def quoted(word: str) -> str:
    """A word as a shell must see it; an address is filled in by the shell."""
    return f'"{word}"' if WITH_ADDRESS.match(word) else shlex.quote(word)


def in_place_of(start: Start) -> Words:
    """A command that sets the environment of a process, and becomes it."""
    settings = tuple("=".join(pair) for pair in start.environment)
    return (("env", *settings), *start.command)


def one_line(command: Words) -> str:
    """A command on one line."""
    return " ".join(quoted(word) for group in command for word in group)


def lines_of(start: Start) -> list[str]:
    """A process with its environment, one option a line."""
    settings = [f"{name}={quoted(value)}" for name, value in start.environment]
    groups = [" ".join(quoted(word) for word in group) for group in start.command]
    first = [f"{' '.join(settings)} \\"] if settings else []
    body = [f"{groups[0]}", *(f"  {group}" for group in groups[1:])]
    return [*first, *(f"{line} \\" for line in body[:-1]), body[-1]]


def comments(sentences: Iterable[str]) -> list[str]:
    """Sentences as comments, wrapped."""
    return [
        f"# {line}"
        for one in sentences
        for line in wrap(one, WIDTH, break_long_words=False) or [""]
    ]


def script(heading: Sequence[str], starts: Sequence[Start]) -> str:
    """A script that starts processes and waits for all of them."""
    text = ["#!/usr/bin/env bash", *comments(heading), "set -euo pipefail"]
    named = sorted({name for one in starts for name in _names_of(one)})
    text += [f': "${{{name}:?set {name} to the address of that node}}"' for name in named]
    for one in starts:
        text += ["", *lines_of(one)]
        if len(starts) > 1:
            text[-1] += " &"
    if len(starts) > 1:
        text += ["", "wait"]
    return "\n".join(text) + "\n"


def _names_of(start: Start) -> list[str]:
    words = [word for group in start.command for word in group]
    words += [value for _, value in start.environment]
    return [name for word in words for name in ADDRESS.findall(word)]
