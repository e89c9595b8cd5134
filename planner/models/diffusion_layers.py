"""The layers of a diffusion model, made from its shape."""

import itertools

from planner.models.autoencoder import autoencoder_layer
from planner.models.diffusion import (
    DiffusionShape,
    Picture,
    TextEncoder,
    Transformer,
    UNet,
)
from planner.models.dtypes import Dtype
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import (
    Attention,
    Embedding,
    LayerOperator,
    MatMul,
    Pointwise,
    plain_attention,
)
from planner.models.storage import Formats


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
    tokens = shape.latent.tokens_of(picture)
    maker = _Maker(shape, formats, tokens)

    layers: list[Layer] = []
    for encoder in shape.encoders:
        layers += _text_encoder(maker, encoder)

    denoiser = _denoiser(maker)
    layers += denoiser
    if shape.denoisers == 2:
        layers += _twins(denoiser)

    if shape.autoencoder is not None:
        values = float(shape.latent.patch_values)
        frames = shape.latent.frames_of(picture.frames)
        layers.append(autoencoder_layer(shape.autoencoder, values, frames, maker.plain_dtype))

    chain = tuple(layers)
    return ModelGraph(
        name=name,
        layers=chain,
        edges=chain_edges(chain),
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


def _denoiser(maker: "_Maker") -> list[Layer]:
    denoiser = maker.shape.denoiser
    if isinstance(denoiser, UNet):
        return _UNetMaker(maker, denoiser).layers()
    return _TransformerMaker(maker, denoiser).layers()


def _twins(denoiser: list[Layer]) -> list[Layer]:
    """The second of two denoisers: held, and counted in the steps of the first."""
    changes = [{"name": f"twin {layer.name}", "runs_per_sample": 0} for layer in denoiser]
    pairs = zip(denoiser, changes, strict=True)
    return [layer.model_copy(update=change) for layer, change in pairs]


class _Maker:
    """Operators of one model; factors are tokens for one patch of the picture."""

    def __init__(self, shape: DiffusionShape, formats: Formats, tokens: int) -> None:
        self.shape = shape
        self.formats = formats
        self.tokens = tokens
        self.of_text = shape.conditions.text_tokens / tokens
        self.of_both = 1.0 + self.of_text
        self.plain_dtype: Dtype = "bf16"
        if formats.weight_dtype in ("fp16", "fp32"):
            self.plain_dtype = formats.weight_dtype

    def matmul(
        self, name: str, inputs: int, outputs: int, split: str = "outputs", **options: object
    ) -> MatMul:
        return MatMul.from_fields(
            {
                "name": name,
                "inputs": inputs,
                "outputs": outputs,
                "split": split,
                "weight_dtype": self.formats.weight_dtype,
                **self.formats.multiplied,
                **options,
            }
        )

    def plain(self, name: str, inputs: int, outputs: int, **options: object) -> MatMul:
        """One that is neither quantised nor split."""
        dtype = self.plain_dtype
        formats = {"weight_dtype": dtype, "compute_dtype": dtype, "natively": False}
        return self.matmul(name, inputs, outputs, "none", **(formats | options))

    def vector(self, name: str, inputs: int, outputs: int) -> MatMul:
        """One on a single vector of each sample."""
        return self.matmul(name, inputs, outputs, rows="sequences")

    def vectors(self, inner: int) -> list[LayerOperator]:
        """What conditions the whole sample, each by two matmuls."""
        operators: list[LayerOperator] = []
        for number, inputs in enumerate(self.shape.conditions.vectors):
            operators.append(self.vector(f"vector {number} in", inputs, inner))
            operators.append(self.vector(f"vector {number} out", inner, inner))
        return operators

    def attention(
        self,
        name: str,
        heads: int,
        head_dim: int,
        factor: float,
        *,
        kv_heads: int | None = None,
        **options: object,
    ) -> Attention:
        """Each token sees all the others, where options do not say otherwise."""
        usual = {"causal": False, "cached": False, "tokens_factor": factor}
        return plain_attention(
            name,
            heads,
            head_dim,
            kv_heads=kv_heads,
            kv_dtype=self.formats.kv_dtype,
            compute_dtype=self.plain_dtype,
            **(usual | options),
        )

    def cross_attention(self, hidden: int, heads: int, factor: float) -> list[LayerOperator]:
        """From the picture to a text, whose keys and values are made in every step."""
        text_width = self.shape.conditions.text_widths[-1]
        attention = self.attention(
            "text attention",
            heads,
            hidden // heads,
            factor,
            fixed_tokens=self.shape.conditions.text_tokens,
        )
        return [
            self.matmul("text query", hidden, hidden, tokens_factor=factor),
            self.matmul("text key value", text_width, 2 * hidden, tokens_factor=self.of_text),
            attention,
            self.matmul("text attention output", hidden, hidden, "inputs", tokens_factor=factor),
        ]

    def norm(self, name: str, width: int, factor: float) -> Pointwise:
        return Pointwise(name=name, width=width, tokens_factor=factor)

    def feed_forward(
        self,
        hidden: int,
        ffn: int,
        matrices: int,
        factor: float,
        *,
        name: str = "ffn",
        depthwise: bool = False,
    ) -> list[LayerOperator]:
        inner = (matrices - 1) * ffn
        operators: list[LayerOperator] = [
            self.norm(f"{name} norm", hidden, factor),
            self.matmul(f"{name} up", hidden, inner, tokens_factor=factor),
        ]
        if depthwise:
            convolution = Pointwise(
                name=f"{name} convolution",
                width=inner,
                weights=9 * inner,
                flop_per_value=18,
                split=True,
                tokens_factor=factor,
            )
            operators.append(convolution)
        return [
            *operators,
            Pointwise(name=f"{name} activation", width=ffn, split=True, tokens_factor=factor),
            self.matmul(f"{name} down", ffn, hidden, "inputs", tokens_factor=factor),
        ]

    def layer(self, kind: str, number: int, operators: list[LayerOperator], width: int) -> Layer:
        return Layer(
            name=f"{kind}.{number}",
            kind=kind,
            operators=tuple(operators),
            activation_width=width,
        )


class _TransformerMaker:
    """A denoiser of blocks over patches."""

    def __init__(self, maker: _Maker, denoiser: Transformer) -> None:
        self.maker = maker
        self.denoiser = denoiser

    def layers(self) -> list[Layer]:
        denoiser = self.denoiser
        last_double = denoiser.double_layers - 1
        first_skip = denoiser.layers - denoiser.skips

        found = [self.layer("input", 0, self.inputs())]
        for number in range(denoiser.refiner_layers):
            found.append(self.layer("refiner", number, self.refiner()))
        for number in range(denoiser.double_layers):
            dual = number < denoiser.dual_layers
            ends = denoiser.text_ends_early and number == last_double
            found.append(self.layer("double", number, self.double(dual=dual, ends=ends)))
        for number in range(denoiser.single_layers):
            found.append(self.layer("single", number, self.single()))
        for number in range(denoiser.layers):
            found.append(self.layer("block", number, self.block(skip=number >= first_skip)))
        return [*found, self.layer("output", 0, self.outputs())]

    def layer(self, kind: str, number: int, operators: list[LayerOperator]) -> Layer:
        return self.maker.layer(kind, number, operators, self.denoiser.hidden)

    def inputs(self) -> list[LayerOperator]:
        """Patches, positions, the text's projections, and what conditions the whole sample."""
        maker = self.maker
        hidden = self.denoiser.hidden
        latent = maker.shape.latent

        operators: list[LayerOperator] = [
            maker.plain("patches", latent.channels * latent.patch_values, hidden)
        ]
        tables = {"positions": self.denoiser.position_table, "classes": self.denoiser.classes}
        for name, entries in tables.items():
            if entries:
                table = Embedding(
                    name=name, vocabulary=entries, width=hidden, weight_dtype=maker.plain_dtype
                )
                operators.append(table)

        widths = maker.shape.conditions.text_widths
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            name = f"text projection {number}"
            projection = maker.matmul(name, inputs, outputs, "none", tokens_factor=maker.of_text)
            operators.append(projection)

        return [
            *operators,
            *maker.vectors(self.denoiser.modulated_from),
            *self.modulated("shared modulation", self.denoiser.shared_modulation),
        ]

    def outputs(self) -> list[LayerOperator]:
        latent = self.maker.shape.latent
        values = (latent.output_channels or latent.channels) * latent.patch_values
        # Shared modulation reaches as far as the final norm; it was made with the inputs.
        vectors = 0 if self.denoiser.shared_modulation else 2
        return [
            *self.modulated("final modulation", vectors),
            self.maker.norm("final norm", self.denoiser.hidden, 1.0),
            self.maker.plain("patches", self.denoiser.hidden, values),
        ]

    def of_block(self, name: str, vectors: int) -> list[LayerOperator]:
        """Modulation that a double or single block makes for itself, where none is made for all."""
        return self.modulated(name, 0 if self.denoiser.shared_modulation else vectors)

    def modulated(self, name: str, vectors: int) -> list[LayerOperator]:
        if not vectors:
            return []
        denoiser = self.denoiser
        return [self.maker.vector(name, denoiser.modulated_from, vectors * denoiser.hidden)]

    def self_attention(self, factor: float, name: str = "attention") -> list[LayerOperator]:
        """Queries, keys and values with their norm and rotation, scores, output."""
        maker = self.maker
        denoiser = self.denoiser
        hidden = denoiser.hidden
        width = denoiser.width

        # Linear attention has a state as large as a head is wide, in place of a key for each token.
        linear = denoiser.linear_attention
        state = denoiser.head_dim if linear else 0
        return [
            maker.matmul(f"{name} query key value", hidden, 3 * width, tokens_factor=factor),
            Pointwise(name=f"{name} rotation", width=2 * width, split=True, tokens_factor=factor),
            maker.attention(
                name,
                denoiser.heads,
                denoiser.head_dim,
                factor,
                fixed_tokens=state,
                linear=linear,
            ),
            maker.matmul(f"{name} output", width, hidden, "inputs", tokens_factor=factor),
        ]

    def feed_forward(self, factor: float, name: str = "ffn") -> list[LayerOperator]:
        denoiser = self.denoiser
        return self.maker.feed_forward(
            denoiser.hidden,
            denoiser.ffn,
            denoiser.matrices,
            factor,
            name=name,
            depthwise=denoiser.depthwise,
        )

    def stream(self, factor: float) -> list[LayerOperator]:
        """Attention and feed-forward over one stream."""
        maker = self.maker
        denoiser = self.denoiser
        operators: list[LayerOperator] = [
            maker.norm("attention norm", denoiser.hidden, factor),
            *self.self_attention(factor),
        ]
        if denoiser.text == "cross":
            operators += maker.cross_attention(denoiser.hidden, denoiser.heads, factor)
        return [*operators, *self.feed_forward(factor)]

    def refiner(self) -> list[LayerOperator]:
        """A block over the text alone."""
        return [*self.modulated("modulation", 2), *self.stream(self.maker.of_text)]

    def block(self, *, skip: bool) -> list[LayerOperator]:
        hidden = self.denoiser.hidden
        operators = self.modulated("modulation", self.denoiser.modulation)
        if skip:
            operators.append(self.maker.matmul("skip", 2 * hidden, hidden, "none"))
        factor = self.maker.of_both if self.denoiser.text == "joined" else 1.0
        return [*operators, *self.stream(factor)]

    def double(self, *, dual: bool, ends: bool) -> list[LayerOperator]:
        """A block of MMDiT: two streams, one attention."""
        maker = self.maker
        denoiser = self.denoiser
        hidden = denoiser.hidden
        width = denoiser.width
        text = maker.of_text
        both = maker.of_both

        operators = [
            *self.of_block("modulation", 9 if dual else 6),
            *self.of_block("text modulation", 2 if ends else 6),
            maker.norm("attention norm", hidden, both),
            maker.matmul("query key value", hidden, 3 * width),
            maker.matmul("text query key value", hidden, 3 * width, tokens_factor=text),
            Pointwise(name="rotation", width=2 * width, split=True, tokens_factor=both),
            maker.attention("attention", denoiser.heads, denoiser.head_dim, both),
            maker.matmul("attention output", width, hidden, "inputs"),
        ]
        if dual:
            operators += self.self_attention(1.0, "second attention")
        operators += self.feed_forward(1.0)
        if ends:
            return operators
        return [
            *operators,
            maker.matmul("text attention output", width, hidden, "inputs", tokens_factor=text),
            *self.feed_forward(text, "text ffn"),
        ]

    def single(self) -> list[LayerOperator]:
        """A block with the feed-forward part beside attention, over both streams."""
        maker = self.maker
        denoiser = self.denoiser
        hidden = denoiser.hidden
        width = denoiser.width
        ffn = denoiser.ffn
        inner = 3 * width + (denoiser.matrices - 1) * ffn
        both = maker.of_both
        return [
            *self.of_block("modulation", 3),
            maker.norm("norm", hidden, both),
            maker.matmul("query key value up", hidden, inner, tokens_factor=both),
            Pointwise(name="rotation", width=2 * width, split=True, tokens_factor=both),
            maker.attention("attention", denoiser.heads, denoiser.head_dim, both),
            Pointwise(name="activation", width=ffn, split=True, tokens_factor=both),
            maker.matmul("output down", width + ffn, hidden, "inputs", tokens_factor=both),
        ]


class _UNetMaker:
    """A denoiser of residual blocks and transformers at falling, then rising resolutions."""

    def __init__(self, maker: _Maker, denoiser: UNet) -> None:
        self.maker = maker
        self.denoiser = denoiser
        self.first = denoiser.levels[0].channels
        self.inner = 4 * self.first
        """Width of the vectors that tell each residual block the time step."""

    def layers(self) -> list[Layer]:
        down, skips = self.way_down()
        return _numbered([self.input(), *down, *self.bottom(), *self.way_up(skips), self.output()])

    def input(self) -> Layer:
        channels = self.maker.shape.latent.channels
        convolution = self.maker.matmul("in", channels, self.first, "none", positions=9)
        operators = [*self.maker.vectors(self.inner), convolution]
        return self.maker.layer("input", 0, operators, self.first)

    def output(self) -> Layer:
        channels = self.maker.shape.latent.channels
        operators: list[LayerOperator] = [
            self.maker.norm("norm", self.first, 1.0),
            self.maker.matmul("out", self.first, channels, "none", positions=9),
        ]
        return self.maker.layer("output", 0, operators, self.first)

    def way_down(self) -> tuple[list[Layer], list[int]]:
        """The levels, finest first; and the channels of each output that the way up takes in
        again beside its own."""
        levels = self.denoiser.levels
        found: list[Layer] = []
        inputs = self.first
        skips = [inputs]
        for number, level in enumerate(levels):
            for _ in range(self.denoiser.residual_blocks):
                found += self.block(number, inputs)
                inputs = level.channels
                skips.append(inputs)
            if number < len(levels) - 1:
                found.append(self.resampling("down", inputs, number + 1))
                skips.append(inputs)
        return found, skips

    def bottom(self) -> list[Layer]:
        """A block, and a residual one without a transformer."""
        last = len(self.denoiser.levels) - 1
        block = self.block(last, self.denoiser.levels[last].channels)
        return [*block, block[0]]

    def way_up(self, skips: list[int]) -> list[Layer]:
        """The levels, coarsest first, each block with an output of the way down beside its
        input."""
        levels = self.denoiser.levels
        found: list[Layer] = []
        inputs = levels[-1].channels
        for number in reversed(range(len(levels))):
            for _ in range(self.denoiser.residual_blocks + 1):
                found += self.block(number, inputs + skips.pop())
                inputs = levels[number].channels
            if number:
                found.append(self.resampling("up", inputs, number - 1))
        return found

    def factor(self, level: int) -> float:
        """A level has half the edge of the one before, and a quarter of its values."""
        return float(0.25**level)

    def resampling(self, kind: str, channels: int, level: int) -> Layer:
        """From one level to another, at whose resolution the convolution works."""
        convolution = self.maker.matmul(
            "convolution",
            channels,
            channels,
            "none",
            positions=9,
            tokens_factor=self.factor(level),
        )
        return self.maker.layer(kind, 0, [convolution], channels)

    def block(self, number: int, inputs: int) -> list[Layer]:
        """A residual block, and the transformer behind it where the level has one."""
        level = self.denoiser.levels[number]
        residual = self.residual(number, inputs)
        if not level.transformers:
            return [residual]

        channels = level.channels
        factor = self.factor(number)
        norm = self.maker.norm("norm", channels, factor)
        edge = self.maker.matmul("projection", channels, channels, "none", tokens_factor=factor)
        before = self.maker.layer("projection", 0, [norm, edge], channels)
        after = self.maker.layer("projection", 0, [edge], channels)
        return [residual, before, *[self.transformer(number)] * level.transformers, after]

    def residual(self, number: int, inputs: int) -> Layer:
        maker = self.maker
        factor = self.factor(number)
        channels = self.denoiser.levels[number].channels

        def convolution(name: str, width: int, split: str) -> MatMul:
            return maker.matmul(name, width, channels, split, positions=9, tokens_factor=factor)

        operators: list[LayerOperator] = [
            maker.norm("norm in", inputs, factor),
            convolution("convolution in", inputs, "outputs"),
            maker.vector("time", self.inner, channels),
            maker.norm("norm out", channels, factor),
            convolution("convolution out", channels, "inputs"),
        ]
        if inputs != channels:
            shortcut = maker.matmul("shortcut", inputs, channels, "none", tokens_factor=factor)
            operators.append(shortcut)
        return maker.layer("residual", 0, operators, channels)

    def transformer(self, number: int) -> Layer:
        maker = self.maker
        level = self.denoiser.levels[number]
        factor = self.factor(number)
        channels = level.channels
        operators: list[LayerOperator] = [
            maker.norm("attention norm", channels, factor),
            maker.matmul("query key value", channels, 3 * channels, tokens_factor=factor),
            maker.attention("attention", level.heads, channels // level.heads, factor),
            maker.matmul("attention output", channels, channels, "inputs", tokens_factor=factor),
            maker.norm("text attention norm", channels, factor),
            *maker.cross_attention(channels, level.heads, factor),
            *maker.feed_forward(channels, 4 * channels, 3, factor),
        ]
        return maker.layer("transformer", 0, operators, channels)


def _text_encoder(maker: _Maker, encoder: TextEncoder) -> list[Layer]:
    """A text encoder as layers that run once: its table, then its blocks."""
    hidden = encoder.hidden
    factor = encoder.prompt_tokens / maker.tokens

    table = Embedding(
        name="tokens",
        vocabulary=encoder.vocabulary,
        width=hidden,
        weight_dtype=maker.plain_dtype,
        tokens_factor=factor,
    )
    operators = _text_block(maker, encoder, factor)
    first = maker.layer(f"{encoder.name} tokens", 0, [table], hidden)
    block = maker.layer(f"{encoder.name} text", 0, operators, hidden)
    layers = [first, *_numbered([block] * encoder.layers)]
    return [layer.model_copy(update={"runs_per_sample": 1}) for layer in layers]


def _text_block(maker: _Maker, encoder: TextEncoder, factor: float) -> list[LayerOperator]:
    hidden = encoder.hidden
    queries = encoder.heads * encoder.head_dim
    keys = encoder.kv_heads * encoder.head_dim
    inner = (encoder.matrices - 1) * encoder.ffn
    attention = maker.attention(
        "attention",
        encoder.heads,
        encoder.head_dim,
        factor,
        kv_heads=encoder.kv_heads,
        causal=encoder.causal,
    )
    return [
        maker.norm("attention norm", hidden, factor),
        maker.plain("query key value", hidden, queries + 2 * keys, tokens_factor=factor),
        attention,
        maker.plain("attention output", queries, hidden, tokens_factor=factor),
        maker.norm("ffn norm", hidden, factor),
        maker.plain("ffn up", hidden, inner, tokens_factor=factor),
        Pointwise(name="ffn activation", width=encoder.ffn, tokens_factor=factor),
        maker.plain("ffn down", encoder.ffn, hidden, tokens_factor=factor),
    ]


def _numbered(layers: list[Layer]) -> list[Layer]:
    """With the place in the list in the name, since names must be unique."""
    names = [f"{layer.kind}.{number}" for number, layer in enumerate(layers)]
    pairs = zip(layers, names, strict=True)
    return [layer.model_copy(update={"name": name}) for layer, name in pairs]
