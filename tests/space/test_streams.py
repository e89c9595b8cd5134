"""What a form's times are at least under a stream: exactly those of its only plan, or no more than
those of any cut."""

import itertools

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.space.candidates import Candidates
from planner.space.engine_space import EngineSpace, Found, Span
from planner.space.forms import forms_of
from planner.space.streams import Streams
from tests.engine_questions import ENGINES
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology

LIMITS = {"ttft_p99_s": 1.0, "tpot_p90_s": 0.1}
WORK = pl.Workload(arrivals="poisson", prompt_tokens=100, output_tokens=20)
SOFTWARE = tiny_software(engine=ENGINES[1], most_sequences=24, handover_rounds=1.5)
MACHINE = tiny_topology(4, chip=tiny_chip(1e9), software=SOFTWARE)
GRAPH = tiny_graph(4)


def streams(graph=GRAPH, machine=MACHINE, workload=WORK, limits=LIMITS):
    question = question_of(None, "tokens_per_s", limits, None, space="engine")
    return Streams(EngineSpace(Candidates(graph, machine, workload, question)))


def all_forms(found):
    return [form for forms in forms_of(found.space.candidates) for form in forms]


def plan_of(found, form, borders):
    plan = found.space.to_plan(Found(Span(form, 1, 1, 1), 1, 0.0, borders))
    parts, _ = found.space.batches(form).holding(10_000)
    return plan.replace(micro_batches=parts, batch_size=None)


def times_of(load):
    return [load.first_s, load.prompt_s, *load.rounds_s, *load.tpots_s, *load.cycles_s]


def test_of_one_stage_they_are_those_of_its_plan():
    found = streams()
    whole = (0, len(GRAPH.layers))
    singles = [form for form in all_forms(found) if form.stages == 1]
    assert len(singles) > 2
    for form in singles:
        least = found.load_of(form)
        exact = found.space.candidates.load_of(plan_of(found, form, whole))
        assert (least.most, least.sequences) == (exact.most, exact.sequences)
        assert times_of(least) == pytest.approx(times_of(exact), rel=1e-9)
        assert least.felt_s == pytest.approx(exact.felt_s, rel=1e-9)


@pytest.mark.slow
def test_of_several_stages_no_cut_has_less():
    found = streams()
    layers = len(GRAPH.layers)
    several = [form for form in all_forms(found) if form.stages in (2, 3)]
    assert several
    for form in several:
        even = found.load_of(form)
        least = found.tightened(form, even.most)
        for inner in itertools.combinations(range(2, layers - 1), form.stages - 1):
            exact = found.space.candidates.load_of(plan_of(found, form, (0, *inner, layers)))
            known = len(exact.sequences)
            for bound in (even, least):
                assert bound.most >= exact.most
                for name in ("rounds_s", "tpots_s", "cycles_s"):
                    pairs = zip(getattr(bound, name)[:known], getattr(exact, name), strict=False)
                    assert all(low <= high * (1 + 1e-9) for low, high in pairs)
                assert bound.first_s <= exact.first_s * (1 + 1e-9)
                assert bound.felt_s <= exact.felt_s * (1 + 1e-9)
        # And it is tighter than an even cut.
        assert sum(times_of(least)) >= sum(times_of(even)) * (1 - 1e-9)


@pytest.mark.slow
def test_a_promise_is_kept_up_to_some_rate():
    found = streams()
    for form in all_forms(found):
        load = found.load_of(form)
        kept = [
            found.keeps(load.at(share * load.most_requests_per_s))
            for share in (1e-6, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
        ]
        assert kept == sorted(kept, reverse=True)
        assert not kept[-1]


def test_a_margin_makes_times_longer():
    found = streams()
    form = all_forms(found)[0]
    load = found.load_of(form).at(0.3 * found.load_of(form).most_requests_per_s)
    p99 = load.percentile("ttft_s", 0.99)
    tight = streams(limits={"ttft_p99_s": 1.05 * p99})
    assert tight.keeps(load)
    assert not tight.keeps(load, {"ttft_s": 1.2})
