"""A certificate is confirmed without the solver, and one that says anything false is refused."""

import json
import random
import re

import pytest

import planner as pl
from planner.answers.certificates import Certificate
from planner.answers.question import FIELDS, question_of
from planner.planning.certificates import BoxProof
from planner.solver.chain import exhaustive
from planner.space.candidates import Candidates
from tests.instances import (
    CONSTANT,
    FOLLOWING,
    LISTED,
    SHAPES,
    random_graph,
    random_topology,
    random_workload,
    tiny_graph,
    tiny_topology,
)
from tests.lanes import mostly_slow
from tests.oracle import HIGHER_IS_BETTER
from tests.solver.posed import on_grids, problems

WORK = pl.Workload(batch_size=8, prompt_tokens=64, output_tokens=16)


def test_the_bound_of_a_box_on_a_grid_counts_links_as_they_are():
    near = 0
    for problem in on_grids(16):
        best = exhaustive.solve(problem).objective
        bound = BoxProof(problem, 2 * best).least(200)
        assert bound <= best * (1 + 1e-9)
        near += bound >= 0.99 * best
    assert near > 8


def certificate(field: str = "tpot_s", **options) -> Certificate:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    machine = tiny_topology(4).replace(power=options.pop("power", CONSTANT))
    return pl.partition(tiny_graph(3), machine, WORK, **{direction: field}, **options).certificate()


@pytest.mark.parametrize("field", FIELDS)
def test_an_optimum_is_confirmed_by_itself(field):
    given = certificate(field)
    verdict = pl.verify(Certificate.from_json(given.to_json()))
    assert verdict.confirmed
    assert verdict.checked_bound == given.bound
    assert "without the solver" in str(verdict)


def test_energy_that_follows_the_work_is_confirmed_and_average_power_rests_on_the_solver():
    assert pl.verify(certificate("energy_per_token_j", power=FOLLOWING)).confirmed
    verdict = pl.verify(certificate("power_w", power=FOLLOWING))
    assert (verdict.confirmed, verdict.checked_bound) == (False, None)
    assert "rests on the solver" in str(verdict)


@pytest.mark.parametrize("shape", mostly_slow(LISTED, but=("switch", "dragonfly")))
def test_the_check_never_proves_more_than_the_exhaustive_search_finds(shape):
    for field in ("tpot_s", "usd_per_million_tokens", "ttft_s"):
        for problem in problems(shape, field, 2):
            best = exhaustive.solve(problem).objective
            for claim in (best, 1.5 * best):
                assert BoxProof(problem, claim).least(40) <= best * (1 + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("is_open", [False, True], ids=["fixed", "open"])
def test_random_results_are_confirmed_or_told_as_unconfirmed_but_never_refused(is_open):
    confirmed = total = case = 0
    while total < 12:
        dice, case = random.Random(f"certificate {is_open} {case}"), case + 1
        topology, workload = random_topology(dice, dice.choice(SHAPES)), random_workload(dice)
        if is_open:
            workload = workload.replace(batch_size=None)
            topology = topology.replace(software=topology.software.replace(most_sequences=6))
        field = dice.choice(list(FIELDS))
        try:
            direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
            result = pl.partition(random_graph(dice), topology, workload, **{direction: field})
        except pl.InfeasibleError:
            continue
        verdict, total = pl.verify(result.certificate()), total + 1
        confirmed += verdict.confirmed
        if field == "power_w" and topology.power == FOLLOWING:
            continue
        assert verdict.checked_bound is not None
        assert verdict.checked_bound == pytest.approx(result.bound, rel=0.3)
    assert confirmed >= 8


def changed(given: Certificate, path: str, value: object) -> Certificate:
    fields = json.loads(given.to_json())
    place, *keys = (
        fields,
        *(int(key) if key.isdecimal() else key for key in re.split(r"[.\[\]]+", path) if key),
    )
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value(place[keys[-1]]) if callable(value) else value
    return Certificate.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("bound", lambda bound: 1.1 * bound, "Certificate.bound"),
        ("bound", lambda bound: 0.9 * bound, "Certificate.status"),
        ("objective", lambda objective: 0.9 * objective, "Certificate.objective"),
        ("plan.stages[0].tensor_parallel", 1, "Certificate"),
        ("plan.stages[0].layers", lambda layers: layers[1:], "Certificate.plan breaks a rule"),
        ("plan.stages[0].groups[0].first", 99, "Certificate.plan breaks a rule"),
        (
            "topology.chip.memory[0].bandwidth_bytes_per_s",
            lambda rate: 2 * rate,
            "Certificate.objective",
        ),
        ("topology.software.kernel_overhead_s", 0.0, "Certificate.objective"),
        ("workload.batch_size", 9, "Certificate"),
        ("field", "tpots", "nearest names"),
        ("direction", "maximize", "minimize"),
        ("limits", [["tokens_per_s", 1e9]], "misses its limit"),
    ],
)
def test_a_certificate_that_was_tampered_with_is_refused_in_one_sentence(path, value, said):
    with pytest.raises(pl.InputError, match=said) as caught:
        pl.verify(changed(certificate(), path, value))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_worse_plan_that_is_called_optimal_is_not_confirmed():
    graph, topology = tiny_graph(3), tiny_topology(4)
    result = pl.partition(graph, topology, WORK, minimize="tpot_s")
    worse = pl.uniform_plan(graph, topology, pipeline_parallel=2)
    value = pl.score_plan(worse, graph, topology, WORK).tpot_s
    verdict = pl.verify(result.certificate().replace(plan=worse, objective=value, bound=value))
    assert not verdict.confirmed
    assert verdict.checked_bound <= result.objective * (1 + 1e-6)
    assert "rests on the solver" in str(verdict)


@pytest.mark.slow
def test_a_better_machine_behind_an_unused_chip_is_not_confirmed():
    slow = tiny_topology(4).fabrics[0].replace(bandwidth_bytes_per_s=1e6)
    given = pl.partition(
        tiny_graph(3), tiny_topology(4, slow), WORK, minimize="tpot_s"
    ).certificate()
    faster = given.topology.replace(fabrics=tiny_topology(4).fabrics)
    if pl.score_plan(given.plan, given.graph, faster, WORK).tpot_s == pytest.approx(
        given.objective
    ):
        assert not pl.verify(given.replace(topology=faster)).confirmed
    else:
        with pytest.raises(pl.InputError, match="objective"):
            pl.verify(given.replace(topology=faster))


def test_without_time_the_bound_is_not_confirmed():
    verdict = pl.verify(certificate(), time_limit_s=0.0)
    assert (verdict.confirmed, verdict.checked_bound) == (False, None)


def test_limits_are_part_of_what_is_proved():
    fastest = pl.partition(tiny_graph(3), tiny_topology(4), WORK, minimize="tpot_s").objective
    given = certificate("tokens_per_s", limits={"tpot_s": 1.05 * fastest})
    verdict = pl.verify(given)
    assert verdict.checked_bound == pytest.approx(given.bound, rel=0.02)


def test_diffusion_is_checked_by_scoring_every_plan():
    result = pl.partition(
        pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=2), pl.Workload(batch_size=2)
    )
    assert pl.verify(result.certificate()).confirmed


def test_a_box_without_a_plan_is_proved_empty():
    candidates = Candidates(
        tiny_graph(3), tiny_topology(1), WORK, question_of("tpot_s", None, {"tpot_s": 1e-9}, None)
    )
    problem = candidates.to_problem(next(iter(candidates.boxes())))
    assert problem is not None
    assert BoxProof(problem, 1.0).least(10) == float("inf")
