"""Progress is for somebody who watches."""

import sys

from planner.cli.answers import Meter
from planner.planning.search import Progress


def progress(elapsed_s):
    return Progress(elapsed_s=elapsed_s, boxes_done=1, boxes_open=2, objective=0.02, bound=0.01)


def test_progress_is_shown_to_somebody_who_watches(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    meter = Meter()
    for elapsed_s in (0.5, 1.5, 1.6, 2.5):
        meter(progress(elapsed_s))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("best 0.02, bound 0.01  (1 done, 2 open; Ctrl-C stops)") == 2


def test_progress_is_kept_from_a_file(capsys):
    Meter()(progress(10.0))
    assert capsys.readouterr() == ("", "")
