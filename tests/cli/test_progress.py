"""Progress is for somebody who watches, and now and then for whoever reads a log."""

import sys

from planner.cli import progress as module
from planner.cli.progress import Meter, SweepMeter, at_work
from planner.planning.search import Progress
from planner.studies.sweeps.meters import Tally


def progress(elapsed_s):
    return Progress(elapsed_s=elapsed_s, boxes_done=1, boxes_open=2, objective=0.02, bound=0.01)


def tally(elapsed_s):
    return Tally(cells=4, reused=0, planned=1, infeasible=0, failed=0, elapsed_s=elapsed_s)


def watch(monkeypatch):
    """Sit before a terminal: each phase of a test has streams of its own."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_progress_is_shown_to_somebody_who_watches(monkeypatch, capsys):
    watch(monkeypatch)
    meter = Meter()
    for elapsed_s in (0.5, 1.5, 1.6, 2.5):
        meter(progress(elapsed_s))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("best 0.02, bound 0.01  (1 done, 2 open; Ctrl-C stops)") == 2


def test_a_log_gets_a_line_every_ten_seconds(capsys):
    meter = Meter()
    for elapsed_s in (1.5, 9.0, 10.0, 12.0, 19.0, 20.5):
        meter(progress(elapsed_s))
    out, said = capsys.readouterr()
    assert out == ""
    assert [line.split()[1] for line in said.splitlines()] == ["10", "20"]
    assert all(line.startswith("planner: ") for line in said.splitlines())
    assert "\r" not in said


def test_a_log_of_a_sweep_likewise(capsys):
    meter = SweepMeter()
    for elapsed_s in (9.0, 11.0, 12.0):
        meter(tally(elapsed_s))
    assert capsys.readouterr().err.count("1 of 4 cells") == 1


def test_work_that_says_nothing_is_said_to_go_on(monkeypatch, capsys):
    monkeypatch.setattr(module, "PIPED_S", 0.001)
    told = []
    monkeypatch.setattr(module, "complain", lambda line: (told.append(line), done.set()))
    done = module.Event()
    with at_work("counting"):
        assert done.wait(60)
    assert told[0].endswith("counting")


def test_a_terminal_is_left_with_an_empty_line(monkeypatch, capsys):
    watch(monkeypatch)
    monkeypatch.setattr(module, "WATCHED_S", (0.001, 0.001))
    lines = []
    done = module.Event()
    monkeypatch.setattr(module, "over_the_line", lambda line: (lines.append(line), done.set()))
    with at_work("counting"):
        assert done.wait(60)
    assert lines[0].endswith("counting  (Ctrl-C stops)")
    assert lines[-1] == ""
