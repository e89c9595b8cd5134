"""Which modules a list means."""

import pytest

from planner.errors import InputError
from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.modules import Part
from planner.readers.quantisation.rules import Name, Rules, name_of, rule_of

FP8 = Stored(dtype="fp8")
NVFP4 = Stored(dtype="nvfp4")
QUERY = Part(3, "self_attn.q_proj")
PARTS = [QUERY, Part(3, "mlp.up_proj"), Part(3, "mlp.gate"), Part(None, "lm_head")]


def rules(*texts, stored=PLAIN, **more):
    return Rules([rule_of(text, stored, "ignore") for text in texts], "ignore", **more)


def test_names_are_taken_apart():
    assert name_of("model.layers.3.mlp.gate") == Name(3, ("mlp", "gate"))
    assert name_of("transformer.h.11.attn.c_attn.weight") == Name(11, ("attn", "c_attn"))
    assert name_of("language_model.lm_head") == Name(None, ("lm_head",))
    assert name_of("mlp.gate.") == Name(None, ("mlp", "gate"))
    experts = name_of("backbone.layers.1.mixer.experts.17.up_proj")
    assert experts == Name(1, ("mixer", "experts", "#", "up_proj"), 17)
    assert name_of("model.visual.blocks.0.attn.qkv").elsewhere
    assert name_of("mtp.layers.0.mlp").elsewhere


@pytest.mark.parametrize(
    "text",
    [
        *("self_attn", "q_proj", "self_attn.q_proj", "layers.3", "model.layers.3.self_attn"),
        *(
            "model",
            "*self_attn*",
            "*.attn.*",
            "re:.*self_attn.*",
            "re:.*q_proj",
            "re:.*(qkv|o)_proj",
        ),
        *("model.layers.3*", r"re:model\.layers\.(1|3)\..*", r"re:.*layers\.3\.", "*.q_proj"),
        *(r"re:(?!.*mlp).*", "backbone.layers.3.mixer.q_proj", r"re:.*\.mixer\..*", "re:.*Wqkv"),
    ],
)
def test_what_means_a_module(text):
    assert rules(text).of(QUERY) is not None


@pytest.mark.parametrize(
    "text",
    [
        *("self", "proj", "k_proj", "layers.30", "layers.4.self_attn", "vision_tower", "mlp"),
        *("model.layers.30*", "re:self_attn", "re:.*mlp.*", "*.mlp.*", "re:.*layers.33.*"),
        *("visual.layers.3.self_attn", r"re:vision_model\.encoder\.layers\.3\..*"),
        *("re:(?!.*self_attn).*", "re:.*vision_tower.*self_attn.*", "mtp.layers.3*"),
    ],
)
def test_what_does_not_mean_it(text):
    assert rules(text).of(QUERY) is None


def test_gate_is_the_router_and_gate_proj_is_not():
    for text in ("gate", "mlp.gate", "*.mlp.gate", r"re:.*mlp\.gate$", "block_sparse_moe.gate"):
        found = rules(text).of(Part(3, "mlp.gate"))
        assert found is not None, text
        assert found.names_router, text
        assert rules(text).of(Part(3, "mlp.gate_proj")) is None, text
    found = rules("re:.*mlp.*").of(Part(3, "mlp.gate"))
    assert found is not None
    assert not found.names_router


def test_longer_names_go_before_shorter_ones_and_both_before_patterns():
    made = Rules(
        [
            rule_of("re:.*up_proj", Stored(dtype="int8"), "here"),
            rule_of("layers.3.mlp", FP8, "here"),
            rule_of("layers.3.mlp.up_proj", NVFP4, "here"),
        ],
        "here",
    )
    assert made.of(Part(3, "mlp.up_proj")).stored == NVFP4
    assert made.of(Part(3, "mlp.gate_proj")).stored == FP8
    assert made.of(Part(4, "mlp.up_proj")).stored.dtype == "int8"


def test_of_experts_most_count_and_a_few_are_told():
    part = Part(0, "mlp.experts.up_proj")
    names = [f"model.layers.0.mlp.experts.{number}.up_proj" for number in range(8)]
    assert rules(*names, experts=8).of(part).stored == PLAIN
    assert not rules(*names, experts=8).is_uneven
    assert rules(*names[:3], experts=8).of(part) is None
    assert rules(*names[:3], experts=8).is_uneven
    assert rules(*names[:5], experts=8).of(part).stored == PLAIN


@pytest.mark.parametrize(
    ("text", "placed"),
    [
        *((text, True) for text in ("lm_head", "re:.*mlp.*", "model.layers.3.self_attn*")),
        *((text, True) for text in ("vision_tower", "re:.*norm.*", "layers.99.foo", "mtp*")),
        *((text, False) for text in ("foo", "layers.3.foo", "re:.*foo.*", "*.foo", "model.foo*")),
    ],
)
def test_what_means_nothing_is_told(text, placed):
    assert list(rules(text).unplaced(PARTS, layers=8)) == (
        [] if placed else [text.removeprefix("re:")]
    )


def test_a_row_of_layers_is_told_once():
    names = [f"layers.{number}.foo" for number in range(8)]
    assert list(rules(*names).unplaced(PARTS, layers=8)) == ["layers.0.foo"]


def test_more_patterns_than_are_read_are_refused():
    with pytest.raises(InputError, match=r"has more than .* patterns"):
        rules(*(f"*a*{number}*" for number in range(9_000)))
    with pytest.raises(InputError, match="names of modules"):
        rule_of("", PLAIN, "here")


@pytest.mark.slow
def test_patterns_of_single_layers_are_bounded_too():
    many = [f"model.layers.{number % 120}.*mlp*{number}" for number in range(4_000)]
    with pytest.raises(InputError, match="single layers"):
        Rules([rule_of(text, PLAIN, "said") for text in many], "said")
