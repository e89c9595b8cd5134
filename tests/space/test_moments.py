"""Times, chips and memory of the engine's plans are those that `score_plan` finds, plan by plan."""

import itertools
import random

import numpy as np
import pytest

import planner as pl
from planner.answers.question import FIELDS
from planner.pricing.price_list import Split
from planner.space.engine_space import Found, moment_of
from planner.space.moments import Batch, Meter, Peaks, Sums
from tests.instances import tiny_graph, tiny_topology
from tests.lanes import mostly_slow, some
from tests.questions import cuts_of, random_space, space_of


def batch(*rows):
    """(micro-batches, sequences in each) of some batches."""
    return Batch(*np.array([(a * b, a, b) for a, b in rows], dtype=np.intp).T)


def random_plan(space, dice):
    """A plan of any span, and how its busiest replica runs once it is scored; None where no plan
    was drawn that can be scored."""
    spans = [span for _, span in space.spans()]
    if not spans:
        return None
    span = dice.choice(spans)
    number = dice.randint(span.first, span.last)
    replicas = span.replicas or dice.randint(1, span.form.most_replicas)
    borders = dice.choice(list(cuts_of(space, span.form.stages)))
    single = span._replace(first=number, last=number)
    found = Found(single, replicas, 0.0, borders)
    plan = space.to_plan(found)
    try:
        score = space.candidates.score(plan)
    except (pl.InfeasibleError, pl.InputError):
        return None
    return found, plan, score


