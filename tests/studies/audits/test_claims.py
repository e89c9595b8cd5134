"""Claims as fields, and the file of the article's."""

import pytest

from planner.errors import InputError
from planner.studies.audits.claims import Claim, Greatest, article_claims, read_claims


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
