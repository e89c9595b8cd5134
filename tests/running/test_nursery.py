"""Tests of the mirror of the nursery: what ranks tell, and what is heard of one that says
nothing."""

import json
import os
import subprocess
import sys

import pytest

from planner.running import nursery

DEAD = """
import json, os, sys
from planner.running import nursery
from planner.running.jobs import Job, RankReport, PhaseReport

def run(job, rank, place):
    if rank == job.seed:
        os._exit(9)
    nothing = PhaseReport()
    return RankReport(stage=0, rank=rank, weight_bytes=0, cache_bytes=0, prefill=nothing, decode=nothing)

stages = [{"first_rank": 0, "ranks": 3}]
for dead in (1, 7):
    job = Job(config={}, stages=stages, batch_size=1, prompt_tokens=1, output_tokens=1, seed=dead)
    print(json.dumps(nursery._carried_out(job, run)))
"""


@pytest.mark.slow
def test_a_rank_that_dies_is_named_and_the_next_job_runs():
    asked = subprocess.Popen(
        [sys.executable, "-c", DEAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    # Its input stays open until it has answered: closed, it would end itself.
    first, second = (json.loads(asked.stdout.readline()) for _ in range(2))
    asked.communicate()
    assert first == {"fault": "rank 1 died"}
    assert sorted(report["rank"] for report in second["reports"]) == [0, 1, 2]


def test_lines_are_read_one_at_a_time():
    reads, writes = os.pipe()
    os.write(writes, b"one\ntwo\n")
    assert nursery._line(reads) == b"one\n"
    assert os.read(reads, 100) == b"two\n"
    os.close(writes)
    assert nursery._line(reads) == b""
    os.close(reads)
