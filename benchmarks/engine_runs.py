"""Plans on a real llama.cpp beside what they were priced with: `python -m benchmarks.engine_runs BIN`.

Each plan goes out through the product's own export. The processes that it writes are started as
written, but for what a computer without cards forces:

- a card of a node is a server on 127.0.0.1 that lends a core; the card that the export leaves to
  the main server's own node is lent by one more;
- addresses, ports and the folder of the programs are this computer's;
- `-v` makes the log tell layers, GGML_RPC_DEBUG bytes.

The main server is asked for tokens, so that all devices have worked; all plans of a model must give
the same. Programs that cannot compute on the processor at hand load and then die: their rows have no
tokens. What the logs say of each device is written beside what the plan says.
"""

import argparse
import csv
import datetime
import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine_cases import CASES, Case, graph_of, planned, result_of
from benchmarks.isolated import isolated
from benchmarks.llama_cpp_log import Device, devices_of, exact_bytes, version_of
from planner.errors import InputError, PlannerError
from planner.export import to_engine

KEPT = Path(__file__).resolve().parents[1] / "tests" / "data" / "engine_runs.csv"
LENDERS = ("ggml-rpc-server", "rpc-server")
"""The program's name in newer and in older builds."""
SERVER = "llama-server"
HERE = "127.0.0.1"
FIRST_PORT = 50052
READY_S = 180.0
ASKED = {
    "prompt": [1, *range(300, 340)],
    "n_predict": 12,
    "temperature": 0.0,
    "ignore_eos": True,
    "return_tokens": True,
    "cache_prompt": False,
}


FAULTS = ("error", "couldn't", "crashed")


class EngineError(PlannerError):
    """An engine could not be started, or did not answer; the sentence says what it said last."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process to be started."""

    words: tuple[str, ...]
    log: str
    settings: tuple[tuple[str, str], ...] = ()


def processes_of(commands: Sequence[str], folder: Path, first_port: int) -> list[Started]:
    """What an export's commands are on this computer: lenders first, then the main server."""
    *cards, main = [_without_settings(command) for command in commands]
    ports = [first_port + number for number in range(len(cards) + 2)]
    lender = str(_program(folder, *LENDERS))
    lent = [(lender, *card[1:]) for card in cards]
    # The main server's own card, which this computer does not have.
    lent.append((lender, "-H", HERE, "-p", ""))
    found = []
    for number, words in enumerate(lent):
        placed = _set(_set(words, "-H", HERE), "-p", str(ports[number]))
        found.append(Started(placed, f"lender-{number}.log", (("GGML_RPC_DEBUG", "1"),)))
    addresses = ",".join(f"{HERE}:{port}" for port in ports[: len(lent)])
    main = (str(_program(folder, SERVER)), *main[1:])
    for name, value in (("--host", HERE), ("--port", str(ports[-1])), ("--rpc", addresses)):
        main = _set(main, name, value)
    found.append(Started((*main, "-v"), "server.log"))
    return found


def _without_settings(command: str) -> tuple[str, ...]:
    """The words of a command behind its environment, which names cards."""
    words = shlex.split(command)
    while "=" in words[0]:
        words = words[1:]
    return tuple(words)


def _program(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder} has no {names[0]}: `make engines-run` builds llama.cpp with GGML_RPC=ON, and"
        " names the folder of its programs"
    )


def _set(words: tuple[str, ...], option: str, value: str) -> tuple[str, ...]:
    """The words with another value of an option; where it is not there, with the option."""
    if option not in words:
        return (*words, option, value)
    place = words.index(option) + 1
    return (*words[:place], value, *words[place + 1 :])


def _option(words: Sequence[str], name: str) -> str:
    return words[words.index(name) + 1]


def check_ports(first_port: int, count: int) -> None:
    """An InputError where one of them is in use."""
    for port in range(first_port, first_port + count):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((HERE, port))
            except OSError:
                raise InputError(
                    f"port {port} of {HERE} is in use; give --port the first of {count} free ones"
                ) from None


