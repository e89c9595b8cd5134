"""Steps and samples: what they cost, and what never makes them cheaper."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.pricing.denoising import sampling_of, whole_samples
from planner.pricing.holdings import split_of
from planner.pricing.price_list import PriceList
from planner.pricing.schedule import scheduled
from tests.instances import tiny_topology

WORK = pl.Workload(batch_size=1, prompt_tokens=1, output_tokens=1, arrivals="together")
MACHINE = pl.load_topology("hgx-h100")


def score_of(name, *, batch=1, chips=1, sequence=1, data=1, **options):
    graph, topology = pl.load_model(name, **options), pl.load_topology("hgx-h100", chips=chips)
    plan = pl.uniform_plan(graph, topology, sequence_parallel=sequence, data_parallel=data)
    return pl.score_plan(plan, graph, topology, WORK.replace(batch_size=batch))


@pytest.mark.parametrize("name", ["sdxl", "flux-1", "cogvideox-2b"])
def test_more_steps_cost_in_proportion(name):
    ten, twenty = score_of(name, steps=10), score_of(name, steps=20)
    assert twenty.step_s == pytest.approx(ten.step_s)
    assert twenty.image_s - ten.image_s == pytest.approx(10 * ten.step_s)


@settings(max_examples=20)
@given(
    st.sampled_from(["sdxl", "flux-1", "sana-1.6b", "pixart-sigma"]), st.integers(256, 1500), st.integers(256, 1500),
    st.integers(0, 500),
)  # fmt: skip
def test_larger_pictures_never_cost_less(name, height, width, more):
    small, large = (
        score_of(name, height=height, width=width),
        score_of(name, height=height + more, width=width),
    )
    assert large.step_s >= small.step_s
    assert large.image_s >= small.image_s


@pytest.mark.parametrize("ways", [2, 4, 8])
def test_sequence_parallel_divides_the_work_of_a_step(ways):
    whole, split = score_of("wan-2.1-1.3b"), score_of("wan-2.1-1.3b", chips=8, sequence=ways)
    assert split.stages[0].decode_flop == pytest.approx(
        whole.stages[0].decode_flop / ways, rel=1e-3
    )
    assert sum(stage.collective_s for stage in split.breakdown) > 0
    assert whole.step_s / ways < split.step_s < whole.step_s


def test_guidance_doubles_the_work_of_a_step():
    graph, topology = pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=1)
    plan = pl.uniform_plan(graph, topology)
    twice = pl.score_plan(plan, graph, topology, WORK)
    once = pl.score_plan(plan, graph.replace(passes_per_step=1), topology, WORK)
    assert twice.stages[0].decode_flop == pytest.approx(2 * once.stages[0].decode_flop)


@pytest.mark.parametrize("name", ["sdxl", "flux-1", "dit-xl-2", "cogvideox-2b"])
def test_breakdowns_sum_to_a_step_and_to_a_batch(name):
    score = score_of(name, batch=2)
    assert sum(stage.total_s for stage in score.breakdown) == pytest.approx(score.step_s)
    assert sum(stage.total_s for stage in score.prefill_breakdown) == pytest.approx(score.image_s)


def test_energy_is_power_held_until_the_batch_is_ready():
    score = score_of("sdxl", batch=4, chips=2, data=2)
    assert score.energy_per_sample_j == pytest.approx(score.power_w * score.image_s / 4)
    assert score.samples_per_s == pytest.approx(4 / score.image_s)


def test_replicas_share_out_the_batch():
    one, two = score_of("sdxl", batch=2), score_of("sdxl", batch=4, chips=2, data=2)
    assert two.image_s == pytest.approx(one.image_s)
    assert two.samples_per_s == pytest.approx(2 * one.samples_per_s)


def test_a_diffusion_transformer_is_bound_by_arithmetic_and_its_fields_agree():
    score = score_of("flux-1")
    assert score.breakdown[0].compute_s > 0.8 * score.step_s
    assert score.ttft_s == score.tpot_s == score.request_s == score.image_s
    assert score.tokens_per_s == score.samples_per_s
    assert 0 < score.mfu_fraction < 1


def test_a_language_model_has_no_samples():
    graph, topology = pl.load_model("llama-3.1-8b"), pl.load_topology("hgx-h100", chips=1)
    score = pl.score_plan(pl.uniform_plan(graph, topology), graph, topology, WORK)
    assert (score.step_s, score.image_s, score.samples_per_s, score.energy_per_sample_j) == (
        None,
    ) * 4


def test_what_runs_once_is_priced_once_for_each_sample():
    graph, topology = pl.load_model("sdxl"), tiny_topology(1)
    prices, plan = PriceList(graph, topology), pl.uniform_plan(graph, topology)
    at = scheduled(WORK, topology.software, batch_size=3, replicas=1, micro_batches=1, graph=graph)
    sampling = sampling_of(prices, plan, at)
    assert whole_samples(graph, 3).tokens == 3 * graph.tokens_per_sample == at.prefill.tokens / 2
    assert sampling.image_s == pytest.approx(sampling.once_s + 50 * sampling.step_s)
    assert split_of(plan.stages[0]).chips == 1


def test_memory_counts_the_weights_of_both_denoisers():
    graph = pl.load_model("wan-2.2-a14b")
    with pytest.raises(pl.InfeasibleError, match="weights 57"):
        pl.score_plan(
            pl.uniform_plan(graph, MACHINE, data_parallel=8), graph, pl.load_topology("hgx-h100"),
            WORK.replace(batch_size=80),
        )  # fmt: skip


def test_a_diffusion_model_runs_in_one_stage():
    with pytest.raises(pl.InputError, match="planned in one stage, not in 2"):
        pl.uniform_plan(pl.load_model("flux-1"), MACHINE, pipeline_parallel=2)
