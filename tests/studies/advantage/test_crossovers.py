"""Where one machine's advantage ends: out of the engine, and moved by one link's latency."""

import pytest

import planner as pl
from planner.studies.advantage import crossovers
from planner.studies.advantage.crossovers import crossover


@pytest.fixture
def few_sizes(monkeypatch):
    monkeypatch.setattr(crossovers, "SIZES", crossovers.SIZES[8:14:2])


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


def test_the_interval_widens_with_the_probability_and_holds_the_root(article):
    narrow, wide = article.interval(0.5), article.interval(0.8)
    assert wide[0] < narrow[0] < article.params < narrow[1] < wide[1]
    assert article.half_width > article.residual_half_width / abs(article.slope)


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


def test_the_reason_is_memory_that_grows_twice_as_fast(article):
    assert "article-lpu pays for memory" in article.reason
    assert "power 2.0" in article.reason
    assert "power 1.0" in article.reason
    terms = {(one.topology, one.cause): one for one in article.terms}
    ours = [one for one in article.rows if one.parameters in article.around]
    assert sum(
        one.before for one in terms.values() if one.topology == "article-lpu"
    ) == pytest.approx(ours[0].first)


def test_a_crossover_is_a_study_with_a_table_and_a_picture(article):
    assert len(article.to_frame()) == len(article.rows) == len(article.points)
    assert crossovers.Crossover.from_json(article.to_json()) == article
    # The interval reaches 3.9 times either way: one digit is all that it allows.
    assert "equal at 200 B parameters (80 %: 50 B to 800 B)" in str(article)
    pytest.importorskip("plotly")
    drawn = article.plot()
    assert list(drawn.data[1].y) == [1]
    assert drawn.data[1].text[0] == "200 B"
    titles = (drawn.layout.title.text, drawn.layout.xaxis.title.text, drawn.layout.yaxis.title.text)
    assert "energy per output token" in titles[0]
    assert titles[2] == "how many times less energy per output token on article-lpu [×]"
    assert not any("_" in title or "[1]" in title for title in titles)


def test_without_a_crossover_there_is_no_interval_and_the_reason_names_the_winner(few_sizes):
    fast = pl.with_value(pl.load_topology("article-lpu"), "power.chip_w", 1e-3)
    result = crossover(fast, "article-h100", family="moe")
    assert result.params is None
    assert result.no_root == "wins throughout"
    assert "article-lpu wins throughout: at every size tried" in result.reason
    with pytest.raises(pl.InputError, match="wins throughout"):
        result.interval()


def test_plans_are_those_that_engines_run_unless_any_is_asked_for(few_sizes):
    work = pl.Workload(batch_size=4)
    found = {}
    for space in ("engine", "any"):
        result = crossovers.best_plan(
            7e10, pl.load_topology("hgx-h100"), work, "tokens_per_s", space=space
        )
        assert result.space == space
        found[space] = result.objective
    assert found["engine"] <= found["any"] * (1 + 1e-9)


def test_a_crossover_says_among_which_plans_and_one_without_that_is_of_any(article):
    assert article.space == "engine"
    assert "(plans that the engines run; power: chips alone, as provisioned)" in str(article)
    unsaid = ("space", "power_scope", "power_basis", "price_basis")
    old = {
        name: value for name, value in article.model_dump(mode="json").items() if name not in unsaid
    }
    assert "(any plan)" in str(crossovers.Crossover.model_validate(old))


def test_the_space_goes_to_every_plan_of_a_crossover(few_sizes, monkeypatch):
    asked = []

    def noted(*args, space, **options):
        asked.append(space)
        return pl.partition(*args, space=space, **options)

    monkeypatch.setattr(crossovers, "partition", noted)
    made = crossover("article-lpu", "article-h100", space="any")
    assert made.space == "any"
    assert set(asked) == {"any"}


def test_machines_without_a_scope_or_a_basis_in_common_have_no_crossover():
    with pytest.raises(pl.InputError, match="tpu-v6e, which is not published"):
        crossover("tpu-v6e", "groq-lpu-chain")
    with pytest.raises(pl.InputError, match="no basis on which the prices of all are known"):
        crossover("tpu-v6e", "groq-lpu-chain", metric="usd_per_million_tokens")


def test_one_size_that_both_hold_is_not_called_throughout(article):
    one = article.rows[2].replace(first=1.0, second=2.0)
    alone = article.replace(
        rows=(article.rows[0].replace(first=None), one, article.rows[-1].replace(second=None)),
        params=None,
        around=None,
        winner_below="article-lpu",
    )
    assert "the one size tried that both can hold" in str(alone)
    assert "throughout" not in str(alone)
    with pytest.raises(pl.InputError, match="the one size tried"):
        alone.interval()


def test_where_a_machine_holds_nothing_no_winner_is_named(article):
    rows = tuple(row.replace(second=None) for row in article.rows)
    never = article.replace(rows=rows, params=None, around=None, winner_below=None)
    assert "no model that was tried fits article-h100" in str(never)
    apart = article.replace(
        rows=(rows[0], article.rows[-1].replace(first=None)),
        params=None,
        around=None,
    )
    assert "fits both article-lpu and article-h100" in str(apart)
    assert "wins" not in str(apart) + str(never)


@pytest.mark.slow
def test_a_root_found_among_uniform_plans_is_that_of_all_plans(article):
    proved = crossover("article-lpu", "article-h100", proof_time_s=None)
    assert proved.proved
    assert all(all(row.proved) for row in proved.rows)
    assert article.proved
    assert article.params == pytest.approx(proved.params, rel=crossovers.CLOSE)


def test_a_proof_that_does_not_come_in_time_is_said(few_sizes, monkeypatch):
    def never(*args, **options):
        raise pl.NoPlanFoundError("no time")

    monkeypatch.setattr(crossovers, "partition", never)
    made = crossover("article-lpu", "article-h100")
    assert not made.proved
    assert [one.status for one in made.proofs] == ["uniform plans alone"] * 2
    assert "article-h100: best uniform plan, not proved best of all" in str(made)
    assert made.params == pytest.approx(203e9, rel=0.02)


def test_a_gap_is_what_a_proved_bound_leaves():
    proof = crossovers.RootProof(topology="x", value=1.1, bound=1.0, status="feasible")
    assert proof.gap == pytest.approx(0.1)
    assert str(proof) == "x: within 10 % of the proved bound"


@pytest.mark.parametrize(
    ("held", "found"),
    [
        (range(20), [0, 3, 6, 9, 12, 15, 18, 19]),
        (range(5, 11), [5, 6, 9, 10]),
        (range(7, 9), [7, 8]),
        ([], []),
    ],
)
def test_sizes_that_both_hold_are_found_by_strides(held, found):
    assert crossovers._held_by_both(lambda place: place in held) == found
