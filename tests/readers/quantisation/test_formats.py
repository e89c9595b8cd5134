"""Bits of a weight, by hand."""

import pytest

from planner.models.storage import Stored
from planner.readers.quantisation.formats import blocks, floats, integers, stored_as


@pytest.mark.parametrize(
    ("stored", "bits"),
    [
        (integers(4, 128, 4096), 4 + 16 / 128),
        (integers(4, 128, 4096, zero_bits=4), 4 + 20 / 128),
        (integers(4, 32, 4096), 4.5),
        (integers(4, 64, 4096, zero_bits=16), 4.5),
        (integers(4, 0, 4096, zero_bits=4), 4 + 20 / 4096),
        (integers(3, 128, 4096, zero_bits=3, beside=0.01), 3 + 19 / 128 + 0.01),
        (integers(1, 64, 4096, zero_bits=16), 1.5),
        (integers(8, 32, 4096), 8.5),
        (floats(4, 16, activation=None), 4.5),
        (floats(4, 32, activation=None), 4.25),
        (floats(6, 32, activation="bf16"), 6.25),
        (floats(8, 32, activation="fp8", exponents=True), 8.25),
        (floats(8, 0, activation="fp8"), 8.0),
        (blocks((128, 128), exponents=False, activation=None), 8.0),
        (blocks((1, 64), exponents=False, activation=None), 8.5),
        (blocks((1, 64), exponents=True, activation=None), 8.125),
    ],
)
def test_bits_of_a_weight(stored, bits):
    assert stored.bits_per_weight == pytest.approx(bits, rel=1e-9)


def test_what_is_usual_is_not_stated():
    assert stored_as("fp8", 8.002) == Stored(dtype="fp8")
    assert stored_as("int4", 4.25, "bf16") == Stored(dtype="int4")
    assert stored_as("int4", 4.26).stated_bits_per_weight == 4.26
    assert stored_as("int8", 8.0, "bf16").compute_dtype == "bf16"
    assert stored_as("int8", 8.0, "int8") == Stored(dtype="int8")


def test_formats_that_a_chip_may_multiply_state_what_they_are_multiplied_in_if_anybody_does():
    assert stored_as("mxfp4", 4.25).multiplied["natively"]
    weights_only = stored_as("mxfp4", 4.25, "bf16")
    assert not weights_only.multiplied["natively"]
    assert weights_only.compute_dtype == "bf16"
