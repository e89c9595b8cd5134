"""A certificate of the engine's space is confirmed where it is true, and a claim that is better than
the truth never is, as an oracle knows it that shares no code with the search or with the check."""

import itertools
import json

import numpy as np
import pytest

import planner as pl
from planner.answers.certificates import Certificate
from planner.answers.question import question_of
from planner.answers.results import Result
from planner.planning.engine_proof import EngineProof, Loads
from planner.space.candidates import Candidates
from tests.engine_oracle import Case, Priced, best_of, faults
from tests.engine_questions import MACHINES, SCENARIOS, Asked, questions
from tests.instances import (
    FOLLOWING,
    fabric,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)
from tests.lanes import EVERYTHING, mostly_slow
from tests.oracle import HIGHER_IS_BETTER, kept
from tests.planning.test_engine_search import tensor_machine

OPEN = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
GIVEN = OPEN.replace(batch_size=6)
FEW = (2, 4, 6, 7, 9, 12, 13, 20)
"""Machines of the usual suite, with each kind of rules."""
CLOSE = 1e-6
"""Relative: what the check calls one."""
FAR = 0.01
"""How much better than the truth a false claim is."""


def machine(chips: int = 4, *, memory: float = 1e9, **software) -> pl.Topology:
    """Chips on one switch, under an engine that keeps as many micro-batches as stages."""
    stack = tiny_software(**{"engine": tiny_engine(), "most_sequences": 12, **software})
    return tiny_topology(chips, fabric("switch", 8), software=stack, chip=tiny_chip(memory))


def result_of(field: str, graph=None, topology=None, work=GIVEN, limits=None) -> Result:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    graph = graph or tiny_graph(4)
    return pl.partition(graph, topology or machine(), work, limits=limits, **{direction: field})


# ── Against the oracle ───────────────────────────────────────────────────────────────────────────


def all_asked(machine_number: int, scenario: int) -> list[Asked]:
    """Questions that a certificate can state, to an engine with rules."""
    return [
        asked
        for asked in questions(machine_number, scenario)
        if asked.space == "engine"
        and asked.case.topology.software.engine.is_known
        and not asked.case.exclude
    ]


def answered(asked: Asked) -> Result | None:
    direction = "maximize" if asked.field in HIGHER_IS_BETTER else "minimize"
    try:
        return pl.partition(*asked.case[:3], limits=asked.limits, **{direction: asked.field})
    except pl.InfeasibleError:
        return None


def is_average(asked: Asked) -> bool:
    """Whether it is about average power, which rests on the solver."""
    follows = asked.case.topology.power == FOLLOWING
    return follows and "power_w" in (asked.field, *asked.limits)


def worse_by(field: str, value: float, share: float) -> float:
    """A value of a field that is worse by a share of it."""
    return value * (1 - share) if field in HIGHER_IS_BETTER else value * (1 + share)


def no_better(field: str, one: float, other: float) -> bool:
    """Whether a value is no better than another, but for the last digits."""
    sign = -1 if field in HIGHER_IS_BETTER else 1
    return sign * (one - other) >= -CLOSE * abs(other)


def cases() -> list[object]:
    """A machine with each kind of rules; `make oracle` has all scenarios on all machines."""
    every = itertools.product(range(MACHINES), range(SCENARIOS))
    few = [(number, number % SCENARIOS) for number in FEW]
    return mostly_slow(every if EVERYTHING else few, but=tuple(few[:2]))


@pytest.mark.slow
@pytest.mark.parametrize("numbers", cases(), ids=str)
def test_what_the_oracle_finds_best_is_confirmed_and_nothing_better_is(numbers):
    for asked in all_asked(*numbers):
        result = answered(asked)
        if result is None:
            continue
        given = Certificate.from_json(result.certificate().to_json())
        verdict = pl.verify(given, time_limit_s=None)
        assert verdict.space == "engine"
        assert (verdict.confirmed, verdict.checked_bound is None) == (
            (False, True) if is_average(asked) else (True, False)
        )
        plans = [one for one in asked.plans if one.workload == result.workload]
        best = best_of(asked.case, plans, "engine", asked.field, asked.limits)
        assert best is not None
        claims_are_never_confirmed(asked, given, plans, float(getattr(best.score, asked.field)))


