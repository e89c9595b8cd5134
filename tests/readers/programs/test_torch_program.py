"""Programs that torch traced: by stand-ins without torch, and by torch itself where it is."""

import operator
from types import SimpleNamespace

import pytest

from planner.errors import InputError
from planner.readers.programs.torch_program import graph_of_program, module_inventory

SIZES = {"float32": 4, "bfloat16": 2, "int64": 8, "float64": 8}


class Tensor:
    def __init__(self, *shape, dtype="float32"):
        self.shape = shape
        self.dtype = f"torch.{dtype}"

    def element_size(self):
        return SIZES[self.dtype.removeprefix("torch.")]


def node(op, name, target, args=(), value=None, module="", **kwargs):
    stack = {"id": (module, "Module")} if module else {}
    meta = {"val": value, "nn_module_stack": stack}
    return SimpleNamespace(op=op, name=name, target=target, args=args, kwargs=kwargs, meta=meta)


def exported(nodes, parameters=(), buffers=(), state=None):
    signature = SimpleNamespace(
        inputs_to_parameters=dict(parameters), inputs_to_buffers=dict(buffers)
    )
    return SimpleNamespace(
        graph=SimpleNamespace(nodes=nodes), graph_signature=signature, state_dict=state or {}
    )


X = node("placeholder", "x", "x", value=Tensor(2, 7, 32))
W = node("placeholder", "p_w", "p_w", value=Tensor(64, 32))
LINEAR = node("call_function", "linear", "aten.linear.default", (X, W), Tensor(2, 7, 64), "head")
OUT = node("output", "output", "output", ((LINEAR,),))


def test_a_linear_layer_by_hand():
    graph = graph_of_program(exported([X, W, LINEAR, OUT], {"p_w": "head.weight"}), "it")
    (layer,) = graph.layers
    assert (layer.name, layer.kind) == ("head", "outputs")
    assert layer.flop(1, 1, 1) == 2 * 14 * 32 * 64
    assert (graph.parameters, graph.weight_bytes) == (2048, 8192)
    assert layer.activation_width == 14 * 64


def test_attention_and_its_views_by_hand():
    """Two heads of 16 over 7 tokens: scores and sums of 49 pairs each."""
    view = node(
        "call_function", "view", "aten.view.default", (X, [2, 7, 2, 16]), Tensor(2, 7, 2, 16)
    )
    turned = node(
        "call_function", "turned", "aten.transpose.int", (view, 1, 2), Tensor(2, 2, 7, 16)
    )
    attention = node(
        "call_function", "sdpa", "aten.scaled_dot_product_attention.default",
        (turned, turned, turned), Tensor(2, 2, 7, 16),
    )  # fmt: skip
    nodes = [X, view, turned, attention, node("output", "o", "o", ((attention,),))]
    graph = graph_of_program(exported(nodes))
    assert graph.layers[0].flop(1, 1, 1) == 2 * 2 * 2 * 49 * (16 + 16)
    assert len(graph.layers[0].operators) == 1


def test_experts_are_counted_for_each_token_that_meets_one():
    """Of grouped products each row meets the matrix of one expert; all experts are held."""
    experts = node("placeholder", "p_e", "p_e", value=Tensor(4, 32, 64))
    rows = node("placeholder", "rows", "rows", value=Tensor(14, 32))
    grouped = node(
        "call_function", "grouped", "transformers.grouped_mm_fallback.default", (rows, experts), Tensor(14, 64)
    )  # fmt: skip
    nodes = [rows, experts, grouped, node("output", "o", "o", ((grouped,),))]
    graph = graph_of_program(exported(nodes, {"p_e": "experts"}))
    assert graph.layers[0].flop(1, 1, 1) == 2 * 14 * 32 * 64
    assert graph.parameters == 4 * 32 * 64


