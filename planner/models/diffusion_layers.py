"""The layers of a diffusion model, made from its shape."""

from planner.models.autoencoder import autoencoder_layer
from planner.models.decoder import Formats
from planner.models.diffusion import (
    DiffusionShape,
    Picture,
    TextEncoder,
    latent_frames,
    latent_tokens,
)
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import Attention, Embedding, LayerOperator, MatMul, Pointwise


def diffusion_graph(
    shape: DiffusionShape,
    name: str,
    formats: Formats,
    picture: Picture,
    *,
    source: str = "",
    confidence: str = "",
) -> ModelGraph:
    """The layer graph of a diffusion model: text encoders, denoiser, autoencoder; a chain."""
    tokens = latent_tokens(shape, picture)
    maker = _Maker(shape, formats, tokens)
    denoiser = _unet(maker) if shape.levels else _transformer(maker)
    twins = [
        layer.model_copy(update={"name": f"twin {layer.name}", "runs_per_sample": 0})
        for layer in denoiser
        if shape.denoisers == 2
    ]
    layers = [layer for encoder in shape.encoders for layer in _text_encoder(maker, encoder)]
    layers += [*denoiser, *twins]
    if shape.autoencoder is not None:
        values = tokens * shape.patch**2 * shape.patch_frames
        frames = latent_frames(shape, picture.frames)
        layers.append(
            autoencoder_layer(shape.autoencoder, values / tokens, frames, maker.plain_dtype)
        )
    return ModelGraph(
        name=name,
        layers=tuple(layers),
        edges=chain_edges(tuple(layers)),
        weight_dtype=formats.weight_dtype,
        kv_dtype=formats.kv_dtype,
        activation_dtype=formats.compute_dtype,
        parameters_active=sum(layer.parameters for layer in denoiser),
        source=source,
        confidence=confidence,
        steps=picture.steps,
        tokens_per_sample=float(tokens),
        passes_per_step=shape.guidance_passes,
    )


class _Maker:
    """Operators of one model; factors are tokens for one patch of the picture."""

    def __init__(self, shape: DiffusionShape, formats: Formats, tokens: int) -> None:
        self.shape, self.formats = shape, formats
        self.of_text = shape.text_tokens / tokens
        self.of_both = 1.0 + self.of_text
        self.tokens = tokens
        self.plain_dtype = (
            formats.weight_dtype if formats.weight_dtype in ("fp16", "fp32") else "bf16"
        )

    def matmul(
        self, name: str, inputs: int, outputs: int, split: str = "outputs", **options: object
    ) -> MatMul:
        return MatMul.from_fields(
            {
                "name": name, "inputs": inputs, "outputs": outputs, "split": split,
                "weight_dtype": self.formats.weight_dtype, "compute_dtype": self.formats.compute_dtype, **options,
            }
        )  # fmt: skip

    def plain(self, name: str, inputs: int, outputs: int, **options: object) -> MatMul:
        """One that is neither quantised nor split."""
        dtype = self.plain_dtype
        return self.matmul(
            name, inputs, outputs, "none", weight_dtype=dtype, compute_dtype=dtype, **options
        )

    def vector(self, name: str, inputs: int, outputs: int) -> MatMul:
        """One on a single vector of each sample."""
        return self.matmul(name, inputs, outputs, rows="sequences")

    def attention(
        self, name: str, heads: int, head_dim: int, factor: float, **options: object
    ) -> Attention:
        return Attention.from_fields(
            {
                "name": name, "heads": heads, "kv_heads": heads, "key_width": head_dim, "value_width": head_dim,
                "cached_width": 2 * head_dim, "decode_key_width": head_dim, "decode_value_width": head_dim,
                "kv_dtype": self.formats.kv_dtype, "compute_dtype": self.plain_dtype, "causal": False, "cached": False,
                "tokens_factor": factor, **options,
            }
        )  # fmt: skip

    def self_attention(self, factor: float, name: str = "attention") -> list[LayerOperator]:
        """Queries, keys and values with their norm and rotation, scores, output."""
        shape, width = self.shape, self.shape.heads * self.shape.head_dim
        fixed = {"fixed_tokens": shape.head_dim} if shape.linear_attention else {}
        return [
            self.matmul(f"{name} query key value", shape.hidden, 3 * width, tokens_factor=factor),
            Pointwise(name=f"{name} rotation", width=2 * width, split=True, tokens_factor=factor),
            self.attention(name, shape.heads, shape.head_dim, factor, **fixed),
            self.matmul(f"{name} output", width, shape.hidden, "inputs", tokens_factor=factor),
        ]

    def cross_attention(self, hidden: int, heads: int, factor: float) -> list[LayerOperator]:
        """From the picture to a text, whose keys and values are made in every step."""
        shape = self.shape
        return [
            self.matmul("text query", hidden, hidden, tokens_factor=factor),
            self.matmul(
                "text key value", shape.text_widths[-1], 2 * hidden, tokens_factor=self.of_text
            ),
            self.attention(
                "text attention", heads, hidden // heads, factor, fixed_tokens=shape.text_tokens
            ),
            self.matmul("text attention output", hidden, hidden, "inputs", tokens_factor=factor),
        ]

    def norm(self, name: str, width: int, factor: float) -> Pointwise:
        return Pointwise(name=name, width=width, tokens_factor=factor)

    def feed_forward(
        self, hidden: int, ffn: int, matrices: int, factor: float, name: str = "ffn"
    ) -> list[LayerOperator]:
        inner = (matrices - 1) * ffn
        convolution = Pointwise(
            name=f"{name} convolution",
            width=inner,
            weights=9 * inner,
            flop_per_value=18,
            split=True,
            tokens_factor=factor,
        )
        return [
            self.norm(f"{name} norm", hidden, factor),
            self.matmul(f"{name} up", hidden, inner, tokens_factor=factor),
            *([convolution] if self.shape.depthwise else []),
            Pointwise(name=f"{name} activation", width=ffn, split=True, tokens_factor=factor),
            self.matmul(f"{name} down", ffn, hidden, "inputs", tokens_factor=factor),
        ]

    def modulated(self, name: str, vectors: int) -> list[LayerOperator]:
        shape = self.shape
        return (
            [self.vector(name, shape.modulation_inputs or shape.hidden, vectors * shape.hidden)]
            if vectors
            else []
        )

    def layer(
        self, kind: str, number: int, operators: list[LayerOperator], width: int = 0
    ) -> Layer:
        return Layer(
            name=f"{kind}.{number}",
            kind=kind,
            operators=tuple(operators),
            activation_width=width or self.shape.hidden,
        )


