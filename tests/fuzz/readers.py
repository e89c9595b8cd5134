"""The readers of files that are tried on what was tampered with.

To register one, add a `Reader`: files to begin with, and what reads a file. Say `tamper` where a
format's own structure should hold.
"""

import json
import re
import tempfile
from pathlib import Path

import planner as pl
from planner.detection.describing import Asked, described
from planner.readers.benchmarks.recognition import FORMATS as RESULTS
from planner.readers.benchmarks.recognition import read_benchmarks
from planner.readers.files import CONFIG_BYTES, read_json
from planner.readers.machines.recognition import FORMATS, read_machine
from planner.readers.params_file import config_fields_of_params
from planner.readers.tensors.gguf_fields import config_fields, config_remarks
from planner.readers.tensors.gguf_file import read_gguf
from planner.readers.tensors.inventory import Inventory, InventoryStorage
from planner.readers.tensors.safetensors_file import read_safetensors
from tests import onnx_writer as by_hand
from tests.fuzz import nouns
from tests.fuzz.chains import tampered_chain
from tests.fuzz.commands import command_files, tampered_command
from tests.fuzz.databases import database_files, read_database, tampered_database
from tests.fuzz.headers import (
    tampered_bytes,
    tampered_folder,
    tampered_gguf,
    tampered_onnx,
    tampered_safetensors,
)
from tests.fuzz.reader import Reader
from tests.fuzz.tables import tampered_csv, tampered_toml
from tests.fuzz.trees import tampered_json
from tests.fuzz.words import command_line_files, run_words, tampered_words
from tests.readers.benchmarks.texts import benchmark_texts
from tests.readers.machines.texts import machine_texts
from tests.written import (
    LLAMA_KEYS,
    gguf_bytes,
    safetensors_bytes,
    write_index,
)

ONNX = Path(__file__).parent.parent / "readers" / "programs" / "onnx"
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 1000, "max_position_embeddings": 4096,
    "tie_word_embeddings": False, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "hidden_act": "silu", "torch_dtype": "bfloat16", "attention_bias": False,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
}  # fmt: skip
CONFIGS = {
    "llama": LLAMA,
    "tied": LLAMA | {"tie_word_embeddings": True, "num_hidden_layers": 40},
    "mixtral": LLAMA | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen": LLAMA | {
        "model_type": "qwen3_moe", "num_experts": 16, "num_experts_per_tok": 4,
        "moe_intermediate_size": 64, "decoder_sparse_step": 1, "mlp_only_layers": [],
        "shared_expert_intermediate_size": 128, "norm_topk_prob": True,
    },
    "deepseek": LLAMA | {
        "model_type": "deepseek_v3", "kv_lora_rank": 64, "q_lora_rank": 96, "qk_rope_head_dim": 16,
        "qk_nope_head_dim": 32, "v_head_dim": 32, "n_routed_experts": 16, "n_shared_experts": 1,
        "num_experts_per_tok": 4, "moe_intermediate_size": 64, "n_group": 4, "topk_group": 2,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "num_nextn_predict_layers": 1,
        "quantization_config": {
            "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128],
            "activation_scheme": "dynamic", "modules_to_not_convert": ["lm_head"],
        },
    },
    "windows": LLAMA | {
        "model_type": "gpt_oss", "sliding_window": 128, "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["self_attn"]},
    },
    "seeing": {
        "model_type": "gemma3", "text_config": LLAMA | {"sliding_window_pattern": 6, "sliding_window": 512},
        "vision_config": {"hidden_size": 64, "num_hidden_layers": 2},
    },
    "llama4": LLAMA | {
        "model_type": "llama4_text", "num_local_experts": 8, "num_experts_per_tok": 1,
        "intermediate_size_mlp": 1024, "interleave_moe_layer_step": 2, "attention_chunk_size": 512,
    },
    "packed": LLAMA | {
        "quantization_config": {
            "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head"],
            "config_groups": {"group_0": {
                "weights": {"num_bits": 4, "type": "int", "group_size": 128, "strategy": "group"},
                "input_activations": None, "targets": ["Linear"],
            }},
        },
    },
    "gptq": LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
    "falcon": {
        "model_type": "falcon", "hidden_size": 256, "num_hidden_layers": 4, "multi_query": True,
        "num_attention_heads": 8, "vocab_size": 1000, "parallel_attn": True,
        "new_decoder_architecture": False,
    },
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 1024, "vocab_size": 500},
}  # fmt: skip
PARAMS = {
    "meta": {"dim": 256, "ffn_dim_multiplier": 1.3, "multiple_of": 64, "n_heads": 8, "n_kv_heads": 2,
             "n_layers": 4, "norm_eps": 1e-5, "rope_theta": 5e5, "vocab_size": 1000},
    "mistral": {"dim": 256, "n_layers": 4, "head_dim": 32, "hidden_dim": 512, "n_heads": 8,
                "n_kv_heads": 2, "norm_eps": 1e-5, "vocab_size": 1000, "sliding_window": 128},
    "mixtral": {"dim": 256, "n_layers": 4, "head_dim": 32, "hidden_dim": 512, "n_heads": 8,
                "n_kv_heads": 2, "vocab_size": 1000, "vision_encoder": {"hidden_size": 64},
                "moe": {"num_experts_per_tok": 2, "num_experts": 8}},
    "nested": {"text": {"dim": 256, "n_layers": 4, "n_heads": 8, "hidden_dim": 512, "vocab_size": 99}},
}  # fmt: skip
PLAIN = [
    ("model.embed_tokens.weight", "BF16", (8, 16)),
    ("model.layers.0.self_attn.q_proj.weight", "BF16", (16, 16)),
    ("model.layers.0.self_attn.q_proj.bias", "BF16", (16,)),
    ("model.layers.1.mlp.gate_up_proj.weight", "F16", (16, 16)),
    ("model.norm.weight", "F32", (16,)),
]
QUANTISED = [
    ("model.embed_tokens.weight", "BF16", (8, 16)),
    ("model.layers.0.mlp.up_proj.qweight", "I32", (2, 16)),
    ("model.layers.0.mlp.up_proj.qzeros", "I32", (1, 2)),
    ("model.layers.0.mlp.up_proj.scales", "F16", (1, 16)),
    ("model.layers.0.mlp.experts.0.down_proj.weight", "F8_E4M3", (16, 16)),
    ("model.layers.0.mlp.experts.0.down_proj.weight_scale_inv", "F32", (1, 1)),
    ("model.layers.0.mlp.experts.gate_up_proj_blocks", "U8", (2, 4, 16)),
    ("model.layers.0.mlp.experts.gate_up_proj_scales", "U8", (2, 4)),
    ("model.layers.0.self_attn.qkv_proj.weight", "U8", (16, 8)),
    ("model.layers.0.self_attn.qkv_proj.weight_scale", "F8_E4M3", (16, 1)),
    ("model.layers.0.self_attn.qkv_proj.weight_scale_2", "F32", ()),
    ("model.layers.9.mlp.up_proj.weight", "U32", (4, 4)),
    ("visual.patch_embed.weight", "F32", (4, 4)),
]
SMALL = [("token_embd.weight", (256, 4), "Q6_K"), ("output_norm.weight", (256,), "F32"),
         ("blk.0.attn_q.weight", (256, 4), "Q4_K"), ("blk.0.ffn_up.weight", (32, 4), "Q8_0"),
         ("blk.1.ssm_out.weight", (32, 2), "MXFP4"), ("blk.1.ffn_down_exps.weight", (64, 2, 2), "NVFP4")]  # fmt: skip
