"""Tests of the mirror of jobs: how plans are cut into ranks, and what is refused."""

import pytest

from planner.errors import InputError
from planner.running.jobs import Sequences, cut, job_of
from tests.running.models import config_of, cut_plan, tiny_graph

ASKED = {"batch_size": 6, "prompt_tokens": 9, "output_tokens": 5}


def test_a_batch_is_cut_with_the_larger_parts_first():
    assert cut(7, 3) == [Sequences(0, 3), Sequences(3, 5), Sequences(5, 7)]
    assert [part.total for part in cut(2, 5)] == [1, 1]


def test_stages_become_ranks_one_after_the_other(tmp_path):
    config = config_of("mixtral")
    graph = tiny_graph(tmp_path, config)
    job = job_of(cut_plan((1, 3), tensor=2, expert=2, micro_batches=9), graph, config, **ASKED)
    first, last = job.stages
    assert (first.first_rank, first.ranks, first.embeds, first.makes_tokens) == (0, 2, True, False)
    assert (last.first_rank, last.first_decoder, last.decoders) == (2, 1, 3)
    assert last.makes_tokens
    assert last.expert_ways == 2
    assert job.ranks == 4
    assert job.micro_batches == 6  # no more than sequences


@pytest.mark.parametrize(
    ("changed", "tensor", "words"),
    [
        ({"model_type": "deepseek_v3"}, 1, "slices llama"),
        ({"sliding_window": 8, "model_type": "mistral"}, 1, "sliding_window"),
        ({"num_key_value_heads": 8, "num_attention_heads": 8}, 3, "num_key_value_heads"),
        ({"intermediate_size": 95}, 2, "intermediate_size: 95 does not divide"),
        ({"vocab_size": 127}, 2, "vocab_size"),
    ],
)
def test_what_cannot_be_sliced_is_named(tmp_path, changed, tensor, words):
    config = config_of()
    graph = tiny_graph(tmp_path, config)
    with pytest.raises(InputError, match=words):
        job_of(cut_plan((4,), tensor=tensor), graph, config | changed, **ASKED)


def test_experts_must_divide_over_ranks(tmp_path):
    config = config_of("mixtral", num_local_experts=3)
    graph = tiny_graph(tmp_path, config)
    with pytest.raises(InputError, match="3 experts cannot be shared out over 2"):
        job_of(cut_plan((4,), tensor=2, expert=2), graph, config, **ASKED)


def test_copies_share_the_batch_and_no_sequence_is_shared(tmp_path):
    config = config_of()
    graph = tiny_graph(tmp_path, config)
    plan = cut_plan((4,), tensor=2)
    stage = plan.stages[0]
    twice = stage.replace(groups=(*stage.groups, stage.groups[0].replace(first=2)))
    job = job_of(plan.replace(stages=(twice,)), graph, config, **ASKED)
    assert (job.replicas, job.replica_ranks, job.ranks, job.sequences) == (2, 2, 4, 3)
    with pytest.raises(InputError, match="5 sequences do not divide into 2 replicas"):
        job_of(plan.replace(stages=(twice,)), graph, config, **ASKED | {"batch_size": 5})
    shared = stage.replace(tensor_parallel=1, sequence_parallel=2)
    with pytest.raises(InputError, match=r"Stage\.sequence_parallel"):
        job_of(plan.replace(stages=(shared,)), graph, config, **ASKED)
    strange = stage.replace(layers=("decoder.9",))
    with pytest.raises(InputError, match=r"'decoder\.9' is not a layer"):
        job_of(plan.replace(stages=(strange,)), graph, config, **ASKED)


def test_stages_of_unlike_degrees_are_refused(tmp_path):
    config = config_of()
    plan = cut_plan((2, 2))
    first, last = plan.stages
    wide = last.replace(groups=(last.groups[0].replace(count=2),), tensor_parallel=2)
    with pytest.raises(InputError, match="the same degree, not 1 and 2"):
        job_of(plan.replace(stages=(first, wide)), tiny_graph(tmp_path, config), config, **ASKED)