def _transformer(maker: _Maker) -> list[Layer]:
    """A denoiser of blocks over patches."""
    shape = maker.shape
    refined, doubled = range(shape.refiner_layers), range(shape.double_layers)
    refiners = [
        [*maker.modulated("modulation", 2), *_stream(maker, maker.of_text)] for _ in refined
    ]
    doubles = [
        _double(
            maker,
            dual=number < shape.dual_layers,
            ends=shape.text_ends_early and number == doubled[-1],
        )
        for number in doubled
    ]
    singles = [_single(maker) for _ in range(shape.single_layers)]
    blocks = [
        _block(maker, skip=number >= shape.layers - shape.skips) for number in range(shape.layers)
    ]
    return [
        maker.layer("input", 0, _inputs(maker)),
        *(
            maker.layer(kind, number, operators)
            for kind, stack in (
                ("refiner", refiners),
                ("double", doubles),
                ("single", singles),
                ("block", blocks),
            )
            for number, operators in enumerate(stack)
        ),
        maker.layer("output", 0, _outputs(maker)),
    ]


def _repeated(layer: Layer, count: int) -> list[Layer]:
    return _numbered([layer] * count)


def _numbered(layers: list[Layer]) -> list[Layer]:
    return [
        layer.model_copy(update={"name": f"{layer.kind}.{number}"})
        for number, layer in enumerate(layers)
    ]


def _inputs(maker: _Maker) -> list[LayerOperator]:
    """Patches, positions, the text's projections, and what conditions the whole sample."""
    shape = maker.shape
    values = shape.latent_channels * shape.patch**2 * shape.patch_frames
    inner = shape.modulation_inputs or shape.hidden
    operators: list[LayerOperator] = [maker.plain("patches", values, shape.hidden)]
    dtype = maker.plain_dtype
    for name, entries in (("positions", shape.position_table), ("classes", shape.classes)):
        if entries:
            operators.append(
                Embedding(name=name, vocabulary=entries, width=shape.hidden, weight_dtype=dtype)
            )
    operators += [
        maker.matmul(
            f"text projection {number}", inputs, outputs, "none", tokens_factor=maker.of_text
        )
        for number, (inputs, outputs) in enumerate(
            zip(shape.text_widths, shape.text_widths[1:], strict=False)
        )
    ]
    for number, inputs in enumerate(shape.vectors):
        operators += [
            maker.vector(f"vector {number} in", inputs, inner),
            maker.vector(f"vector {number} out", inner, inner),
        ]
    return [*operators, *maker.modulated("shared modulation", shape.shared_modulation)]


