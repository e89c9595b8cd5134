"""A search tells how it goes, can be stopped, and never claims more than it proved."""

import math

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.planning.search import Progress, Search
from planner.space.candidates import Candidates
from tests.instances import FOLLOWING, tiny_graph, tiny_topology


def candidates(field: str = "energy_per_token_j", **work) -> Candidates:
    return Candidates(
        tiny_graph(2), tiny_topology(8), pl.Workload(**work), question_of(field, None, None, None)
    )


def test_progress_comes_closer_from_both_sides():
    seen: list[Progress] = []
    search = Search(candidates(batch_size=64), progress=seen.append)
    search.run()
    best = [report.objective for report in seen if report.objective is not None]
    bounds = [report.bound for report in seen if report.bound is not None]
    assert best == sorted(best, reverse=True)
    assert bounds == sorted(bounds)
    assert bounds[-1] <= best[-1] * (1 + 1e-12)


@pytest.mark.parametrize("after", [1, 2, 5])
def test_ctrl_c_leaves_the_best_plan_so_far_and_a_bound_that_holds(after):
    whole = Search(candidates(batch_size=64))
    whole.run()
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == after:
            raise KeyboardInterrupt

    stopped = Search(candidates(batch_size=64), progress=stop)
    stopped.run()
    assert stopped.interrupted
    assert stopped.best.plan is not None
    assert 0 < stopped.bound <= whole.best.value * (1 + 1e-12)
    assert stopped.best.value >= whole.best.value * (1 - 1e-12)


def test_ctrl_c_in_partition_returns_a_feasible_result():
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    work = pl.Workload(batch_size=64)
    result = pl.partition(
        tiny_graph(2), tiny_topology(8), work, minimize="energy_per_token_j", progress=stop
    )
    assert result.status in ("feasible", "optimal")
    assert result.bound <= result.objective * (1 + 1e-12)


def test_without_time_nothing_is_proved():
    with pytest.raises(pl.NoPlanFoundError, match="allow more time"):
        pl.partition(
            tiny_graph(2),
            tiny_topology(8),
            pl.Workload(batch_size=64),
            minimize="tpot_s",
            time_limit_s=0.0,
        )


def test_what_no_box_can_hold_is_proved_infeasible():
    search = Search(
        Candidates(tiny_graph(40), tiny_topology(1, chip=pl.Chip.from_fields(
            {"name": "small", "peaks": [{"dtype": "bf16", "flop_per_s": 1e12}],
             "memory": [{"name": "SRAM", "capacity_bytes": 1e6, "bandwidth_bytes_per_s": 1e12}]})),
            pl.Workload(), question_of("tpot_s", None, None, None))
    )  # fmt: skip
    search.run()
    assert (search.best.plan, search.bound) == (None, math.inf)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["tpot_s", "request_s", "chips"])
def test_both_engines_agree(field):
    work = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=8)
    one, other = (
        pl.partition(tiny_graph(2), tiny_topology(4), work, minimize=field, engine=engine)
        for engine in ("auto", "cp-sat")
    )
    assert other.objective == pytest.approx(one.objective, rel=1e-5)
    assert other.bound <= one.objective * (1 + 1e-9)
    assert one.status == "optimal"


@pytest.mark.slow
def test_cp_sat_leaves_averages_to_labels():
    machine = tiny_topology(4, power=FOLLOWING)
    asked = {
        "graph": tiny_graph(2),
        "topology": machine,
        "workload": pl.Workload(batch_size=4),
        "minimize": "power_w",
    }
    one, other = pl.partition(**asked, engine="cp-sat"), pl.partition(**asked)
    assert (
        (one.status, one.objective)
        == (other.status, other.objective)
        == ("optimal", other.score.power_w)
    )


@pytest.mark.slow
def test_a_limit_on_power_that_follows_the_plan_is_kept_and_costs_speed():
    machine, work = tiny_topology(4, power=FOLLOWING), pl.Workload(batch_size=16)
    free = pl.partition(tiny_graph(2), machine, work, minimize="tpot_s")
    held = pl.partition(
        tiny_graph(2),
        machine,
        work,
        minimize="tpot_s",
        limits={"power_w": 0.7 * free.score.power_w},
    )
    assert held.score.power_w <= 0.7 * free.score.power_w
    assert (held.status, held.objective > free.objective) == ("optimal", True)


@pytest.mark.slow
def test_a_search_ends_at_what_is_enough_and_where_nothing_is_of_use():
    whole = Search(candidates(batch_size=64))
    whole.run()
    value = whole.best.value
    enough = Search(candidates(batch_size=64), enough=1.5 * value)
    enough.run()
    assert enough.bound <= value <= enough.best.value * (1 + 1e-12)
    assert enough.best.value <= 1.5 * value
    assert enough.done <= whole.done
    for below in (0.5, 0.999, 1.001):
        hopeless = Search(candidates(batch_size=64), hopeless=below * value)
        hopeless.run()
        assert min(below, 1.0) * value * (1 - 1e-11) <= hopeless.bound <= value * (1 + 1e-12)
        assert (hopeless.best.value == pytest.approx(value)) or below < 1
