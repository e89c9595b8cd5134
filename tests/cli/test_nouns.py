"""Models, machines and drafts as a command line names them."""

import pytest

from planner.catalogue import counted_name
from planner.cli.groups import Drafts, Formats
from planner.cli.nouns import labelled, speculation_of
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


def test_machines_stand_under_labels_of_their_own():
    assert labelled(["l4", "l40s:2", "a = l4:2"]) == {"l4": "l4", "l40s:2": "l40s:2", "a": "l4:2"}
    with pytest.raises(InputError, match=r"l4 is given twice; .* label them: a=l4 b=l4"):
        labelled(["l4", "l4"])
    for wrong in ("=l4", "a="):
        with pytest.raises(InputError, match="must look like LABEL=NAME or NAME"):
            labelled([wrong])


@pytest.mark.slow
def test_offers_of_one_machine_are_ranked_in_one_table(run):
    offers = ("a=l4", "b=l4", "l40s", "--price", "a=2 USD/h", "--price", "b=1 USD/h")
    asked = ("llama-3.1-8b", *offers, "--price", "9 USD/h", "--weights", "fp8", "--format", "json")
    sized = run("size", *asked).fields
    hourly = {one["machine"]: one["result"]["score"]["usd_per_hour"] for one in sized["machines"]}
    assert list(hourly) == ["b", "a", "l40s"]
    assert (hourly["a"], hourly["b"], hourly["l40s"]) == (2.0, 1.0, 9.0)
    compared = run("compare", *asked).fields["results"]
    paid = {one["machine"]: one["score"]["usd_per_hour"] for one in compared}
    assert paid == {"a": 2.0, "b": 1.0, "l40s:1": 9.0}
    assert "'c'; the nearest names are a, b and l4" in refused(
        run("size", *asked[:3], "--price", "c=1 USD/h"), 2
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "qwen3-0.6b", "hgx-h100:2", "--chips", 4), "--chips 4 and hgx-h100:2 name"),
        (("score", "qwen3-0.6b", "hgx-h100:x"), "the chips of 'hgx-h100:x' must be a whole number"),
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
