"""The table behind the picture."""

import pytest

import planner as pl
from planner.studies.advantage.fades import fading
from planner.studies.advantage.terms import Terms


@pytest.fixture(scope="module")
def table():
    return fading(["hgx-h100", "cerebras-cs3"], sizes=(8e9, 7e10), users=(1, 8))


def test_every_machine_size_and_number_of_users_has_a_row(table):
    assert len(table.rows) == 2 * 2 * 2
    assert {row.topology for row in table.rows} == {"hgx-h100", "cerebras-cs3"}


def test_more_users_share_the_power(table):
    for machine in ("hgx-h100", "cerebras-cs3"):
        one, eight = (dict(table.line(machine, users, "energy_per_token_j")) for users in (1, 8))
        assert all(eight[size] < one[size] for size in one)


def test_a_row_is_the_best_plan_of_that_machine(table):
    row = next(
        row
        for row in table.rows
        if (row.topology, row.parameters, row.users) == ("hgx-h100", 8e9, 8)
    )
    graph = pl.load_model("llama-3.1-8b", weight_dtype="fp8")
    result = pl.partition(
        graph,
        pl.load_topology("hgx-h100"),
        pl.Workload(batch_size=8),
        minimize="energy_per_token_j",
    )
    assert row.energy_per_token_j == pytest.approx(result.objective, rel=0.02)


def test_the_rows_become_a_table_of_pandas(table):
    frame = table.to_frame()
    assert len(frame) == len(table.rows)
    assert frame.energy_per_token_j.notna().all()


def test_what_fits_no_number_of_chips_has_no_figures():
    # Four of them have 4 × 512 × 2^30 B = 2.199 TB, and weights in 8 bit take 2.3.
    row = fading(["apple-m3-ultra"], sizes=(2.3e12,), users=(1,)).rows[0]
    assert (row.status, row.energy_per_token_j, row.chips) == ("infeasible", None, None)


def test_plans_are_those_that_engines_run_unless_any_is_asked_for(table):
    assert table.space == "engine"
    free = fading(["hgx-h100"], sizes=(8e9,), users=(8,), space="any")
    assert free.space == "any"
    row = next(
        row
        for row in table.rows
        if (row.topology, row.parameters, row.users) == ("hgx-h100", 8e9, 8)
    )
    assert free.rows[0].energy_per_token_j <= row.energy_per_token_j * (1 + 1e-9)


def test_a_table_says_what_its_watts_and_dollars_count(table):
    assert (table.power_scope, table.power_basis, table.price_basis) == ("system", "drawn", "node")
    chips = fading(["hgx-h100", "l4"], sizes=(8e9,), users=(1,), price_basis="chip")
    assert (chips.power_scope, chips.price_basis) == ("chip", "chip")
    with pytest.raises(pl.InputError, match="tpu-v6e, which is not published"):
        fading(["hgx-h100", "tpu-v6e"], sizes=(8e9,), users=(1,))


def row(**asked):
    """One user of a small model on eight chips or fewer."""
    return fading(["hgx-h100"], sizes=(8e9,), users=(1,), **asked).rows[0]


MOVES = [
    ({"prompt_tokens": 8192}, "energy_per_token_j", (1.1, 2.5)),
    ({"output_tokens": 1024}, "energy_per_token_j", (0.9, 0.99)),
    ({"weight_dtype": "bf16"}, "energy_per_token_j", (1.4, 2.0)),
    ({"drafts": "best"}, "energy_per_token_j", (0.3, 0.5)),
    ({"utilisation": 0.5}, "energy_per_token_j", (1.2, 1.8)),
    ({"utilisation": 0.5}, "usd_per_million_tokens", (1.999, 2.001)),
    ({"pue": 1.5, "power_scope": "facility"}, "energy_per_token_j", (1.499, 1.501)),
    # What is assumed unless said is 1.2.
    ({"pue": 2.0}, "usd_per_million_tokens", (1.05, 1.2)),
    ({"power_scope": "chip"}, "energy_per_token_j", (0.5, 0.9)),
    ({"power_basis": "provisioned"}, "energy_per_token_j", (1.5, 2.5)),
    ({"price_basis": "chip"}, "usd_per_million_tokens", (0.5, 0.9)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "field", "factor"), MOVES)
def test_a_term_moves_a_row(asked, field, factor):
    low, high = factor
    assert low <= getattr(row(**asked), field) / getattr(row(), field) <= high


def test_each_field_of_terms_is_kept_or_refused():
    kept = {name for asked, *_ in MOVES for name in asked}
    # Those two have tests of their own here, and what is refused in `test_agreements`.
    kept |= {"space", "formats"}
    refused = {"pools", "requests_per_s", "most_users", "unknown"}
    assert kept | refused == set(Terms.model_fields)


def test_each_machine_has_its_own_format_where_it_is_asked_for():
    stored, nearest = (
        fading(["cerebras-cs3"], sizes=(7e10,), users=(1,), formats=one)
        for one in ("stored", "nearest")
    )
    assert stored.sides[0].weight_dtype == "fp8"
    assert nearest.sides[0].weight_dtype == "bf16"
    # Twice the bytes need twice the wafers.
    assert nearest.rows[0].chips == 2 * stored.rows[0].chips


def test_a_table_says_under_what_terms_it_was_made(table):
    assert table.compared_under.formats == "stored"
    assert {side.topology: side.weight_dtype for side in table.sides} == {
        "hgx-h100": "fp8",
        "cerebras-cs3": "fp8",
    }
    assert "weights in fp8, the same on all machines; no drafts" in str(table)
    assert f"cerebras-cs3: {table.sides[1].software}, fp8 multiplied in" in table._repr_html_()
    assert str(table).endswith(f"prices and figures as of {table.data_date}")
    assert {one.drafts for one in table.rows} == {None}
    assert {one.status for one in table.rows} == {"optimal"}


def test_rows_of_machines_that_wait_are_not_said_to_be_proved():
    made = row(utilisation=0.5, drafts="best")
    assert (made.status, made.drafts) == ("uniform plans alone", "eagle3")


@pytest.mark.slow
def test_drafts_make_one_user_faster():
    plain, best = row(metric="tpot_s"), row(metric="tpot_s", drafts="best")
    assert best.drafts == "eagle3"
    assert best.tokens_per_s_per_user > 1.5 * plain.tokens_per_s_per_user
