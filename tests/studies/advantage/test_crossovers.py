"""Where one machine's advantage ends: out of the engine, and moved by one link's latency, and by each of
the agreed terms."""

import pytest

import planner as pl
from planner.studies.advantage import best_plans, roots
from planner.studies.advantage.agreements import agreement_of
from planner.studies.advantage.crossovers import ONE_AT_A_TIME, crossover
from planner.studies.advantage.races import Race
from planner.studies.advantage.terms import Terms
from planner.workload import Speculation


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


@pytest.mark.slow
def test_a_slower_link_brings_the_crossover_nearer_and_a_slower_still_nearer_still(
    article, few_sizes
):
    lpu = pl.load_topology("article-lpu")
    moved = [
        crossover(pl.with_value(lpu, "fabrics[0].latency_s", latency), "article-h100").params
        for latency in (1e-4, 2e-4)
    ]
    assert article.params > moved[0] > moved[1]


def test_where_one_machine_wins_throughout_there_is_no_crossover(few_sizes):
    h100 = pl.load_topology("article-h100")
    hungry = h100.replace(
        name="hungry",
        power=h100.power.replace(chip_w=10 * (h100.power.chip_w or 0)),
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


@pytest.mark.slow
def test_a_figure_moves_the_root_as_its_slope_says(article, few_sizes):
    path = "fabrics[0].latency_s"
    slower = pl.with_value(pl.load_topology("article-lpu"), "power.chip_w", 1.05 * article_watts())
    named = {one.path: one for one in article.sensitivities}
    assert (
        f"article-lpu: {path}" not in named
    )  # no latency is claimed, so no part of it can be moved
    moved = crossover(slower, "article-h100").params
    slope = named["article-lpu: power.chip_w"].slope
    assert moved / article.params == pytest.approx(1.05**slope, rel=3e-3)
    widths = [one.half_width for one in article.sensitivities]
    assert widths == sorted(widths, reverse=True)


def article_watts() -> float:
    watts = pl.load_topology("article-lpu").power.chip_w
    assert watts is not None
    return watts


@pytest.mark.slow
def test_without_a_crossover_there_is_no_interval_and_the_reason_names_the_winner(few_sizes):
    fast = pl.with_value(pl.load_topology("article-lpu"), "power.chip_w", 1e-3)
    result = crossover(fast, "article-h100", family="moe")
    assert result.params is None
    assert result.no_root == "wins throughout"
    assert "article-lpu wins throughout: at every size tried" in result.reason
    with pytest.raises(pl.InputError, match="wins throughout"):
        result.interval()


@pytest.mark.slow
def test_the_space_goes_to_every_plan_of_a_crossover(few_sizes, monkeypatch):
    asked = []

    def noted(*args, space, **options):
        asked.append(space)
        return pl.partition(*args, space=space, **options)

    monkeypatch.setattr(best_plans, "partition", noted)
    made = crossover("article-lpu", "article-h100", space="any")
    assert made.space == "any"
    assert set(asked) == {"any"}


def test_machines_without_a_scope_or_a_basis_in_common_have_no_crossover():
    with pytest.raises(pl.InputError, match="tpu-v6e, which is not published"):
        crossover("tpu-v6e", "groq-lpu-chain")
    with pytest.raises(pl.InputError, match="no price basis is known for all machines"):
        crossover("tpu-v6e", "groq-lpu-chain", metric="usd_per_million_tokens")


def advantage(size=7e10, **fields):
    """Of the article's LPU over its H100 at one size."""
    agreed = agreement_of("energy_per_token_j", "dense", ONE_AT_A_TIME, None, fields, None)
    machines = agreed.machines([pl.load_topology(one) for one in ("article-lpu", "article-h100")])
    return Race(list(machines), agreed, 1.0).advantage(size)


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        # Joules go as bytes squared on LPUs, as bytes on H100s.
        ({"weight_dtype": "fp8"}, 2.0),
        ({"weight_dtype": {"article-lpu": "fp8", "article-h100": "bf16"}}, 4.0),
        ({"weight_dtype": {"article-lpu": "bf16", "article-h100": "fp8"}}, 0.5),
        # Their chips multiply 16 bit alone.
        ({"weight_dtype": "fp8", "formats": "nearest"}, 1.0),
        # Both make so many more tokens in a pass, and both draw what they draw at all hours.
        ({"drafts": Speculation(tokens=3, kind="ngram")}, 1.0),
        ({"utilisation": 0.5}, 1.0),
    ],
)
def test_terms_move_the_articles_advantage_as_by_hand(fields, factor):
    assert advantage(**fields) / advantage() == pytest.approx(factor, rel=0.02)


@pytest.mark.slow
def test_longer_caches_are_more_bytes_which_lpus_feel_squared():
    assert advantage(prompt_tokens=8192) < advantage() > advantage(output_tokens=4096)


@pytest.mark.slow
def test_a_root_is_twice_as_large_where_both_store_half(article, monkeypatch):
    monkeypatch.setattr(roots, "SIZES", (3e11, 6e11))
    made = crossover("article-lpu", "article-h100", weight_dtype="fp8")
    assert made.params == pytest.approx(2 * article.params, rel=0.01)
    assert made.compared_under == article.compared_under.replace(weight_dtype="fp8")
    assert [side.weight_dtype for side in made.sides] == ["fp8", "fp8"]


@pytest.mark.slow
def test_drafts_of_one_side_bring_its_border_nearer(monkeypatch):
    monkeypatch.setattr(roots, "SIZES", (8e9, 1.2e10))
    terms = Terms(most_users=1)
    plain = crossover("apple-m3-ultra", "hgx-h100", terms=terms)
    assert plain.winner_below == "apple-m3-ultra"
    assert plain.compared_under == terms
    drafting = crossover("apple-m3-ultra", "hgx-h100", terms=terms, drafts="best")
    # Of that machine's software no heads are known that draft: it wins nowhere any more.
    assert drafting.winner_below == "hgx-h100"
    assert "eagle3" not in drafting.sides[0].drafts
    assert "hgx-h100: tensorrt-llm 1.2, fp8, drafts by eagle3" in str(drafting)


@pytest.mark.slow
def test_joules_at_the_site_are_found_for_machines_known_at_the_wall(monkeypatch):
    monkeypatch.setattr(roots, "SIZES", (8e9, 1.2e10))
    pair = ("apple-m3-ultra", "hgx-h100")
    terms = Terms(most_users=1)
    wall = crossover(*pair, terms=terms)
    site = crossover(*pair, terms=terms, power_scope="facility", pue=1.5)
    assert (wall.power_scope, site.power_scope) == ("system", "facility")
    assert site.params == pytest.approx(wall.params, rel=roots.CLOSE)
    assert site.rows[0].first == pytest.approx(1.5 * wall.rows[0].first)
    assert site.proved
    assert "PUE 1.5 for all" in str(site)
    with pytest.raises(pl.InputError, match="needs the facility power of article-lpu"):
        crossover("article-lpu", "article-h100", power_scope="facility")


def test_what_is_no_term_gets_the_nearest():
    with pytest.raises(pl.InputError, match="did you mean drafts"):
        crossover("article-lpu", "article-h100", draft="best")


def test_a_machine_does_not_cross_itself_and_a_count_of_chips_says_nothing():
    for first, second, said in (
        ("hgx-h100", "hgx-h100", "hgx-h100 is given twice"),
        ("hgx-h100:8", "article-lpu", "each machine has as many as are best; give 'hgx-h100'"),
    ):
        with pytest.raises(pl.InputError, match=said):
            crossover(first, second)
