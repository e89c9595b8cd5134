"""The command `planner`: a face for a terminal, with no logic of its own.

Knows everything, and nothing knows it.

Answers go to standard output, everything else to standard error. Exit status: 0 a plan, 2 something
given is wrong, 3 proved infeasible, 4 no plan in time.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer

from planner import __version__
from planner.cli.completing import COMPLETE
from planner.cli.examples import EXAMPLES, TOP, epilog
from planner.cli.files import check_inputs_kept
from planner.cli.streams import (
    CLOSED_PIPE,
    complain,
    nobody_reads,
    prepare,
    say,
    say_json,
    visible,
)
from planner.errors import InfeasibleError, NoPlanFoundError, PlannerError

HELP = (
    "Spread a model over a machine, price it in seconds, joules and dollars, and prove that no"
    " better spread exists."
)


class Entry(NamedTuple):
    """A command: where it stands, and what the list of commands says of it."""

    module: str
    function: str
    help: str


COMMANDS: dict[str, Entry] = {
    "plan": Entry("plans", "plan", "Find the best plan, and prove it."),
    "disaggregate": Entry(
        "plans",
        "disaggregate_pools",
        "Find the best prefill pool and decode pool, and prove them.",
    ),
    "pair": Entry(
        "plans",
        "pair_machines",
        "Find the best plan with attention on one machine and feed-forward parts (experts) on"
        " another, and prove it; decode alone.",
    ),
    "cluster": Entry(
        "plans", "plan_cluster", "Find the best plan on pools of unlike chips, and prove it."
    ),
    "score": Entry(
        "commands",
        "score",
        "Price a plan: one from a file, the uniform plan of given degrees, or what a command starts"
        " (--from); and say why the machine's software cannot run it, where that is so.",
    ),
    "compare": Entry(
        "plans", "compare", "The best plan of one model on several machines, side by side."
    ),
    "size": Entry(
        "plans",
        "size",
        "How few chips of each machine will do, and what they cost; the cheapest first.",
    ),
    "pareto": Entry(
        "fronts",
        "pareto_front",
        "The plans worth having when several fields count: none is better than another in all.",
    ),
    "what-if": Entry(
        "levers",
        "what_if_figures",
        "The best plan before and after figures of the machine or the workload change.",
    ),
    "required": Entry(
        "levers",
        "required_figure",
        "What a figure must be for the best plan to reach a target, or what another machine does.",
    ),
    "scaling": Entry(
        "levers",
        "scaling_course",
        "The best plans on more and more chips, and where the time of those goes.",
    ),
    "replan": Entry(
        "replans",
        "replan_without",
        "The best plan after chips are lost that moves the fewest bytes.",
    ),
    "map": Entry(
        "advantages",
        "draw_map",
        "Which machine is the cheapest for models of each size at each speed, as a map.",
    ),
    "crossover": Entry(
        "advantages",
        "find_crossover",
        "The size of model at which one machine's advantage over another ends.",
    ),
    "export": Entry(
        "exporting", "export_plan", "How an engine is started with the best plan, or with yours."
    ),
    "sweep": Entry(
        "surveys",
        "sweep_spec",
        "Find the best plans of all combinations in a file; Ctrl-C keeps what is done.",
    ),
    "verify": Entry(
        "plans",
        "verify",
        "Check a result without the solver: its plan, its objective and, as far as that goes, its"
        " bound; with --again a second solver proves it too.",
    ),
    "run": Entry(
        "running",
        "run_here",
        "Carry a plan out on processes of this machine, with random weights, and show what it took"
        " beside what it was priced at.",
    ),
    "ask": Entry(
        "questions",
        "ask",
        "Ask a question again that --save of a command kept; options behind it take the place of"
        " its own.",
    ),
    "fields": Entry(
        "entries",
        "fields",
        "Fields of an answer: those that can be optimised or limited, and those that are only"
        " shown, with units and direction.",
    ),
    "show": Entry(
        "entries",
        "show",
        "An entry of the catalogue with its figures, their sources and how sure they are: a model, a"
        " machine, a cluster or a software stack.",
    ),
    "models": Entry("lists", "models", "The models of the catalogue."),
    "topologies": Entry("lists", "topologies", "The machines of the catalogue."),
    "clusters": Entry("lists", "clusters", "The clusters of the catalogue."),
    "validate": Entry(
        "surveys", "validate", "Compare predictions with measurements, family by family."
    ),
    "audit": Entry(
        "surveys",
        "audit",
        "Hold claims against capacity, roofline, arithmetic, sources, each other, and the best"
        " plans.",
    ),
    "calibrate": Entry(
        "surveys",
        "calibrate",
        "Fit a software stack's constants to your own measurements, or scale it to a few; use the"
        " result as --software FILE.",
    ),
    "machine": Entry(
        "machine",
        "commands",
        "The machine at hand, or one that somebody described, as a file for `plan`.",
    ),
    "mcp": Entry(
        "serving",
        "mcp",
        "Answer assistants over the Model Context Protocol, on standard input and output.",
    ),
    "serve": Entry(
        "serving",
        "serve",
        "A page for browsers and a JSON API for programs, on this machine (Ctrl-C ends it).",
    ),
    "completion": Entry(
        "completing",
        "completion",
        'Print what lets a shell complete names: eval "$(planner completion bash)".',
    ),
}


@cache
def app_for(word: str) -> typer.Typer:
    """The whole command line, of which the command of that name alone is loaded: others stand there
    for the list. Loading all takes seconds on a slow machine."""
    app = typer.Typer(
        name="planner",
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        help=HELP,
        epilog=epilog(TOP),
    )
    app.callback()(_top)
    for name, entry in COMMANDS.items():
        examples = epilog(EXAMPLES[name])
        if name != word:
            app.command(name=name, help=entry.help, epilog=examples)(_not_loaded)
            continue
        found = getattr(import_module(f"planner.cli.{entry.module}"), entry.function)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, epilog=examples)
        else:
            app.command(name=name, epilog=examples)(found)
    return app


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        say(f"planner {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_tell_version, is_eager=True, help="Show it and end."),
]


def _top(version: Version = False) -> None:
    """What stands before a command."""


def _not_loaded() -> None:
    raise AssertionError("a command was run that is not the one that was named")


def _named(words: Sequence[str]) -> str:
    """The command that a command line names: its first word that is no option."""
    return next((word for word in words if not word.startswith("-")), "")


INTERRUPTED = 130
"""Status after Ctrl-C, as shells count it; the command line library hands it back and does not
exit."""


def main() -> None:
    """Run the command; every fault is one sentence."""
    prepare()
    _stop_as_by_ctrl_c()
    words = sys.argv[1:]
    as_json = _wants_json(words)
    try:
        check_inputs_kept(words)
        words = _spelled_out(words)
        as_json = _wants_json(words)
        check_inputs_kept(words)
        _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except InfeasibleError as error:
        proof = {
            "demand": error.demand,
            "capacity": error.capacity,
            "gap": error.gap,
            "resource": error.resource,
            "smallest_chips": error.smallest_chips,
        }
        _refuse(error, 3, as_json, "infeasible", **proof)
    except NoPlanFoundError as error:
        _refuse(error, 4, as_json, "no plan found")
    except PlannerError as error:
        _refuse(error, 2, as_json, "input")
    except BrokenPipeError:
        nobody_reads()
        sys.exit(CLOSED_PIPE)
    except (KeyboardInterrupt, typer.Abort):
        complain("stopped")
        sys.exit(INTERRUPTED)
    except MemoryError:
        _refuse(PlannerError("out of memory; ask for fewer chips or layers"), 2, as_json, "memory")
    except Exception as error:
        # What the library says of a wrong command line; anything else is our own fault.
        if not hasattr(error, "format_message"):
            raise
        if not error.format_message():  # no arguments: the help has been shown
            sys.exit(2)
        _refuse(error, 2, as_json, "usage")


def _stop_as_by_ctrl_c() -> None:
    """Let a polite request to end (SIGTERM, as schedulers send it) give the best plan so far, as
    Ctrl-C does."""

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # Elsewhere than in the main thread nobody may say so.
    with suppress(ValueError):
        signal.signal(signal.SIGTERM, interrupted)


def _wants_json(words: Sequence[str]) -> bool:
    return any(word in ("json", "--format=json") for word in words)


def _spelled_out(words: list[str]) -> list[str]:
    """A question that is asked again in the words of its command; any other line as it is."""
    if words[:1] != ["ask"]:
        return words
    from planner.cli.questions import words_of

    return words_of(words)


def _completed() -> str:
    """The command of a line that a shell wants completed; empty: it wants none."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return _named(line.split()[1:])


def _run(words: list[str]) -> None:
    named = _completed() if COMPLETE in os.environ else _named(words)
    try:
        status = app_for(named)(
            words, prog_name="planner", complete_var=COMPLETE, standalone_mode=False
        )
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if isinstance(status, int) and status:  # of an Exit that the library hands back
        sys.exit(status)


def _refuse(error: Exception, status: int, as_json: bool, kind: str, **details: Any) -> None:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if as_json:
        # Where nothing can be said there, the sentence below is all.
        with suppress(OSError, ValueError, PlannerError):
            say_json({"error": kind, "message": visible(message), **details})
    complain(message)
    sys.exit(status)
