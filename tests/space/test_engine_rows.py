"""Rows of an engine's plans: there is one for every plan, and its cost is the score of that plan."""

import itertools
import random

import numpy as np
import pytest

import planner as pl
from planner.answers.question import FIELDS, Question
from planner.space.candidates import Candidates
from planner.space.engine_rows import Priced, Table
from planner.space.layout import even_cut
from tests.engine_oracle import priced
from tests.engine_questions import ENGINES, MACHINES, is_asked, random_case, random_machine
from tests.instances import tiny_graph, tiny_software, tiny_topology


def table_of(case, field, limits=()):
    question = Question(field, tuple(limits), space="engine")
    return Table(Candidates(*case[:3], question, exclude=case.exclude))


KNOWN = [number for number in range(MACHINES) if random_machine(number).software.engine.is_known]


def known_case(name, number):
    """A random question of a machine whose rules are known, with a fixed number of drafts."""
    machine = random_machine(number)
    attempt, case = 0, None
    while case is None or is_open(case.workload.speculation):
        case = random_case(random.Random(f"{name} {number} {attempt}"), machine)
        attempt += 1
    return case


def is_open(drafting):
    """Whether a workload leaves open how many tokens are drafted."""
    return drafting is not None and drafting.tokens is None


def value_of(cost, peaks, row, rows):
    """A cost of one row at its peaks."""
    return float(cost.value(np.tile(peaks[:, None], rows))[row])


def peaks_of(table, whole, row, borders):
    """Of a row cut so, from the loads of single layers."""
    kinds = table.graph.kind_of_layer
    runs = itertools.pairwise(borders)
    loads = [whole.each_layer[:, kinds[a:b], row].sum(axis=1) for a, b in runs]
    loads[-1] = loads[-1] + whole.last[:, row]
    return np.maximum(np.max(loads, axis=0), whole.floor[:, row])


@pytest.mark.slow
@pytest.mark.parametrize("number", KNOWN[:12])
def test_the_cost_of_a_row_is_the_score_of_its_plan(number):
    case = known_case("rows", number)
    dice = random.Random("rows")
    compared = 0
    for field in [name for name in FIELDS if is_asked(name, case) and name != "power_w"]:
        table = table_of(case, field)
        if table.rate:
            continue  # the rate, not the row, says how many sequences are in flight
        blocks = [table.apart(rows) for rows in table.blocks()]
        rows = dice.choice([rows for rows in blocks if len(rows)] or [None])
        if rows is None:
            continue
        whole = Priced(table, rows)
        for row in dice.sample(range(len(rows)), min(4, len(rows))):
            stages = int(rows.stages[row])
            graph = table.graph
            borders = even_cut(graph, stages) if stages > 1 else [0, len(graph.layers)]
            peaks = peaks_of(table, whole, row, borders)
            plan = table.to_plan(rows, row, borders)
            told = table.candidates.allowed_value(plan)
            if told == np.inf:
                assert peaks[-1] > whole.most[-1, row] * (1 - 1e-9)
                continue
            cost = whole.cost(field)
            found = value_of(cost, peaks, row, len(rows))
            least = min(
                value_of(Priced(table, rows.some(np.array([other]))).cost(field), peaks, 0, 1)
                for other in range(len(rows))
                if same_but_draw(rows, row, other)
            )
            assert found >= told * (1 - 1e-9)
            assert least == pytest.approx(told, rel=1e-9)
            assert whole.bounds()[row] <= found * (1 + 1e-9)
            compared += 1
    assert compared or table.rate or not priced(case, "engine")


def same_but_draw(rows, one, other):
    names = ("form", "replicas", "sequences", "micro_batches")
    return all(getattr(rows, name)[one] == getattr(rows, name)[other] for name in names)


@pytest.mark.parametrize("number", KNOWN[:6])
def test_no_plan_that_fits_beats_the_bounds_of_the_rows(number):
    case = known_case("every", number)
    field = next(name for name in ("request_s", "ttft_s") if is_asked(name, case))
    table = table_of(case, field)
    bounds = [Priced(table, rows).bounds() for rows in table.blocks()]
    least = min((float(one.min(initial=np.inf)) for one in bounds), default=np.inf)
    for one in priced(case, "engine"):
        value = table.candidates.canonical(field, getattr(one.score, field))
        assert least <= value * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["tokens_per_s", "energy_per_token_j", "usd_per_million_tokens"])
def test_rows_together_are_bounded_by_what_each_of_them_is(field):
    software = tiny_software(engine=ENGINES[2], most_sequences=9)
    topology = tiny_topology(6, software=software)
    work = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
    question = Question(field, (), space="engine")
    table = Table(Candidates(tiny_graph(4), topology, work, question))
    for rows in table.blocks():
        bounds = Priced(table, rows).bounds()
        for row, bound in enumerate(bounds.tolist()):
            each = table.apart(rows.some(np.array([row])))
            assert each.is_apart
            assert bound <= float(Priced(table, each).bounds().min()) * (1 + 1e-12)


def test_what_no_sum_can_say_is_refused_in_one_sentence():
    case = known_case("power", KNOWN[0])
    graph = tiny_graph(3)
    layers = (graph.layers[0].replace(activation_width=96), *graph.layers[1:])
    # The embedding hands on other bytes, and stages may end behind it where rules let them.
    free = ENGINES[0].replace(decoder_on_each_stage=False)
    topology = case.topology.replace(software=case.topology.software.replace(engine=free))
    work = pl.Workload(batch_size=2)
    question = Question("tpot_s", (), space="engine")
    with pytest.raises(pl.InputError, match=r"cannot plan .* different numbers of bytes"):
        Table(Candidates(graph.replace(layers=layers), topology, work, question))
