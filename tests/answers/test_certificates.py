"""Certificates as records: written and read without loss."""

import json

import pytest

import planner as pl
from tests.instances import tiny_graph, tiny_topology


@pytest.fixture(scope="module")
def certificate():
    workload = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=16)
    return pl.partition(tiny_graph(), tiny_topology(), workload).certificate()


def test_a_certificate_comes_back_from_json(certificate):
    assert pl.Certificate.from_json(certificate.to_json()) == certificate


def test_a_field_that_nobody_knows_is_refused_by_name(certificate):
    fields = json.loads(certificate.to_json()) | {"proven": True}
    with pytest.raises(pl.InputError, match=r"Certificate\.proven is not a field"):
        pl.Certificate.from_json(json.dumps(fields))


def test_a_verdict_comes_back_from_json(certificate):
    verdict = pl.verify(certificate)
    assert pl.Verdict.from_json(verdict.to_json()) == verdict
