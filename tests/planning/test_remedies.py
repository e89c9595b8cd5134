"""What would reach a limit: changes that were tried, each a plan."""

import math
import re

import pytest

import planner as pl
from planner.answers.question import Question
from planner.planning.remedies import changes_of, what_reaches, what_serves
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterCandidates
from tests.instances import tiny_graph
from tests.machines.test_cluster import line
from tests.two_layers import GRAPH, REPLICAS_S, WORK, machine


def space_of(graph: pl.ModelGraph, topology: pl.Topology, work: pl.Workload = WORK) -> Candidates:
    return Candidates(graph, topology, work, Question("chips", (), space="engine"))


def said(space: Candidates, name: str, limit: float, others=()) -> str:
    more = what_reaches([space], name, limit, others, math.inf)
    assert more is not None
    return more()


def test_a_second_chip_would_do():
    """Alone both sequences wait 34 s for a token; apart 28."""
    told = said(space_of(GRAPH, machine(1)), "tpot_s", 30.0)
    assert told.startswith("; tpot_s would be 28 s with 2 chips or ")


@pytest.mark.slow
def test_of_chips_the_fewest_that_do_are_told():
    fewest = pl.load_topology("hgx-h100", chips=1)
    graph = pl.load_model("llama-3.1-8b")
    for chips in (2, 4):
        best = pl.partition(graph, fewest.replace(chips=chips), WORK, minimize="tpot_s").objective
        told = said(space_of(graph, fewest), "tpot_s", best * 1.001)
        assert f"with {chips} chips" in told


def test_the_other_limits_hold_for_what_is_tried():
    told = said(space_of(GRAPH, machine(1)), "tpot_s", 30.0, (("power_w", 200.0),))
    assert "2 chips" not in told.partition("would be")[2]


def test_what_does_not_reach_it_is_told_with_the_nearest():
    told = said(space_of(GRAPH, machine(1)), "tpot_s", 1.0)
    assert told.startswith("; the limit is not reached with 2 chips")
    assert "the best tpot_s is" in told


@pytest.mark.slow
def test_every_value_that_is_told_is_reached_by_a_plan():
    graph = pl.load_model("llama-3.1-8b")
    topology = pl.load_topology("hgx-h100", chips=2)
    space = space_of(graph, topology, pl.Workload(batch_size=8))
    best = pl.partition(graph, topology, space.workload, minimize="tpot_s").objective
    told = said(space, "tpot_s", 0.9 * best)
    by_words = {one.words: one for one in changes_of([space])}
    seen = re.findall(
        r"([\d.]+) ms ((?:with|on) .+?)(?:, (?=\d)| or (?=\d)|$)", told.split("would be ")[1]
    )
    assert len(seen) >= 2
    for value, words in seen:
        changed = by_words[words].spaces()[0]
        score = pl.partition(
            changed.graph, changed.topology, changed.workload, minimize="tpot_s",
            space=changed.question.space,
        ).score  # fmt: skip
        assert 1e3 * score.tpot_s == pytest.approx(float(value), rel=0.01)
        assert score.tpot_s <= 0.9 * best


@pytest.mark.slow
def test_weights_in_8_bit_are_tried_of_models_of_the_catalogue_where_the_chip_multiplies_them():
    def kinds(graph: pl.ModelGraph, machine_name: str) -> set[str]:
        topology = pl.load_topology(machine_name, chips=1)
        return {one.kind for one in changes_of([space_of(graph, topology)])}

    plain = pl.load_model("llama-3.1-8b")
    assert "weights" in kinds(plain, "hgx-h100")
    assert "weights" not in kinds(plain, "hgx-a100")
    assert "weights" not in kinds(pl.load_model("llama-3.1-8b", weight_dtype="fp8"), "hgx-h100")
    assert "weights" not in kinds(tiny_graph(2), "hgx-h100")


def test_other_software_is_what_was_measured_on_the_chip():
    topology = pl.load_topology("hgx-h100", chips=1)
    words = {
        one.words
        for one in changes_of([space_of(pl.load_model("llama-3.1-8b"), topology)])
        if one.kind.startswith("software")
    }
    assert {"with vllm", "with sglang"} <= words
    assert "with tensorrt-llm" not in words
    assert not {"with groq-compiler", "with xla", "with llama.cpp"} & words


@pytest.mark.slow
def test_machines_of_the_same_form_with_faster_memory_are_tried():
    graph = pl.load_model("llama-3.1-8b")
    topology = pl.load_topology("hgx-h100", chips=1)
    tried = [one for one in changes_of([space_of(graph, topology)]) if one.kind == "machine"]
    words = [one.words for one in tried]
    assert words.index("on hgx-h200") < words.index("on hgx-b200")
    assert not {"on hgx-a100", "on h100-pcie", "on gb200-nvl72", "on mi300x-8"} & set(words)
    assert {one.spaces()[0].topology.chips for one in tried} == {1}
    best = pl.partition(graph, pl.load_topology("hgx-b200", chips=1), WORK, minimize="tpot_s")
    told = said(space_of(graph, topology), "tpot_s", best.objective * 1.001)
    assert " on hgx-b" in told


def test_a_workload_that_drafts_already_is_not_told_to():
    graph = tiny_graph(2)
    work = pl.Workload(speculation=pl.Speculation(tokens=2))
    assert "drafts" in {one.kind for one in changes_of([space_of(graph, machine(1), WORK)])}
    assert "drafts" not in {one.kind for one in changes_of([space_of(graph, machine(1), work)])}


@pytest.mark.slow
def test_a_rate_that_a_second_chip_serves():
    work = pl.Workload(prompt_tokens=10, output_tokens=2, requests_per_s=0.02)
    assert pl.partition(GRAPH, machine(2), work, minimize="chips").score.chips == 2
    told = what_serves([space_of(GRAPH, machine(1), work)], math.inf)()
    assert told.startswith("; that rate can be served with 2 chips")
    assert "requests/s" not in told


def test_without_time_nothing_is_tried():
    space = space_of(GRAPH, machine(1))
    more = what_reaches([space], "tpot_s", REPLICAS_S, (), -math.inf)
    assert more is not None
    assert more() == ""


def test_of_a_cluster_no_change_is_known():
    space = ClusterCandidates(tiny_graph(2), line("a", "b"), WORK, Question("tpot_s", ()))
    assert what_reaches([space], "tpot_s", 1.0, (), math.inf) is None
    assert list(changes_of([space])) == []
