"""The audit: a row for each claim, premises, plot and page."""

import pytest

from planner.errors import InputError, UnknownNameError
from planner.studies.audits import audits
from planner.studies.audits.audits import Audit, Tally, audit
from planner.studies.audits.claims import Claim, article_claims

RATE = Claim(
    name="rate",
    quote="1,500 tokens/s",
    topology="groq-lpu-chain",
    chips=1,
    model="llama-3.1-70b",
    tokens_per_s=1500,
)
JOULES = RATE.replace(
    name="joules", quote="0.20 J", power_w=300, energy_per_token_j=0.2, premises=("rate",)
)


@pytest.fixture(scope="module")
def small() -> Audit:
    sums = {"kind": "quotient", "first": 0.58, "second": 0.2, "value": 2.9}
    better = Claim.from_fields(
        {"name": "better", "quote": "2.9 times", "premises": ["joules"], "arithmetic": sums}
    )
    return audit([RATE, JOULES, better, Claim(name="stars", quote="3,200 stars")])


def test_each_claim_has_a_row_in_its_order(small):
    assert [row.claim for row in small.rows] == ["rate", "joules", "better", "stars"]
    assert [row.verdict for row in small.rows] == [
        "needs more chips",
        "wrong scope",
        "wrong scope",
        "no opinion",
    ]
    assert small["joules"].also[0].startswith("needs 307 chips")
    assert small.counts()["wrong scope"] == 2


def test_a_claim_falls_with_its_premise(small):
    assert small["better"].other == "joules"
    assert "rests on claim joules" in small["better"].law


def test_a_claim_without_figures_says_why_there_is_no_opinion(small):
    assert "names no model and no machine" in small["stars"].law


def test_the_audit_is_a_table_a_page_a_picture_and_json(small):
    assert list(small.to_frame()["claim"]) == [row.claim for row in small.rows]
    assert "needs 307 chips" in small._repr_html_()
    drawn = small.plot()
    assert drawn.layout.xaxis.type == "log"
    assert {trace.name for trace in drawn.data if trace.type == "scatter"} == {
        "needs more chips",
        "wrong scope",
    }
    assert Audit.from_json(small.to_json()) == small


def test_the_picture_names_every_claim_in_full_and_keeps_its_note_under_the_axis(small):
    drawn = small.plot()
    off = [row for row in small.rows if row.factor is not None]
    names = list(drawn.layout.yaxis.tickvals)
    assert len(names) == len(off)
    for row in off:
        assert any(row.quote in name.replace("<br>", " ") for name in names)
    assert drawn.layout.annotations[0].yshift < -50
    assert drawn.layout.margin.b > 100


def test_names_that_repeat_and_premises_that_are_missing_are_refused(small):
    with pytest.raises(InputError, match="two claims are called 'rate'"):
        audit([RATE, RATE])
    with pytest.raises(UnknownNameError, match="premise of 'joules'"):
        audit([JOULES])
    with pytest.raises(UnknownNameError):
        small["rates"]


