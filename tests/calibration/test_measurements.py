"""Tables of measurements: every fault names its row."""

import pytest

import planner as pl
from planner.calibration.measurements import (
    Measurement,
    is_measurements,
    measurements_csv,
    read_measurements,
)
from tests.measured import published

GOOD = (
    "row_id,field,value,model,topology,chips,batch_size\n1,tpot_s,0.01,llama-3.1-8b,hgx-h100,1,8\n"
)


def table(tmp_path, text: str):
    path = tmp_path / "measured.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_is_read_with_its_defaults(tmp_path):
    (row,) = read_measurements(table(tmp_path, GOOD))
    assert (row.value, row.chips, row.batch_size, row.arrivals, row.tensor_parallel) == (
        0.01,
        1,
        8,
        "steady",
        1,
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("row_id,field", "row_id,metric", "no column field"),
        ("batch_size\n", "batches\n", "'batches' is not a column"),
        ("0.01", "-1", "line 2: Measurement.value must be above 0"),
        ("0.01", "fast", "line 2: Measurement.value"),
        (",1,8", ",0,8", "line 2: Measurement.chips"),
        ("llama-3.1-8b", "", "line 2: Measurement.model is missing"),
        (
            "tpot_s",
            "collective_s",
            "line 2: a row of collective_s needs collective, message_bytes, ranks and chips",
        ),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path, old, new, words):
    with pytest.raises(pl.InputError) as caught:
        read_measurements(table(tmp_path, GOOD.replace(old, new)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_shipped_measurements_are_thousands_and_have_sources():
    rows = published()
    assert len(rows) > 5000
    assert all(row.source for row in rows)
    assert len({row.family for row in rows}) > 10


def test_rows_are_written_as_they_are_read(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [
        Measurement(row_id="a", field="tpot_s", value=0.01, model="llama-3.1-8b", topology="x"),
        Measurement(
            row_id="b, c", field="ttft_s", value=1.0, model="m", topology="x", batch_size=3
        ),
    ]
    path.write_text(measurements_csv(rows), encoding="utf-8")
    assert read_measurements(path) == tuple(rows)
    assert path.read_text().splitlines()[0] == "row_id,field,value,model,topology,batch_size"
    assert is_measurements(path)
    path.write_text('{"row_id": 3}')
    assert not is_measurements(path)


def test_an_unknown_column_is_told_in_a_few_letters(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"row_id,field,value,topology,{'9' * 5000}\n", encoding="utf-8")
    with pytest.raises(pl.InputError, match="is not a column of a table") as refusal:
        read_measurements(path)
    assert len(str(refusal.value)) < 300
