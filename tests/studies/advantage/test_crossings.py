"""What a crossover says of itself: words, intervals, reasons, terms, a picture."""

import pytest

import planner as pl
from planner.studies.advantage.crossings import Crossover, RootProof


def test_the_interval_widens_with_the_probability_and_holds_the_root(article):
    narrow, wide = article.interval(0.5), article.interval(0.8)
    assert wide[0] < narrow[0] < article.params < narrow[1] < wide[1]
    assert article.half_width > article.residual_half_width / abs(article.slope)


def test_the_reason_is_memory_that_grows_twice_as_fast(article):
    assert "article-lpu spends on memory" in article.reason
    assert "power 2.0" in article.reason
    assert "power 1.0" in article.reason
    terms = {(one.topology, one.cause): one for one in article.terms}
    ours = [one for one in article.rows if one.parameters in article.around]
    assert sum(
        one.before for one in terms.values() if one.topology == "article-lpu"
    ) == pytest.approx(ours[0].first)


@pytest.mark.slow
def test_a_crossover_is_a_study_with_a_table_and_a_picture(article):
    assert len(article.to_frame()) == len(article.rows) == len(article.points)
    assert Crossover.from_json(article.to_json()) == article
    # The interval reaches 3.9 times either way: one digit is all that it allows.
    assert "equal at 200 B parameters (80 %: 50 B to 800 B)" in str(article)
    pytest.importorskip("plotly")
    drawn = article.plot()
    assert list(drawn.data[1].y) == [1]
    assert drawn.data[1].text[0] == "200 B"
    titles = (drawn.layout.title.text, drawn.layout.xaxis.title.text, drawn.layout.yaxis.title.text)
    assert "energy per output token" in titles[0]
    assert titles[2] == "how many times less energy per output token on article-lpu [×]"
    told = titles[0].replace("<br>", " ")
    assert f"prices and figures as of {article.data_date}.<" in told
    assert not any("_" in title or "[1]" in title for title in titles)


def test_a_crossover_says_among_which_plans_and_one_without_that_is_of_any(article):
    assert article.space == "engine"
    assert "(plans that the engines run; power: chips alone, as provisioned)" in str(article)
    unsaid = ("space", "power_scope", "power_basis", "price_basis")
    old = {
        name: value for name, value in article.model_dump(mode="json").items() if name not in unsaid
    }
    assert "(any plan)" in str(Crossover.model_validate(old))


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


def test_a_gap_is_what_a_proved_bound_leaves():
    proof = RootProof(topology="x", value=1.1, bound=1.0, status="feasible")
    assert proof.gap == pytest.approx(0.1)
    assert str(proof) == "x: within 10 % of the proved bound"


def test_a_crossover_says_under_what_terms_it_was_found(article):
    assert (
        "; 1024 + 256 tokens; weights in bf16, the same on all machines; no drafts; one pool for"
        " prompts and tokens; in use all hours, at most 1 user in flight; article-lpu: claims-chain, bf16;"
        f" article-h100: claims, bf16; prices and figures as of {article.data_date}"
    ) in str(article)
    assert [(one.users, one.drafts) for one in article.proofs] == [(1, None), (1, None)]
    assert "1024 + 256 tokens" in article._repr_html_()
    eight = article.replace(workload=pl.Workload(batch_size=8))
    assert "8 requests in flight" in eight.under
    pooled = article.replace(compared_under=article.compared_under.replace(pools=True))
    assert "one pool on article-h100, whose software is not known to have two" in pooled.under


def test_of_what_was_found_before_terms_were_said_none_are(article):
    unsaid = ("compared_under", "workload", "sides", "data_date")
    old = {
        name: value for name, value in article.model_dump(mode="json").items() if name not in unsaid
    }
    assert Crossover.model_validate(old).under == ""
    assert str(Crossover.model_validate(old)).endswith("(to the power 1.0)")


def test_without_a_recorded_proof_nothing_is_proved(article):
    assert article.proved
    assert not article.replace(proofs=()).proved
    missing = article.replace(params=None, around=None, proofs=())
    assert not missing.proved


def test_a_root_without_a_breakdown_has_no_reason_and_one_without_effects_its_residual(article):
    bare = article.replace(terms=(), sensitivities=())
    assert bare.reason == ""
    assert "; ;" not in str(bare)
    assert bare.half_width == pytest.approx(bare.residual_half_width / abs(bare.slope))
    assert bare.interval()[0] < bare.params
    none = bare.replace(slope=None)
    assert none.interval() == (0.0, float("inf"))
    assert none.digits == 1