def claims_are_never_confirmed(
    asked: Asked, given: Certificate, plans: list[Priced], best: float
) -> None:
    """Neither that a worse plan is the best, nor that the best is worse than it is."""
    field = asked.field
    bound = worse_by(field, best, FAR)
    worse = next((one for one in plans if is_worse(one, asked, bound)), None)
    if worse is None:
        return
    objective = float(getattr(worse.score, field))
    forged = given.replace(plan=worse.plan, objective=objective)
    for claim in (
        forged.replace(bound=bound, status="feasible"),
        forged.replace(bound=objective, status="optimal"),
    ):
        verdict = pl.verify(claim, time_limit_s=None)
        assert not verdict.confirmed
        if verdict.checked_bound is not None:
            assert no_better(field, best, verdict.checked_bound)


def is_worse(one: Priced, asked: Asked, bound: float) -> bool:
    """Whether a plan of the engine keeps the limits and is no better than a bound."""
    value = float(getattr(one.score, asked.field))
    return (
        kept(one.score, asked.limits)
        and no_better(asked.field, value, bound)
        and not faults(asked.case, one, "engine")
    )


# ── Each kind of question ────────────────────────────────────────────────────────────────────────


HALF = 0.5 * tiny_graph(4).weight_bytes
"""Memory that a layer alone does not fill, and the model does."""
RATE = OPEN.replace(requests_per_s=20.0)
QUESTIONS = {
    "fewest chips at a rate": ("chips", tiny_graph(4), machine(6, memory=HALF), RATE, {}),
    "dollars at a rate": (
        "usd_per_million_tokens",
        tiny_graph(4),
        machine(6, memory=HALF),
        RATE,
        {},
    ),
    "dollars an hour at a rate": ("usd_per_hour", tiny_graph(4), machine(6, memory=HALF), RATE, {}),
    "tokens of each chip at a rate": (
        "tokens_per_s_per_chip",
        tiny_graph(4),
        machine(6, memory=HALF),
        RATE,
        {},
    ),
    "requests": ("requests_per_s", tiny_graph(4), machine(), OPEN, {"usd_per_hour": 2.0}),
    "tokens of each chip": (
        "tokens_per_s_per_chip",
        tiny_graph(4),
        machine(memory=HALF),
        OPEN,
        {"requests_per_s": 100.0},
    ),
    "a wait at a rate": ("ttft_s", tiny_graph(4), machine(6), RATE, {"tpot_s": 1e-3}),
    "limits": ("tokens_per_s", tiny_graph(4), machine(), OPEN, {"tpot_s": 6e-4}),
    "experts": ("tpot_s", tiny_moe(3), machine(), GIVEN, {}),
    "a pipeline": ("tokens_per_s", tiny_graph(4), machine(memory=HALF), OPEN, {}),
    "a pipeline of few stages": (
        "usd_per_million_tokens",
        tiny_graph(4),
        machine(memory=HALF, engine=tiny_engine(micro_batches="stages + 1", most_stages=2)),
        OPEN,
        {},
    ),
    "prefill": ("ttft_s", tiny_graph(4), machine(memory=HALF), OPEN.replace(phase="prefill"), {}),
    "decode": ("tpot_s", tiny_graph(4), machine(memory=HALF), OPEN.replace(phase="decode"), {}),
    "a given batch": ("request_s", tiny_graph(4), machine(memory=HALF), GIVEN, {}),
    "a static batch": (
        "ttft_s",
        tiny_graph(4),
        machine(memory=HALF),
        GIVEN.replace(arrivals="together"),
        {},
    ),
    "drafts": (
        "tpot_s",
        tiny_graph(4),
        machine(),
        GIVEN.replace(speculation=pl.Speculation(tokens=2, acceptance_rate=0.6)),
        {},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_kind_of_optimum_is_confirmed(name):
    result = result_of(*QUESTIONS[name])
    assert (result.status, result.space) == ("optimal", "engine")
    verdict = pl.verify(Certificate.from_json(result.certificate().to_json()), time_limit_s=None)
    assert verdict.confirmed
    assert verdict.checked_bound == result.bound


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_of_every_kind_a_claim_beyond_the_optimum_is_not_shown(name):
    field, graph, topology, work, limits = QUESTIONS[name]
    result = result_of(field, graph, topology, work, limits)
    question = question_of(
        **{"minimize": None, "maximize": None, result.direction: field},
        limits=limits,
        power_scope=None,
        space="engine",
    )
    candidates = Candidates(graph, topology, work, question)
    claim = candidates.canonical(field, worse_by(field, result.bound, FAR))
    reached = EngineProof(candidates, claim).least(float("inf"))
    assert 0 < reached <= candidates.canonical(field, result.objective) * (1 + CLOSE) < claim


def test_of_chips_held_in_part_no_claim_of_half_as_much_again_is_shown():
    """A replica may take less than its whole chips, so that more of them than these would be worth
    no more than the claim."""
    graph = tiny_graph(3, vocabulary=8192)
    divisible = machine(memory=4 * graph.weight_bytes, most_sequences=6).replace(divisible=True)
    work = RATE.replace(prompt_tokens=8000, requests_per_s=100.0)
    result = result_of("usd_per_hour", graph, divisible, work)
    question = question_of("usd_per_hour", None, None, None, space="engine")
    candidates = Candidates(graph, divisible, work, question)
    reached = EngineProof(candidates, 1.5 * result.bound).least(float("inf"))
    assert 0 < reached <= result.objective * (1 + CLOSE)


def test_a_plan_that_was_taken_for_its_fewer_chips_is_confirmed():
    graph, topology, work = tensor_machine(5e-4)
    result = pl.partition(graph, topology, work, minimize="tpot_s")
    assert (result.status, result.score.chips) == ("optimal", 1)
    assert 0 < result.gap < 1e-3
    verdict = pl.verify(Certificate.from_json(result.certificate().to_json()))
    assert verdict.confirmed
    assert verdict.checked_bound == result.bound < result.objective


def test_that_nothing_is_better_than_the_plan_with_fewer_chips_is_not_confirmed():
    graph, topology, work = tensor_machine(5e-4)
    result = pl.partition(graph, topology, work, minimize="tpot_s")
    verdict = pl.verify(result.certificate().replace(bound=result.objective))
    assert not verdict.confirmed
    assert verdict.checked_bound == pytest.approx(result.bound, rel=1e-6)


def test_without_time_the_bound_is_not_confirmed():
    result = result_of(*QUESTIONS["a pipeline"])
    verdict = pl.verify(result.certificate(), time_limit_s=0.0)
    assert not verdict.confirmed
    assert verdict.checked_bound is None or verdict.checked_bound > result.bound


# ── What is refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("share", [-1e-4, 1e-4, 0.1])
@pytest.mark.parametrize("field", ["tpot_s", "tokens_per_s"])
def test_a_bound_that_is_not_that_of_its_plan_is_refused_or_not_confirmed(field, share):
    given = result_of(field).certificate()
    forged = given.replace(bound=worse_by(field, given.bound, share))
    if share > 0:
        with pytest.raises(pl.InputError, match="and its own plan is better"):
            pl.verify(forged)
        return
    # A bound that is too good promises too little: it holds, and leaves a gap.
    assert pl.verify(forged).confirmed


@pytest.mark.parametrize("share", [2e-3, 0.1])
def test_an_optimum_is_within_what_counts_as_good(share):
    given = result_of("tpot_s").certificate()
    with pytest.raises(pl.InputError, match="status is optimal"):
        pl.verify(given.replace(bound=given.bound * (1 - share)))


def bare(plan: pl.Plan) -> pl.Plan:
    """The embedding on a stage of its own, and all else on the next chip."""
    first = plan.stages[0].replace(
        layers=plan.stages[0].layers[:1], groups=({"first": 0, "count": 1},)
    )
    rest = first.replace(layers=plan.stages[0].layers[1:], groups=({"first": 1, "count": 1},))
    return plan.replace(stages=(first, rest), micro_batches=2)


def halves(plan: pl.Plan, graph: pl.ModelGraph) -> pl.Plan:
    """Two stages in fewer micro-batches than the engine keeps."""
    layers = graph.names
    first = plan.stages[0].replace(layers=layers[:3], groups=({"first": 0, "count": 1},))
    last = first.replace(layers=layers[3:], groups=({"first": 1, "count": 1},))
    return plan.replace(stages=(first, last), micro_batches=1)


@pytest.mark.slow
@pytest.mark.parametrize("forge", ["bare", "halves"])
def test_a_plan_that_no_engine_can_be_started_with_is_refused_in_one_sentence(forge):
    graph = tiny_graph(4)
    given = result_of("tpot_s", graph, machine(1), GIVEN).certificate()
    wider = machine(2)
    plan = bare(given.plan) if forge == "bare" else halves(given.plan, graph)
    score = pl.score_plan(plan, graph, wider, GIVEN)
    forged = given.replace(
        topology=wider, plan=plan, objective=score.tpot_s, bound=score.tpot_s, status="optimal"
    )
    said = "has no decoder layer" if forge == "bare" else "keeps 2 micro-batches"
    with pytest.raises(pl.InputError, match=f"Certificate.plan breaks a rule: .*{said}") as caught:
        pl.verify(forged)
    assert "\n" not in str(caught.value)
    free = pl.verify(forged.replace(space="any", bound=score.tpot_s / 2, status="feasible"))
    assert free.space == "any"


def test_a_certificate_from_before_spaces_were_said_is_of_any_plans():
    given = result_of("tpot_s").certificate()
    fields = json.loads(given.to_json())
    del fields["space"]
    old = Certificate.from_json(json.dumps(fields))
    assert (given.space, old.space) == ("engine", "any")
    assert pl.verify(old).space == "any"


# ── Where layers are cut ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(12))
def test_the_least_loads_are_those_of_all_cuts(seed):
    dice = np.random.default_rng(seed)
    items, stages, peaks = 6, 1 + seed % 4, 2
    runs = dice.integers(1, 9, (peaks, items + 1, items + 1)).astype(float)
    runs[:, np.tri(items + 1, dtype=bool)] = np.inf
    runs[dice.random(runs.shape) < 0.1] = np.inf
    links = tuple(dice.integers(0, 5, (peaks, items + 1)).astype(float) for _ in range(stages - 1))
    tops = np.array([np.inf, float(dice.integers(4, 12))])
    allowed = [
        loads for loads in (loads_of(cut, runs, links) for cut in cuts(items, stages))
        if (loads <= tops).all()
    ]  # fmt: skip
    found = Loads(runs, links).least(tops)
    if not allowed or not np.isfinite(np.min(allowed, axis=0)).all():
        assert np.isinf(found).all()
        return
    assert found.tolist() == np.min(allowed, axis=0).tolist()


def cuts(items: int, stages: int) -> list[tuple[int, ...]]:
    inner = itertools.combinations(range(1, items), stages - 1)
    return [(0, *one, items) for one in inner]


def loads_of(cut: tuple[int, ...], runs: np.ndarray, links: tuple[np.ndarray, ...]) -> np.ndarray:
    """The largest loads of a cut, of its stages and of the links between them."""
    own = [runs[:, tail, head] for tail, head in itertools.pairwise(cut)]
    between = [link[:, at] for link, at in zip(links, cut[1:-1], strict=True)]
    return np.max([*own, *between], axis=0)


def test_the_proof_of_an_impossible_question_shows_that_there_is_no_plan():
    case = Case(tiny_graph(4), machine(), GIVEN)
    question = question_of("tpot_s", None, {"ttft_s": 1e-9}, None, space="engine")
    proof = EngineProof(Candidates(*case[:3], question), 1.0)
    assert proof.least(float("inf")) == 1.0
