"""A map's words: what it shows, of which models, and where it comes from."""

import pytest

from planner.studies.advantage.borders import Edge
from planner.studies.advantage.captions import caption_of, title_of
from planner.studies.advantage.records import AdvantageMap, Measured, Square
from planner.studies.advantage.terms import Side, Terms


@pytest.fixture(scope="module")
def drawn() -> AdvantageMap:
    return AdvantageMap(
        topologies=("a",), titles=("A",), metric="chips", family="moe", weight_dtype="fp8", prompt_tokens=10,
        output_tokens=5, most_users=1, sizes=(1e9,), speeds=(10.0,), rows=(), uncertainties=(), measured=(), switches=(),
        power_scope="system", power_basis="drawn", price_basis="node",
    )  # fmt: skip


def test_a_title_names_metric_family_format_and_users(drawn):
    assert title_of(drawn) == (
        "The machine with the least number of chips, models with experts in fp8, at most 1 user in flight"
    )


def test_a_caption_says_what_is_counted_where_the_metric_counts_it(drawn):
    assert caption_of(drawn)[0].startswith("10 + 5 tokens;")
    joules = caption_of(drawn.replace(metric="energy_per_token_j"))
    assert joules[0].startswith("Power: at the wall, as drawn; 10 + 5 tokens;")
    dollars = caption_of(drawn.replace(metric="usd_per_million_tokens"))
    assert dollars[0].startswith("Price: the chip and its share of the node;")


SIDE = Side(
    topology="a", title="A", software="stack 1.2", weight_dtype="int8", multiplied_in="int8", drafts=("eagle3", "ngram"),
    has_pools=False, power_scope="system", price_basis="node", most_chips=64,
)  # fmt: skip


def test_a_caption_names_software_format_drafts_pools_ends_and_the_day_of_its_data(drawn):
    edge = Edge(
        topology="a", chips=10440, parameters=1.05e12, next_parameters=1.07e12, why="memory full"
    )
    told = drawn.replace(
        terms=Terms(drafts="best", pools=True, requests_per_s=30.0),
        sides=(SIDE,),
        edges=(edge,),
        unknown=("b",),
        data_date="2026-09-28",
    )
    text = " ".join(caption_of(told))
    for words in (
        "each machine drafts as its software can", "a load of 30 requests/s",
        "Machines: a: stack 1.2, int8, drafts by eagle3 or ngram.",
        "One pool on a, whose software is not known to have two.", "The metric of b is not known",
        "a ends at 1,050 B: the memory of all its 10,440 chips is full", "as of 2026-09-28",
    ):  # fmt: skip
        assert words in text, words
    assert "no drafts" in " ".join(caption_of(drawn))


def test_a_caption_says_why_a_point_lies_where_nobody_is_predicted_to_reach(drawn):
    nobody = Square(
        parameters=1e9, tokens_per_s_per_user=10.0, winner=None, advantage=None, likely_share=1.0,
        values=(None,), chips=None, users=None, tpot_s=None,
    )  # fmt: skip
    point = Measured(
        topology="a", model="m", parameters=1e9, tokens_per_s_per_user=10.0, energy_per_token_j=None,
        row_id="1", source="x", reached=False, why="it ran on more chips",
    )  # fmt: skip
    told = drawn.replace(rows=(nobody,), measured=(point,))
    assert "M on a at 10 tokens/s: it ran on more chips." in caption_of(told)
    won = nobody.replace(winner="a", values=(1.0,))
    assert "more chips" not in " ".join(caption_of(told.replace(rows=(won,))))
    reached = point.replace(reached=True)
    assert "more chips" not in " ".join(caption_of(told.replace(measured=(reached,))))
