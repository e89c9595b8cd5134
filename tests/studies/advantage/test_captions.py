"""A map's words: what it shows, of which models, and where it comes from."""

import pytest

from planner.studies.advantage.captions import caption_of, title_of
from planner.studies.advantage.records import AdvantageMap


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
