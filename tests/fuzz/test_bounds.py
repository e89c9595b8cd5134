"""Each file that once took a machine's memory or never came to an end is refused, in one process
that has little of both."""

import json
import subprocess
import sys

import pytest

from tests.fuzz.bounds import CASES
from tests.fuzz.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are told by Linux's files")


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What came of each, by name."""
    command = (sys.executable, "-m", "tests.fuzz.bounds", str(tmp_path_factory.mktemp("bounds")))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = dict(json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 0, (list(lines)[-1:], done.stderr[-500:])
    return lines


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_soon_in_a_sentence(said, name):
    assert said[name].startswith("refused: ")
    assert "\n" not in said[name]
    assert len(said[name]) < 500


def test_what_would_be_read_elsewhere_is_told_by_its_name(said):
    for name in ("a stack that is a device", "a stack above", "a stack that is a link out"):
        assert "a path below the folder of the file that names it" in said[name]
