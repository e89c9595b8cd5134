"""A proof of a greatest rate confirms what is true, and nothing else."""

import pytest

import planner as pl
from tests.planning.test_promise_search import small_stream


@pytest.fixture(scope="module")
def certificate():
    """Of a limit that is kept up to half of what can be served."""
    case = small_stream()
    most = pl.partition(*case[:3], maximize="tokens_per_s", limits={"ttft_p99_s": 10.0})
    half = pl.score_plan(most.plan.replace(requests_per_s=most.plan.requests_per_s / 2), *case[:3])
    limits = {"ttft_p99_s": half.ttft_p99_s, "tpot_p90_s": half.tpot_p90_s}
    result = pl.partition(*case[:3], maximize="tokens_per_s", limits=limits)
    assert result.status == "optimal"
    assert result.objective < 0.9 * most.objective
    return result.certificate()


def test_the_greatest_rate_is_confirmed(certificate):
    assert pl.verify(certificate).confirmed


def test_no_other_rate_is(certificate):
    lower = certificate.replace(
        plan=certificate.plan.replace(requests_per_s=0.99 * certificate.plan.requests_per_s),
        objective=0.99 * certificate.objective,
        bound=0.99 * certificate.bound,
    )
    assert not pl.verify(lower).confirmed


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_a_figure_that_is_not_the_plans_is_refused(certificate, share):
    forged = certificate.replace(
        objective=share * certificate.objective, bound=share * certificate.bound
    )
    with pytest.raises(pl.InputError, match="objective"):
        pl.verify(forged)


def test_fewer_limits_are_not_proved_by_the_same_plan(certificate):
    one = certificate.replace(limits=())
    assert not pl.verify(one).confirmed