def test_tied_parameters_are_held_once():
    shared = object()
    ids = node("placeholder", "ids", "ids", value=Tensor(1, 5, dtype="int64"))
    table = node("placeholder", "p_table", "p_table", value=Tensor(100, 32))
    head = node("placeholder", "p_head", "p_head", value=Tensor(100, 32))
    looked = node(
        "call_function",
        "embedding",
        "aten.embedding.default",
        (table, ids),
        Tensor(1, 5, 32),
        "embed",
    )
    logits = node(
        "call_function", "linear", "aten.linear.default", (looked, head), Tensor(1, 5, 100), "head"
    )
    nodes = [table, head, ids, looked, logits, node("output", "o", "o", ((logits,),))]
    program = exported(
        nodes,
        {"p_table": "embed.weight", "p_head": "head.weight"},
        state={"embed.weight": shared, "head.weight": shared},
    )
    graph = graph_of_program(program)
    assert graph.parameters == 3200
    assert graph.layers[1].tied_to == "embed"


def test_parts_of_several_outputs_and_buffers():
    split = node(
        "call_function", "split", "aten.split.Tensor", (LINEAR, 32, -1), [Tensor(2, 7, 32)] * 2
    )
    second = node("call_function", "item", operator.getitem, (split, 1), Tensor(2, 7, 32))
    table = node("placeholder", "b_table", "b_table", value=Tensor(7, 32))
    scaled = node("call_function", "mul", "aten.mul.Tensor", (second, table), Tensor(2, 7, 32))
    nodes = [X, W, table, LINEAR, split, second, scaled, node("output", "o", "o", ((scaled,),))]
    graph = graph_of_program(exported(nodes, {"p_w": "w"}, {"b_table": "table"}))
    assert graph.parameters == 2048
    # In one pass: 896 values and the table in, 448 out; 448 multiplications.
    fused = graph.layers[0].operators[1].demand()
    assert fused.flop_per_token == 448
    assert fused.read_bytes_per_token + fused.written_bytes_per_token == 4 * (896 + 224 + 448)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("get_attr", "true_graph", "true_graph")], "holds a subgraph"),
        (
            [X, W, node("call_function", "odd", "mine.fused.default", (X, W), Tensor(2, 7, 64))],
            "'mine.fused.default' .* reads a matrix of weights",
        ),
        ([node("placeholder", "x", "x", value=Tensor("s0", 7))], "without dynamic_shapes"),
        (
            [node("placeholder", "p_w", "p_w", value=Tensor(8, 8, dtype="float64"))],
            "stored as float64",
        ),
        ([], "holds no operation"),
    ],
)
def test_what_is_not_read_is_named(nodes, words):
    with pytest.raises(InputError, match=words):
        graph_of_program(exported(nodes, {"p_w": "w"}))


def test_something_else_is_refused():
    with pytest.raises(InputError, match=r"what torch.export.export\(\) returns, not int"):
        graph_of_program(3)
    with pytest.raises(InputError, match=r"must be a torch.nn.Module, not str"):
        module_inventory("module")


def tiny_llama(torch, device, tied=False):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=100,
        intermediate_size=128, tie_word_embeddings=tied, use_cache=False, max_position_embeddings=64,
    )  # fmt: skip
    with torch.device(device):
        return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_llama_of_torch_is_the_llama_of_its_config(device, tied):
    torch = pytest.importorskip("torch")
    module = tiny_llama(torch, device, tied)
    ids = torch.zeros(1, 16, dtype=torch.long, device=device)
    graph = graph_of_program(torch.export.export(module, (ids,)), "llama")
    each_layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128
    assert graph.parameters == 2 * (each_layer + 128) + (1 if tied else 2) * 6400 + 64
    assert graph.weight_bytes == 4 * graph.parameters
    products = sum(
        one.demand().flop_per_token / 2
        for layer in graph.layers
        for one in layer.operators
        if one.kind in ("contraction", "matmul")
    )
    assert products == 16 * (2 * each_layer + 6400) + 2 * 2 * 4 * 16**3
    assert graph.is_chain
    inventory = module_inventory(module)
    assert sum(one.stored_bytes for one in inventory) == graph.weight_bytes
    assert inventory[0].name == "model.embed_tokens.weight"
    assert inventory[0].shape == (100, 64)
    assert inventory[0].dtype == "float32"
