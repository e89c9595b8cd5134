"""Diffusion certificates are checked by an enumeration that shares little with the search."""

import math

import pytest

import planner as pl
from planner.planning.sampling_proof import best_sample_value


def answer(**asked: object) -> pl.Result:
    workload = pl.Workload(batch_size=asked.pop("batch_size", 2))
    return pl.partition(
        pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=2), workload, **asked
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        {"minimize": "image_s"},
        {"maximize": "samples_per_s", "batch_size": None},
        {"minimize": "energy_per_sample_j", "limits": {"image_s": 6.0}, "batch_size": None},
    ],
)
def test_the_enumeration_finds_what_the_search_finds(asked: dict[str, object]) -> None:
    certificate = answer(**asked).certificate()
    found = best_sample_value(certificate, math.inf)
    assert found == pytest.approx(certificate.bound, rel=1e-9)


@pytest.mark.slow
def test_without_time_it_says_nothing() -> None:
    certificate = answer(minimize="image_s").certificate()
    assert best_sample_value(certificate, 0.0) is None  # the clock began to count at 0
    verdict = pl.verify(certificate, time_limit_s=0)
    assert (verdict.confirmed, verdict.is_late) == (False, True)


@pytest.mark.slow
def test_a_bound_that_is_too_good_is_not_confirmed() -> None:
    result = answer(minimize="image_s")
    slower = pl.uniform_plan(result.graph, result.topology, data_parallel=1)
    score = pl.score_plan(slower, result.graph, result.topology, result.workload)
    forged = result.certificate().replace(
        plan=slower, objective=score.image_s, bound=score.image_s, status="optimal"
    )
    assert score.image_s > result.objective
    verdict = pl.verify(forged)
    assert (verdict.confirmed, verdict.checked_bound) == (False, result.objective)
