"""A percentile as objective, and limits that are to be kept surely, against all plans that an
engine can be started with."""

import math
import random

import pytest

import planner as pl
from planner.answers.question import ASKED
from planner.pricing.loads import PERCENTILES
from planner.report.text import result_text
from tests.engine_oracle import Case, faults, priced
from tests.engine_questions import is_asked, is_small, random_case, random_machine
from tests.instances import CONSTANT, tiny_chip, tiny_graph, tiny_software, tiny_topology
from tests.lanes import mostly_slow, some
from tests.oracle import HIGHER_IS_BETTER
from tests.stream_oracle import open_stream
from tests.unsure import keeps, reached, unsure

MACHINES = some(6, 100)
MOST_PLANS = 80
AS_GOOD = 1.0011


def case_of(dice, number, *, sure):
    """A small case without drafts; None where the machine's engine has no rules."""
    machine = random_machine(number)
    if not machine.software.engine.is_known:
        return None
    burst = dice.choice((0.0, 0.1, 0.5, 0.8))
    least = min(machine.software.interruption_share, 1 - burst)
    software = machine.software.replace(burst_share=burst, interruption_share=least)
    case = random_case(dice, machine.replace(software=software))
    topology = case.topology.replace(power=CONSTANT)
    if sure is not None:
        topology = topology.replace(software=unsure(dice, software))
    work = case.workload.replace(
        speculation=None, output_tokens=max(2, case.workload.output_tokens)
    )
    case = case._replace(topology=topology, workload=work, exclude=())
    return case if is_small(case, "engine", MOST_PLANS) else None


def question_of(dice, case, plans, sure):
    """A field, and what one of the plans keeps of others."""
    asked = [name for name in ASKED if is_asked(name, case)]
    times = [name for name in asked if name in PERCENTILES]
    is_stream = case.workload.requests_per_s is not None
    able = [name for name in asked if name not in times or name.startswith("ttft") or is_stream]
    field = dice.choice(able)
    anchor = dice.choice(plans).score
    limits = {}
    for name in {dice.choice(times or able), dice.choice(asked)} - {field}:
        value = reached(anchor, name, sure)
        if value is not None and 0 < value < math.inf:
            slack = dice.choice((1.0, 1.1))
            limits[name] = value / slack if name in HIGHER_IS_BETTER else value * slack
    return field, limits


def best_of(case, plans, field, limits, sure, slack):
    """The best value of the plans that keep the limits by so much."""
    sign = -1 if field in HIGHER_IS_BETTER else 1
    able = [one for one in plans if keeps(one.score, limits, sure, slack)]
    able.sort(key=lambda one: sign * float(getattr(one.score, field)))
    found = next((one for one in able if not faults(case, one, "engine")), None)
    return None if found is None else float(getattr(found.score, field))


@pytest.mark.parametrize("sure", [None, 0.8])
@pytest.mark.parametrize("number", mostly_slow(range(MACHINES), but=(1, 2)))
def test_no_plan_is_better(number, sure):
    dice = random.Random(f"promise {number} {sure}")
    case = case_of(dice, number, sure=sure)
    plans = priced(case, "engine") if case is not None else []
    if not plans:
        return
    field, limits = question_of(dice, case, plans, sure)
    if not limits:
        return
    sign = -1 if field in HIGHER_IS_BETTER else 1
    surely = best_of(case, plans, field, limits, sure, 1e-9)
    barely = best_of(case, plans, field, limits, sure, -1e-9)
    direction = "minimize" if sign > 0 else "maximize"
    try:
        result = pl.partition(*case[:3], limits=limits, sure=sure, **{direction: field})
    except pl.InputError as error:
        if "sure=" not in str(error):
            raise
        return
    except pl.InfeasibleError:
        assert surely is None
        return
    except pl.NoPlanFoundError:
        return
    assert barely is not None
    assert sign * result.objective >= sign * barely - 1e-9 * abs(barely)
    assert keeps(result.score, limits, sure, -1e-9)
    if surely is not None:
        assert sign * result.bound <= sign * surely + 1e-9 * abs(surely)
        if result.status == "optimal":
            assert sign * (result.objective - surely) <= (AS_GOOD - 1) * abs(surely)
    assert result_text(result)
    pl.verify(result.certificate(), time_limit_s=5.0)


def small_stream(**changes):
    software = tiny_software(most_sequences=8, engine=random_machine(1).software.engine)
    return Case(
        tiny_graph(3),
        tiny_topology(2, chip=tiny_chip(2e9), software=software),
        open_stream(64, 8, **changes),
    )


@pytest.mark.parametrize("rate", [None, 50.0])
def test_a_percentile_is_told_and_verified_without_a_false_word(rate):
    case = small_stream(requests_per_s=rate)
    result = pl.partition(*case[:3], minimize="ttft_p99_s")
    assert result.status == "optimal"
    assert "ttft_p99_s" in result_text(result)
    assert not pl.verify(result.certificate()).confirmed


def test_power_at_a_rate_is_limited_as_priced():
    case = small_stream()
    with pytest.raises(pl.InputError, match="a limit on power_w cannot be combined with sure="):
        pl.partition(*case[:3], maximize="tokens_per_s", limits={"power_w": 1e4}, sure=0.8)


def test_nothing_is_promised_surely_of_a_part_of_a_machine_without_rules():
    case = Case(tiny_graph(1), tiny_topology(3, chip=tiny_chip(2e9)), pl.Workload(batch_size=2))
    asked = {"limits": {"mfu_fraction": 0.001}, "sure": 0.8, "exclude": (0,)}
    with pytest.raises(pl.InputError, match="sure= cannot be combined with exclude="):
        pl.partition(*case[:3], minimize="tpot_s", **asked)
