"""Tables of measurements: every fault names its row."""

import pytest

import planner as pl
from planner.calibration.measurements import PUBLISHED, read_measurements

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
        ("0.01", "-1", "line 2: Measurement.value should be greater than 0"),
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


def test_the_shipped_measurements_are_thousands_and_have_sources():
    rows = read_measurements(PUBLISHED)
    assert len(rows) > 5000
    assert all(row.source for row in rows)
    assert len({row.family for row in rows}) > 10
