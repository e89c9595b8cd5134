"""Two solvers of one question that share a price list and the list of forms, against each other.

`make test` asks eight questions, `make oracle` a hundred.
"""

import math
import random

import pytest

import planner as pl
from planner.answers.question import FIELDS, Question, question_of
from planner.planning.engine_search import EngineSearch
from planner.planning.row_search import RowSearch
from planner.pricing.stacks import machine_for
from planner.space.candidates import Candidates
from tests.engine_questions import MACHINES, is_asked, random_case, random_machine
from tests.instances import tiny_graph, tiny_topology
from tests.lanes import mostly_slow, some

QUESTIONS = range(some(8, 100))
MODELS = ("llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "qwen3-30b-a3b", "gpt-oss-120b")
SOFTWARE = ("vllm", "sglang", "tensorrt-llm")
OBJECTIVES = (
    "tpot_s",
    "ttft_s",
    "tokens_per_s",
    "usd_per_million_tokens",
    "energy_per_token_j",
    "chips",
)
ROOM = 64
"""Chips up to which a question is asked; of the first ten up to 16."""


def question(number):
    """A machine of GPUs, a model, a workload and what is asked of them."""
    dice = random.Random(f"twice {number}")
    chips = dice.choice((4, 6, 8, 16) if number < 10 else (4, 6, 8, 16, 32, ROOM))
    graph = pl.load_model(dice.choice(MODELS), weight_dtype="fp8")
    machine = "hgx-h100" if chips <= 8 else "superpod-h100"
    topology = pl.load_topology(machine, chips=chips, software=SOFTWARE[number % 3])
    objective = OBJECTIVES[number % len(OBJECTIVES)]
    batch = dice.choice((3, 16, 100, None, None))
    rated = batch is None and objective in ("ttft_s", "tpot_s", "chips") and dice.random() < 0.6
    work = pl.Workload(
        batch_size=batch,
        prompt_tokens=dice.choice((128, 1000, 8000)),
        output_tokens=dice.choice((16, 256)),
        requests_per_s=dice.choice((0.5, 4.0)) if rated else None,
    )
    limits = {"tpot_s": 0.06, "ttft_s": 4.0, "memory_headroom_bytes": 1e9, "chips": chips / 2}
    asked = dice.sample(sorted(limits), dice.choice((0, 1, 2)))
    kept = {name: limits[name] for name in asked if name != objective}
    return graph, machine_for(graph, topology), work, objective, kept


def candidates(graph, topology, work, objective, limits):
    way = {"minimize" if FIELDS[objective].best == "least" else "maximize": objective}
    asked = question_of(way.get("minimize"), way.get("maximize"), limits, None, space="engine")
    return Candidates(graph, topology, work, asked)


def check_agree(one, other):
    """Whether there is a plan; fails where two searches that ran to an end disagree."""
    one.run()
    other.run()
    assert other.stopped_by == "proof"
    assert (one.best.plan is None) == (other.best.plan is None)
    if one.best.plan is None:
        assert other.bound == math.inf
        return False
    assert other.bound == pytest.approx(one.bound, rel=1e-6)
    assert other.bound <= one.bound * (1 + 1e-9)
    assert other.best.value == pytest.approx(one.best.value, rel=1e-6)
    assert other.best.plan.chips == one.best.plan.chips
    assert other.models > 0
    return True


@pytest.mark.parametrize("number", mostly_slow(QUESTIONS, but=(0, 1, 3, 4, 5)))
def test_two_solvers_prove_the_same_optimum_of_a_machine_of_gpus(number):
    asked = question(number)
    check_agree(EngineSearch(candidates(*asked)), RowSearch(candidates(*asked)))


@pytest.mark.slow
def test_a_plan_may_draw_less_than_one_of_the_bounds_on_it():
    # CP-SAT looks at a bound on what chips draw that is not the least for the plan it finds.
    check_agree(EngineSearch(candidates(*question(34))), RowSearch(candidates(*question(34))))


@pytest.mark.slow
def test_most_of_the_questions_have_a_plan():
    found = []
    for number in range(some(5, 10)):
        search = RowSearch(candidates(*question(number)), nice=False)
        search.run()
        found.append(search.best.plan is not None)
    assert sum(found) >= 0.7 * len(found)


KNOWN = [
    number
    for number in range(some(16, MACHINES))
    if random_machine(number).software.engine.is_known
]


def small_question(number):
    """Of a machine that is enumerated elsewhere: unlike layers, lost chips, all fields; None where
    the number of drafted tokens is open."""
    case = random_case(random.Random(f"twice {number}"), random_machine(number))
    drafting = case.workload.speculation
    if drafting is not None and drafting.tokens is None:
        return None
    fields = [name for name in FIELDS if is_asked(name, case) and name != "power_w"]
    return case, fields[number % len(fields)]


@pytest.mark.slow
@pytest.mark.parametrize("number", KNOWN)
def test_two_solvers_prove_the_same_optimum_of_a_small_machine(number):
    question = small_question(number)
    if question is None:
        return
    case, field = question
    asked = Question(field, (), space="engine")
    spaces = [Candidates(*case[:3], asked, exclude=case.exclude) for _ in range(2)]
    check_agree(EngineSearch(spaces[0]), RowSearch(spaces[1]))


# ── What `partition` makes of it ─────────────────────────────────────────────────────────────────


GRAPH = "llama-3.2-1b"
WORK = pl.Workload(batch_size=3, prompt_tokens=512, output_tokens=64)


def machine(chips=3):
    topology = pl.load_topology("l4", chips=chips, software="vllm")
    return topology.replace(software=topology.software.replace(most_tensor_parallel=1))


@pytest.mark.parametrize("name", ["solver", "engine"])
def test_partition_can_leave_all_of_it_to_cp_sat(name):
    graph = pl.load_model(GRAPH)
    asked = {"maximize": "memory_headroom_bytes"}
    one = pl.partition(graph, machine(), WORK, **asked)
    other = pl.partition(graph, machine(), WORK, **asked, **{name: "cp-sat"})
    assert len(one.plan.stages) == 3
    assert other.status == "optimal"
    assert other.objective == pytest.approx(one.objective, rel=1e-6)
    assert other.gap <= 1e-6
    assert pl.verify(other.certificate()).confirmed


def test_what_is_too_much_for_every_plan_is_refused_by_both():
    graph = pl.load_model(GRAPH)
    for solver in ("auto", "cp-sat"):
        with pytest.raises(pl.InfeasibleError):
            pl.partition(graph, machine(), WORK, limits={"tpot_s": 1e-6}, solver=solver)


@pytest.mark.slow
def test_more_sequences_than_fit_wait_in_both():
    graph = pl.load_model(GRAPH)
    work = WORK.replace(batch_size=4000, prompt_tokens=8000)
    one, other = (
        pl.partition(graph, machine(2), work, minimize="ttft_s", solver=solver)
        for solver in ("auto", "cp-sat")
    )
    assert one.score.queued == other.score.queued > 0
    assert other.objective == pytest.approx(one.objective, rel=1e-6)


def test_a_clock_that_has_run_out_leaves_a_bound_that_holds():
    space = candidates(*question(2))
    search = RowSearch(space, time_limit_s=0.0)
    search.run()
    assert search.stopped_by == "time"
    assert search.bound == 0.0


@pytest.mark.slow
def test_a_stop_in_the_middle_keeps_the_plan_and_a_bound_that_holds(monkeypatch):
    asked = (*question(0)[:4], {})
    whole = EngineSearch(candidates(*asked))
    whole.run()
    search = RowSearch(candidates(*asked))

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("planner.planning.row_search.Hunt.step", stop)
    search.run()
    assert search.stopped_by == "interrupt"
    assert search.best.plan is not None
    assert 0 < search.bound <= whole.bound * (1 + 1e-9) <= search.best.value * (1 + 1e-8)


def test_a_solver_has_one_name_and_it_is_known():
    graph, topology = tiny_graph(2), tiny_topology(2)
    with pytest.raises(pl.InputError, match="not both"):
        pl.partition(graph, topology, WORK, solver="auto", engine="cp-sat")
    with pytest.raises(pl.InputError, match="cp-sat"):
        pl.partition(graph, topology, WORK, solver="cpsat")
