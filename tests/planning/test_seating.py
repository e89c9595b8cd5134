"""Plans for more sequences than any of them holds: the most in flight, the others queued."""

import re

import pytest

import planner as pl
from planner.answers.question import FIELDS, Question
from planner.planning.seating import chips_that_seat, holds, seated_spaces, waits
from planner.report.html import result_html
from planner.scoring.plans import score_plan
from planner.space.candidates import Candidates
from tests.by_hand import chain, layer, matmul, round_machine
from tests.engine_oracle import Case, best_of, priced
from tests.engine_questions import ENGINES
from tests.instances import tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology
from tests.lanes import mostly_slow, paired
from tests.oracle import HIGHER_IS_BETTER, best_plan, kept

GRAPH = tiny_graph(3)
WORK = pl.Workload(batch_size=40, prompt_tokens=4000, output_tokens=300)
ARRIVALS = ("steady", "together")


def tight(chips: int, share: float, graph: pl.ModelGraph = GRAPH, **software) -> pl.Topology:
    """A machine of that many chips with room for that many times the weights."""
    chip = tiny_chip(share * graph.weight_bytes / chips / 0.9)
    return tiny_topology(chips, chip=chip, software=tiny_software(**software))


def asked(field: str) -> dict[str, str]:
    return {"maximize" if field in HIGHER_IS_BETTER else "minimize": field}


@pytest.mark.slow
@pytest.mark.parametrize("space", ["engine", "any"])
@pytest.mark.parametrize("arrivals", ARRIVALS)
@pytest.mark.parametrize("field", ["ttft_s", "tpot_s", "request_s", "tokens_per_s"])
def test_the_answer_costs_what_its_plan_scores_for_all_that_were_asked(space, arrivals, field):
    machine = tight(4, 1.6, engine=ENGINES[0])
    work = WORK.replace(arrivals=arrivals)
    found = pl.partition(GRAPH, machine, work, space=space, **asked(field))
    again = score_plan(found.plan, GRAPH, machine, work)
    assert found.workload == work
    assert found.status == "optimal"
    assert again == found.score
    assert getattr(again, field) == pytest.approx(found.objective, rel=1e-9)
    assert 0 < again.queued < 40
    assert pl.check_plan(found.plan, GRAPH, machine, work, space=space) == ()
    assert pl.verify(found.certificate()).confirmed


WAYS = paired(tuple(FIELDS), ARRIVALS)


@pytest.mark.parametrize("way", mostly_slow(WAYS, but=WAYS[:2]), ids=str)
def test_it_is_the_best_of_all_plans_that_hold_the_most(way):
    """By the exhaustive search; of 6 sequences some fit."""
    field, arrivals = way
    seen = set()
    for chips, share in ((1, 1.3), (1, 1.6), (2, 1.5), (3, 1.6)):
        machine = tight(chips, share)
        work = pl.Workload(batch_size=6, prompt_tokens=4000, output_tokens=300, arrivals=arrivals)
        best, value = best_plan(
            GRAPH, machine, work, field, most=field in HIGHER_IS_BETTER, limits={}
        )
        if best is None:
            with pytest.raises(pl.InfeasibleError):
                pl.partition(GRAPH, machine, work, **asked(field))
            continue
        found = pl.partition(GRAPH, machine, work, space="any", **asked(field))
        assert found.objective == pytest.approx(value, rel=1e-9)
        assert found.status == "optimal"
        seen.add(found.score.queued)
    assert len(seen - {0}) >= 2


@pytest.mark.parametrize("engine", mostly_slow(range(len(ENGINES)), but=(0, 3)))
@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_of_an_engine_too(engine, arrivals):
    waited = 0
    for graph, chips in ((tiny_graph(2), 2), (tiny_moe(), 4)):
        machine = tight(chips, 1.5, graph, engine=ENGINES[engine], most_sequences=3)
        work = pl.Workload(batch_size=9, prompt_tokens=200, output_tokens=30, arrivals=arrivals)
        case = Case(graph, machine, work)
        plans = priced(case, "engine")
        for field in ("ttft_s", "request_s", "tpot_s", "tokens_per_s", "energy_per_token_j"):
            best = best_of(case, plans, "engine", field, {})
            if best is None:
                continue
            found = pl.partition(graph, machine, work, **asked(field))
            assert found.bound == pytest.approx(getattr(best.score, field), rel=1e-9)
            assert found.score.batch_size == best.score.batch_size
            waited += found.score.queued > 0
    assert waited > 0


@pytest.mark.slow
def test_limits_count_the_wait():
    machine = tight(2, 1.6)
    fastest = pl.partition(GRAPH, machine, WORK, minimize="ttft_s")
    limits = {"ttft_s": 1.2 * fastest.objective}
    found = pl.partition(GRAPH, machine, WORK, maximize="tokens_per_s", limits=limits)
    assert kept(found.score, limits)
    assert found.score.queued == fastest.score.queued
    with pytest.raises(pl.InfeasibleError, match="are in flight at once, and the others wait"):
        pl.partition(
            GRAPH, machine, WORK, minimize="tpot_s", limits={"ttft_s": 0.9 * fastest.objective}
        )