def moments_of(space, found, plan, score):
    """At the batch that was scored, which under a rate is an outcome."""
    sequences = -(-score.batch_size // plan.replicas)
    micro_batches = min(plan.micro_batches, sequences)
    if space.workload.phase == "prefill":
        sequences = micro_batches = 1
    at = Batch(
        np.array([sequences]),
        np.array([micro_batches]),
        np.array([-(-sequences // micro_batches)]),
    )
    return moment_of(space.meter.moments(found.span.form.split, at), 0)


def sums_of(space, found, at):
    """Over all stages and links, added up here."""
    counts = space.meter.counts
    latent = _latent_s(space.graph, space.topology)
    decode = counts @ at.decode + at.host_s + latent
    prefill = counts @ at.prefill + at.prompt_host_s + latent * (at.passes > 0)
    for head, hop in zip(found.borders[1:-1], found.span.form.hops, strict=True):
        handed = float(space.meter.handed[head - 1])
        decode = decode + space.meter.link_s(hop, handed, at.decode_tokens)
        if at.passes > 0:
            prefill = prefill + space.meter.link_s(hop, handed, at.prefill_tokens)
    slower = counts @ np.maximum(at.decode, at.prefill) + max(at.host_s, at.prompt_host_s)
    slower = slower + latent
    for head, hop in zip(found.borders[1:-1], found.span.form.hops, strict=True):
        handed = float(space.meter.handed[head - 1])
        links = [
            space.meter.link_s(hop, handed, at.decode_tokens),
            space.meter.link_s(hop, handed, at.prefill_tokens) * (at.passes > 0),
        ]
        slower = slower + max(links)
    return Sums(decode, prefill, slower)


def _latent_s(graph, topology):
    """Waits of all layers with attention in which others have their turn, one by one."""
    software = topology.software
    latent = 0.0
    for layer in graph.layers:
        if any(operator.kind == "attention" for operator in layer.operators):
            share = layer.weight_bytes / topology.chip.memory[0].capacity_bytes
            wait = software.layer_overhead_s + software.layer_crossing_s * share**0.5
            latent += (1 - software.layer_occupancy) * wait
    return latent


def peaks_of(space, found, at):
    form = found.span.form
    if form.stages == 1:
        return Peaks(*space.alone(at))
    return Peaks(*space.chain(form, at, at).peaks_of(found.borders))


@pytest.mark.parametrize("seed", mostly_slow(range(some(40, 150)), but=tuple(range(30))))
def test_times_are_those_of_the_score(seed):
    dice = random.Random(f"moments {seed}")
    drawn = None
    while drawn is None:
        space = random_space(dice)
        drawn = random_plan(space, dice)
    found, plan, score = drawn
    at = moments_of(space, found, plan, score)
    peaks = peaks_of(space, found, at)
    rate = space.rate / plan.replicas
    times = space.meter.times(at, sums_of(space, found, at), peaks, rate)
    assert float(times.ttft_s) == pytest.approx(score.ttft_s, rel=1e-9)
    if space.workload.phase != "prefill":
        assert float(times.tpot_s) == pytest.approx(score.tpot_s, rel=1e-9)
        assert float(times.request_s) == pytest.approx(score.request_s, rel=1e-9)
    if not space.rate:
        requests = plan.replicas if space.workload.phase == "prefill" else score.batch_size
        tokens = requests * space.workload.output_tokens
        assert tokens / float(times.cycle_s) == pytest.approx(score.tokens_per_s, rel=1e-9)

    # What a chip holds is what the ledger of the fullest says.
    fullest = max(stage.needed_bytes for stage in score.stages)
    assert float(peaks.needed) == pytest.approx(fullest, rel=1e-9)


@pytest.mark.slow
def test_every_kind_of_question_is_among_those_that_are_compared():
    kinds = set()
    for seed in range(150):
        work = random_space(random.Random(f"moments {seed}")).workload
        kinds |= {
            (work.phase, work.arrivals),
            ("drafted", work.speculation is not None),
            ("rate", work.requests_per_s is not None),
            ("open", work.batch_size is None),
        }
    assert kinds >= {
        ("both", "steady"),
        ("both", "together"),
        ("decode", "steady"),
        ("prefill", "steady"),
        *itertools.product(("drafted", "rate", "open"), (True, False)),
    }


def meter(workload=None, **changes):
    work = workload or pl.Workload(batch_size=None, prompt_tokens=90, output_tokens=20)
    space = space_of(tiny_graph(3), tiny_topology(4, **changes), work, "tpot_s")
    return Meter(space.candidates)


def test_many_batches_at_once_are_each_what_they_are_alone():
    every = meter().moments(Split(tensor=2), batch((1, 1), (2, 1), (2, 5), (2, 5), (3, 7)))
    for number, row in enumerate([(1, 1), (2, 1), (2, 5), (2, 5), (3, 7)]):
        one = moment_of(meter().moments(Split(tensor=2), batch(row)), 0)
        same = moment_of(every, number)
        for name in ("decode", "prefill", "host_s", "others", "lost", "held_sequences", "buffers"):
            assert np.array_equal(getattr(one, name), getattr(same, name)), name


def test_sequences_are_shared_out_whole_unless_relaxed():
    # Five sequences over two ranks: three on the fuller one, or two and a half.
    whole = meter().moments(Split(attention=2), batch((1, 5)))
    relaxed = meter().moments(Split(attention=2), batch((1, 5)), relaxed=True)
    assert whole.held_sequences.tolist() == [3]
    assert (relaxed.decode <= whole.decode).all()
    assert whole.decode_tokens.tolist() == [3]
    assert relaxed.decode_tokens.tolist() == [2.5]


def test_relaxed_times_for_a_sequence_shrink_as_more_are_in_flight():
    rows = [(1, size) for size in range(1, 12)]
    relaxed = meter().moments(Split(attention=2), batch(*rows), relaxed=True)
    each = relaxed.decode.sum(axis=0) / np.arange(1, 12)
    assert (np.diff(each) <= 1e-15).all()


def test_a_link_takes_its_latency_and_the_bytes_that_are_handed_on():
    # 20 us for 1 MB at 50 GB/s; before that 1 us on the wire and 1 us of the software.
    none, one, two = (float(meter().link_s((0, 1), 1e6, tokens)) for tokens in (0.0, 1.0, 2.0))
    assert none == pytest.approx(2e-6)
    assert (one - none, two - one) == pytest.approx((20e-6, 20e-6))


def test_fields_of_a_score_are_known_to_the_market():
    # A field that is asked for and not stated would fail in the middle of a search.
    from planner.space.engine_space import Market

    simple = {
        "ttft_s", "tpot_s", "tokens_per_s_per_user", "request_s", "memory_headroom_bytes",
    }  # fmt: skip
    assert all(name in simple or hasattr(Market, f"_{name}") for name in FIELDS)
