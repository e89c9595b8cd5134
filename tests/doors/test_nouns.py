"""What a question names, and what it leaves unsaid."""

import pytest

import planner as pl
from planner.doors.asking import answered
from planner.doors.nouns import machine_asked, not_given, usual_users, workload_asked
from planner.doors.questions import (
    CommandQuestion,
    CompareQuestion,
    MapQuestion,
    PlanQuestion,
    ScoreQuestion,
    SizeQuestion,
)
from planner.errors import InputError

SMALL = {"model": "qwen3-0.6b", "prompt_tokens": 128, "output_tokens": 16}


def asked(**fields):
    return PlanQuestion.from_fields(SMALL | {"machine": "hgx-h100"} | fields, whole="the question")


@pytest.mark.parametrize(
    ("fields", "stated", "users"),
    [
        ({}, ["tpot_s"], 8),
        ({}, ["tokens_per_s"], None),
        ({}, ["tpot_s", "usd_per_million_tokens"], None),
        ({"users": 3}, ["tokens_per_s"], 3),
        ({"users": "3"}, ["tokens_per_s"], 3),
        ({"users": "max"}, ["tpot_s"], None),
        ({"requests_per_s": 2}, ["tpot_s"], None),
    ],
    ids=str,
)
def test_users_are_those_of_the_command_where_nobody_says(fields, stated, users):
    assert workload_asked(asked(**fields), usual_users(stated)).batch_size == users


@pytest.mark.parametrize(
    ("fields", "users", "taken"),
    [
        ({}, 8, {"users": "8", "objective": "tpot_s"}),
        ({"objective": "tpot_s"}, None, {"users": "max"}),
        ({"users": 2}, 8, {"objective": "tpot_s"}),
        ({"requests_per_s": 2, "objective": "tpot_s"}, 8, {}),
    ],
    ids=str,
)
def test_what_is_left_unsaid_is_told(fields, users, taken):
    question = asked(**fields)
    graph = pl.load_model("qwen3-0.6b")
    assert not_given(question, graph, users, question.objective or "tpot_s") == taken


def test_an_answer_tells_its_defaults_in_words_too():
    question = {"model": "qwen3-0.6b", "machine": "hgx-h100:1"}
    answer = answered(ScoreQuestion.from_fields(question), "a1").answer
    assert answer.not_given == {"users": "8", "prompt_tokens": "1024", "output_tokens": "256"}
    assert answer.summary.endswith("defaults used: users 8, prompt_tokens 1024, output_tokens 256")


@pytest.mark.parametrize(
    "prices", [{"hgx-h100": 2.5}, {"hgx-h100": "2.5"}, {"hgx-h100:2": "2.50 USD/h"}]
)
def test_a_price_of_ones_own_is_that_of_each_chip(prices):
    machine = machine_asked(asked(machine="hgx-h100:2", prices=prices))
    assert (machine.chips, machine.price.usd_per_chip_hour) == (2, 2.5)
    assert machine_asked(asked()).price == pl.load_topology("hgx-h100").price


def test_prices_are_those_of_machines_that_are_asked_about():
    for prices, said in (
        ({"l4": 1}, "prices names 'l4', and the question asks about hgx-h100"),
        ({"hgx-h100": "2 GB"}, "prices.hgx-h100 needs a number and a unit of dollars per hour"),
    ):
        with pytest.raises(InputError, match=said):
            machine_asked(asked(prices=prices))
    for kind in (SizeQuestion, CompareQuestion, MapQuestion):
        fields = {} if kind is MapQuestion else SMALL
        question = kind.from_fields(fields | {"machines": ["hgx-h100", "l4"], "prices": {"t4": 1}})
        with pytest.raises(InputError, match="prices names 't4'"):
            answered(question, "a1")


@pytest.mark.slow
def test_own_prices_decide_what_is_cheapest():
    fields = SMALL | {"machines": ["hgx-h100:1", "l4:1"], "users": 1}
    for prices, first in (({"l4": 1e-3}, "l4"), ({"l4": 1e3}, "hgx-h100")):
        answer = answered(SizeQuestion.from_fields(fields | {"prices": prices}), "a1").answer
        assert answer.machines[0].machine.startswith(first)


def test_drafts_are_those_of_the_workload():
    lookup = {"model": "lookup", "tokens": 3, "kind": "ngram"}
    assert workload_asked(asked(drafts=lookup), 8).speculation == pl.Speculation(
        tokens=3, kind="ngram"
    )
    drafts = {"model": "qwen3-0.6b", "tokens": "best", "acceptance_rate": 0.5}
    found = workload_asked(asked(drafts=drafts, weights="fp8"), 8).speculation
    assert (found.tokens, found.acceptance_rate) == (None, 0.5)
    assert found.draft == pl.load_model("qwen3-0.6b", weight_dtype="fp8")
    with pytest.raises(InputError, match=r"^drafts\.tokens must be a whole number or 'best', not"):
        asked(drafts=lookup | {"tokens": "most"})


def test_the_best_plans_beside_a_command_have_handles():
    command = "vllm serve Qwen/Qwen3-0.6B --max-model-len 512"
    fields = {"command": command, "machine": "hgx-h100:2", "users": 2}
    lengths = {"prompt_tokens": 128, "output_tokens": 16}
    found = answered(CommandQuestion.from_fields(fields | lengths), "a5")
    answer = found.answer
    assert set(found.results) == {answer.answer_on_same_chips, answer.answer_on_machine}
    assert found.results["a5.1"].score.chips == answer.chips == 1
    assert found.results["a5.2"].topology.chips == 2
    alone = answered(CommandQuestion.from_fields(fields | lengths | {"best": False}), "a5")
    assert (alone.results, alone.answer.answer_on_machine) == ({}, "")
