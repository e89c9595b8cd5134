"""Questions answered."""

import pytest

import planner as pl
from planner.doors.asking import answered, names_of
from planner.doors.questions import QUESTIONS
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, UnknownNameError

SMALL = {"model": "qwen3-0.6b", "prompt_tokens": 128, "output_tokens": 16}
ONE = {"machine": "hgx-h100", "chips": 1}
WORK = pl.Workload(batch_size=4, prompt_tokens=128, output_tokens=16)


def ask(name, earlier=None, **fields):
    return answered(QUESTIONS[name].from_fields(fields), "a7", earlier)


@pytest.mark.slow
def test_a_plan_is_the_one_that_partition_finds():
    found = ask("plan", **SMALL, **ONE, users=4)
    graph, topology = pl.load_model("qwen3-0.6b"), pl.load_topology("hgx-h100", chips=1)
    best = pl.partition(graph, topology, WORK, minimize="tpot_s")
    assert found.answer.objective.value == best.objective
    assert found.answer.objective.field == "tpot_s"
    assert found.results["a7"].plan == best.plan


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "field", "direction"),
    [
        ({}, "tpot_s", "minimize"),
        ({"users": 2}, "tpot_s", "minimize"),
        ({"users": 2, "objective": "usd_per_million_tokens"}, "usd_per_million_tokens", "minimize"),
        ({"users": 2, "objective": "tokens_per_s"}, "tokens_per_s", "maximize"),
    ],
    ids=str,
)
def test_what_is_best_follows_from_the_field(asked, field, direction):
    answer = ask("plan", **SMALL, **ONE, **asked).answer
    assert (answer.objective.field, answer.direction) == (field, direction)


def test_a_field_that_there_is_not_has_a_nearest():
    with pytest.raises(UnknownNameError, match="field to make best called 'tpots'"):
        ask("plan", **SMALL, **ONE, objective="tpots")


def test_users_and_a_rate_are_not_both_taken():
    with pytest.raises(InputError, match="users and requests_per_s are both given"):
        ask("plan", **SMALL, **ONE, users=2, requests_per_s=1.0)


@pytest.mark.slow
def test_a_sizing_has_a_handle_for_each_machine_with_a_plan():
    found = ask(
        "size", **SMALL, machines=["hgx-h100", "l4:2"], requests_per_s=2.0,
        limits={"tpot_p99_s": "100 ms"}, sure=0.8,
    )  # fmt: skip
    rows = found.answer.machines
    assert {row.answer for row in rows} == set(found.results) == {"a7.1", "a7.2"}
    for row in rows:
        result = found.results[row.answer]
        assert row.chips == result.score.chips == 1
        assert (row.status, row.bound_chips) == ("optimal", 1)
        (told,) = (one for one in row.figures if one.field == "tpot_p99_s")
        assert told.value == result.score.tpot_p99_s
        assert told.low < told.value < told.high
    assert found.answer.limits == ("tpot_p99_s at most 100 ms",)


@pytest.mark.slow
def test_machines_are_compared_the_best_first_and_those_without_a_plan_say_why():
    found = ask(
        "compare", model="llama-3.1-70b", users=1, prompt_tokens=128, output_tokens=16,
        machines=["hgx-h100:1", "hgx-a100", "hgx-h100"],
    ).answer  # fmt: skip
    first, second = found.plans
    assert (first.machine, second.machine) == ("hgx-h100", "hgx-a100")
    assert first.objective.value < second.objective.value
    assert (first.answer, second.answer) == ("a7.3", "a7.2")
    ((machine, reason),) = found.refused
    assert machine == "hgx-h100:1"
    assert reason.startswith("infeasible, proved: llama-3.1-70b in bf16 does not fit")


@pytest.mark.slow
def test_where_no_machine_has_a_plan_that_is_proved():
    machines = ["hgx-h100:1", "hgx-a100:1"]
    with pytest.raises(InfeasibleError, match="hgx-h100:1: infeasible, proved"):
        ask("compare", model="llama-3.1-70b", machines=machines)


def test_where_time_ran_out_nothing_is_proved():
    with pytest.raises(NoPlanFoundError):
        ask(
            "compare", model="llama-3.1-405b", machines=["hgx-h100:64", "hgx-h200:64"],
            time_limit_s=1e-9,
        )  # fmt: skip


def test_a_count_of_chips_is_a_number():
    with pytest.raises(InputError, match="the chips of 'l4:many' must be a whole number"):
        ask("compare", **SMALL, machines=["hgx-h100", "l4:many"])


def test_a_plan_of_ones_own_is_priced_and_not_praised():
    answer = ask("score", **SMALL, machine="hgx-h100", users=4, tensor_parallel=2).answer
    graph, topology = pl.load_model("qwen3-0.6b"), pl.load_topology("hgx-h100")
    plan = pl.uniform_plan(graph, topology, tensor_parallel=2)
    score = pl.score_plan(plan, graph, topology, WORK)
    figures = {one.field: one.value for one in answer.figures}
    assert figures["tpot_s"] == score.tpot_s
    assert figures["chips"] == 2
    assert "nothing is proved of it" in answer.summary


@pytest.mark.slow
def test_an_answer_is_proved_again_and_explained():
    graph, topology = pl.load_model("qwen3-0.6b"), pl.load_topology("hgx-h100", chips=1)
    earlier = pl.partition(graph, topology, WORK, minimize="tpot_s")
    verdict = ask("verify", earlier, answer="a1").answer
    assert (verdict.confirmed, verdict.is_of_the_catalogue) == (True, True)
    assert verdict.checked_bound == pytest.approx(earlier.objective)
    explained = ask("explain", earlier, answer="a1").answer
    assert "memory bandwidth" in explained.binding[0] or "launches" in explained.binding[0]
    assert explained.more


@pytest.mark.parametrize("name", ["verify", "explain"])
def test_an_answer_that_is_not_there_is_refused(name):
    with pytest.raises(InputError, match="there is no answer 'a99' here"):
        ask(name, answer="a99")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        pytest.param("models", pl.model_names(), marks=pytest.mark.slow),
        ("machines", pl.topology_names()),
        ("software", pl.software_names()),
    ],
)
def test_names_are_those_of_the_catalogue(kind, names):
    assert tuple(name for name, _ in names_of(kind)) == names
    assert ask("names", kind=kind).answer.summary.startswith(names[0])
