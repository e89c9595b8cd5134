"""Interpreters that are there are tried, and those that are not are named."""

import pytest

from benchmarks import matrix


@pytest.mark.parametrize(
    ("there", "holds", "status"),
    [({"3.11": "/p"}, True, 0), ({"3.11": "/p"}, False, 1), ({}, True, 1)],
)
def test_every_version_is_told_and_a_failure_is_a_status(monkeypatch, capsys, there, holds, status):
    found = {version: there.get(version) for version in ("3.11", "3.14")}
    monkeypatch.setattr(matrix, "interpreters", lambda: found)
    monkeypatch.setattr(matrix, "tested", lambda version, interpreter: holds)
    assert matrix.main() == status
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "Python 3.14: not on this machine"
    assert ("FAILS" in told[0]) == (not holds)