@contextmanager
def kept(process: Started, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that ends with the block, and with this process, however that ends."""
    command = ("-m", "benchmarks.engine_guard", str(folder / process.log), *process.words)
    guard = subprocess.Popen(
        isolated(*command),
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **dict(process.settings), "TMPDIR": str(folder)},
    )
    assert guard.stdin is not None
    try:
        yield guard
    finally:
        guard.stdin.close()
        try:
            guard.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(guard.pid, signal.SIGKILL)
            guard.wait()


def run(processes: Sequence[Started], folder: Path) -> list[int]:
    """Start them, ask for tokens, end them; what the server answered."""
    *lenders, server = processes
    for one in processes:
        (folder / one.log).unlink(missing_ok=True)
    with ExitStack() as stack:
        for one in lenders:
            _wait(stack.enter_context(kept(one, folder)), one, folder, _answers)
        _wait(stack.enter_context(kept(server, folder)), server, folder, _is_healthy)
        answer = _asked(f"http://{HERE}:{_port_of(server)}/completion", ASKED)
    tokens = answer.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        raise EngineError("llama-server answered without tokens; look at its log with --keep")
    return [int(token) for token in tokens]


def _wait(
    guard: "subprocess.Popen[str]", process: Started, folder: Path, ready: Callable[[int], bool]
) -> None:
    """Until a process answers; an EngineError where it ended, or takes too long."""
    until = time.monotonic() + READY_S
    while not ready(_port_of(process)):
        if guard.poll() is not None or time.monotonic() > until:
            last = _last_words(folder / process.log)
            raise EngineError(f"{Path(process.words[0]).name} did not start: {last}")
        time.sleep(0.1)


def _port_of(process: Started) -> int:
    words = process.words
    return int(_option(words, "--port" if "--port" in words else "-p"))


def _last_words(log: Path) -> str:
    """What went wrong, as far as a log says it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    faults = [line for line in lines if any(word in line.lower() for word in FAULTS)]
    return (faults or lines or ["it said nothing"])[-1][:200]


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex((HERE, port)) == 0


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HERE}:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _asked(url: str, fields: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        url, json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=READY_S) as answer:
            told: dict[str, Any] = json.load(answer)
            return told
    except (OSError, ValueError) as error:
        raise EngineError(f"llama-server did not answer: {error}") from None


def rows_of(
    case: Case, folder: Path, programs: Path, first_port: int, package: str
) -> list[dict[str, Any]]:
    """A row for each device: planned beside loaded."""
    graph, path = graph_of(case, folder, empty=False)
    result = result_of(case, graph)
    export = to_engine(result, "llama.cpp", model=str(path), chips_per_node=1)
    processes = processes_of(export.commands, programs, first_port)
    try:
        tokens = run(processes, folder)
    except EngineError as error:
        # Programs may be built for instructions that this processor lacks; they load all the same.
        print(f"{case.model}, cache {case.kv}: no tokens, since {error}")
        tokens = []
    log = _log_of(processes[-1], folder)
    found = devices_of(log, _option(processes[-1].words, "--rpc").split(","))
    host = found.get("CPU", Device())
    rows = []
    for number, wanted in enumerate(planned(result)):
        device = found.get(f"RPC{number}", Device())
        lender = _log_of(processes[number], folder)
        layers = [one for one in device.layers if one < len(graph.inner_positions)]
        rows.append(
            {
                **_said(case, result),
                "version": f"{package} ({version_of(log)})",
                "device": number,
                "layers_planned": wanted.layers,
                "layers_loaded": len(layers),
                "output_loaded": int(len(layers) < len(device.layers)),
                "weights_planned_bytes": round(wanted.weight_bytes),
                "weights_loaded_bytes": exact_bytes(device.model_mib, lender),
                "kv_planned_bytes": round(wanted.kv_bytes),
                "kv_loaded_bytes": exact_bytes(device.kv_mib, lender),
                "buffers_planned_bytes": round(wanted.buffer_bytes),
                "buffers_loaded_mib": device.compute_mib,
                "host_weights_mib": host.model_mib,
                "tokens": " ".join(map(str, tokens)),
            }
        )
    return rows


