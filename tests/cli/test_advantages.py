"""Where machines win, from the command line."""

import pytest

from planner.cli.advantages import PROVERS, RIVALS, Agreed, _figures
from planner.studies import crossover
from planner.studies.advantage import refining
from planner.studies.advantage.maps import MACHINES
from tests.terminal import refused

MAP = ("map", "hgx-h100", "hgx-h200", "--sizes", "8G", "--speeds", "20,50", "--proved", "none")


@pytest.mark.slow
def test_a_crossover_is_that_of_the_library(run):
    fields = run("crossover", "article-lpu", "article-h100", "--format", "json").fields
    made = crossover("article-lpu", "article-h100")
    assert fields["params"] == made.params
    assert fields["interval_80_percent"] == list(made.interval())


@pytest.mark.slow
def test_a_map_is_drawn_and_told(run, tmp_path):
    path = tmp_path / "map.svg"
    answer = run(*MAP, "--format", "json", "--out", path)
    assert answer.fields["sizes"] == [8e9]
    assert answer.fields["speeds"] == [20.0, 50.0]
    assert "<svg" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--sizes", "8G,x"), "--sizes is measured in parameters"),
        (("--sizes", ","), "--sizes must be figures with commas between them"),
        (
            ("--metric", "tpot_s"),
            "--metric must be energy_per_token_j, usd_per_million_tokens or chips",
        ),
        (("--family", "large"), "--family must be dense or moe"),
        (("--out", "map.png"), "must end in .svg, .html, .csv or .json"),
        (("--users", "few"), "--users must be a whole number, not 'few'"),
        (("--unknown", "guess"), "unknown"),
        (("--proved", "most"), "--proved must be engines, all or none"),
        (("--space", "all"), "space"),
        (("--price", "hgx-h100"), "--price must look like hgx-h100=2.10 USD/h"),
        (("--price", "hgx-b200=2 USD/h"), "machine of --price called 'hgx-b200'"),
        (("--price", "hgx-h100=2 apples"), "--price"),
        (("--price", "hgx-h100=2 USD/h", "--price-basis", "node"), "give one"),
    ],
)
def test_what_is_wrong_with_a_map_is_said_before_the_work(run, given, said):
    assert said in refused(run(*MAP[:3], *given), 2)


def test_terms_are_those_that_are_given():
    assert Agreed().given() == {}
    assert Agreed(prompt="2k", users="max", pools=True, utilisation="60 %").given() == {
        "prompt_tokens": 2000,
        "most_users": None,
        "pools": True,
        "utilisation": 0.6,
    }
    assert _figures("--sizes", "8G,1.5T", "parameters") == (8e9, 1.5e12)


def test_a_price_is_that_of_the_machine_that_it_names():
    first, second = Agreed(price=["hgx-h100 = 2.10 USD/h"]).priced(("hgx-h100", "hgx-h200"))
    assert second == "hgx-h200"
    assert first.price.usd_per_chip_hour == 2.1
    assert first.price.basis == "given"


def test_the_machines_of_a_map_are_the_librarys():
    assert RIVALS == MACHINES
    assert PROVERS == refining.PROVERS