def test_where_a_plan_holds_all_nobody_waits():
    """Two layers of 100 B on chips of 1,000 B: however slow, the plan that holds all is taken."""
    graph = chain(layer("first", matmul()), layer("second", matmul()))
    machine = round_machine(2, software={"most_sequences": 3})
    work = pl.Workload(batch_size=6, prompt_tokens=1, output_tokens=4)
    found = pl.partition(graph, machine, work, minimize="tpot_s")
    assert (found.score.batch_size, found.score.queued, found.plan.replicas) == (6, 0, 2)
    seven = pl.partition(graph, machine, work.replace(batch_size=7), minimize="tpot_s")
    assert (seven.score.batch_size, seven.score.queued, seven.plan.replicas) == (6, 1, 2)


def test_the_most_that_fit_are_found_and_one_more_fits_nowhere():
    space = Candidates(GRAPH, tight(2, 1.6), WORK, Question("tpot_s", ()))
    (seats,) = seated_spaces([space])
    most = seats.workload.batch_size
    assert seats.workload.offered == 40
    assert holds([space], most)
    assert not holds([space], most + 1)


def test_no_seats_are_sought_where_the_batch_is_open_or_one_does_not_fit_or_all_do():
    for work, share in (
        (WORK.replace(batch_size=None), 1.6),
        (WORK.replace(batch_size=1), 1.6),
        (WORK, 0.9),
        (WORK.replace(batch_size=2), 1.6),
    ):
        space = Candidates(GRAPH, tight(2, share), work, Question("tpot_s", ()))
        assert seated_spaces([space]) is None


def test_what_is_not_known_in_time_is_not_claimed():
    space = Candidates(GRAPH, tight(2, 1.6), WORK, Question("tpot_s", ()))
    with pytest.raises(pl.NoPlanFoundError, match="time ran out before it was known whether"):
        seated_spaces([space], deadline=0.0)


@pytest.mark.slow
def test_a_plan_that_holds_fewer_is_not_confirmed():
    machine = tight(2, 1.6)
    found = pl.partition(GRAPH, machine, WORK, minimize="tpot_s")
    # Its claim as it would be on an engine that takes one sequence less: true of its plan there, and
    # of no proof here, where one more fits.
    held = found.score.batch_size
    less = machine.replace(software=machine.software.replace(most_sequences=held - 1))
    there = pl.partition(GRAPH, less, WORK, minimize="tpot_s")
    assert there.score.queued == found.score.queued + 1
    told = there.workload.replace(batch_size=held - 1, queued=there.score.queued)
    given = there.replace(workload=told).certificate()
    assert pl.verify(given).confirmed
    slow = pl.uniform_plan(GRAPH, machine, pipeline_parallel=2)
    score = score_plan(slow, GRAPH, machine, WORK)
    if score.queued > found.score.queued:
        forged = found.certificate().replace(plan=slow, objective=score.tpot_s, bound=score.tpot_s)
        verdict = pl.verify(forged)
        assert (verdict.confirmed, verdict.checked_bound) == (False, None)


def test_the_report_says_first_who_waits():
    found = pl.partition(GRAPH, tight(2, 1.6), WORK, minimize="tpot_s")
    said = str(found).splitlines()
    held, queued = found.score.batch_size, found.score.queued
    assert said[2].startswith("for 40 sequences")
    assert said[3].startswith(
        f"{queued} of the 40 sequences wait in a queue: the plan has room for {held}"
    )
    assert f"no plan that has {held} sequences in flight has a lower one" in said[5]
    assert said[5].endswith("no plan has room for more sequences")
    assert re.search(rf"^  sequences in the queue +{queued}$", str(found), re.MULTILINE)
    assert f"{queued} of the 40 sequences wait" in result_html(found)


@pytest.mark.slow
def test_what_is_explained_is_one_number_in_flight():
    machine = tight(2, 1.6)
    found = pl.partition(GRAPH, machine, WORK, minimize="tpot_s")
    held, queued = found.score.batch_size, found.score.queued
    with pytest.raises(pl.InputError, match=f"batch_size={held}, queued={queued}"):
        found.why()
    told = pl.partition(
        GRAPH, machine, WORK.replace(batch_size=held, queued=queued), minimize="tpot_s"
    )
    assert told.objective == found.objective
    assert told.why().objective == found.objective


@pytest.mark.slow
def test_more_chips_seat_those_who_wait():
    # A process keeps three in flight, so seven take three processes, and thirteen more than four.
    graph = chain(layer("first", matmul()), layer("second", matmul()))
    machine = round_machine(4, software={"most_sequences": 3}).replace(chips=1)
    work = pl.Workload(batch_size=7, prompt_tokens=1, output_tokens=4)
    crowded = pl.partition(graph, machine, work, minimize="chips", space="any")
    assert waits(crowded)
    assert crowded.score.queued == 4
    assert chips_that_seat(crowded) == 3
    seated = pl.partition(graph, machine.replace(chips=3), work, minimize="chips", space="any")
    assert not waits(seated)

    too_many = pl.partition(graph, machine, work.replace(batch_size=13), minimize="chips")
    assert chips_that_seat(too_many) is None
    # Who asks for a queue has one.
    queue = work.replace(batch_size=3, queued=4)
    assert not waits(pl.partition(graph, machine, queue, minimize="chips"))