FEW_TOKENS = {"tokenizer.ggml.tokens": ("array", ("str", ["a", "bc", "def"]))}


def _family(name, **keys):
    made = {"general.architecture": ("str", name), f"{name}.block_count": ("u32", 2)}
    return made | {f"{name}.{key.replace('__', '.')}": value for key, value in keys.items()}


U32, LIST = (lambda one: ("u32", one)), (lambda *many: ("array", ("i32", list(many))))
GGUF_SPECS = [
    (_family("llama") | {"split.count": ("u16", 2), "split.no": ("u16", 0)}, SMALL[:3]),
    (_family("llama") | {"split.count": ("u16", 2), "split.no": ("u16", 1)}, SMALL[3:]),
    (LLAMA_KEYS | FEW_TOKENS, SMALL),
    (_family("deepseek2", attention__kv_lora_rank=U32(64), attention__head_count=U32(8),
             rope__dimension_count=U32(16), attention__key_length=U32(48), expert_count=U32(8),
             attention__value_length=U32(32), nextn_predict_layers=U32(1)), SMALL),
    (_family("gpt-oss", attention__sliding_window=U32(128), expert_count=U32(8),
             expert_feed_forward_length=U32(64)), SMALL),
    (_family("nemotron_h", ssm__inner_size=U32(64), ssm__time_step_rank=U32(4),
             attention__head_count_kv=LIST(0, 2), feed_forward_length=LIST(0, 64)), SMALL),
    (_family("lfm2", attention__head_count_kv=LIST(0, 8), shortconv__l_cache=U32(3)), SMALL),
    (_family("mamba2", ssm__inner_size=U32(64), ssm__time_step_rank=U32(4),
             embedding_length=U32(32)), SMALL),
    (_family("qwen3next", ssm__inner_size=U32(64), ssm__time_step_rank=U32(4),
             full_attention_interval=U32(4)), SMALL),
    (_family("gemma3", attention__sliding_window=U32(512),
             attention__sliding_window_pattern=("array", ("bool", [True, False]))), SMALL),
]  # fmt: skip


