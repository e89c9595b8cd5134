"""A certificate is confirmed without the solver, and one that says anything false is refused."""

import json
import random
import re

import pytest

import planner as pl
from planner.answers.certificates import Certificate, ClusterCertificate
from planner.answers.question import FIELDS
from planner.machines.cluster import Cluster, Pool, PoolLink
from tests.instances import (
    CONSTANT,
    FOLLOWING,
    SHAPES,
    random_graph,
    random_topology,
    random_workload,
    tiny_graph,
    tiny_topology,
)
from tests.oracle import HIGHER_IS_BETTER

WORK = pl.Workload(batch_size=8, prompt_tokens=64, output_tokens=16)


def certificate(field: str = "tpot_s", **options) -> Certificate:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    machine = tiny_topology(4).replace(power=options.pop("power", CONSTANT))
    return pl.partition(tiny_graph(3), machine, WORK, **{direction: field}, **options).certificate()


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
def test_an_optimum_is_confirmed_by_itself(field):
    given = certificate(field)
    verdict = pl.verify(Certificate.from_json(given.to_json()))
    assert verdict.confirmed
    assert verdict.checked_bound == given.bound
    assert "without the solver" in str(verdict)


@pytest.mark.slow
def test_energy_that_follows_the_work_is_confirmed_and_average_power_rests_on_the_solver():
    assert pl.verify(certificate("energy_per_token_j", power=FOLLOWING)).confirmed
    verdict = pl.verify(certificate("power_w", power=FOLLOWING))
    assert (verdict.confirmed, verdict.checked_bound) == (False, None)
    assert "rests on the solver" in str(verdict)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_without_time_the_bound_is_not_confirmed():
    verdict = pl.verify(certificate(), time_limit_s=0.0)
    assert (verdict.confirmed, verdict.checked_bound) == (False, None)


@pytest.mark.slow
def test_limits_are_part_of_what_is_proved():
    fastest = pl.partition(tiny_graph(3), tiny_topology(4), WORK, minimize="tpot_s").objective
    given = certificate("tokens_per_s", limits={"tpot_s": 1.05 * fastest})
    verdict = pl.verify(given)
    assert verdict.checked_bound == pytest.approx(given.bound, rel=0.02)


@pytest.mark.slow
def test_diffusion_is_checked_by_scoring_every_plan():
    result = pl.partition(
        pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=2), pl.Workload(batch_size=2)
    )
    assert pl.verify(result.certificate()).confirmed


def on_pools(**options) -> ClusterCertificate:
    machine = tiny_topology(2)
    pools = (Pool(name="a", topology=machine), Pool(name="b", topology=machine))
    link = PoolLink(between=("a", "b"), bandwidth_bytes_per_s=1e9, latency_s=1e-5)
    cluster = Cluster(name="pair", pools=pools, links=(link,))
    return pl.partition_cluster(
        tiny_graph(3), cluster, WORK, minimize="tpot_s", **options
    ).certificate()


@pytest.mark.slow
def test_a_plan_on_a_cluster_is_confirmed_from_its_file(tmp_path):
    given = on_pools(limits={"ttft_s": 10.0})
    path = tmp_path / "certificate.json"
    path.write_text(given.to_json(), encoding="utf-8")
    verdict = pl.verify(path)
    assert verdict.confirmed
    assert verdict.checked_bound == given.bound
    assert "on pair (a: 2 x tiny" in verdict.asked
    assert [one.what for one in verdict.likenesses[:2]] == ["model", "cluster"]
    assert not verdict.is_of_the_catalogue


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bound": 1e6}, "Certificate.bound"),
        ({"objective": 1e-9, "bound": 1e-9}, "Certificate.objective"),
        ({"limits": (("ttft_s", 1e-9),)}, "misses its limit"),
    ],
)
def test_a_false_certificate_of_a_cluster_is_refused(changes, said):
    with pytest.raises(pl.InputError, match=said):
        pl.verify(on_pools().replace(**changes))


def test_clusters_are_not_asked_again():
    with pytest.raises(pl.InputError, match="without --again"):
        pl.verify(on_pools(), again=True)
