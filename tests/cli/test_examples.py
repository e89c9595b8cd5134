"""Help ends with examples that work."""

import itertools
import re
import shlex

import pytest
import typer

from planner.cli import COMMANDS, app_for, completing
from planner.cli.examples import EXAMPLES, TOP

EVERY = [(name, line) for name, lines in EXAMPLES.items() for line in lines]
EVERY += [(line.split()[1], line) for line in TOP]
CHEAP = [
    "planner fields",
    "planner show hgx-h100",
    "planner clusters",
    "planner export vllm qwen3-8b hgx-h100 --batch 64",
    'planner what-if llama-3.1-8b l40s --set "chip.memory[0].bandwidth_bytes_per_s=x2"',
    "planner pareto qwen3-8b l40s --field tpot_s --field tokens_per_s",
]


def words_of(line):
    """Of the shell only the command itself, without where its answer goes."""
    inner = re.fullmatch(r'eval "\$\((.*)\)"', line)
    return shlex.split((inner[1] if inner else line).partition(" > ")[0].partition(" < ")[0])


def test_every_command_has_two():
    of_machine = {f"machine {name}" for name in ("detect", "measure", "cores")}
    assert EXAMPLES.keys() == COMMANDS.keys() | of_machine
    assert {len(lines) for lines in EXAMPLES.values()} == {2}


@pytest.mark.parametrize(("name", "line"), EVERY, ids=lambda one: one)
def test_an_example_is_read_to_its_end(name, line):
    words = words_of(line)
    assert " ".join(words).startswith(f"planner {name}")
    name = name.split()[0]
    command = typer.main.get_command(app_for(name))
    outer = command.make_context("planner", words[1:])
    _, inner, rest = command.resolve_command(outer, words[1:])
    if name == "machine":
        _, inner, rest = inner.resolve_command(outer, rest)
    # Options behind a question are put in its command's words before any command is run.
    words = rest[:1] if name == "ask" else rest
    # Names that are none, options that are none and missing ones are refused here.
    inner.make_context(inner.name, list(words), parent=outer)


@pytest.mark.parametrize(("name", "line"), EVERY, ids=lambda one: one)
def test_names_in_an_example_are_of_the_catalogue(name, line):
    known = set(completing.entry_names(""))
    of_catalogue = ("plan", "score", "pareto", "what-if", "replan", "compare", "size", "cluster")
    if name in of_catalogue:
        given = itertools.takewhile(lambda word: word[0] != "-", words_of(line)[2:])
        assert {word.partition(":")[0] for word in given} <= known


@pytest.mark.parametrize("line", CHEAP)
def test_cheap_ones_answer(run, line):
    assert line in {one for _, one in EVERY}
    answer = run(*words_of(line)[1:])
    assert (answer.status, answer.err) == (0, "")
    assert answer.out


@pytest.mark.parametrize("name", ["plan", "what-if", "sweep", "audit", "machine detect"])
def test_help_shows_brackets_and_examples_as_they_are(run, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = run(*name.split(), "--help").out
    assert all(line in shown for line in EXAMPLES[name])
    brackets = {"what-if": "chip.memory[0].", "sweep": "[[workload]]", "audit": "[[claim]]"}
    assert brackets.get(name, "") in shown


def test_the_list_of_commands_ends_with_examples(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = run("--help").out
    assert all(line in shown for line in TOP)