def _log_of(process: Started, folder: Path) -> str:
    """What it said; nothing where it was never started."""
    path = folder / process.log
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _said(case: Case, result: Any) -> dict[str, Any]:
    """What a run was."""
    graph = result.graph
    cut = [
        sum(graph.position_of_layer[name] in graph.inner_positions for name in stage.layers)
        for stage in result.plan.stages
    ]
    return {
        "source": "run here",
        "date": datetime.date.today().isoformat(),
        "engine": "llama.cpp",
        "model": case.model,
        "kv": case.kv,
        "cut": "+".join(map(str, cut)),
        "cut_by": "given" if case.cut else "partition",
        "memory_mb": case.memory_mb,
        "sequences": case.sequences,
        "prompt": case.prompt,
        "output": case.output,
        "arrivals": case.arrivals,
        "away": case.away,
    }


def case_in(row: dict[str, str]) -> Case:
    """The case that a kept row is of."""
    cut = tuple(int(one) for one in row["cut"].split("+"))
    return Case(
        model=row["model"],
        cut=None if row["cut_by"] == "partition" else cut,
        memory_mb=float(row["memory_mb"]),
        kv=row["kv"],
        sequences=int(row["sequences"]),
        prompt=int(row["prompt"]),
        output=int(row["output"]),
        chips=max(2, len(cut)),
        away=int(row["away"]),
        arrivals=row["arrivals"],
    )


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """All of them, or the file as it was."""
    being_made = path.with_name(f".{path.name}.part")
    try:
        with being_made.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        being_made.replace(path)
    finally:
        being_made.unlink(missing_ok=True)


def read_rows(path: Path = KEPT) -> list[dict[str, str]]:
    """As they were kept."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Planned beside loaded, a line for each device."""
    lines = ["| model | cache | plan | device | layers | weights | KV cache | compute buffers |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row in rows:
        by = "" if row["cut_by"] == "given" else " (found)"
        away = f", {row['away']} each by the host" if int(row["away"]) else ""
        cells = [
            row["model"],
            f"{row['kv']}, {row['sequences']} × ({row['prompt']} + {row['output']})",
            f"{row['cut']}{by}{away}",
            str(row["device"]),
            f"{row['layers_planned']} / {row['layers_loaded']}",
            f"{int(row['weights_planned_bytes']):,} / {int(row['weights_loaded_bytes']):,}",
            f"{int(row['kv_planned_bytes']):,} / {int(row['kv_loaded_bytes']):,}",
            f"{int(row['buffers_planned_bytes']) / 2**20:.2f} / {float(row['buffers_loaded_mib']):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(given: Sequence[str] | None = None) -> int:
    """Run all cases, keep the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path, help="folder of llama-server and ggml-rpc-server")
    parser.add_argument("--package", default="llama.cpp", help="what the programs were built from")
    parser.add_argument("--port", type=int, default=FIRST_PORT, help="the first of some free ones")
    parser.add_argument("--rows", type=Path, default=KEPT)
    parser.add_argument("--keep", type=Path, help="a folder for files and logs; else they go")
    parser.add_argument("--only", type=int, help="one case, by its number; nothing is written")
    asked = parser.parse_args(given)
    # So that what is started here ends too.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    rows: list[dict[str, Any]] = []
    try:
        for names in ((SERVER,), LENDERS):
            _program(asked.programs, *names)
        check_ports(asked.port, max(case.chips for case in CASES) + 1)
        with tempfile.TemporaryDirectory(prefix="engine-runs-") as made:
            folder = asked.keep or Path(made)
            folder.mkdir(parents=True, exist_ok=True)
            for number, case in enumerate(CASES):
                if asked.only in (None, number):
                    rows += rows_of(case, folder, asked.programs, asked.port, asked.package)
    except PlannerError as error:
        print(error)
        return 1
    if asked.only is None:
        write_rows(rows, asked.rows)
    print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
