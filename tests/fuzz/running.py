"""Running many cases of a reader in a process of its own, within bounds of time and memory.

A reader may return, or raise a `PlannerError`, within a second of CPU and 200 MB for a case. One
that kills its process, or works on and on, is found by who waits for it.
"""

import importlib
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from planner.errors import PlannerError
from tests.fuzz.reader import Reader

ROOT = Path(__file__).resolve().parent.parent.parent
MOST_BYTES = 200 * 10**6
KILLED_AFTER_S = 1
"""Of CPU beyond what a case may take."""
WAITS_S = 120
ROOM_BYTES = 2 * 2**30
"""Of addresses beyond those of the started process: what asks for more gets a MemoryError."""
MOST_DEATHS = 5


class Fault(NamedTuple):
    """A case that a reader did not survive."""

    reader: str
    case: int
    what: str
    file: str
    """Where the case was written."""


class Tally(NamedTuple):
    """What became of the cases of a reader."""

    read: int
    refused: int
    faults: tuple[Fault, ...]
    most_cpu_s: float
    most_bytes: int


def draw_of(seed: int, name: str, case: int) -> Random:
    """What a case draws from: the same whichever cases ran before."""
    return Random(f"{seed}/{name}/{case}")


def survive(
    name: str, *, cases: int, seed: int, first: int = 0, table: str = "tests.fuzz.readers"
) -> Tally:
    """Run cases of the reader of that name in `table`; failing ones are kept as files."""
    kept = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    read = refused = most_bytes = deaths = 0
    most_cpu_s, faults, case, until = 0.0, [], first, first + cases
    while case < until and deaths < MOST_DEATHS:
        begun = case
        for told in _child(table, name, seed, case, until, kept):
            if "begun" in told:
                begun = told["begun"]
            elif "fault" in told:
                faults.append(Fault(name, told["case"], told["fault"], told["file"]))
            elif "died" in told:
                deaths += 1
                faults.append(Fault(name, begun, told["died"], str(kept / f"{name}-{begun}")))
            elif "read" in told:
                read, refused = read + told["read"], refused + told["refused"]
                most_cpu_s = max(most_cpu_s, told["cpu_s"])
                most_bytes = max(most_bytes, told["bytes"])
        case = begun + 1
    if not faults:
        kept.rmdir()
    return Tally(read, refused, tuple(faults), most_cpu_s, most_bytes)


def survive_together(
    names: Sequence[str], *, cases: int, seed: int, table: str = "tests.fuzz.readers"
) -> dict[str, Tally]:
    """Run a few cases of each of several readers in one process, which takes a second to start; what
    kills it ends them all."""
    kept = Path(tempfile.mkdtemp(prefix="fuzz-together-"))
    found = {name: Tally(0, 0, (), 0.0, 0) for name in names}
    faults: list[Fault] = []
    at, begun = names[0], 0
    for told in _child(table, ",".join(names), seed, 0, cases, kept):
        at, begun = told.get("reader", at), told.get("begun", begun)
        if "fault" in told:
            faults.append(Fault(at, told["case"], told["fault"], told["file"]))
        elif "died" in told:
            faults.append(Fault(at, begun, told["died"], str(kept / f"{at}-{begun}")))
        elif "read" in told:
            own = (told["read"], told["refused"], (), told["cpu_s"], told["bytes"])
            found[at] = Tally(*own)
    for fault in faults:
        one = found[fault.reader]
        found[fault.reader] = one._replace(faults=(*one.faults, fault))
    if not faults:
        kept.rmdir()
    return found


def _child(
    table: str, name: str, seed: int, first: int, until: int, kept: Path
) -> Iterator[dict[str, Any]]:
    """What a process says that runs cases, and how it died if it did."""
    command = [sys.executable, "-m", "tests.fuzz.running", table, name]
    command += [str(seed), str(first), str(until), str(kept)]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True
        ) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            yield json.loads(line)
        status = child.wait()
        said.seek(0)
        complaint = said.read()[-2000:]
    # Whatever a reader raises is caught there: an exception that ends the process is our own.
    assert status != 1, complaint
    if status:
        last = complaint.strip().rpartition("\n")[2][:200]
        yield {"died": f"ended with status {status} {last}"}


