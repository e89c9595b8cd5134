"""Models from whatever file a person has: what lies beside it counts, and readers of one model
agree."""

import json

import pytest

import planner as pl
from planner.errors import InputError
from tests.written import (
    LLAMA_KEYS,
    gguf_bytes,
    hugging_face_tensors,
    llama_tensors,
    write_index,
    write_safetensors,
)

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "vocab_size": 96,
    "max_position_embeddings": 8192,
}


def written(folder, fields, name="config.json"):
    path = folder / name
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path


def test_the_tensors_beside_a_config_say_how_weights_are_stored(tmp_path):
    written(tmp_path, LLAMA)
    plain = pl.load_model(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", hugging_face_tensors(dtype="F8_E4M3"))
    stored = pl.load_model(tmp_path)
    assert plain.weight_dtype == "bf16"
    assert stored.weight_dtype == "fp8"
    assert stored.parameters == plain.parameters
    # Norms take a byte here too: five vectors of 256.
    assert stored.weight_bytes == plain.weight_bytes / 2
    assert stored.remarks == ()


def test_tensors_go_before_a_config_that_says_otherwise_and_the_answer_says_so(tmp_path):
    fields = LLAMA | {"quantization_config": {"quant_method": "fp8"}}
    path = written(tmp_path, fields)
    assert pl.load_model(path).weight_dtype == "fp8"
    write_safetensors(tmp_path / "model.safetensors", hugging_face_tensors())
    graph = pl.load_model(tmp_path)
    assert graph.weight_dtype == "bf16"
    assert any("formats are taken from the tensors" in remark for remark in graph.remarks)
    written(tmp_path, LLAMA)
    agreed = pl.load_model(tmp_path)
    assert not any("formats are taken" in remark for remark in agreed.remarks)
    assert agreed.weight_bytes == graph.weight_bytes


def test_the_file_of_tensors_itself_may_be_named(tmp_path):
    written(tmp_path, LLAMA)
    path = write_safetensors(tmp_path / "model.safetensors", hugging_face_tensors())
    assert pl.load_model(path).layers == pl.load_model(tmp_path).layers


def test_tensors_alone_do_not_say_how_many_heads_there_are(tmp_path):
    path = write_safetensors(tmp_path / "model.safetensors", hugging_face_tensors())
    with pytest.raises(InputError, match=r"put its config\.json beside it"):
        pl.load_model(path)


def test_tensors_that_are_not_those_of_the_config_are_told(tmp_path):
    written(tmp_path, {**LLAMA, "intermediate_size": 500})
    write_safetensors(tmp_path / "model.safetensors", hugging_face_tensors())
    assert any("have another number of weights" in said for said in pl.load_model(tmp_path).remarks)


def test_of_files_that_are_not_here_the_index_states_the_bytes(tmp_path):
    written(tmp_path, LLAMA)
    names = [name for name, _, _ in hugging_face_tensors()]
    write_index(tmp_path, {"model-00001-of-00001.safetensors": names}, total_size=2_500_000)
    assert any("states 0.0025 GB" in said for said in pl.load_model(tmp_path).remarks)


def test_gguf_and_config_of_one_model_agree(tmp_path):
    path = tmp_path / "small.gguf"
    path.write_bytes(gguf_bytes(LLAMA_KEYS, llama_tensors()))
    made = pl.load_model(path)
    known = pl.load_model(written(tmp_path, {**LLAMA, "tie_word_embeddings": True}))
    assert made.name == "small"
    assert made.parameters == known.parameters
    assert made.kv_bytes_per_token == known.kv_bytes_per_token
    flops = [graph.layers[1].flop(1.0, 100.0, 1.0) for graph in (made, known)]
    assert flops[0] == flops[1]
    # Six bits and nine sixteenths for the table and the values, four and a half for the rest.
    table = 96 * 256
    values = 2 * 128 * 256
    norms = 5 * 256
    rest = known.parameters - table - values - norms
    assert made.weight_bytes == ((table + values) * 6.5625 + rest * 4.5) / 8 + 4 * norms


def test_a_folder_with_one_gguf_is_that_model(tmp_path):
    (tmp_path / "small.gguf").write_bytes(gguf_bytes(LLAMA_KEYS, llama_tensors()))
    assert pl.load_model(tmp_path).weight_dtype == "q4_k"
    (tmp_path / "other.gguf").write_bytes(gguf_bytes(LLAMA_KEYS, llama_tensors()))
    with pytest.raises(InputError, match="holds 2 GGUF files; name one"):
        pl.load_model(tmp_path)


def test_params_of_meta_are_read_whatever_the_file_is_called(tmp_path):
    params = {"dim": 256, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 96}
    shaped = {**params, "hidden_dim": 512}
    known = pl.load_model(written(tmp_path, LLAMA))
    for name in ("params.json", "mine.json"):
        assert pl.load_model(written(tmp_path, shaped, name)).layers == known.layers
    (tmp_path / "config.json").unlink()
    assert pl.load_model(tmp_path).layers == known.layers


def test_an_onnx_file_is_a_program(tmp_path):
    from pathlib import Path

    path = Path(__file__).parent / "programs" / "onnx" / "tiny_llama.onnx"
    graph = pl.load_model(path)
    assert graph.name == "tiny_llama"
    with pytest.raises(InputError, match="leave it out"):
        pl.load_model(path, weight_dtype="fp8")


# ── Names of the hub ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_a_name_of_the_hub_finds_the_files_that_were_once_fetched(cache):
    snapshot = cache / "models--acme--anvil" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (cache / "models--acme--anvil" / "refs").mkdir()
    (cache / "models--acme--anvil" / "refs" / "main").write_text("0123abc", encoding="utf-8")
    written(snapshot, LLAMA)
    graph = pl.load_model("acme/anvil")
    assert graph.name == "anvil"
    assert "acme/anvil" in graph.source


def test_else_the_catalogue_has_it(cache):
    assert pl.load_model("Qwen/Qwen3-8B") == pl.load_model("qwen3-8b")
    named = pl.load_model("meta-llama/Llama-3.1-8B-Instruct")
    assert named == pl.load_model("llama-3.1-8b")


def test_a_name_that_neither_knows_is_refused_and_nothing_is_fetched(cache):
    with pytest.raises(InputError, match="the planner downloads nothing") as refused:
        pl.load_model("acme/qwen3-9b")
    assert "qwen3-8b" in str(refused.value)


# ── Modules of torch ─────────────────────────────────────────────────────────────────────────────


class Config:
    def to_dict(self):
        return LLAMA


class Parameter:
    def __init__(self, shape):
        self.shape = shape
        self.dtype = "torch.bfloat16"

    def element_size(self):
        return 2


class Module:
    """What of a torch module is read."""

    config = Config()

    def named_parameters(self, remove_duplicate=True):
        return [(name, Parameter(shape)) for name, _, shape in hugging_face_tensors()]


def test_a_module_states_itself(tmp_path):
    graph = pl.load_model(Module())
    assert graph.layers == pl.load_model(written(tmp_path, LLAMA)).layers
    assert graph.remarks == ()


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError, match="a dict is not a model"):
        pl.load_model({})
