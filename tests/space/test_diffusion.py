"""The best plan of a diffusion model."""

import itertools

import pytest

import planner as pl
from planner.answers.question import SAMPLE_FIELDS
from planner.pricing.served import Served
from planner.scoring.plans import score_served
from planner.space import diffusion
from planner.space.diffusion import sampling_plans
from tests.lanes import mostly_slow

WORK = pl.Workload(batch_size=1, prompt_tokens=1, output_tokens=1, arrivals="together")
EIGHT = pl.load_topology("hgx-h100", chips=8)
FLUX = pl.load_model("flux-1")


@pytest.mark.parametrize(
    "field", mostly_slow(SAMPLE_FIELDS, but=("image_s", "energy_per_sample_j"))
)
def test_no_plan_of_the_space_is_better(field):
    most = SAMPLE_FIELDS[field].best == "most"
    graph, work = pl.load_model("pixart-sigma"), WORK.replace(batch_size=2)
    result = pl.partition(graph, EIGHT, work, **{"maximize" if most else "minimize": field})
    values = [
        getattr(pl.score_plan(plan, graph, EIGHT, work), field)
        for plan in sampling_plans(Served(graph, EIGHT, work))
    ]
    assert result.objective == (max if most else min)(values) == result.bound
    assert (result.status, result.gap) == ("optimal", 0.0)
    assert field in str(result)


@pytest.mark.slow
def test_the_best_is_no_worse_than_any_uniform_plan():
    best = pl.partition(FLUX, EIGHT, WORK, minimize="step_s").score.step_s
    for ways in (1, 2, 4, 8):
        plan = pl.uniform_plan(FLUX, EIGHT, sequence_parallel=ways)
        assert best <= pl.score_plan(plan, FLUX, EIGHT, WORK).step_s


def test_guidance_may_have_chips_of_its_own():
    graph = pl.load_model("sd-3.5-large")  # smaller ones wait for the host
    plan = pl.partition(graph, pl.load_topology("hgx-h100", chips=2), WORK, minimize="step_s").plan
    assert plan.stages[0].attention_parallel == 2


@pytest.mark.slow
def test_an_open_batch_is_as_large_as_pays():
    work = WORK.replace(batch_size=None)
    fast = pl.partition(FLUX, EIGHT, work, maximize="samples_per_s").score
    soon = pl.partition(FLUX, EIGHT, work, minimize="image_s").score
    assert fast.chips == 8
    assert fast.samples_per_s > soon.samples_per_s
    assert soon.image_s < fast.image_s


def test_the_default_is_the_time_of_a_batch():
    assert pl.partition(FLUX, EIGHT, WORK).field == "image_s"


def test_limits_are_kept():
    two = pl.partition(FLUX, EIGHT, WORK, minimize="image_s", limits={"chips": 2}).score
    assert two.chips == 2
    with pytest.raises(pl.InfeasibleError, match="keeps the limits image_s"):
        pl.partition(FLUX, EIGHT, WORK, minimize="chips", limits={"image_s": 0.001})


def test_what_does_not_fit_is_refused_with_figures():
    small = pl.load_topology("hgx-h100", chips=1)
    with pytest.raises(pl.InfeasibleError) as refused:
        pl.partition(
            pl.load_model("step-video-30b"), small, WORK.replace(batch_size=64), minimize="step_s"
        )
    assert refused.value.demand > refused.value.capacity


def test_each_kind_of_model_is_asked_its_own_fields():
    llama = pl.load_model("llama-3.1-8b")
    with pytest.raises(pl.InputError, match="step_s is a field of diffusion models") as refused:
        pl.partition(llama, EIGHT, WORK, minimize="step_s")
    assert "\n" not in str(refused.value)
    with pytest.raises(pl.InputError, match="tpot_s is a field of language models"):
        pl.partition(FLUX, EIGHT, WORK, minimize="tpot_s")
    with pytest.raises(pl.InputError, match="use maximize='samples_per_s'"):
        pl.partition(FLUX, EIGHT, WORK, minimize="samples_per_s")


def test_a_power_that_nobody_knows_cannot_be_optimised():
    dark = EIGHT.replace(power=EIGHT.power.replace(chip_w=None, system_w=None))
    with pytest.raises(pl.InputError, match="energy_per_sample_j needs a figure"):
        pl.partition(FLUX, dark, WORK, minimize="energy_per_sample_j")


@pytest.mark.slow
def test_the_clock_is_kept_and_the_bound_is_below_every_plan(monkeypatch):
    """Each look at the clock is a second here: some plans are scored, and then time is up."""
    model, machine = pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=4)
    for field, direction, batch in (
        ("image_s", "minimize", 2),
        ("samples_per_s", "maximize", None),
        ("usd_per_sample", "minimize", None),
        ("mfu_fraction", "maximize", 2),
    ):
        work = pl.Workload(batch_size=batch)
        best = pl.partition(model, machine, work, **{direction: field})
        seconds = itertools.count()
        with monkeypatch.context() as stopped:
            stopped.setattr(diffusion.time, "monotonic", lambda seconds=seconds: next(seconds))
            cut = pl.partition(model, machine, work, time_limit_s=4, **{direction: field})
        assert (cut.status, cut.stopped_by) == ("feasible", "time")
        sign = 1 if direction == "minimize" else -1
        assert sign * cut.bound <= sign * best.objective <= sign * cut.objective
        assert cut.bound > 0


def test_ctrl_c_gives_the_best_so_far_and_no_time_says_that_nothing_is_proved(monkeypatch):
    model, machine = pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=4)
    work = pl.Workload(batch_size=2)
    scored = itertools.count()

    def interrupted(*given, **options):
        if next(scored) == 3:
            raise KeyboardInterrupt
        return score_served(*given, **options)

    with monkeypatch.context() as stopped:
        stopped.setattr(diffusion, "score_served", interrupted)
        cut = pl.partition(model, machine, work, minimize="image_s")
    assert (cut.status, cut.stopped_by) == ("feasible", "interrupt")
    with pytest.raises(pl.NoPlanFoundError, match="nothing is proved"):
        pl.partition(model, machine, work, minimize="image_s", time_limit_s=0)
