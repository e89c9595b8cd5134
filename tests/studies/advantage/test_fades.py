"""The table behind the picture."""

import pytest

import planner as pl
from planner.studies.advantage.fades import fading


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
