import pytest

from planner.errors import InputError
from planner.launches.options import given_in, option_table
from planner.launches.reading.heard import CACHES, QUANTISED, Heard, drafted
from planner.launches.shell import Word
from planner.models.dtypes import BITS


def heard(line: str = "", **known: str) -> Heard:
    given = given_in([Word(word) for word in line.split()], option_table("vllm"))
    return Heard(given, known)


def test_every_format_is_one_that_is_priced() -> None:
    assert set(QUANTISED.values()) <= set(BITS)
    assert set(CACHES.values()) - {None} <= set(BITS)


def test_every_cache_of_an_engine_that_is_priced_is_one_of_its_choices() -> None:
    choices = option_table("vllm").named("--kv-cache-dtype")
    assert choices is not None
    assert len(set(choices.choices) & set(CACHES)) >= 12


def test_the_order_of_visible_chips_is_kept() -> None:
    one = heard(CUDA_VISIBLE_DEVICES="3,1, 2,0")
    one.place(2)
    assert one.fields["devices"] == ((3, 1),)
    one.place(1, replicas=3)
    assert one.fields["devices"] == ((3,), (1,), (2,))


def test_an_option_picks_among_the_visible_chips() -> None:
    one = heard(CUDA_VISIBLE_DEVICES="4,5,6,7")
    one.place(2, stated="2,3")
    assert one.fields["devices"] == ((6, 7),)
    with pytest.raises(InputError, match="beyond the 4"):
        one.place(1, stated="4")


def test_names_of_chips_that_say_no_place_are_said_to() -> None:
    one = heard(CUDA_VISIBLE_DEVICES="GPU-8f1a")
    assert one.visible() is None
    assert "do not say their place" in one.given.told[0].words


@pytest.mark.parametrize("stated", ["0", "0,0"])
def test_too_few_chips_or_one_twice_are_refused(stated: str) -> None:
    with pytest.raises(InputError, match="visible"):
        heard(CUDA_VISIBLE_DEVICES=stated).place(2)


def test_drafted_tokens_are_from_1_to_64() -> None:
    assert drafted("mtp", 1)["tokens"] == 1
    for wrong in (0, 65, 1.5, True, "4"):
        with pytest.raises(InputError, match="1 to 64"):
            drafted("mtp", wrong)


def test_a_way_to_quantise_that_says_no_format_is_left_to_the_model() -> None:
    one = heard("--quantization compressed-tensors")
    one.weights("--quantization")
    assert "weight_format" not in one.fields
    assert one.given.told[0].taken is False
