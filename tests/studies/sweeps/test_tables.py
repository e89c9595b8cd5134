"""A sweep for a terminal: what is asked alike is told once, the rest row by row, as wide as a
terminal."""

from planner.report.tables import WIDTH
from planner.studies.study import SHOWN
from planner.studies.sweeps.cells import SweepRow
from planner.studies.sweeps.tables import columns_of, table_text

ASKED = {
    "model": "tiny",
    "weight_dtype": "bf16",
    "topology": "shed",
    "software": "plain",
    "machine_chips": 8,
    "asked_batch_size": 4,
    "prompt_tokens": 64,
    "output_tokens": 16,
    "objective": "tpot_s",
    "limits": (("ttft_s", 0.5),),
}
FOUND = {
    "status": "optimal",
    "value": 0.01,
    "bound": 0.01,
    "chips": 2,
    "replicas": 1,
    "tensor_parallel": 2,
    "pipeline_parallel": 1,
    "batch_size": 4,
    "ttft_s": 0.2,
    "tpot_s": 0.01,
    "tokens_per_s": 400.0,
}


def row(number=0, **changes):
    return SweepRow(**(ASKED | FOUND | {"key": str(number)} | changes))


def test_what_is_asked_alike_is_told_once_and_the_rest_row_by_row():
    rows = [row(0), row(1, prompt_tokens=128, value=0.02, tpot_s=0.02, chips=4)]
    assert table_text(rows).splitlines() == [
        "2 cells: 2 optimal",
        "in all of them: model tiny, weights bf16, machine shed, of chips 8, software plain,"
        " batch asked 4, output 16, objective tpot_s, limits ttft_s at most 500 ms, space any, replicas"
        " 1, TP 2, PP 1, batch 4",
        "",
        "prompt  status   value  chips  ttft_s  tokens_per_s",
        "------  -------  -----  -----  ------  ------------",
        "64      optimal  10 ms  2      200 ms  400 tokens/s",
        "128     optimal  20 ms  4      200 ms  400 tokens/s",
    ]


def test_a_cell_without_a_plan_has_an_empty_value_and_its_kind_a_sentence_below():
    none = {name: None for name in FOUND if name != "status"}
    changes = {"status": "infeasible", "asked_batch_size": None, "message": "too small"}
    lost = row(1, **(none | changes))
    lines = table_text([row(0), lost], undone=3).splitlines()
    assert lines[0] == "5 cells: 3 left undone, 1 optimal, 1 infeasible"
    assert "open         infeasible" in lines
    assert lines[-1] == "infeasible: too small"


def test_no_line_of_the_table_is_wider_than_a_terminal_and_what_is_left_out_is_named():
    many = dict.fromkeys(
        (
            "energy_per_token_j",
            "usd_per_hour",
            "mfu_fraction",
            "power_w",
            "request_s",
            "tokens_per_s_per_user",
            "requests_per_s",
            "usd_per_million_tokens",
            "bubble_fraction",
        ),
        0.5,
    )
    rows = [row(n, prompt_tokens=64 + n, **many) for n in range(SHOWN + 3)]
    lines = table_text(rows).splitlines()
    assert max(map(len, lines[3 : 5 + SHOWN])) <= WIDTH
    (left,) = [line for line in lines if line.startswith("not shown: ")]
    assert left.startswith("not shown: 3 more rows and ")
    assert "mfu_fraction" in left
    assert left.endswith("; --out FILE writes all as CSV, .to_frame() has them all")


def test_of_one_cell_everything_asked_is_told_above():
    alike, columns = columns_of([row()])
    assert [column.field for column in alike][:3] == ["model", "weight_dtype", "topology"]
    assert columns[0].field == "status"


def test_a_sweep_without_rows_is_a_line():
    assert table_text([], undone=2) == "2 cells: 2 left undone"
