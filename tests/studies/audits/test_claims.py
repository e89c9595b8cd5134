"""Claims as fields, and the file of the article's."""

import tomllib
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.studies.audits.claims import Claim, Greatest, Known, article_claims, read_claims

ROOT = Path(__file__).resolve().parents[3]


def test_the_article_has_all_its_fifty_nine_figures_in_order():
    numbers = [int(claim.name.split()[0]) for claim in article_claims()]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 60))
    assert all(claim.quote and claim.source for claim in article_claims())


def test_a_file_of_claims_is_read_with_its_source(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text(
        'source = "a brochure"\n[[claim]]\nname = "one"\ntopology = "hgx-h100"\npower_w = 700\n'
    )
    assert read_claims(path) == (
        Claim(name="one", source="a brochure", topology="hgx-h100", power_w=700),
    )


def test_a_file_without_claims_says_what_it_wants(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text("[claims]\n")
    with pytest.raises(InputError, match=r"must hold tables called \[\[claim\]\]"):
        read_claims(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"figure": "power.chip_w"}, "figure and value"),
        ({"figure": "power.chip_w", "value": 7}, "topology of 'x' is missing"),
        ({"sparsity": "unstructured", "speed_up": 2}, "needs a share of zeros"),
    ],
)
def test_a_claim_that_lacks_its_other_half_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Claim(name="x", **fields)


def test_series_of_unlike_length_and_unknown_winners_are_refused():
    with pytest.raises(InputError, match="one figure for each"):
        Greatest(names=("a", "b"), first=(1,), last=(2,), winner="a")
    with pytest.raises(InputError, match="no series called 'c'"):
        Greatest(names=("a",), first=(1,), last=(2,), winner="c")


def test_claims_survive_json():
    for claim in article_claims():
        assert Claim.from_json(claim.to_json()) == claim


@pytest.mark.parametrize(
    "fields",
    [{}, {"claimed": 1.0, "low": 1.0}, {"claimed": 1.0, "low": 1.0, "high": 1.0, "agrees": True}],
)
def test_a_source_says_a_range_or_words(fields):
    with pytest.raises(InputError, match="are all needed, or `agrees` alone"):
        Known(what="it", source="MEM", confidence="M", **fields)
    with pytest.raises(InputError, match="lies above its high"):
        Known(what="it", source="MEM", confidence="M", claimed=1.0, low=2.0, high=1.0)


def test_sources_of_known_things_are_explained():
    explained = tomllib.loads((ROOT / "topologies" / "sources.toml").read_text(encoding="utf-8"))
    cited = {claim.known.source for claim in article_claims() if claim.known}
    assert cited <= set(explained)


def test_claims_in_words_alone_are_about_markets():
    words = {"name", "quote", "source", "reading", "topic", "topology"}
    for claim in article_claims():
        stated = set(claim.model_dump(exclude_defaults=True))
        assert not stated <= words or claim.topic == "market", claim.name
