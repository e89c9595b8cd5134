"""What is said of a range of micro-batches holds of every number in it."""

import random
from dataclasses import replace

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.space.candidates import Candidates
from planner.space.engine_space import EngineSpace
from planner.space.forms import forms_of, parts
from planner.space.streams import Streams
from tests.engine_questions import ENGINES, random_case, random_machine, random_model
from tests.instances import CONSTANT
from tests.lanes import spread
from tests.stream_oracle import open_stream

NO_RULES = len(ENGINES) - 1
MACHINES = range(NO_RULES, 20 * len(ENGINES), len(ENGINES))
"""Those whose software has none."""

NO_LESS = ("prompt_s", "first_s", "packed_s", "felt_s", "handed_rounds")
LADDERS = ("rounds_s", "tpots_s", "cycles_s")


def streams_on(machine):
    """What is asked of a small case on a machine without rules; None where it has no stream."""
    dice = random.Random(f"range {machine}")
    case = random_case(dice, random_machine(machine))
    work = case.workload
    if work.phase != "both" or work.speculation:
        return None
    graph = random_model(dice, dice.choice((3, 4, 6)))
    work = open_stream(work.prompt_tokens, max(2, work.output_tokens))
    topology = case.topology.replace(power=CONSTANT)
    question = question_of(None, "tokens_per_s", {"ttft_p99_s": 1.0}, None)
    return Streams(EngineSpace(Candidates(graph, topology, work, question)))


def ranges_of(form):
    """A range, and all that it is cut up into."""
    yield form
    if form.is_range:
        for part in parts(form, 2):
            yield from ranges_of(part)


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_a_range_is_no_worse_than_any_number_in_it(machine):
    streams = streams_on(machine)
    if streams is None:
        return
    candidates = streams.space.candidates
    singles = {}
    for forms in forms_of(candidates):
        for form, load in zip(forms, streams.loads(forms), strict=True):
            singles[form.split, form.stages, form.in_flight] = load
    for forms in forms_of(candidates, in_ranges=True):
        ranges = [one for form in forms for one in ranges_of(form)]
        for form, load in zip(ranges, streams.loads(ranges), strict=True):
            for number in range(form.fewest, form.in_flight + 1):
                check_no_worse(load, singles[form.split, form.stages, number])


def check_no_worse(load, single):
    """Of a range, and of one number in it."""
    if single is None:
        return
    assert load is not None
    assert load.most >= single.most
    for name in NO_LESS:
        assert getattr(load, name) <= getattr(single, name) * (1 + 1e-12)
    for name in LADDERS:
        pairs = zip(getattr(load, name), getattr(single, name), strict=False)
        for least, exact in pairs:
            assert least <= exact * (1 + 1e-12)


@pytest.mark.slow
def test_of_short_prompts_too_a_range_is_no_worse_than_any_number_in_it():
    # Of such, what is computed for a micro-batch takes room from its sequences, and steps of a
    # sequence more are not small.
    machine = pl.load_topology("groq-lpu-dragonfly", chips=64)
    question = question_of(None, "tokens_per_s", {"tpot_p99_s": 1.0}, None)
    model = pl.load_model("llama-3.1-8b", weight_dtype="fp8")
    candidates = Candidates(model, machine, open_stream(2, 64), question)
    streams = Streams(EngineSpace(candidates))
    every = [form for forms in forms_of(candidates, in_ranges=True) for form in forms]
    (form,) = (one for one in every if (one.split.tensor, one.stages) == (4, 12))
    every = [part for part in ranges_of(form) if part.is_range]
    ranges = spread(every, min(6, len(every)))
    for part, load in zip(ranges, streams.loads(ranges), strict=True):
        within = range(part.fewest, part.in_flight + 1)
        numbers = spread(within, min(3, len(within)))
        singles = streams.loads([replace(form, fewest=0, in_flight=number) for number in numbers])
        for single in singles:
            check_no_worse(load, single)
            check_later_tokens(streams, part, load, single)


def check_later_tokens(streams, form, load, single):
    """Of as few places as serve a rate."""
    for share in (0.9, 0.9999):
        busy = single.at(share * single.most_requests_per_s)
        served = streams.with_fewest_places(form, load.at(busy.requests_per_s))
        assert served.most <= single.most
        later = served.percentile("tpot_s", 0.99)
        assert later <= busy.percentile("tpot_s", 0.99) * (1 + 1e-9)
