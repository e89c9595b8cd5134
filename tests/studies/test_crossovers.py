"""Where one machine's advantage ends: out of the engine, and moved by one link's latency."""

import pytest

import planner as pl
from planner.studies.crossovers import crossover


@pytest.fixture(scope="module")
def article():
    return crossover("article-lpu", "article-h100")


def test_the_articles_premises_cross_at_about_203_billion(article):
    assert article.params == pytest.approx(203e9, rel=0.02)
    assert (article.winner_below, article.winner_above) == ("article-lpu", "article-h100")


def test_one_unit_serves_70_billion_at_a_fifth_of_a_joule(article):
    near = min(article.points, key=lambda point: abs(point.parameters - 70e9))
    assert near.first == pytest.approx(0.20 * (near.parameters / 70e9) ** 2, rel=0.05)
    assert near.second == pytest.approx(0.58 * near.parameters / 70e9, rel=0.05)


def test_the_advantage_fades_all_the_way(article):
    advantages = [point.advantage for point in article.points]
    assert advantages == sorted(advantages, reverse=True)


def test_a_slower_link_brings_the_crossover_nearer_and_a_slower_still_nearer_still(article):
    lpu = pl.load_topology("article-lpu")
    moved = [
        crossover(pl.with_value(lpu, "fabrics[0].latency_s", latency), "article-h100").params
        for latency in (1e-4, 2e-4)
    ]
    assert article.params > moved[0] > moved[1]


def test_where_one_machine_wins_throughout_there_is_no_crossover():
    h100 = pl.load_topology("article-h100")
    hungry = h100.replace(
        name="hungry", power=h100.power.replace(system_w=10 * (h100.power.system_w or h100.power.chip_w))
    )
    result = crossover("article-h100", hungry)
    assert result.params is None
    assert result.winner_below == result.winner_above == "article-h100"


def test_a_metric_nobody_knows_gets_the_nearest():
    with pytest.raises(pl.UnknownNameError, match="energy_per_token_j"):
        crossover("article-lpu", "article-h100", metric="energy")


def test_a_family_nobody_knows_is_refused():
    with pytest.raises(pl.InputError, match="dense"):
        crossover("article-lpu", "article-h100", family="sparse")
