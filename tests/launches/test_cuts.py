"""Cuts that engines make by themselves, against values that their own functions gave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.launches.cuts import cut_by_shares, own_cut
from planner.launches.launch import EngineName
from planner.launches.options import ENGINES


@pytest.mark.parametrize(
    ("engine", "cut"),
    [
        ("vllm", (7, 7, 8, 8, 8, 8, 8, 7)),
        ("sglang", (7, 7, 7, 8, 8, 8, 8, 8)),
        ("tensorrt-llm", (8, 8, 8, 8, 8, 7, 7, 7)),
    ],
)
def test_61_layers_over_8_stages_as_get_pp_indices_and_pp_layers_cut_them(
    engine: EngineName, cut: tuple[int, ...]
) -> None:
    assert own_cut(engine, 61, 8) == cut


@pytest.mark.slow
@given(st.sampled_from(ENGINES[:2]), st.integers(1, 200), st.integers(1, 16))
def test_cuts_are_even_to_a_layer(engine: EngineName, layers: int, stages: int) -> None:
    if stages > layers:
        with pytest.raises(InputError, match="at least one layer"):
            own_cut(engine, layers, stages)
        return
    cut = own_cut(engine, layers, stages)
    assert sum(cut) == layers
    assert max(cut) - min(cut) <= 1


def test_shares_are_of_the_layers_that_stay_with_the_output_layer_as_one_of_them() -> None:
    # 32 layers and the output one: card 0 takes those below 24.75, card 1 the others.
    assert cut_by_shares((3, 1), 32) == (25, 7)
    assert cut_by_shares((1, 1), 32) == (17, 15)
    # 20 stay: 13 are off the cards, and 10 of the 19 others on card 0.
    assert cut_by_shares((1, 1), 32, kept=20) == (23, 9)
    assert cut_by_shares((1, 0), 32) == (32, 0)


@pytest.mark.slow
@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(1, 99), st.integers(1, 120)
)
def test_every_layer_goes_to_one_card(shares: list[float], layers: int, kept: int) -> None:
    assert sum(cut_by_shares(shares, layers, kept)) == layers
