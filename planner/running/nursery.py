"""The process that forks ranks: it imports PyTorch once, then waits for jobs on its input.

Each line of its input is a job, each line of its output what came of one: reports, or the sentence
of a failure. Ranks are in its process group; when one of them dies, or its input is closed because
whoever asked is gone, it ends them all.
"""

import json
import os
import select
import signal
import sys
import tempfile
import traceback
from typing import Any

from planner.running.jobs import Job

PIECE = 2**16


def main() -> None:
    """Job after job, until the input is closed."""
    import torch
    import transformers.modeling_utils  # noqa: F401  each rank would import it anew

    from planner.running.rank import run_rank

    del torch
    while line := _line(sys.stdin.fileno()):
        job = Job.model_validate_json(line)
        print(json.dumps(_carried_out(job, run_rank)), flush=True)


def _line(descriptor: int) -> bytes:
    """The next line, read without a buffer: what is left must be seen by `select`."""
    found = b""
    while not found.endswith(b"\n"):
        piece = os.read(descriptor, 1)
        if not piece:
            return b""
        found += piece
    return found


def _carried_out(job: Job, run: Any) -> dict[str, Any]:
    """Reports of all ranks, or what went wrong."""
    with tempfile.TemporaryDirectory(prefix="planner-run-") as folder:
        meeting_place = os.path.join(folder, "ranks")
        pipes: dict[int, int] = {}
        children = []
        for rank in range(job.ranks):
            child, pipe = _forked(job, rank, meeting_place, run)
            children.append(child)
            pipes[pipe] = rank
        try:
            return _collected(pipes)
        finally:
            _end(children)


def _forked(job: Job, rank: int, meeting_place: str, run: Any) -> tuple[int, int]:
    """A rank, and the pipe on which it reports."""
    reads, writes = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    status = 1
    try:
        os.close(reads)
        told = _told(job, rank, meeting_place, run)
        with os.fdopen(writes, "w") as stream:
            stream.write(json.dumps(told))
        status = 0
    finally:
        os._exit(status)


def _told(job: Job, rank: int, meeting_place: str, run: Any) -> dict[str, Any]:
    """A rank's report, or its fault."""
    try:
        return {"report": run(job, rank, meeting_place).model_dump()}
    except BaseException as error:
        if os.environ.get("PLANNER_RUN_TRACE"):
            traceback.print_exc()
        words = " ".join(str(error).split())[:300]
        return {"fault": f"rank {rank}: {type(error).__name__}: {words}"}


def _collected(pipes: dict[int, int]) -> dict[str, Any]:
    """What all ranks told; at the first fault, or death, that one alone."""
    told: dict[int, bytes] = dict.fromkeys(pipes, b"")
    reports = []
    while told:
        ready, _, _ = select.select([*told, sys.stdin.fileno()], [], [])
        if sys.stdin.fileno() in ready:
            # Nobody sends a job before the last is done: the input was closed.
            os.killpg(0, signal.SIGKILL)
        for pipe in ready:
            piece = os.read(pipe, PIECE)
            told[pipe] += piece
            if piece:
                continue
            os.close(pipe)
            text = told.pop(pipe)
            answer = json.loads(text) if text else {"fault": f"rank {pipes[pipe]} died"}
            if "fault" in answer:
                return answer
            reports.append(answer["report"])
    return {"reports": reports}


def _end(children: list[int]) -> None:
    """No rank outlives its job."""
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
