"""Models, machines and drafts as a command line names them."""

import pytest

from planner.cli.groups import Drafts, Formats
from planner.cli.nouns import counted_name, speculation_of
from planner.errors import InputError
from tests.terminal import refused


def test_drafts_without_a_model_that_makes_them_are_refused():
    with pytest.raises(InputError, match="give --draft NAME"):
        speculation_of(Drafts(acceptance=0.5), Formats())
    assert speculation_of(Drafts(), Formats()) is None


def test_a_draft_has_no_open_axes():
    drafted = speculation_of(Drafts(draft="qwen3-0.6b"), Formats(dimension=["batch=1"]))
    assert drafted.draft.name == "qwen3-0.6b"


@pytest.mark.parametrize(
    ("entry", "chips", "named"),
    [
        ("hgx-h100", None, ("hgx-h100", None)),
        ("hgx-h100", 4, ("hgx-h100", 4)),
        ("hgx-h100:16", None, ("hgx-h100", 16)),
        ("hgx-h100:16", 16, ("hgx-h100", 16)),
        ("mine.toml:2", None, ("mine.toml", 2)),
        ("C:\\machines\\mine.toml", None, ("C:\\machines\\mine.toml", None)),
    ],
)
def test_a_machine_may_have_its_chips_behind_its_name(entry, chips, named):
    assert counted_name(entry, chips) == named


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "qwen3-0.6b", "hgx-h100:2", "--chips", 4), "--chips 4 and hgx-h100:2 name"),
        (("score", "qwen3-0.6b", "hgx-h100:x"), "chips must be a whole number, not 'x'"),
        (
            ("disaggregate", "qwen3-0.6b", "hgx-h100", "l4:2", "--decode-chips", 4),
            "--decode-chips 4 and l4:2 name",
        ),
        (
            ("score", "--from", "vllm serve x", "--machine", "hgx-h100:2", "--chips", 4),
            "--chips 4 and hgx-h100:2 name",
        ),
    ],
)
def test_two_different_numbers_of_chips_are_refused(run, arguments, said):
    assert said in refused(run(*arguments), 2)


def test_a_count_behind_the_name_is_that_of_the_option(run):
    asked = ("score", "qwen3-0.6b", "--tensor", 2, "--batch", 1, "--format", "json")
    behind = run(*asked[:2], "hgx-h100:2", *asked[2:]).fields
    beside = run(*asked[:2], "hgx-h100", "--chips", 2, *asked[2:]).fields
    assert behind == beside
