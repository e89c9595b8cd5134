"""`Ranks`: processes of this machine that carry out jobs, and end with whoever asked for them."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import planner
from planner.errors import InputError, PlannerError
from planner.running.jobs import Job, RankReport

EXTRA = (
    "planner run needs PyTorch and transformers: install the extra 'run', as in pip install"
    " 'spread-planner[run]'"
)
NEEDED = ("torch", "transformers")
BOOT = """
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
found = PathFinder.find_spec("planner", [sys.argv[1]])
sys.modules["planner"] = module_from_spec(found)
found.loader.exec_module(sys.modules["planner"])
from planner.running.nursery import main
main()
"""
"""The package is the caller's own, whatever else of that name is installed."""
ALONE = {
    "GLOO_SOCKET_IFNAME": "lo",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    # What a pass frees is kept for the next: pages from the system cost CPU seconds.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
"""What ranks find in their environment: one thread each, and no wire but the loopback."""


def _without_working_folder() -> dict[str, str]:
    """The environment, in which no place for modules depends on where we stand."""
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    whole = [place for place in places if os.path.isabs(place)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | ({"PYTHONPATH": os.pathsep.join(whole)} if whole else {})


class RunError(PlannerError):
    """Ranks could not carry out a job: one of them failed or died; the sentence says which."""


class Ranks:
    """A process that forks ranks, kept for several jobs: `with Ranks() as ranks: ranks.run(job)`.

    It leads a process group of its own, which is ended as a whole: by `close`, on any exception
    (Ctrl-C too), and by itself when this process is gone.
    """

    def __init__(self) -> None:
        check_extra()
        # Here and not there: processes that are killed leave their files behind.
        self._folder = tempfile.TemporaryDirectory(prefix="planner-run-")
        self._process = subprocess.Popen(
            # -P: the working folder, where anybody may have put a torch.py, is not looked in.
            [sys.executable, "-P", "-c", BOOT, str(Path(planner.__file__).resolve().parent.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**_without_working_folder(), **ALONE, "TMPDIR": self._folder.name},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def group(self) -> int:
        """Of the processes."""
        return self._process.pid

    def run(self, job: Job) -> tuple[RankReport, ...]:
        """What each rank tells, in order; a RunError where one failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(job.model_dump_json() + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        except BaseException:
            self.close()
            raise
        if not line:
            self.close()
            raise RunError("the processes of the run died; start it again")
        answer = json.loads(line)
        if "fault" in answer:
            raise RunError(f"the run was ended, since {answer['fault']}")
        reports = [RankReport.model_validate(report) for report in answer["reports"]]
        return tuple(sorted(reports, key=lambda report: report.rank))

    def close(self) -> None:
        """End them all."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                # What was not yet sent to a process that is gone is of no use.
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


def check_extra() -> None:
    """An InputError where PyTorch or transformers is missing."""
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise InputError(EXTRA)