def test_a_file_of_claims_is_audited_and_told_as_it_goes(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text('[[claim]]\nname = "one"\ntopology = "hgx-h100"\npower_w = 700\n')
    told = []
    assert audit(path, progress=told.append).rows[0].verdict == "plausible"
    assert [row.claim for row in told] == ["one"]


@pytest.mark.slow
def test_what_no_engine_can_price_gets_no_opinion_and_what_laws_refute_is_refuted(monkeypatch):
    monkeypatch.setattr(audits, "PRICES", ())
    found = audit()
    assert len({row.claim.split()[0] for row in found.rows}) == 59
    assert {row.claim for row in found.rows if row.verdict == "impossible"} == {
        "16",
        "23",
        "36",
        "39",
        "53",
        "55",
    }
    assert all(
        found[name].verdict == "wrong scope" for name in ("7 LPU", "7 WSE-3", "8", "9", "28")
    )
    assert found["15"].text == "inconsistent with claim 14, 22×"
    assert (found["5"].needed_chips, found["6"].needed_chips, found["33"].needed_chips) == (
        307,
        4,
        84,
    )
    assert all(
        found[name].verdict == "no opinion" for name in ("20", "41", "54 2023", "56", "58", "59")
    )
    assert (found["39"].factor, found["49"].factor) == pytest.approx((632, 100 / 0.79), rel=1e-2)
    # Lists, data sheets, areas and distances need no engine.
    for name in ("17", "22", "25", "27", "30", "37", "38", "43", "47 racks", "50 licence", "51"):
        assert found[name].verdict != "no opinion", name
    assert all(
        found[name].factor is None or found[name].factor > 1
        for name in (row.claim for row in found.rows)
    )


@pytest.mark.slow
def test_the_verdict_follows_the_article_s_numbers(monkeypatch):
    monkeypatch.setattr(audits, "PRICES", ())
    changed = {
        "5": {"chips": 307}, "36": {"tokens_per_s_per_w": 5}, "53": {"arithmetic": {"kind": "growth", "first": 15, "last": 85,
        "years": 5, "value": 0.41}}, "14": {"value": 21e15},
    }  # fmt: skip
    claims = [
        Claim.from_fields({**claim.model_dump(), **changed.get(claim.name, {}), "premises": ()})
        for claim in article_claims()
    ]
    found = audit(claims)
    assert found["5"].verdict == "no opinion"  # no law refutes it: only a price could
    assert found["36"].verdict == "no opinion"
    assert found["53"].verdict == "no opinion"
    assert found["14"].verdict == "plausible"
    assert found["15"].verdict == "needs more chips"


def test_ctrl_c_keeps_the_rows_that_are_done(monkeypatch):
    def stop(case):
        if case.claim.name == "second":
            raise KeyboardInterrupt
        yield from ()

    monkeypatch.setattr(audits, "LAWS", (stop,))
    monkeypatch.setattr(audits, "PRICES", ())
    found = audit([Claim(name="first"), Claim(name="second"), Claim(name="third")])
    assert not found.complete
    assert [row.claim for row in found.rows] == ["first"]


@pytest.mark.parametrize(
    "fields",
    [
        {"power_w": 700}, {"hops": 2}, {"purchase_usd": 5}, {"bound_by": "memory"}, {"tokens_per_s": 5}, {"speed_up": 2},
        {"utilisation_fraction": 0.5, "sparsity": "2:4"}, {"efficiency_fraction": 0.9, "chips": 4}, {"advantage": 2},
        {"resident": True, "model": "llama-3.1-8b"}, {"latency_exponent": 1}, {"usd_per_million_tokens": 1}, {"chips": 3},
        {"tokens_per_s_per_w": 3, "model": "llama-3.1-8b"}, {"topology": "hgx-h100", "tokens_per_s": 1e9},
        {"topology": "cerebras-cs3", "figure": "power.chip_w", "value": 1}, {"parameters": 1e9},
    ],
)  # fmt: skip
def test_a_claim_that_leaves_out_what_it_would_take_gets_no_opinion(fields):
    assert audit([Claim(name="x", **fields)]).rows[0].verdict == "no opinion"


def test_names_and_paths_that_are_not_there_are_refused():
    with pytest.raises(UnknownNameError, match="no topology called"):
        audit([Claim(name="x", topology="hgx-h1000")])
    with pytest.raises(InputError, match="has no figure at"):
        audit([Claim(name="x", topology="hgx-h100", figure="chip.bandwidth", value=1)])


def test_an_audit_prints_as_a_table_that_a_terminal_holds(small):
    lines = str(small).splitlines()
    assert lines[0].split() == ["claim", "what", "it", "says", "verdict", "found", "why"]
    assert max(map(len, lines)) <= 120
    rate = next(line for line in lines if line.startswith("rate"))
    assert "needs more chips  307 chips, 307×" in rate
    assert " ".join(lines).endswith(str(small.tally()))


def test_claims_are_counted_by_how_they_end(small):
    assert small.tally() == Tally(
        claims=4, refuted=3, implausible=0, stand=0, silent=1, of_markets=0
    )
    assert "3 are refuted" in str(small.tally())
    market = audit([Claim(name="share", topic="market")])
    assert str(market.tally()).endswith("1 cannot be checked (all of them about markets)")


@pytest.mark.slow
def test_a_machine_that_is_only_announced_may_be_missing():
    told = {"over": "hgx-h100", "model": "llama-3.1-8b", "advantage": 10, "batch_size": 1}
    claim = Claim(name="ten", topology="no-such-machine", announced=True, **told)
    row = audit([claim]).rows[0]
    assert row.verdict == "plausible if"
    assert "of the best peak" in row.figure
    with pytest.raises(UnknownNameError):
        audit([claim.replace(announced=False)])
