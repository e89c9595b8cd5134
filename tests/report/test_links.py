"""How busy links are: bytes by hand, and a picture that can be read."""

import pytest

import planner as pl
from planner.report.links import link_loads, links_picture
from tests.legible import faults_of, texts_of

WORK = pl.Workload(batch_size=8, prompt_tokens=1024, output_tokens=256)


def priced(model: str, machine: str, chips: int, workload=WORK, **split) -> pl.Result:
    graph = pl.load_model(model, weight_dtype="fp8")
    topology = pl.load_topology(machine, chips=chips)
    plan = pl.uniform_plan(graph, topology, **split)
    made = pl.partition(graph, topology, workload, minimize="tpot_s", space="any")
    return made.replace(plan=plan, score=pl.score_plan(plan, graph, topology, workload))


@pytest.fixture(scope="module")
def tensor():
    return priced("llama-3.1-8b", "hgx-h100", 8, tensor_parallel=8)


@pytest.fixture(scope="module")
def piped():
    return priced("llama-3.1-8b", "hgx-h100", 16, tensor_parallel=8, pipeline_parallel=2)


def test_tensor_parallel_chips_send_what_a_ring_needs(tensor):
    (load,) = link_loads(tensor)
    # 32 layers sum up twice, the embedding once: 4,096 wide at 16 bit; the head gathers 128,256.
    a_token = (2 * 32 + 1) * 2 * 4096 * 2 + 128_256 * 2
    assert load.sent_bytes == pytest.approx(8 * 7 / 8 * a_token)
    width = tensor.topology.levels[0].fabric.bandwidth_bytes_per_s
    assert load.share == pytest.approx(load.sent_bytes / width / tensor.score.tpot_s)
    assert (load.stage, load.level, load.chips) == (0, 0, 8)


def test_a_stage_hands_on_over_the_level_between_nodes(piped):
    loads = {(one.stage, one.level): one for one in link_loads(piped)}
    # Eight users of 4,096 values at 16 bit, in micro-batches that add up to them.
    assert loads[0, 1].sent_bytes == pytest.approx(8 * 4096 * 2)
    assert (1, 1) not in loads
    assert loads[0, 1].fabric != loads[0, 0].fabric


@pytest.mark.slow
def test_tokens_go_to_experts_on_other_chips():
    work = WORK.replace(batch_size=64)
    spread = priced("mixtral-8x7b", "hgx-h100", 8, work, expert_parallel=8, data_parallel=8)
    (load,) = link_loads(spread)
    assert load.sent_bytes > 0
    assert load.share < 1


@pytest.mark.slow
def test_the_picture_shows_every_unit_and_names_every_level(piped):
    picture = links_picture(piped)
    words = [one.get_text() for one in texts_of(picture.figure)]
    levels = [level.fabric.name for level in piped.topology.levels]
    assert set(levels) <= set(words)
    assert {"unit 0", "unit 1", "nothing"} <= set(words)
    assert faults_of(picture.figure) == []
    loads = link_loads(piped)
    most = max(one.share for one in loads)
    assert f"{100 * most:.2g} %" in words


@pytest.mark.slow
def test_equal_units_share_a_row():
    idle = links_picture(priced("llama-3.1-8b", "hgx-h100", 64, tensor_parallel=8))
    words = [one.get_text() for one in texts_of(idle.figure)]
    assert any("alike" in one for one in words)
    assert faults_of(idle.figure) == []


@pytest.mark.slow
def test_every_hatch_of_a_bar_is_in_the_key(piped):
    figure = links_picture(piped).figure
    bars = {
        (one.get_facecolor(), one.get_hatch()) for one in figure.axes[1].patches if one.get_width()
    }
    key = {(one.get_facecolor(), one.get_hatch()) for one in figure.legends[0].get_patches()}
    assert bars <= key
