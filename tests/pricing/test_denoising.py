"""Steps and samples: what they cost, and what never makes them cheaper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.machines.topology import Power
from planner.pricing.denoising import (
    launched_ahead,
    sample_active_chip_s,
    sample_utilisation,
    sampling_of,
    whole_samples,
)
from planner.pricing.holdings import split_of
from planner.pricing.price_list import PriceList, Step
from planner.pricing.schedule import scheduled
from tests.by_hand import chain, layer, matmul, plan_of, round_machine, stage
from tests.instances import fabric, tiny_topology

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


@pytest.mark.slow
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
    # Steps that wait for the host take as long, up to rounding.
    assert large.step_s >= (1 - 1e-12) * small.step_s
    assert large.image_s >= (1 - 1e-12) * small.image_s


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


@pytest.mark.slow
def test_replicas_share_out_the_batch():
    one, two = score_of("sdxl", batch=2), score_of("sdxl", batch=4, chips=2, data=2)
    assert two.image_s == pytest.approx(one.image_s)
    assert two.samples_per_s == pytest.approx(2 * one.samples_per_s)


def test_a_diffusion_transformer_is_bound_by_arithmetic_and_its_fields_agree():
    score = score_of("flux-1")
    assert score.breakdown[0].compute_s > 0.75 * score.step_s
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


# ── On paper: a denoiser of one matmul in rows, texts of another ──────────────────────────────────

PICTURES = chain(
    layer("text", matmul(), runs_per_sample=1),
    layer("denoiser", matmul(split="inputs")),
    layer("twin", matmul(name="twin"), runs_per_sample=0),
    steps=3,
    tokens_per_sample=4,
    passes_per_step=2,
)
"""3 steps of 4 tokens, with guidance; the twin is only held."""


def sampled(machine, *stages, samples=1):
    plan = plan_of(*stages)
    at = scheduled(
        WORK,
        machine.software,
        batch_size=samples,
        replicas=plan.replicas,
        micro_batches=1,
        graph=PICTURES,
    )
    return PriceList(PICTURES, machine), plan, at


def test_a_step_is_shared_out_and_a_text_is_encoded_whole():
    machine = round_machine(2, software={"step_overhead_s": 0.5, "sequence_overhead_s": 100.0})
    prices, plan, at = sampled(
        machine, stage("text", "denoiser", "twin", chips=2, tensor_parallel=2)
    )
    sampling = sampling_of(prices, plan, at)
    # One picture, 8 tokens with guidance: half of 100 B of weights, 8 × (5 + 20) B; a sum of 160 B
    # over two chips takes 1 s + 2 × (1 + 8) s. The text is read once: 100 + 4 × 30 B.
    assert sampling.step.tolist() == [0.0, 25.0, 19.0, 1.5]
    assert sampling.once.tolist() == [0.0, 22.0, 0.0, 1.5]
    assert (sampling.steps, sampling.step_flop, sampling.step_moved_bytes) == (3, 8 * 50.0, 250.0)
    assert sampling.image_s == 23.5 + 3 * 45.5
    bare = PICTURES.replace(layers=PICTURES.layers[1:], edges=PICTURES.edges[1:])
    alone = sampling_of(PriceList(bare, machine), plan_of(stage("denoiser", "twin")), at)
    assert alone.once.tolist() == [0.0] * 4


def test_the_replica_that_reaches_farthest_tells_the_time():
    machine = round_machine(
        6,
        fabrics=(
            fabric("switch", 4, bandwidth_bytes_per_s=10.0, latency_s=1.0),
            fabric("switch", 2, bandwidth_bytes_per_s=1.0, latency_s=9.0),
        ),
    )
    names = ("text", "denoiser", "twin")
    near, far = (
        sampling_of(
            *sampled(
                machine,
                stage(*names, chips=2, replicas=2, apart=apart, tensor_parallel=2),
                samples=2,
            )
        )
        for apart in (2, 3)
    )
    assert near.step[2] == 19.0
    assert far.step[2] == 1 + 2 * (9 + 80)  # chips 3 and 4 are in two nodes


def test_activity_and_use_count_steps_once_each_and_texts_once():
    machine = round_machine(
        2, power=Power(chip_w=1.0, idle_share=0.5, compute_activity=1.0, memory_activity=2.0)
    )
    prices, plan, at = sampled(machine, stage("text", "denoiser", "twin", replicas=2), samples=4)
    # Two pictures in each replica: 16 tokens a step, 1,600 FLOP and 100 + 480 B; texts 800 FLOP and
    # 100 + 240 B.
    assert sample_active_chip_s(prices, at) == 3 * (16 + 2 * 58) + (8 + 2 * 34)
    used = sample_utilisation(prices, plan, at, image_s=100.0)
    assert used == pytest.approx(
        {"mfu_fraction": (3 * 1600 + 800) / 1e4, "mbu_fraction": (3 * 100 + 100) / 1e3}
    )
    half, both, alike = sampled(
        machine, stage("text", "denoiser", "twin", chips=2, sequence_parallel=2), samples=2
    )
    assert sample_utilisation(half, both, alike, image_s=100.0)["mfu_fraction"] == pytest.approx(
        0.28
    )


def test_whole_samples_are_texts_without_guidance():
    # 3 samples of 4 tokens, each of which sees half of its own on average.
    assert whole_samples(PICTURES, 3) == Step(12.0, 3.0, 2.0, decode=False)


def test_a_step_takes_as_long_as_the_chip_or_the_host_that_launches_ahead_of_it():
    # Compute 3, memory 1, collectives 2 of which launches 1.5, launches of operators 4: the chip
    # works for 3 + 1 + 0.5 = 4.5 s, the host for 4 + 1.5 = 5.5.
    bound_by_host = launched_ahead(np.array([3.0, 1.0, 2.0, 4.0]), 1.5)
    assert bound_by_host.tolist() == [3.0, 1.0, 0.5, 1.0]
    # With 1 s of launches the host is ready after 2.5, and the chip waits for nothing.
    bound_by_chip = launched_ahead(np.array([3.0, 1.0, 2.0, 1.0]), 1.5)
    assert bound_by_chip.tolist() == [3.0, 1.0, 0.5, 0.0]
