"""What was left unsaid is told, and a question is kept and asked again."""

import tomllib

import pytest

from planner.cli import COMMANDS, app_for
from planner.cli.questions import KEPT, PLACES, words_of
from planner.errors import InputError
from tests.terminal import SMALL, TOO_SMALL, get_params, refused

GOOD = 'version = 1\ncommand = "plan"\nnames = ["qwen3-0.6b", "hgx-h100"]\n[options]\nchips = 1\n'


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "question.toml"


@pytest.mark.slow
def test_what_was_not_given_is_told(run):
    answer = run("plan", *SMALL, "--prompt", "2k", "--format", "json")
    assert answer.fields["not_given"] == {
        "--batch": "8",
        "--output": "256",
        "--arrivals": "steady",
        "--kv": "bf16",
        "--minimize": "tpot_s",
    }
    text = run("plan", *SMALL, "--prompt", "2k", "--kv", "bf16", "--batch", "8").out
    assert text.endswith("defaults used: --output 256, --arrivals steady, --minimize tpot_s\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("goal", "batch"),
    [
        (("--maximize", "tokens_per_s"), None),
        (("--limit", "tokens_per_s=100"), None),
        (("--limit", "tpot_s=1s"), 8),
        (("--minimize", "usd_per_million_tokens"), None),
        (("--maximize", "tokens_per_s_per_user"), 8),
        (("--minimize", "tpot_s"), 8),
        (("--maximize", "tokens_per_s", "--batch", "8"), 8),
    ],
)
def test_a_batch_is_open_where_more_in_flight_is_better(run, goal, batch):
    answer = run("plan", *SMALL, "--prompt", "64", "--output", "8", *goal, "--format", "json")
    assert answer.fields["workload"]["batch_size"] == batch
    told = answer.fields["not_given"].get("--batch")
    assert told == {None: "max", 8: None if "--batch" in goal else "8"}[batch]


@pytest.mark.slow
def test_an_open_batch_is_said_in_words(run):
    text = run("plan", *SMALL, "--maximize", "tokens_per_s").out
    assert "the batch is open, as tokens_per_s is better with more in flight" in text


@pytest.mark.slow
def test_a_question_is_kept_and_asked_again(run, kept):
    asked = ("plan", *SMALL, "--prompt", "2k", "--limit", "tpot_s=30ms", "--limit", "ttft_s=2 s")
    first = run(*asked, "--format", "json", "--save", kept)
    assert tomllib.loads(kept.read_text())["options"] == {
        "prompt": "2k",
        "limit": ["tpot_s=30ms", "ttft_s=2 s"],
        "chips": 1,
        "format": "json",
    }
    again = run("ask", kept)
    assert again.fields["objective"] == first.fields["objective"]
    assert again.fields["limits"] == first.fields["limits"]


@pytest.mark.slow
def test_options_behind_a_question_take_the_place_of_its_own(run, kept):
    run("plan", *SMALL, "--batch", "4", "--minimize", "ttft_s", "--save", kept)
    assert words_of(["ask", str(kept), "--batch", "2", "--maximize", "tokens_per_s"]) == [
        "plan", "qwen3-0.6b", "hgx-h100", "--chips=1", "--batch", "2", "--maximize", "tokens_per_s",
    ]  # fmt: skip
    answer = run("ask", kept, "--batch", "2", "--format=json")
    assert answer.fields["workload"]["batch_size"] == 2
    assert answer.fields["field"] == "ttft_s"


def test_a_count_behind_a_machines_name_is_changed_as_an_option_is(run, kept):
    run("plan", "qwen3-0.6b", "hgx-h100:1", "--save", kept)
    assert run("ask", kept, "--chips", "2", "--format=json").fields["topology"]["chips"] == 2
    assert run("ask", kept, "--format=json").fields["topology"]["chips"] == 1


def test_a_name_too_many_is_told_and_not_one_of_the_file(run, kept):
    run("plan", *SMALL, "--save", kept)
    said = refused(run("ask", kept, "groq-lpu-chain"), 2)
    assert "groq-lpu-chain" in said
    assert "hgx-h100" not in said


@pytest.mark.slow
def test_a_question_without_a_plan_is_kept_too(run, kept):
    refused(run("plan", *TOO_SMALL, "--save", kept), 3)
    refused(run("ask", kept), 3)


def test_a_question_that_cannot_be_asked_is_not_kept(run, kept):
    refused(run("plan", "nope", "hgx-h100", "--save", kept), 2)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "version must be 1"),
        ("version = 2\n", "version must be 1, which this planner reads, not 2"),
        ("version = true\n", "version must be 1"),
        (GOOD.replace("plan", "rm"), "command must be plan, disaggregate"),
        (GOOD.replace("names", "nouns"), "nouns is not a field of a question"),
        (GOOD.replace('["qwen3-0.6b", "hgx-h100"]', "3"), "names must be a list of texts"),
        (GOOD.replace('"hgx-h100"]', '"--out=x"]'), "names holds '--out=x', which is an option"),
        (GOOD + 'out = "x.json"\n', "options.out says where an answer goes"),
        (GOOD + 'export-to = "x"\n', "options.export-to says where an answer goes"),
        (GOOD + "a = {b = 1}\n", "options.a must be a text, a number"),
        (GOOD + '"a b" = 1\n', "options.a b must be a text, a number"),
        (GOOD + '"-x" = 1\n', "options.-x must be a text"),
        (GOOD + "frobnicate = 1\n", "No such option: --frobnicate"),
        (GOOD + f"limit = {['a=1'] * 300}\n", "a question has at most 200"),
        ("version = \n", "is not valid TOML"),
    ],
)
def test_a_strange_file_is_refused(run, kept, text, said):
    kept.write_text(text)
    assert said in refused(run("ask", kept), 2)


def test_a_question_is_read_within_bounds(run, kept):
    kept.write_text("#" * (2**18 + 1))
    assert "a question has at most 256" in refused(run("ask", kept), 2)
    assert "cannot be read" in refused(run("ask", "nowhere.toml"), 2)


def test_ask_needs_its_file_first(run):
    assert "Missing argument" in refused(run("ask"), 2)
    assert "takes the question's file first" in refused(run("ask", "--", "question.toml"), 2)


@pytest.mark.parametrize("name", KEPT)
def test_every_question_can_be_kept(name):
    assert name in COMMANDS
    params = get_params(app_for(name), name)
    assert "--save" in params
    assert set(params) & {f"--{place}" for place in PLACES}


def test_a_line_that_asks_nothing_again_is_as_it_is():
    assert words_of(["plan", "ask", "x"]) == ["plan", "ask", "x"]
    with pytest.raises(InputError, match="cannot be read"):
        words_of(["ask", "nowhere.toml", "--batch", "4"])
