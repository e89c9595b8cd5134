"""What the rows of a stack have."""

from planner.calibration.covering import covers_of
from planner.scoring.vouching import Setting
from tests.scoring.test_vouching import HERE


def test_what_rows_have_is_their_span():
    other = HERE._replace(parameters=8e9, chip="NVIDIA H200", sequences=2.0, across_nodes=True)
    pool: Setting = HERE._replace(phase="decode", expert_parallel=32, kind="experts")
    both, decode = covers_of([HERE, other, pool])
    assert (both.phase, both.dense, both.experts) == ("both", (8e9, 70e9), None)
    assert both.chips == ("NVIDIA H100 SXM", "NVIDIA H200")
    assert (both.sequences, both.across_nodes, both.most_expert_parallel) == ((2, 64), True, 1)
    assert (decode.phase, decode.experts, decode.most_expert_parallel) == (
        "decode",
        (70e9, 70e9),
        32,
    )
