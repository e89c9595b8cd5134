"""No bound lies above a plan that it is of; boxes are taken apart without a gap; and what is settled
is the best of all cuts."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.space.engine_space import Found
from tests.instances import (
    FOLLOWING,
    fabric,
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)
from tests.lanes import mostly_slow, some
from tests.questions import (
    cuts_of,
    found_in,
    random_machine,
    random_model,
    random_space,
    space_of,
    value_of,
)

OPEN = pl.Workload(batch_size=None, prompt_tokens=90, output_tokens=20)


def machine(chips=4, **changes):
    numbers = {
        "software": tiny_software(engine=tiny_engine(), most_sequences=12),
        "chip": tiny_chip(1e9),
    }
    return tiny_topology(chips, fabric("switch", 8), **{**numbers, **changes})


def values_of(space, span):
    """Of all plans of a span, with every number of replicas."""
    most = span.form.most_replicas
    replicas = [span.replicas] if span.replicas else range(1, most + 1)
    if space.workload.phase == "prefill" and not span.replicas:
        replicas = range(1, most + 1)
    return {
        found: value_of(space, found)
        for number in replicas
        for found in found_in(space, span, number)
    }


def limits_for(dice):
    """None, or one that some plans break."""
    return dice.choice(
        (
            {},
            {},
            {"tpot_s": dice.choice((2e-4, 1e-3))},
            {"chips": float(dice.choice((1, 2, 3)))},
            {"ttft_s": dice.choice((1e-3, 2e-2))},
        )
    )


def drawn_space(seed):
    """A question with limits, unless they say nothing of a pool."""
    dice = random.Random(f"engine space {seed}")
    while True:
        try:
            return random_space(dice, **limits_for(dice)), dice
        except pl.InputError:
            continue


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@settings(max_examples=some(30, 100))
@given(st.integers(0, 2**32))
def test_no_bound_lies_above_the_value_of_a_plan_of_its_span(seed):
    space, dice = drawn_space(seed)
    spans = list(space.spans())
    for bound, span in dice.sample(spans, min(4, len(spans))):
        low = span._replace(last=min(span.last, span.first + 2))
        for found, value in values_of(space, low).items():
            assert bound <= value * (1 + 1e-9), found


def test_one_sequence_that_waits_for_nobody_may_be_worth_more_than_several():
    """Alone a token is handed out at once; among others after 16 rounds."""
    software = tiny_software(engine=tiny_engine(), most_sequences=4, handover_rounds=16.0)
    work = OPEN.replace(prompt_tokens=16, output_tokens=2)
    space = space_of(tiny_graph(2), machine(1, software=software), work, "usd_per_million_tokens")
    (_, alone), *_ = space.spans()
    assert alone.single
    every = space.whole(alone)
    assert (every.first, every.last) == (1, 4)
    values = {found.span.first: value for found, value in values_of(space, every).items()}
    assert values[1] < min(values[number] for number in (2, 3, 4))
    (bound,) = space.vectors([every])[:, 0]
    assert bound <= values[1]


@pytest.mark.slow
@settings(max_examples=some(30, 100))
@given(st.integers(0, 2**32))
def test_a_tightened_bound_lies_between_the_even_one_and_every_value(seed):
    space, dice = drawn_space(seed)
    if space.counts_replicas:
        return
    spans = list(space.spans())
    for even, span in dice.sample(spans, min(4, len(spans))):
        tight = {one: bound for bound, one in space.tightened([span])}
        assert tight.get(span, math.inf) >= even * (1 - 1e-9)
        low = span._replace(last=min(span.last, span.first + 1))
        for value in values_of(space, low).values():
            assert tight.get(span, math.inf) <= value * (1 + 1e-9)


@pytest.mark.slow
@settings(max_examples=some(30, 100))
@given(st.integers(0, 2**32))
def test_what_no_span_has_breaks_a_rule_or_a_limit(seed):
    """Spans that are left out at once hold no plan."""
    space, dice = drawn_space(seed)
    kept = {span for _, span in space.spans()}
    every = space._bounded
    seen = []

    def noted(spans):
        seen.extend(spans)
        return every(spans)

    space._bounded = noted
    list(space.spans())
    left_out = [span for span in seen if span not in kept]
    for span in dice.sample(left_out, min(3, len(left_out))):
        low = span._replace(last=min(span.last, span.first + 1))
        assert all(value == math.inf for value in values_of(space, low).values())


@pytest.mark.parametrize("seed", mostly_slow(range(some(12, 40)), but=tuple(range(8))))
def test_what_is_settled_is_the_best_of_all_cuts(seed):
    dice = random.Random(f"settled {seed}")
    spans = []
    while not spans:
        space, dice = drawn_space(dice.random())
        # Under a rate the batch is an outcome, and most batches are that of no plan.
        most = space.topology.software.most_sequences
        spans = [] if space.rate else [span for _, span in space.spans() if span.first <= most]
    span = dice.choice(spans)
    span = span._replace(last=span.first)
    settled = space.settled(span, math.inf)
    least = min(values_of(space, span).values(), default=math.inf)
    if settled is None:
        assert least == math.inf
        return
    assert settled.value == pytest.approx(least, rel=1e-9)
    assert value_of(space, settled) == pytest.approx(settled.value, rel=1e-9)


@pytest.mark.slow
@settings(max_examples=some(30, 100))
@given(st.integers(0, 2**32))
def test_bounds_under_a_limit_of_average_power_lie_above_no_value(seed):
    """Cuts are not known yet, and with them what chips draw on average."""
    dice = random.Random(f"average power {seed}")
    field, limits = dice.choice(
        (
            ("tokens_per_s", {"power_w": dice.choice((120.0, 200.0, 350.0))}),
            ("power_w", {"tokens_per_s": dice.choice((100.0, 2000.0))}),
        )
    )
    graph = random_model(dice)
    topology = random_machine(dice, graph, power=FOLLOWING)
    space = space_of(graph, topology, OPEN, field, limits)
    spans = list(space.spans())
    for bound, span in dice.sample(spans, min(2, len(spans))):
        low = span._replace(last=min(span.last, span.first + 2))
        assert all(bound <= value * (1 + 1e-9) for value in values_of(space, low).values())


def test_a_limit_of_average_power_leaves_little_to_settle():
    """What holds more chips than the power does for is put aside by its bound."""
    topology = machine(6, power=FOLLOWING)
    space = space_of(tiny_graph(3), topology, OPEN, "tokens_per_s", {"power_w": 250.0})
    free = space_of(tiny_graph(3), topology, OPEN, "tokens_per_s")
    wide = max((span for _, span in free.spans()), key=lambda span: span.form.most_replicas)
    (bound, _), *_ = space._bounded([wide])
    ((unlimited, _),) = free._bounded([wide])
    assert bound > 1.5 * unlimited


def test_work_of_prompts_in_fractions_of_passes_is_that_of_whole_ones():
    """Prompts that start together, a little more than the software takes in a pass."""
    software = tiny_software(engine=tiny_engine(), most_sequences=12, prefill_chunk_tokens=700)
    work = OPEN.replace(arrivals="together")
    space = space_of(tiny_graph(3), machine(software=software), work, "mfu_fraction")
    spans = [span for _, span in space.spans() if span.form.stages == 1 and not span.single]
    assert spans
    for span in spans:
        ((bound, _),) = space._bounded([span])
        low = span._replace(last=span.first)
        assert all(bound <= value * (1 + 1e-9) for value in values_of(space, low).values())


# ── Boxes ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@given(st.integers(1, 400), st.integers(0, 400))
def test_parts_cover_a_span_once(first, more):
    space = space_of(tiny_graph(3), machine(), OPEN, "tpot_s")
    _, span = next(iter(space.spans()))
    whole = span._replace(first=first, last=first + more)
    parts = space.parts(whole)
    numbers = [number for one in parts for number in range(one.first, one.last + 1)]
    assert numbers == list(range(first, first + more + 1))
    assert len(parts) <= 8
    assert more == 0 or all(one.last - one.first < more for one in parts)


@pytest.mark.parametrize("most", [2, 3, 4, 50])
def test_spans_of_an_open_batch_have_every_batch_once(most):
    engine = tiny_engine(micro_batches="stages + 1")
    topology = machine(software=tiny_software(engine=engine, most_sequences=most))
    space = space_of(tiny_graph(4), topology, OPEN, "tokens_per_s")
    by_form = {}
    for _, span in space.spans():
        by_form.setdefault(span.form, []).append((span.first, span.last))
    assert {form.stages for form in by_form} == {1, 2, 3, 4}
    for form, ends in by_form.items():
        numbers = [number for first, last in sorted(ends) for number in range(first, last + 1)]
        sequences = most * form.split.attention
        assert numbers == list(range(1, sequences + 1))


def test_a_given_batch_is_shared_out_over_the_fewest_replicas_of_each_size():
    # Five sequences over up to four replicas: 5, 3 or 2 in the largest, by 1, 2 or 3 of them.
    space = space_of(tiny_graph(3), machine(), pl.Workload(batch_size=5), "tpot_s")
    found = {
        (span.replicas, span.first, span.last) for _, span in space.spans() if span.form.chips == 1
    }
    assert found == {(1, 5, 5), (2, 3, 3), (3, 2, 2)}


def test_one_sequence_will_do_where_only_a_token_time_counts():
    space = space_of(tiny_graph(3), machine(), OPEN, "tpot_s")
    assert {(span.first, span.last) for _, span in space.spans()} == {(1, 1)}


def test_a_limit_on_chips_leaves_out_forms_and_replicas():
    space = space_of(tiny_graph(3), machine(), OPEN, "tokens_per_s", {"chips": 2.0})
    forms = {span.form for _, span in space.spans()}
    assert {form.chips for form in forms} == {1, 2}
    assert {form.chips * space.most_replicas(form) for form in forms} == {2}


# ── Plans ────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_is_what_was_found():
    space = space_of(tiny_graph(3), machine(), OPEN, "tokens_per_s")
    span = next(span for _, span in space.spans() if span.form.chips == span.form.stages == 2)
    plan = space.to_plan(Found(span._replace(first=6, last=6), 2, 0.0, (0, 2, 5)))
    assert [len(stage.layers) for stage in plan.stages] == [2, 3]
    assert [[group.first for group in stage.groups] for stage in plan.stages] == [[0, 2], [1, 3]]
    # Six sequences over two stages: three in each of two micro-batches, twice.
    assert (plan.micro_batches, plan.batch_size, plan.space) == (2, 12, "engine")


@pytest.mark.parametrize("graph", [tiny_graph(4), tiny_moe(3)], ids=["dense", "experts"])
def test_another_cut_that_is_as_good_is_as_good_and_fits(graph):
    space = space_of(graph, machine(), OPEN, "tokens_per_s")
    span = next(span for _, span in space.spans() if span.form.stages == 3)
    found = space.settled(span._replace(last=span.first), math.inf)
    others = list(space.recut(found, (0, 2, 3, len(graph.layers)), 1 + 1e-9))
    for other in others:
        assert other.value <= found.value * (1 + 1e-9)
        assert value_of(space, other) == pytest.approx(other.value, rel=1e-9)
    assert {other.borders for other in others} <= set(cuts_of(space, 3))


def test_no_cut_is_as_good_that_does_not_fit():
    # Two stages of equal layers: the head makes the second too heavy for the memory.
    graph = tiny_graph(4, vocabulary=50000)
    inner = next(
        layer.weight_bytes for layer in graph.layers if layer.kind not in ("embedding", "head")
    )
    ends = graph.layers[-1].weight_bytes
    roomy = (ends + 2.5 * inner) / 0.9
    topology = machine(chip=tiny_chip(roomy))
    space = space_of(graph, topology, OPEN, "tpot_s", {"chips": 4.0})
    for _, span in space.spans():
        if span.form.stages != 2 or span.form.split.chips > 1:
            continue
        settled = space.settled(span, math.inf)
        if settled is None:
            continue
        own = (0, 2, len(graph.layers))
        with np.errstate(all="raise"):
            cuts = {one.borders for one in space.recut(settled, own, 1.5)}
        assert own not in cuts