def fault_in(reader: Reader, path: Path) -> tuple[str, bool, float, int]:
    """What is wrong with how a file is read ("": nothing), whether it was refused, and what it
    took in seconds of CPU and in bytes."""
    before_s, before = time.process_time(), resting_bytes()
    refused, what = False, ""
    try:
        reader.call(path)
    except PlannerError as error:
        refused = True
        sentence = str(error)
        if "\n" in sentence or not 10 < len(sentence) < 1000:
            what = f"says in {len(sentence)} letters: {sentence[:300]!r}"
    except BaseException as error:
        what = f"{type(error).__name__} left it: {str(error)[:200]}{_place_of(error)}"
    took_cpu_s = time.process_time() - before_s
    grown = max(0, peak_bytes() - before)
    if took_cpu_s > reader.most_cpu_s:
        what = what or f"took {took_cpu_s:.2f} s of CPU"
    if grown > MOST_BYTES:
        what = what or f"took {grown / 1e6:.0f} MB"
    return what, refused, took_cpu_s, grown


def _place_of(error: BaseException) -> str:
    """The innermost lines that raised it."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f" ({' < '.join(reversed(lines[-4:]))})"


def resting_bytes() -> int:
    """Of memory that this process holds now; from here on `peak_bytes` counts anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return peak_bytes()
    return _status("VmRSS")


def peak_bytes() -> int:
    """The most memory that this process held."""
    held = _status("VmHWM")
    if held:
        return held
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(key: str) -> int:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = text.partition(f"\n{key}:")[2].split(None, 1)
    return int(found[0]) * 1024 if found else 0


def _run(reader: Reader, seed: int, first: int, until: int, kept: Path) -> None:
    """In the process of its own: make each case, read it, say what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        paths = reader.seeds(Path(folder))
        goods = [path.read_bytes() for path in paths]
        reader.call(paths[0])  # what is imported and filled on first use is no case's
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        room = _status("VmSize") + ROOM_BYTES
        if _status("VmSize"):
            resource.setrlimit(resource.RLIMIT_AS, (room, hard))
        tally = {"read": 0, "refused": 0, "cpu_s": 0.0, "bytes": 0}
        try:
            for case in range(first, until):
                draw = draw_of(seed, reader.name, case)
                number = draw.randrange(len(paths))
                held = reader.tampered(paths[number], goods[number], draw, goods)
                paths[number].write_bytes(held)
                file = kept / f"{reader.name}-{case}"
                file.write_bytes(held)
                _say(begun=case)
                _allow_cpu(reader.most_cpu_s + KILLED_AFTER_S)
                signal.alarm(WAITS_S)  # for what waits without working
                what, refused, cpu_s, grown = fault_in(reader, paths[number])
                _allow_cpu(60)
                signal.alarm(0)
                tally["refused" if refused else "read"] += 1
                tally["cpu_s"] = max(tally["cpu_s"], cpu_s)
                tally["bytes"] = max(tally["bytes"], grown)
                if what:
                    _say(case=case, fault=what, file=str(file))
                else:
                    file.unlink()
                paths[number].write_bytes(goods[number])
        finally:
            _say(**tally)


def _allow_cpu(seconds: float) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def _say(**told: Any) -> None:
    print(json.dumps(told), flush=True)


def main(arguments: list[str]) -> None:
    """Run the cases that the arguments say."""
    table, names, seed, first, until, kept = arguments
    for name in names.split(","):
        _say(reader=name)
        reader = importlib.import_module(table).READERS[name]
        _run(reader, int(seed), int(first), int(until), Path(kept))


if __name__ == "__main__":
    main(sys.argv[1:])