def _json_files(fields):
    def seeds(folder):
        paths = []
        for name, content in fields.items():
            path = folder / f"{name}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
            paths.append(path)
        return paths

    return seeds


def _safetensors_files(folder):
    paths = [folder / "plain.safetensors", folder / "quantised.safetensors"]
    paths[0].write_bytes(safetensors_bytes(PLAIN, {"format": "pt"}))
    paths[1].write_bytes(safetensors_bytes(QUANTISED))
    return paths


def _index_files(folder):
    files = {
        "a-1.safetensors": QUANTISED[:6],
        "a-2.safetensors": QUANTISED[6:],
        "b.safetensors": ["c.weight"],
    }
    return [write_index(folder, files, 12345)]


def _gguf_files(folder):
    paths = []
    for number, (metadata, tensors) in enumerate(GGUF_SPECS):
        path = folder / f"m-{number + 1:05}-of-00002.gguf"
        path.write_bytes(gguf_bytes(metadata, tensors))
        paths.append(path)
    return paths


def _sorted_out(inventory: Inventory):
    """What is asked of the tensors once they are read."""
    storage = InventoryStorage(inventory, 2, expected_parameters=lambda module: 256.0)
    storage.check_against({"layers.0.mlp.up_proj": 256.0, "lm_head": 1.0})
    _ = storage.weight_dtype, storage.weight_block
    for module in (*storage.modules, "lm_head"):
        storage.of(module)
    return inventory


def _read_gguf(path):
    gguf = read_gguf(path)
    config_remarks(gguf)
    _sorted_out(gguf.inventory)
    return config_fields(gguf)


def _read_params(path):
    fields = read_json(path, "a params.json", most_bytes=CONFIG_BYTES)
    return config_fields_of_params(fields, str(path))


def _onnx_files(folder):
    """Published networks and a Llama, and one small file of what those have not."""
    paths = []
    for path in sorted(ONNX.glob("*.onnx")):
        paths.append(folder / path.name)
        paths[-1].write_bytes(path.read_bytes())
    paths.append(folder / "by_hand.onnx")
    paths[-1].write_bytes(_all_sorts())
    return paths


def _all_sorts():
    """A program with shapes worked out from shapes, an open axis, a function, a fused attention and
    quantised weights."""
    node, tensor, value = by_hand.node, by_hand.tensor, by_hand.value
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["length"], axis=0),
        node("Concat", ["one", "length", "minus"], ["wanted"], axis=0),
        node("Reshape", ["x", "wanted"], ["r"]),
        node("Double", ["r"], ["d"], domain="own", by=[1, 2]),
        node("DequantizeLinear", ["q", "scale"], ["w"]),
        node("MatMul", ["d", "w"], ["m"]),
        node("MatMulNBits", ["m", "b", "sc"], ["n"], domain="com.microsoft", K=64, N=64, bits=4,
             block_size=32),
        node("MultiHeadAttention", ["n", "n", "n"], ["a"], domain="com.microsoft", num_heads=4),
        node("Split", ["a"], ["p", "p2"], axis=2),
        node("Einsum", ["p", "p2"], ["e"], equation="bij,bkj->bik"),
        node("Transpose", ["e"], ["t"], perm=[0, 2, 1]),
        node("ReduceMean", ["t"], ["y"], axes=[1], keepdims=0),
    ]  # fmt: skip
    tensors = [
        tensor("one", [1], 7, ints=[1]),
        tensor("minus", [1], 7, ints=[-1]),
        tensor("q", [64, 64], 3),
        tensor("scale", [], 1),
        tensor("b", [64, 2, 16], 2),
        tensor("sc", [128], 1),
    ]
    body = [node("Add", ["i", "i"], ["h"]), node("Relu", ["h"], ["o"])]
    graph = by_hand.graph(
        nodes, tensors, [value("x", [1, "sequence", 64])], [value("y", [1, "sequence"])]
    )
    return by_hand.program(graph, [by_hand.function("Double", "own", ["i"], ["o"], body)])


def _read_onnx(path):
    return pl.load_model(path, dimensions=({"sequence": 16} if "by_hand" in path.name else None))


def _folder_files(folder):
    """Folders, each in one file: names, and bytes in hexadecimal."""
    paths = []
    for number, (config, tensors) in enumerate([(LLAMA, PLAIN), (CONFIGS["gptq"], QUANTISED)]):
        sidecar = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
        parts = {
            "config.json": json.dumps(config).encode(),
            "model.safetensors": safetensors_bytes(tensors),
            "hf_quant_config.json": json.dumps(sidecar).encode(),
        }
        paths.append(folder / f"{number}.folder")
        text = json.dumps({name: held.hex() for name, held in parts.items()})
        paths[-1].write_text(text, encoding="utf-8")
    return paths


