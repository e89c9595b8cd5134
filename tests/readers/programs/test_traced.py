"""Traced programs as graphs."""

import pytest

from planner.errors import InputError
from planner.readers.programs.traced import Operation, Value, Weight, graph_of_operations, part_of

PICTURE = Value("picture", 100, 4.0)


def weight(name, count=50):
    return Weight(name, count, "fp32", 4.0 * count)


def product(name, reads, count=20, module="", label="convolution", weights=None, **more):
    weights = (weight(f"{name} weights"),) if weights is None else weights
    return Operation(
        name=name,
        label=label,
        inputs=tuple(reads),
        outputs=(Value(f"{name} out", count, 4.0),),
        module=module,
        flop=1000.0,
        weights=weights,
        **more,
    )


def passing(name, reads, count=20, module="", **more):
    more = {"flop": float(count), **more}
    outputs = (Value(f"{name} out", count, 4.0),)
    return Operation(name, "pointwise", tuple(reads), outputs, module=module, **more)


def graph(*operations, outputs=None):
    last = operations[-1].outputs[0].name
    return graph_of_operations("it", operations, [PICTURE], outputs or [last])


def test_one_layer_for_each_product_with_what_follows_it():
    made = graph(
        product("a", ["picture"]),
        passing("norm", ["a out"]),
        passing("relu", ["norm out"]),
        product("b", ["relu out"], count=30),
    )
    assert made.names == ("a", "b")
    assert made.edges == (("a", "b"),)
    assert [layer.kind for layer in made.layers] == ["convolution", "outputs"]
    assert [layer.activation_width for layer in made.layers] == [20, 30]
    assert made.parameters == 100
    assert made.weight_bytes == 400
    # Norm and activation are one pass: 20 values of 4 bytes in, as many out, 40 operations.
    contraction, fused = made.layers[0].operators
    assert (contraction.kind, fused.kind, fused.name) == ("contraction", "pointwise", "norm … relu")
    assert fused.demand().read_bytes_per_token == 80
    assert fused.demand().written_bytes_per_token == 80
    assert fused.demand().flop_per_token == 40
    assert contraction.read_bytes_per_token == 400
    assert contraction.written_bytes_per_token == 80


def test_branches_are_edges():
    made = graph(
        product("stem", ["picture"]),
        product("left", ["stem out"]),
        product("right", ["stem out"]),
        passing("sum", ["left out", "right out"]),
    )
    assert made.edges == (("stem", "left"), ("stem", "right"), ("left", "right"))
    assert not made.is_chain


def test_numbered_modules_are_layers():
    made = graph(
        product("embed", ["picture"], module="model.embed"),
        product("q", ["embed out"], module="model.layers.0.attention.q"),
        passing("skip", ["q out", "embed out"], module="model.layers.0"),
        product("up", ["skip out"], module="model.layers.1.mlp.up"),
        product("head", ["up out"], module="head"),
    )
    assert made.names == ("model.embed", "model.layers.0", "model.layers.1", "head")
    assert made.is_chain


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("model.layers.3.mlp.up_proj", "model.layers.3"),
        ("layer1.0.conv2", "layer1.0"),
        ("h.11", "h.11"),
        ("encoder.stages.1.layers.0.layer.2.conv", "encoder.stages.1.layers.0"),
        ("down_blocks.0.resnets.1.conv1", "down_blocks.0.resnets.1"),
        ("model.layers.0.mlp.experts.3.up", "model.layers.0"),
        ("7.conv", "7"),
        ("blocks/2/attn", "blocks/2"),
        ("block_12.norm", "block_12"),
        ("layer1.conv", "layer1.conv"),
        ("", ""),
    ],
)
def test_parts_are_numbered(module, part):
    assert part_of(module) == part


def test_a_module_that_runs_twice_makes_two_layers():
    """Else it would wait for a layer that waits for it."""
    made = graph(
        product("first", ["picture"], module="layers.0"),
        product("middle", ["first out"], module="layers.1"),
        product("again", ["middle out"], module="layers.0"),
    )
    assert made.names == ("layers.0", "layers.1", "layers.0#2")
    assert made.is_chain


def test_what_needs_no_weights_is_made_where_it_is_asked_for():
    made = graph(
        passing("mask", ["picture"]),
        product("a", ["picture"], module="layers.0"),
        passing("masked a", ["a out", "mask out"], module="layers.0"),
        product("b", ["masked a out"], module="layers.1"),
        passing("masked b", ["b out", "mask out"], module="layers.1"),
    )
    assert made.names == ("layers.0", "layers.1")
    assert made.is_chain
    assert "mask" in made.layers[0].operators[1].name


def test_a_program_without_products_is_one_layer():
    made = graph(passing("a", ["picture"]), passing("b", ["a out"]))
    assert made.names == ("a",)
    assert made.layers[0].operators[0].flop_per_value * made.layers[0].operators[0].width == 40


def test_a_matrix_that_two_layers_read_is_held_once():
    shared = (Weight("table", 500, "fp32", 2000.0),)
    embedding = product(
        "embed", ["picture"], module="embed", label="embedding", weights=shared, table=(50, 10, 2)
    )
    head = product(
        "head", ["embed out"], module="head", label="matmul", weights=shared, matrix=(10, 50, 2)
    )
    made = graph(embedding, head)
    assert made.parameters == 500
    assert made.layers[1].tied_to == "embed"
    assert made.tied_layers == ((1, 0),)
    # 2 rows through 10 × 50.
    assert made.layers[1].flop(1, 1, 1) == 2 * 2 * 500


def test_a_matrix_read_twice_in_one_layer_works_twice_and_is_held_once():
    shared = (Weight("matrix", 100, "fp32", 400.0),)
    made = graph(
        product("a", ["picture"], module="layers.0", weights=shared, matrix=(10, 10, 5)),
        product("b", ["a out"], module="layers.0", weights=shared, matrix=(10, 10, 5)),
    )
    assert made.parameters == 100
    assert made.weight_bytes == 400
    assert made.layers[0].flop(1, 1, 1) == 2 * 5 * 100 + 1000


def test_views_cost_nothing():
    view = passing("view", ["a out"], is_view=True)
    made = graph(product("a", ["picture"]), view, product("b", ["view out"]))
    assert [len(layer.operators) for layer in made.layers] == [1, 1]
    assert made.edges == (("a", "b"),)


def test_a_value_that_two_read_leaves_once():
    made = graph(
        product("a", ["picture"]),
        product("b", ["a out"]),
        product("c", ["a out", "b out"]),
    )
    assert made.layers[0].activation_width == 20


def test_a_pass_wider_than_a_width_may_be_counts_as_several_tokens():
    made = graph(
        product("a", ["picture"]),
        passing("wide", ["a out"], 400_000_000),
        passing("sum", ["wide out"], 1),
    )
    inside = made.layers[0].operators[1]
    assert inside.demand().flop_per_token == pytest.approx(400_000_001)


def test_more_than_can_be_handed_on_is_refused():
    with pytest.raises(InputError, match=r"layer 'a' outputs 2e\+08 values"):
        graph(product("a", ["picture"], count=200_000_000), product("b", ["a out"]))


def test_nothing_to_do_is_refused():
    with pytest.raises(InputError, match="holds no operation"):
        graph_of_operations("it", [], [PICTURE], ["picture"])
