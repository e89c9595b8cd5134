"""Families, and what their config classes give to keys that a file leaves out."""

from planner.readers.configs.families import FAMILIES, defaults_of, family_defaults, family_of


def test_a_family_is_known_by_name():
    assert family_of("llama").gated
    assert not family_of("nemotron").gated
    assert family_of("opt").tied
    assert family_of("unheard-of") is None


def test_defaults_are_of_families_that_are_known():
    assert set(family_defaults()) <= set(FAMILIES)


def test_sizes_come_from_defaults_in_a_text_part_alone():
    inside = defaults_of("llama", {}, [], nested=True)
    assert inside["hidden_size"] == 4096
    assert inside["num_hidden_layers"] == 32
    assert "hidden_size" not in defaults_of("llama", {}, [], nested=False)
    # Neither may a file leave out how wide its heads are, where the family has a width of its own.
    assert defaults_of("gemma3_text", {}, [], nested=False)["head_dim"] == 256


def test_what_is_stated_by_another_name_or_as_null_has_no_default():
    names = [("num_local_experts", "num_experts")]
    assert defaults_of("mixtral", {}, names, nested=False)["num_local_experts"] == 8
    assert "num_local_experts" not in defaults_of(
        "mixtral", {"num_experts": 4}, names, nested=False
    )
    assert "sliding_window" not in defaults_of(
        "mistral", {"sliding_window": None}, [], nested=False
    )