def _read_folder(path):
    """Lay the files of a folder out, and read it whole."""
    with tempfile.TemporaryDirectory() as folder:
        for name, held in json.loads(path.read_bytes()).items():
            (Path(folder) / name).write_bytes(bytes.fromhex(held))
        return pl.load_model(folder)


def _machine_files(folder):
    """Descriptions of machines, in every format that is read."""
    paths = []
    for at, text in enumerate(machine_texts().values()):
        paths.append(folder / f"{at}.description")
        paths[-1].write_text(text, encoding="utf-8")
    return paths


def _result_files(folder):
    """Results of tools that measure, in every format that is read."""
    paths = []
    for at, text in enumerate(benchmark_texts().values()):
        paths.append(folder / f"{at}.result")
        paths[-1].write_text(text, encoding="utf-8")
    return paths


def _tampered_result(held, draw, others):
    """As JSON what is one object, as lines what is a table or an object a line."""
    if held[:1] != b"{" or b"}\n{" in held:
        return _tampered_lines(held, draw, others)
    alike = [other for other in others if other[:1] == b"{" and b"}\n{" not in other]
    return tampered_json(held, draw, alike)


def _tampered_description(held, draw, others):
    if held[:1] == b"{":
        return tampered_json(held, draw, [other for other in others if other[:1] == b"{"])
    return _tampered_lines(held, draw, others)


def _tampered_lines(held, draw, others=()):
    """Text with lines and words dropped, doubled, changed for others or run together; bytes now and
    then."""
    if draw.random() < 0.1:
        return tampered_bytes(held, draw)
    lines = held.decode("utf-8").split("\n")
    theirs = [line for other in others for line in other.decode("utf-8").split("\n")]
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(lines))
        words = re.split(r"(\s+|[<>=\",/])", lines[at])
        place = draw.randrange(len(words))
        words[place] = draw.choice(
            ["", "GPU0", "X", "NV4", "9" * 300, "-1", "nan", "é", "\x00", "<a>", "&b;", "[0-99999999]",
             words[place] * 2, words[draw.randrange(len(words))], draw.choice(theirs)]
        )  # fmt: skip
        changed = draw.choice(["".join(words)] * 3 + [lines[at] * 2, draw.choice(theirs), ""])
        lines[at : at + draw.choice([0, 1, 1, 1, 2])] = [changed]
        lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _planned(path):
    """What is read of a description; of some, all that is made of it, to the file that it becomes."""
    seen = read_machine(path)
    if path.stat().st_size % 4:
        return seen
    made = described(seen, Asked(node="hgx-h100"))
    return made.text, made.read()


READERS = {
    reader.name: reader
    for reader in (
        Reader("config", _json_files(CONFIGS), pl.load_model),
        Reader("params", _json_files(PARAMS), _read_params),
        Reader(
            "safetensors",
            _safetensors_files,
            lambda path: _sorted_out(read_safetensors(path)),
            tampered_safetensors,
        ),
        Reader("index", _index_files, lambda path: _sorted_out(read_safetensors(path))),
        Reader("gguf", _gguf_files, _read_gguf, tampered_gguf(GGUF_SPECS)),
        Reader("onnx", _onnx_files, _read_onnx, tampered_onnx),
        Reader("folder", _folder_files, _read_folder, tampered_folder),
        Reader("machines", _machine_files, _planned, _tampered_description, len(FORMATS)),
        Reader("command", command_files, pl.read_command, tampered_command),
        Reader("results", _result_files, read_benchmarks, _tampered_result, len(RESULTS)),
        Reader(
            "topologies", nouns.machine_files, nouns.read_machine_chain, tampered_chain, takes=5
        ),
        Reader("clusters", nouns.cluster_files, nouns.read_cluster_chain, tampered_chain, takes=5),
        Reader("stacks", nouns.stack_files, nouns.read_stack_chain, tampered_chain, takes=5),
        Reader("launches", nouns.launch_files, nouns.read_launch_chain, tampered_chain, takes=5),
        Reader("answers", nouns.answer_files, nouns.read_answer, takes=3),
        Reader("plans", nouns.plan_files, nouns.read_and_score, takes=3),
        Reader("certificates", nouns.certificate_files, nouns.read_and_verify, takes=5),
        Reader("operators", nouns.operator_files, nouns.read_operators, takes=3),
        Reader(
            "measurements", nouns.measurement_files, nouns.read_and_predict, tampered_csv, takes=5
        ),
        Reader("claims", nouns.claim_files, nouns.read_claims_of, tampered_toml, takes=2),
        Reader("sweeps", nouns.spec_files, nouns.read_cells, tampered_toml, takes=3),
        Reader("databases", database_files, read_database, tampered_database, takes=10),
        Reader("words", command_line_files, run_words, tampered_words, most_cpu_s=2.0, takes=20),
    )
}
