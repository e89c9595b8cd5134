"""Tests of the mirror of comparing: reports that a person made up beside a price."""

import pytest

from planner.catalogue import described_topology
from planner.errors import InputError
from planner.running.comparing import Pair, Question, compared, job_for, predicted, run_plan
from planner.running.cores import Core, machine_of_cores
from planner.running.jobs import PhaseReport, RankReport
from planner.running.launching import Ranks
from planner.workload import Workload
from tests.running.models import config_of, cut_plan, tiny_graph


@pytest.fixture
def asked(tmp_path):
    config = config_of()
    machine = machine_of_cores(Core((1e11,), (1e10,)), "here", 4, 4e9, "a processor")
    workload = Workload(batch_size=6, prompt_tokens=9, output_tokens=5, arrivals="together")
    return Question(tiny_graph(tmp_path, config), config, described_topology(machine), workload)


def report(stage, rank, cpu_s, moved_bytes):
    phase = PhaseReport(cpu_s=cpu_s, wall_s=2 * cpu_s, passes=1, moved_bytes=moved_bytes)
    return RankReport(
        stage=stage, rank=rank, weight_bytes=1e5, cache_bytes=1e4, prefill=phase, decode=phase
    )


def test_ranks_of_a_stage_are_averaged_and_their_bytes_added(asked):
    reports = [report(0, 0, 1.0, 5.0), report(0, 1, 3.0, 6.0)]
    found = compared(cut_plan((4,), tensor=2), asked, reports)
    (stage,) = found.stages
    assert stage.prefill_cpu_s.measured == 2.0
    assert stage.cpu_s.measured == 4.0
    assert found.decode_moved_bytes.measured == 11.0
    assert found.ttft_s.measured == 6.0
    assert found.request_s.measured == 12.0
    assert found.busiest_cpu_s.measured == 4.0
    assert stage.held_bytes.measured == 1.1e5


@pytest.mark.parametrize(
    ("cuts", "tensor", "prompts", "later"),
    [
        # A stream of 64 values of four bytes for each of 54 prompt tokens and 24 later ones.
        ((2, 2), 1, 54 * 256, 24 * 256),
        # Both ranks sum it up behind the embedding and twice in a layer; each takes in half of the
        # logits, for the last token of a prompt and every later one.
        ((4,), 2, 2 * (54 * 9 * 256 + 6 * 256), 2 * 24 * (9 * 256 + 256)),
        # Two stages of two ranks: one sum less behind the cut, where both get the stream.
        ((2, 2), 2, 2 * (54 * 10 * 256 + 6 * 256), 2 * 24 * (10 * 256 + 256)),
    ],
)
def test_bytes_between_ranks_are_those_that_a_person_counts(asked, cuts, tensor, prompts, later):
    plan = cut_plan(cuts, tensor=tensor)
    counted = predicted(plan, asked).moved_bytes(plan, asked.graph)
    assert counted == pytest.approx((prompts, later), rel=1e-12)


def test_memory_is_priced_as_tensors_are_held(asked):
    score = predicted(cut_plan((1, 3)), asked).score
    # Keys and values of 2 heads of 8, 4 bytes, 14 tokens of 6 sequences, of one and three layers.
    assert [stage.kv_bytes for stage in score.stages] == [10752, 3 * 10752]


def test_a_job_runs_the_passes_that_were_priced(asked):
    job = job_for(cut_plan((2, 2), micro_batches=3), asked, seed=4)
    assert (job.micro_batches, job.prompt_passes, job.seed) == (3, 1, 4)
    long = asked._replace(workload=asked.workload.replace(prompt_tokens=1000))
    assert job_for(cut_plan((2, 2)), long).prompt_passes == 3  # 6,000 tokens, 2,048 at once
    longer = asked._replace(workload=asked.workload.replace(prompt_tokens=4000))
    with pytest.raises(InputError, match="at most 2048"):
        job_for(cut_plan((4,)), longer)
    with pytest.raises(InputError, match="--batch"):
        predicted(cut_plan((4,)), asked._replace(workload=Workload(batch_size=None)))


def test_a_plan_for_more_ranks_than_the_machine_has_is_refused(asked):
    with pytest.raises(InputError, match="uses chip 7, but here has chips 0 to 3"):
        job_for(cut_plan((1, 1, 1, 1), tensor=2), asked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "cuts", "tensor", "expert"),
    [("mixtral", (2, 2), 2, 2), ("qwen2_moe", (4,), 4, 2), ("qwen2", (1, 3), 2, 1)],
)
def test_what_ranks_count_is_what_was_priced(asked, tmp_path, family, cuts, tensor, expert):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    config = config_of(family)
    asked = asked._replace(config=config, graph=tiny_graph(tmp_path, config))
    plan = cut_plan(cuts, tensor, expert, micro_batches=2)
    with Ranks() as ranks:
        found = run_plan(plan, asked, ranks)
    assert found.prefill_moved_bytes.ratio == pytest.approx(1.0, rel=1e-12)
    assert found.decode_moved_bytes.ratio == pytest.approx(1.0, rel=1e-12)
    for stage in found.stages:
        assert stage.cache_bytes.ratio == 1.0
        # Norms and routers are priced at 16 bit, and of a model this small they are two percent.
        assert stage.weight_bytes.ratio == pytest.approx(1.0, abs=0.02)


def test_on_an_idle_machine_parts_overlap_as_passes_do(asked):
    long = asked._replace(workload=asked.workload.replace(prompt_tokens=1000))
    reports = [report(number, number, 6.0, 0.0) for number in range(2)]
    found = compared(cut_plan((2, 2), micro_batches=2), long, reports)
    # Three passes of prompts, two seconds each on both stages.
    assert found.idle_ttft_s.measured == pytest.approx(2 + 2 + 2 + 2)
    # Four rounds of two parts, 0.75 s each on both: the parts side by side, none waits.
    assert found.idle_request_s.measured == pytest.approx(8 + 4 * 1.5)
    assert found.idle_request_s.predicted == found.request_s.predicted
    uneven = [report(0, 0, 6.0, 0.0), report(1, 1, 12.0, 0.0)]
    found = compared(cut_plan((1, 3), micro_batches=2), long, uneven)
    # Now every round takes two parts on the slower one, 1.5 s each.
    assert found.idle_ttft_s.measured == pytest.approx(2 + 4 + 4 + 4)
    assert found.idle_request_s.measured == pytest.approx(14 + 4 * 3.0)


def test_nothing_measured_has_no_ratio():
    assert Pair(predicted=1.0, measured=0.0).ratio is None
    assert Pair(predicted=1.0, measured=2.0).ratio == 0.5
