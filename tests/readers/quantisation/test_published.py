"""Finding out which method a file states, and where."""

import pytest

from tests.readers.quantisation.cases import EXPERT, QUERY, read, refusal, way


@pytest.mark.parametrize(
    ("table", "dtype"),
    [
        ({"quant_algo": "FP8"}, "fp8"),
        ({"global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}}, "fp8"),
        ({"config_groups": {"a": {"weights": {"num_bits": 8, "type": "float"}}}}, "fp8"),
        ({"load_in_8bit": True}, "int8"),
        ({"weight_block_size": [128, 128]}, "fp8"),
        ({"quant_config": {"weight_quant_params": {"nbits": 4}}}, "int4"),
        ({"quant_type": "int8_weight_only"}, "int8"),
        ({"w_bit": 4, "q_group_size": 128}, "int4"),
        ({"bits": 4, "group_size": 128, "sym": True}, "int4"),
        ({"bits": 4, "group_size": 64}, "int4"),
    ],
)
def test_a_table_without_a_method_is_told_by_its_keys(table, dtype):
    assert way(read(table), QUERY)[0] == dtype


@pytest.mark.parametrize("method", ["AWQ", "awq_marlin", "autoawq"])
def test_spellings_of_a_method(method):
    assert way(read({"quant_method": method}), QUERY)[0] == "int4"


@pytest.mark.parametrize("key", ["text_config", "llm_config", "language_config"])
def test_a_table_may_lie_in_the_text_part(key):
    nested = {key: {"quantization_config": {"quant_method": "fp8"}}}
    assert way(read(**nested), QUERY)[0] == "fp8"
    wrong = {key: {"quantization_config": {"quant_method": "gptq", "bits": 9}}}
    assert f"{key}.quantization_config.bits" in refusal(**wrong)


def test_floats_of_8_bits_without_a_table():
    assert way(read(torch_dtype="float8_e4m3fn"), QUERY)[0] == "fp8"


def test_producers_are_heard():
    stated = {
        "quant_method": "compressed-tensors",
        "producer": {"name": "modelopt"},
        "quant_algo": "NVFP4",
        "ignore": ["lm_head"],
    }
    assert way(read(stated), QUERY)[0] == "nvfp4"


def test_a_cache_may_be_stated_with_any_method():
    assert read({"quant_method": "fp8", "kv_cache_scheme": "static"}).kv_dtype == "fp8"
    assert read({"quant_method": "awq", "kv_cache_quant_algo": "INT8"}).kv_dtype == "int8"


@pytest.mark.parametrize("method", ["aqlm", "quip", "vptq", "spqr", "higgs", "gguf", "sinq"])
def test_methods_that_are_not_read_are_refused(method):
    said = refusal({"quant_method": method})
    assert said == (
        f"config.json: quantization_config.quant_method is {method!r}, which is not read;"
        " give weight_dtype (--weights)"
    )


@pytest.mark.parametrize(
    ("version", "experts"), [("5.24.0", "bf16"), ("4.57.1", "int4"), (None, "int4"), ("x", "int4")]
)
def test_fused_experts_are_no_linear_layers(version, experts):
    table = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    storage = read(table, num_experts=64, transformers_version=version)
    assert way(storage, EXPERT)[0] == experts
    assert way(storage, QUERY)[0] == "int4"
    assert any("routed experts" in remark for remark in storage.remarks) == (experts == "bf16")
    gptq = {"quant_method": "gptq", "bits": 4}
    assert way(read(gptq, num_experts=64, transformers_version=version), EXPERT)[0] == "int4"
