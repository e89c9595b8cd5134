"""One stage of a model on one rank: transformers' own layers, with a part of their weights.

Layers are built without memory, and their parameters drawn one by one from the seed and the name:
whole, then cut, so that every rank of every plan has a part of the same model.
"""

import functools
import inspect
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from planner.running.attending import Cache, Window, registered
from planner.running.jobs import Job, StagePart
from planner.running.slices import Place, heads_of, share, sliced
from planner.running.wires import Wires, bytes_of

DEVIATION = 0.02
"""Of random biases, and of norms around one; matrices keep what goes through them as large as it
was."""


TILE = 8
"""Tokens that an expert takes at once: oneDNN makes a kernel for each number of rows that it meets,
which takes longer than many products."""
DRAWN = 1_048_583
"""Random numbers that all parameters are made of: a prime, so that no rows are alike."""


@functools.lru_cache(maxsize=1)
def _numbers(torch: Any, seed: int) -> Any:
    source = torch.Generator().manual_seed(seed)
    return torch.empty(DRAWN).normal_(generator=source)


def drawn(torch: Any, name: str, shape: tuple[int, ...], seed: int) -> Any:
    """A whole parameter, the same wherever it is asked for: the numbers of a seed, over and over,
    from where the name says. To draw each anew would take longer than most runs."""
    numbers = _numbers(torch, seed)
    first = zlib.crc32(name.encode()) % DRAWN
    count = math.prod(shape)
    rounds = -(-(first + count) // DRAWN)
    found = numbers.repeat(rounds)[first : first + count].reshape(shape)
    if len(shape) > 1:
        return found * shape[-1] ** -0.5
    offset = 1.0 if name.endswith("weight") else 0.0
    return found * DEVIATION + offset


def prompts_of(torch: Any, job: Job) -> Any:
    """Random tokens, shape (sequences, tokens)."""
    source = torch.Generator().manual_seed(job.seed)
    shape = (job.batch_size, job.prompt_tokens)
    return torch.randint(0, job.config["vocab_size"], shape, generator=source)


def skeleton(torch: Any, config: Mapping[str, Any]) -> Any:
    """The whole model as transformers builds it, without memory for its weights."""
    import transformers
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    fields = {key: value for key, value in config.items() if key not in ("torch_dtype", "dtype")}
    family = fields.pop("model_type")
    made = transformers.AutoConfig.for_model(family, **fields)
    made._attn_implementation = registered(torch, ALL_ATTENTION_FUNCTIONS)
    made._experts_implementation = "eager"
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(made, dtype=torch.float32)
    return model.eval()


class LoadedStage:
    """The layers of one stage with the weights of one of its ranks."""

    def __init__(self, torch: Any, job: Job, part: StagePart, rank: int, wires: Wires) -> None:
        self.torch = torch
        self.part = part
        self.wires = wires
        self.place = Place(rank, part.ranks, part.expert_ways)
        self.seed = job.seed
        self.weight_bytes = 0.0
        model = skeleton(torch, job.config)
        self.config = model.config
        self.fields = model.config.to_dict()
        decoders = range(part.first_decoder, part.first_decoder + part.decoders)
        self.routes = False
        """Whether tokens choose among experts."""
        self.layers = [self._layer(model, number) for number in decoders]
        self.cache_argument = cache_argument(self.layers)
        self.rotary = type(model.model.rotary_emb)(config=model.config)
        table = self._weight("model.embed_tokens.weight", model) if part.embeds else None
        self.table = table
        self.norm, self.head = None, None
        if part.makes_tokens:
            self.norm = model.model.norm
            self._fill(self.norm, "model.norm")
            self.head = self._head(model, table)
        self.cache = self._cache(job, list(decoders))

    def _head(self, model: Any, table: Any) -> Any:
        """The product with the head's rows; a tied one on the embedding's rank is the same
        memory."""
        if not self.config.tie_word_embeddings:
            rows = self._weight("lm_head.weight", model)
        elif table is not None:
            rows = table
        else:
            rows = self._weight("model.embed_tokens.weight", model)
        # The packed copy would be a second one where the embedding needs the rows too.
        return packed(self.torch, rows, None) if rows is not table else _plain(self.torch, rows)

    def _weight(self, name: str, model: Any) -> Any:
        """A parameter's part."""
        shape = tuple(model.get_parameter(name).shape)
        whole = drawn(self.torch, name, shape, self.seed)
        part = sliced(name, whole, self.place, self.fields).contiguous().clone()
        self.weight_bytes += bytes_of(part)
        return part

    def _layer(self, model: Any, number: int) -> Any:
        """A decoder layer, whose partial sums are added up over the ranks."""
        layer = model.model.layers[number]
        self._fill(layer, f"model.layers.{number}")
        layer.self_attn.o_proj.forward = _then(layer.self_attn.o_proj.forward, self.wires.add_up)
        layer.mlp.forward = _then(layer.mlp.forward, self.wires.add_up)
        return layer

    def _fill(self, module: Any, prefix: str) -> None:
        """Give a module's parameters memory and values, and its matrices a packed form."""
        for name, parameter in list(module.named_parameters()):
            full = f"{prefix}.{name}"
            whole = drawn(self.torch, full, tuple(parameter.shape), self.seed)
            part = sliced(full, whole, self.place, self.fields).contiguous().clone()
            self.weight_bytes += bytes_of(part)
            owner = module.get_submodule(name.rpartition(".")[0])
            leaf = name.rpartition(".")[2]
            owner._parameters[leaf] = self.torch.nn.Parameter(part, requires_grad=False)
        for owner in module.modules():
            if isinstance(owner, self.torch.nn.Linear):
                bias = owner._parameters.get("bias")
                owner.forward = packed(self.torch, owner._parameters.pop("weight"), bias)
            if hasattr(owner, "num_experts") and hasattr(owner, "down_proj"):
                self._pack_experts(owner)

    def _pack_experts(self, experts: Any) -> None:
        """Let a rank do only the experts that it holds, each a packed product as other matrices
        are."""
        own = share(experts.num_experts, self.place.experts_block, self.place.expert_ways)
        products = {
            name: [packed(self.torch, rows, None) for rows in experts._parameters.pop(name)]
            for name in ("gate_up_proj", "down_proj")
        }
        self.routes = True
        experts.forward = routed(self.torch, products, experts.act_fn, own)

    def _cache(self, job: Job, decoders: list[int]) -> Cache:
        heads = self.config.num_attention_heads
        groups = self.config.num_key_value_heads
        width = getattr(self.config, "head_dim", None) or self.config.hidden_size // heads
        _, count = heads_of(groups, self.place.rank, self.place.ranks)
        context = job.prompt_tokens + job.output_tokens
        return Cache(self.torch, decoders, (job.sequences, count, context, width))

    def embed(self, tokens: Any) -> Any:
        """Rows of the table; those that another rank holds come by adding up."""
        assert self.table is not None
        first = self.place.rank * len(self.table)
        local = tokens - first
        is_own = (local >= 0) & (local < len(self.table))
        found = self.torch.nn.functional.embedding(local.clamp(0, len(self.table) - 1), self.table)
        return self.wires.add_up(found * is_own.unsqueeze(-1))

    def through(self, stream: Any, first: int, seen: int) -> Any:
        """A pass of some sequences, from number `first` on, through the layers; `seen` tokens of
        each are in the cache."""
        count, tokens, _ = stream.shape
        window = Window(self.cache, first, first + count, seen)
        positions = self.torch.arange(seen, seen + tokens).unsqueeze(0)
        turned = self.rotary(stream, position_ids=positions)
        given = {
            "attention_mask": None,
            "position_ids": positions,
            "use_cache": True,
            "position_embeddings": turned,
            self.cache_argument: window,
        }
        for layer in self.layers:
            stream = layer(stream, **given)
        return stream

    def logits(self, stream: Any) -> Any:
        """Of the last token of each sequence, on every rank."""
        assert self.norm is not None
        assert self.head is not None
        return self.wires.gather(self.head(self.norm(stream[:, -1])), self.torch)


def cache_argument(layers: Sequence[Any]) -> str:
    """What layers call their cache: transformers 5.24 has another name for it, and warns of the
    old one."""
    named = {name for layer in layers for name in inspect.signature(layer.forward).parameters}
    return "cache" if "cache" in named else "past_key_values"


def _then(run: Any, after: Any) -> Any:
    """One after the other."""

    def forward(*given: Any, **named: Any) -> Any:
        return after(run(*given, **named))

    return forward


def routed(torch: Any, products: Mapping[str, Any], activate: Any, own: slice) -> Any:
    """What experts make of the tokens that chose them; those of other ranks add nothing here."""

    def forward(states: Any, chosen: Any, weights: Any) -> Any:
        found = torch.zeros_like(states)
        for number in chosen.unique().tolist():
            if not own.start <= number < own.stop:
                continue
            rows, places = torch.where(chosen == number)
            tiles = torch.zeros(-(-len(rows) // TILE) * TILE, states.shape[-1])
            tiles[: len(rows)] = states[rows]
            expert = number - own.start
            gate, up = products["gate_up_proj"][expert](tiles).chunk(2, dim=-1)
            made = products["down_proj"][expert](activate(gate) * up)[: len(rows)]
            found.index_add_(0, rows, made * weights[rows, places, None])
        return found

    return forward


def _plain(torch: Any, rows: Any) -> Any:
    """A product with rows as they lie."""
    return lambda states: torch.nn.functional.linear(states, rows)


def packed(torch: Any, rows: Any, bias: Any) -> Any:
    """A product with rows packed once, as oneDNN reads them: the library that plain products
    call packs them anew each time, which takes as long as reading them twice."""
    if not torch.backends.mkldnn.is_available():
        return lambda states: torch.nn.functional.linear(states, rows, bias)
    operations = torch.ops.mkldnn
    held = operations._reorder_linear_weight(rows.detach(), None)

    def forward(states: Any) -> Any:
        flat = states.reshape(-1, states.shape[-1])
        made = operations._linear_pointwise(flat, held, bias, "none", [], "")
        return made.reshape(*states.shape[:-1], made.shape[-1])

    return forward