def _outputs(maker: _Maker) -> list[LayerOperator]:
    shape = maker.shape
    values = (shape.output_channels or shape.latent_channels) * shape.patch**2 * shape.patch_frames
    final = [] if shape.shared_modulation else maker.modulated("final modulation", 2)
    return [
        *final,
        maker.norm("final norm", shape.hidden, 1.0),
        maker.plain("patches", shape.hidden, values),
    ]


def _stream(maker: _Maker, factor: float) -> list[LayerOperator]:
    """Attention and feed-forward over one stream."""
    shape = maker.shape
    cross = (
        maker.cross_attention(shape.hidden, shape.heads, factor) if shape.text == "cross" else []
    )
    return [
        maker.norm("attention norm", shape.hidden, factor),
        *maker.self_attention(factor),
        *cross,
        *maker.feed_forward(shape.hidden, shape.ffn, shape.matrices, factor),
    ]


def _block(maker: _Maker, *, skip: bool) -> list[LayerOperator]:
    shape = maker.shape
    taken = [maker.matmul("skip", 2 * shape.hidden, shape.hidden, "none")] if skip else []
    factor = maker.of_both if shape.text == "joined" else 1.0
    return [*maker.modulated("modulation", shape.modulation), *taken, *_stream(maker, factor)]


def _double(maker: _Maker, *, dual: bool, ends: bool) -> list[LayerOperator]:
    """A block of MMDiT: two streams, one attention."""
    shape, width = maker.shape, maker.shape.heads * maker.shape.head_dim
    picture, text, both = 1.0, maker.of_text, maker.of_both
    of_text = [
        maker.matmul("text attention output", width, shape.hidden, "inputs", tokens_factor=text),
        *maker.feed_forward(shape.hidden, shape.ffn, shape.matrices, text, "text ffn"),
    ]
    return [
        *maker.modulated("modulation", 9 if dual else 6),
        *maker.modulated("text modulation", 2 if ends else 6),
        maker.norm("attention norm", shape.hidden, both),
        maker.matmul("query key value", shape.hidden, 3 * width, tokens_factor=picture),
        maker.matmul("text query key value", shape.hidden, 3 * width, tokens_factor=text),
        Pointwise(name="rotation", width=2 * width, split=True, tokens_factor=both),
        maker.attention("attention", shape.heads, shape.head_dim, both),
        maker.matmul("attention output", width, shape.hidden, "inputs", tokens_factor=picture),
        *(maker.self_attention(picture, "second attention") if dual else []),
        *maker.feed_forward(shape.hidden, shape.ffn, shape.matrices, picture),
        *([] if ends else of_text),
    ]


def _single(maker: _Maker) -> list[LayerOperator]:
    """A block with the feed-forward part beside attention, over both streams."""
    shape, width, both = maker.shape, maker.shape.heads * maker.shape.head_dim, maker.of_both
    return [
        *maker.modulated("modulation", 3),
        maker.norm("norm", shape.hidden, both),
        maker.matmul("query key value up", shape.hidden, 3 * width + shape.ffn, tokens_factor=both),
        Pointwise(name="rotation", width=2 * width, split=True, tokens_factor=both),
        maker.attention("attention", shape.heads, shape.head_dim, both),
        Pointwise(name="activation", width=shape.ffn, split=True, tokens_factor=both),
        maker.matmul("output down", width + shape.ffn, shape.hidden, "inputs", tokens_factor=both),
    ]


def _unet(maker: _Maker) -> list[Layer]:
    """A denoiser of residual blocks and transformers at falling, then rising resolutions."""
    shape, levels = maker.shape, maker.shape.levels
    first = levels[0].channels
    inner = 4 * first
    vectors = [
        operator
        for number, inputs in enumerate(shape.vectors)
        for operator in (
            maker.vector(f"vector {number} in", inputs, inner),
            maker.vector(f"vector {number} out", inner, inner),
        )
    ]
    found = [
        maker.layer(
            "input",
            0,
            [*vectors, maker.matmul("in", shape.latent_channels, first, "none", positions=9)],
            first,
        )
    ]
    inputs, skips = first, [first]
    for number, level in enumerate(levels):
        for _ in range(shape.residual_blocks):
            found += _unet_block(maker, number, inputs)
            inputs = level.channels
            skips.append(inputs)
        if number < len(levels) - 1:
            found.append(_resampling(maker, "down", inputs, 0.25 ** (number + 1)))
            skips.append(inputs)
    last = len(levels) - 1
    found += [*_unet_block(maker, last, inputs), *_unet_block(maker, last, inputs)[:1]]
    for number in reversed(range(len(levels))):
        for _ in range(shape.residual_blocks + 1):
            found += _unet_block(maker, number, inputs + skips.pop())
            inputs = levels[number].channels
        if number:
            found.append(_resampling(maker, "up", inputs, 0.25 ** (number - 1)))
    out: list[LayerOperator] = [
        maker.norm("norm", first, 1.0),
        maker.matmul("out", first, shape.latent_channels, "none", positions=9),
    ]
    return _numbered([*found, maker.layer("output", 0, out, first)])


