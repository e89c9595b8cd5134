"""The command `planner`: a face for a terminal, with no logic of its own.

Knows everything, and nothing knows it.

Answers go to standard output, everything else to standard error. Exit status: 0 a plan, 2 something
given is wrong, 3 proved infeasible, 4 no plan in time.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

from planner.cli import lists, machine, plans, running, surveys
from planner.cli.streams import (
    CLOSED_PIPE,
    complain,
    nobody_reads,
    prepare,
    say_json,
    visible,
)
from planner.errors import InfeasibleError, NoPlanFoundError, PlannerError

app = typer.Typer(
    name="planner",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Spread a model over a machine, price it in seconds, joules and dollars, and prove that no"
    " better spread exists.",
)
COMMANDS: dict[str, Callable[..., None]] = {
    "plan": plans.plan,
    "disaggregate": plans.disaggregate_pools,
    "pair": plans.pair_machines,
    "cluster": plans.plan_cluster,
    "score": plans.score,
    "compare": plans.compare,
    "size": plans.size,
    "sweep": surveys.sweep_spec,
    "verify": plans.verify,
    "run": running.run_here,
    "models": lists.models,
    "topologies": lists.topologies,
    "clusters": lists.clusters,
    "validate": surveys.validate,
    "audit": surveys.audit,
    "calibrate": surveys.calibrate,
}
EXAMPLES: dict[str, tuple[str, ...]] = {
    "size": (
        "planner size llama-3.1-70b hgx-h100 hgx-h200 --rate 30 --limit tpot_p99_s=50ms --sure 0.8",
        "planner size qwen3-8b hgx-h100 l4 --batch 64 --limit ttft_s=500ms",
    ),
}
"""That the help of a command ends with."""
for name, command in COMMANDS.items():
    epilog = "\n\n".join(("Examples:", *EXAMPLES[name])) if name in EXAMPLES else None
    app.command(name=name, epilog=epilog)(command)

machine.commands.command()(running.cores)
app.add_typer(machine.commands, name="machine")

INTERRUPTED = 130
"""Status after Ctrl-C, as shells count it; the command line library hands it back and does not
exit."""


def main() -> None:
    """Run the command; every fault is one sentence."""
    prepare()
    as_json = any(word in ("json", "--format=json") for word in sys.argv)
    try:
        _run()
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


def _run() -> None:
    try:
        status = app(standalone_mode=False)
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
