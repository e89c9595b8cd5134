"""A certificate is proved once more by a second solver, which is told the question alone."""

import pytest

import planner as pl
from tests.planning.test_row_search import GRAPH, WORK, machine


@pytest.fixture(scope="module")
def certificate():
    graph = pl.load_model(GRAPH)
    return pl.partition(graph, machine(), WORK, minimize="tpot_s").certificate()


def test_a_result_is_proved_twice_and_says_both_bounds(certificate):
    verdict = pl.verify(certificate, again=True)
    assert (verdict.confirmed, verdict.again_confirmed) == (True, True)
    assert verdict.again_bound == pytest.approx(certificate.bound, rel=1e-6)
    assert verdict.again_rows > 0
    assert "proved twice" in str(verdict)


def test_nothing_is_proved_again_unasked(certificate):
    verdict = pl.verify(certificate)
    assert (verdict.again_bound, verdict.again_confirmed, verdict.again_rows) == (None, False, 0)
    assert "twice" not in str(verdict)


def test_a_bound_that_a_better_plan_beats_is_refused(certificate):
    worse = pl.partition(certificate.graph, certificate.topology, WORK, minimize="chips")
    score = pl.score_plan(worse.plan, certificate.graph, certificate.topology, WORK)
    assert score.tpot_s > 1.01 * certificate.objective
    false = certificate.replace(plan=worse.plan, objective=score.tpot_s, bound=score.tpot_s)
    with pytest.raises(pl.InputError, match="found a plan that is better"):
        pl.verify(false, again=True)


def test_what_cannot_be_stated_is_said_in_one_sentence(certificate):
    free = pl.partition(
        certificate.graph, certificate.topology, WORK, minimize="tpot_s", space="any"
    ).certificate()
    with pytest.raises(pl.InputError, match=r"Certificate\.space is .any.*without --again"):
        pl.verify(free, again=True)


@pytest.mark.slow
def test_more_than_fit_is_proved_again_to_be_the_most(certificate):
    work = WORK.replace(batch_size=4000, prompt_tokens=8000)
    found = pl.partition(certificate.graph, machine(2), work, minimize="ttft_s")
    assert found.score.queued > 0
    verdict = pl.verify(found.certificate(), again=True)
    assert verdict.again_confirmed
    assert verdict.again_bound == pytest.approx(found.bound, rel=1e-6)
