"""Results as records: one answer for every verb, read back as written, of today and of before."""

import json

import pytest

import planner as pl
from planner.answers.proof import Answer, Ended, Proof
from tests.clock import ticking
from tests.instances import tiny_graph, tiny_topology

WORKLOAD = pl.Workload(batch_size=4, prompt_tokens=64, output_tokens=16)


@pytest.fixture(scope="module")
def result():
    return pl.partition(tiny_graph(), tiny_topology(), WORKLOAD)


@pytest.mark.parametrize(
    "kind", [pl.Result, pl.ClusterResult, pl.Disaggregation, pl.Pairing, pl.Fleet]
)
def test_every_verb_answers_with_what_was_asked_found_and_proved(kind):
    assert issubclass(kind, Answer)


def test_a_spread_has_a_proof_and_a_front_an_end():
    assert issubclass(pl.Spread, Proof)
    assert issubclass(pl.Front, Ended)


def test_a_result_survives_json(result):
    assert pl.Result.from_json(result.to_json()) == result


def test_a_proved_result_says_that_the_proof_ended_the_search(result):
    assert result.status == "optimal"
    assert result.stopped_by == "proof"


def test_a_result_written_before_that_was_said_is_read(result):
    fields = json.loads(result.to_json())
    del fields["stopped_by"]
    assert pl.Result.from_json(json.dumps(fields)).stopped_by is None


def test_a_score_written_before_requests_and_dollars_an_hour_were_said_is_read(result):
    fields = json.loads(result.to_json())
    for name in ("requests_per_s", "tokens_per_s_per_chip", "usd_per_hour"):
        assert fields["score"].pop(name) is not None
    read = pl.Result.from_json(json.dumps(fields))
    assert (read.score.requests_per_s, read.score.usd_per_hour) == (None, None)


@pytest.mark.slow
def test_a_search_without_time_says_that_the_clock_ended_it():
    graph, topology = pl.load_model("llama-3.1-70b"), pl.load_topology("hgx-h100")
    workload = pl.Workload(batch_size=None, prompt_tokens=1024, output_tokens=256)
    with ticking(0.02):
        found = pl.partition(
            graph, topology, workload, maximize="tokens_per_s", time_limit_s=10, space="any"
        )
    assert (found.status, found.stopped_by) == ("feasible", "time")


def test_the_certificate_of_a_result_holds_what_the_result_holds(result):
    certificate = result.certificate()
    assert (certificate.plan, certificate.objective, certificate.bound) == (
        result.plan,
        result.objective,
        result.bound,
    )


def test_the_question_of_a_result_is_the_one_that_was_asked(result):
    assert result.question.objective == "tpot_s"
    assert result.question.direction == result.direction == "minimize"
