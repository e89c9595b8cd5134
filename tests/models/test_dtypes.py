"""Number formats, against the bits of their blocks."""

from typing import get_args

import pytest

from planner.models.dtypes import (
    ACTIVATIONS_OF,
    BITS,
    MULTIPLIED_IN,
    Dtype,
    bytes_of,
    nearest_multiplied,
    stream_bytes_of,
)


@pytest.mark.parametrize(
    ("dtype", "block_bits", "values"),
    [
        ("fp32", 32, 1),
        ("bf16", 16, 1),
        ("fp8", 8, 1),
        ("nvfp4", 16 * 4 + 8, 16),
        ("mxfp4", 32 * 4 + 8, 32),
        ("q8_0", 32 * 8 + 16, 32),
        ("q4_0", 32 * 4 + 16, 32),
        ("int4", 128 * 4 + 16 + 16, 128),
    ],
)
def test_a_value_costs_its_share_of_its_block(dtype, block_bits, values):
    assert bytes_of(dtype) == block_bits / values / 8


def test_every_format_has_bits_and_something_to_be_multiplied_in():
    assert set(BITS) == set(MULTIPLIED_IN) == set(get_args(Dtype))


def test_every_format_is_multiplied_in_formats_that_exist_and_in_the_end_in_32_bits():
    assert {dtype for falls in MULTIPLIED_IN.values() for dtype in falls} <= set(BITS)
    assert all("fp32" in falls for falls in MULTIPLIED_IN.values())


def test_no_format_is_multiplied_in_a_narrower_one():
    plain = [dtype for dtype in BITS if dtype not in ("fp32", "bf16", "fp16")]
    assert all(BITS[falls] >= int(BITS[dtype]) for dtype in plain for falls in MULTIPLIED_IN[dtype])


def test_activations_come_in_formats_that_exist():
    assert set(ACTIVATIONS_OF) | set(ACTIVATIONS_OF.values()) <= set(BITS)


def test_the_stream_stays_at_16_bits_unless_all_is_in_32():
    assert [stream_bytes_of(dtype) for dtype in ("fp32", "bf16", "fp8", "nvfp4", "q4_k_m")] == [
        4,
        2,
        2,
        2,
        2,
    ]


@pytest.mark.parametrize(
    ("dtype", "peaks", "nearest"),
    [
        ("fp8", ("bf16", "fp8"), "fp8"),
        ("fp8", ("int8", "fp16"), "int8"),
        ("fp8", ("fp16", "bf16"), "bf16"),
        ("int8", ("bf16", "fp8"), "fp8"),
        ("bf16", ("int8", "fp16"), "fp16"),
        ("bf16", ("int8", "fp32"), "fp32"),
        ("nvfp4", ("bf16", "fp4"), "nvfp4"),
        ("nvfp4", ("bf16", "int8", "fp8"), "fp8"),
        ("int4", ("bf16",), "int4"),  # of weights alone: widened everywhere
        ("bf16", ("int8",), None),
        ("fp32", ("bf16", "fp8"), None),
        ("int4", ("int8",), None),
    ],
)
def test_the_nearest_format_is_one_at_least_as_wide_of_the_same_kind_first(dtype, peaks, nearest):
    assert nearest_multiplied(dtype, peaks) == nearest


def test_what_is_nearest_is_multiplied_as_it_is():
    for dtype in get_args(Dtype):
        for peaks in (("bf16",), ("int8", "fp16"), ("fp8", "fp4", "bf16")):
            found = nearest_multiplied(dtype, peaks)
            assert found is not None or dtype == "fp32"
            if found is None:
                continue
            assert nearest_multiplied(found, peaks) == found
            assert BITS[found] >= BITS[dtype]