def _resampling(maker: _Maker, kind: str, channels: int, factor: float) -> Layer:
    convolution = maker.matmul(
        "convolution", channels, channels, "none", positions=9, tokens_factor=factor
    )
    return maker.layer(kind, 0, [convolution], channels)


def _unet_block(maker: _Maker, number: int, inputs: int) -> list[Layer]:
    """A residual block, and the transformer behind it where the level has one."""
    level, factor = maker.shape.levels[number], 0.25**number
    channels, inner = level.channels, 4 * maker.shape.levels[0].channels
    shortcut = (
        [maker.matmul("shortcut", inputs, channels, "none", tokens_factor=factor)]
        if inputs != channels
        else []
    )
    residual = maker.layer("residual", 0, [
        maker.norm("norm in", inputs, factor),
        maker.matmul("convolution in", inputs, channels, positions=9, tokens_factor=factor),
        maker.vector("time", inner, channels),
        maker.norm("norm out", channels, factor),
        maker.matmul("convolution out", channels, channels, "inputs", positions=9, tokens_factor=factor),
        *shortcut,
    ], channels)  # fmt: skip
    if not level.transformers:
        return [residual]
    edge: list[LayerOperator] = [
        maker.matmul("projection", channels, channels, "none", tokens_factor=factor)
    ]
    block: list[LayerOperator] = [
        maker.norm("attention norm", channels, factor),
        maker.matmul("query key value", channels, 3 * channels, tokens_factor=factor),
        maker.attention("attention", level.heads, channels // level.heads, factor),
        maker.matmul("attention output", channels, channels, "inputs", tokens_factor=factor),
        maker.norm("text attention norm", channels, factor),
        *maker.cross_attention(channels, level.heads, factor),
        *maker.feed_forward(channels, 4 * channels, 3, factor),
    ]
    before = maker.layer("projection", 0, [maker.norm("norm", channels, factor), *edge], channels)
    after = maker.layer("projection", 0, list(edge), channels)
    return [
        residual,
        before,
        *([maker.layer("transformer", 0, block, channels)] * level.transformers),
        after,
    ]


def _text_encoder(maker: _Maker, encoder: TextEncoder) -> list[Layer]:
    """A text encoder as layers that run once: its table, then its blocks."""
    hidden, width, factor = (
        encoder.hidden,
        encoder.heads * encoder.head_dim,
        encoder.prompt_tokens / maker.tokens,
    )
    keys = encoder.kv_heads * encoder.head_dim
    attention = maker.attention("attention", encoder.heads, encoder.head_dim, factor).replace(
        kv_heads=encoder.kv_heads, causal=encoder.causal
    )
    block: list[LayerOperator] = [
        maker.norm("attention norm", hidden, factor),
        maker.plain("query key value", hidden, width + 2 * keys, tokens_factor=factor),
        attention,
        maker.plain("attention output", width, hidden, tokens_factor=factor),
        maker.norm("ffn norm", hidden, factor),
        maker.plain("ffn up", hidden, (encoder.matrices - 1) * encoder.ffn, tokens_factor=factor),
        Pointwise(name="ffn activation", width=encoder.ffn, tokens_factor=factor),
        maker.plain("ffn down", encoder.ffn, hidden, tokens_factor=factor),
    ]
    table = Embedding(
        name="tokens",
        vocabulary=encoder.vocabulary,
        width=hidden,
        weight_dtype=maker.plain_dtype,
        tokens_factor=factor,
    )
    first = maker.layer(f"{encoder.name} tokens", 0, [table], hidden)
    blocks = _repeated(maker.layer(f"{encoder.name} text", 0, block, hidden), encoder.layers)
    return [layer.model_copy(update={"runs_per_sample": 1}) for layer in (first, *blocks)]
