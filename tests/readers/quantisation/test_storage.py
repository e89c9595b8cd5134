"""What a scheme makes of modules."""

import copy
import pickle

from planner.models.storage import PLAIN, Storage, Stored
from planner.readers.quantisation.rules import rule_of
from planner.readers.quantisation.storage import Model, PublishedStorage, Scheme

FP8 = Stored(dtype="fp8")
MXFP4 = Stored(dtype="mxfp4")
MODEL = Model(kind="some_moe", layers=4, experts=8)


def test_a_storage_is_one():
    made: Storage = PublishedStorage(Scheme(linear=FP8, block=128), MODEL)
    assert made.weight_dtype == "fp8"
    assert made.weight_block == 128
    assert made.of("layers.0.mlp.up_proj") is made.of("layers.0.mlp.up_proj")
    assert made.of("layers.0.mlp.gate") == made.of("embed_tokens") == made.of("lm_head") == PLAIN


def test_it_can_be_sent_and_copied():
    rules = (rule_of("re:.*up_proj", MXFP4, "here"),)
    made = PublishedStorage(Scheme(linear=FP8, targets=rules), MODEL)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert other.of("layers.0.mlp.up_proj") == MXFP4
        assert other.of("layers.0.mlp.down_proj") == FP8


def test_what_a_config_states_of_its_model():
    assert Model.of({"n_layer": 3, "num_local_experts": 8, "tie_word_embeddings": True}) == Model(
        layers=3, experts=8, tied=True
    )
    assert Model.of({"num_hidden_layers": "x", "num_experts": True}) == Model()


def test_most_of_the_weights_are_those_of_experts_where_there_are_any():
    scheme = Scheme(linear=FP8, experts=MXFP4)
    assert PublishedStorage(scheme, MODEL).weight_dtype == "mxfp4"
    assert PublishedStorage(scheme, Model(layers=4)).weight_dtype == "fp8"


def test_layers_without_a_listed_module_have_no_say():
    """Of hybrids the most layers may have no experts at all."""
    rules = (rule_of("backbone.layers.1.mixer.experts", FP8, "here"),)
    assert PublishedStorage(Scheme(targets=rules), MODEL).weight_dtype == "fp8"


def test_a_tied_head_is_stored_as_the_embedding_unless_it_is_named():
    tied = Model(layers=4, tied=True)
    assert PublishedStorage(Scheme(head=FP8), tied).of("lm_head") == PLAIN
    assert PublishedStorage(Scheme(embedding=FP8), tied).of("lm_head") == FP8
    by_pattern = Scheme(targets=(rule_of("re:.*", FP8, "here"),))
    assert PublishedStorage(by_pattern, tied).of("lm_head") == PLAIN
    assert PublishedStorage(by_pattern, Model(layers=4)).of("lm_head") == FP8
    by_name = Scheme(targets=(rule_of("lm_head", FP8, "here"),))
    assert PublishedStorage(by_name, tied).of("lm_head") == FP8


def test_what_is_plain_is_said_so():
    assert PublishedStorage(Scheme(), MODEL).is_plain
    assert not PublishedStorage(Scheme(experts=FP8), MODEL).is_plain
    assert not PublishedStorage(Scheme(targets=(rule_of("mlp", FP8, "here"),)), MODEL).is_plain


def test_what_is_not_followed_is_told_once():
    rules = (rule_of("re:.*foo.*", PLAIN, "here"), rule_of("bar", PLAIN, "here"))
    said = PublishedStorage(Scheme(linear=FP8, kept=rules), MODEL, "a: b").remarks
    assert len(said) == 1
    assert said[0].startswith("a: b names '.*foo.*' and 1 more")
