"""Tests of the mirror of a rank: split models say what the whole one says."""

import pytest

from planner.running.comparing import tokens_of
from planner.running.jobs import job_of
from planner.running.launching import Ranks
from planner.running.rank import stage_of
from tests.running.models import FAMILIES, config_of, cut_plan, tiny_graph, unsplit

WAYS = {
    "uneven stages": ((1, 3), 1, 1, 3),
    "copied key heads": ((4,), 4, 1, 1),
    "both": ((3, 1), 2, 2, 2),
    "copies": ((2, 2), 1, 1, 2, 2),
}


@pytest.fixture(scope="module")
def ranks():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    with Ranks() as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_split_model_makes_the_tokens_of_the_whole_one(tmp_path, ranks, family, way):
    torch = pytest.importorskip("torch")
    cuts, tensor, expert, micro_batches, *replicas = WAYS[way]
    config = config_of(family)
    expert = expert if "mo" in family or family == "mixtral" else 1
    job = job_of(
        cut_plan(cuts, tensor, expert, micro_batches, *replicas),
        tiny_graph(tmp_path, config),
        config,
        batch_size=6,
        prompt_tokens=9,
        output_tokens=5,
        prompt_passes=2,
        keeps_logits=True,
        seed=7,
    )
    reports = ranks.run(job)
    tokens, logits = unsplit(job)
    assert len({token for row in tokens for token in row}) > 5  # no model that repeats itself
    assert tokens_of(reports) == tokens
    made = {report.replica: torch.tensor(report.logits) for report in reports if report.logits}
    assert (torch.cat([made[replica] for replica in sorted(made)]) - logits).abs().max() < 1e-4


@pytest.mark.slow
def test_a_rank_counts_what_it_takes_in(tmp_path, ranks):
    config = config_of()
    graph = tiny_graph(tmp_path, config)
    asked = {"batch_size": 6, "prompt_tokens": 9, "output_tokens": 5}
    # A stream of 64 values of four bytes for each of 54 prompt tokens, then for each of 24 later ones.
    piped = ranks.run(job_of(cut_plan((2, 2)), graph, config, **asked))
    assert [report.prefill.moved_bytes for report in piped] == [0, 54 * 256]
    assert [report.decode.moved_bytes for report in piped] == [0, 24 * 256]
    assert piped[0].prefill.token_bytes == 6 * 8
    assert piped[0].decode.token_bytes == 3 * 6 * 8  # nobody waits for the last ones
    # The same after the embedding and twice in each layer; then half of the logits of each.
    (one, other) = ranks.run(job_of(cut_plan((4,), tensor=2), graph, config, **asked))
    assert one.decode.moved_bytes == 24 * (9 * 256 + 64 * 4)
    assert other.decode.moved_bytes == one.decode.moved_bytes
    assert one.cache_bytes == 4 * 2 * 6 * 14 * 1 * 8 * 4  # one of two heads


def test_ranks_stand_in_the_order_of_stages(tmp_path):
    config = config_of()
    job = job_of(
        cut_plan((1, 3), tensor=2),
        tiny_graph(tmp_path, config),
        config,
        batch_size=1,
        prompt_tokens=1,
        output_tokens=1,
    )
    assert [stage_of(job, rank) for rank in range(4)] == [0, 0, 1, 1]
