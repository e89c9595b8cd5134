"""Formats of a checkpoint's modules: bits and what they are multiplied in."""

from planner.models.storage import PLAIN, Stored


def test_bits_are_those_of_the_format_unless_the_checkpoint_has_others():
    assert Stored(dtype="int4").bits_per_weight == 4.25
    assert Stored(dtype="int4", stated_bits_per_weight=4.5).bits_per_weight == 4.5
    assert PLAIN.bits_per_weight == 16


def test_what_is_multiplied_in_is_what_the_recipe_says():
    assert Stored(dtype="fp8").compute_dtype == "fp8"
    assert Stored(dtype="fp8", activation_dtype="bf16").compute_dtype == "bf16"
    assert Stored(dtype="int4").multiplied == {"compute_dtype": "bf16", "natively": False}
    assert Stored(dtype="mxfp4").multiplied == {"compute_dtype": "bf16", "natively": True}
