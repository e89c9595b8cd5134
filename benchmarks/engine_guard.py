"""A process that keeps an engine's: `-m benchmarks.engine_guard LOG COMMAND…` runs the command, writes
what it says to the log, and ends it when its own input is closed, as it is when whoever asked is gone."""

import select
import subprocess
import sys
from collections.abc import Sequence

PATIENCE_S = 10.0
"""For an engine that was asked to stop."""
LOOK_S = 0.2
"""Between looks at whether it still runs."""


def main(given: Sequence[str] | None = None) -> int:
    """Give the engine's exit status; 127 where there is no such program."""
    log, *command = sys.argv[1:] if given is None else given
    with open(log, "w", encoding="utf-8") as stream:
        try:
            engine = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
            )
        except OSError as error:
            stream.write(f"{command[0]}: {error.strerror}\n")
            return 127
        try:
            return _kept(engine)
        finally:
            _end(engine)


def _kept(engine: "subprocess.Popen[bytes]") -> int:
    """Until either side is done."""
    while engine.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], LOOK_S)
        if readable and not sys.stdin.readline():
            return 0
    return engine.returncode


def _end(engine: "subprocess.Popen[bytes]") -> None:
    engine.terminate()
    try:
        engine.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


if __name__ == "__main__":
    raise SystemExit(main())
