"""How the modules of a checkpoint are stored, by the scheme that its files state."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from planner.errors import shortened
from planner.models.dtypes import Dtype
from planner.models.storage import PLAIN, Stored
from planner.readers.quantisation.modules import EXPERT, Part, part_of
from planner.readers.quantisation.rules import Rule, Rules

EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
MOST_LAYERS = 2_000

ATTENTION_LEAVES = tuple(
    f"self_attn.{name}"
    for name in (
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"),
    )
)
RECURRENT_LEAVES = ("linear_attn.in_proj", "linear_attn.out_proj")
FEED_FORWARD_LEAVES = tuple(
    f"mlp.{home}{name}"
    for home in ("", "experts.", "shared_experts.")
    for name in ("gate_proj", "up_proj", "down_proj")
)
LEAVES = (*ATTENTION_LEAVES, *RECURRENT_LEAVES, *FEED_FORWARD_LEAVES, "mlp.gate")
"""Canonical modules of a layer, whichever of them a model has."""


@dataclass(frozen=True)
class Scheme:
    """What a checkpoint's files say of its weights."""

    linear: Stored = PLAIN
    """Of matrices that no rule names."""
    experts: Stored | None = None
    """Of routed experts that no rule names; None: as other matrices."""
    head: Stored = PLAIN
    embedding: Stored = PLAIN
    kept: tuple[Rule, ...] = ()
    """What is left as it was."""
    targets: tuple[Rule, ...] = ()
    """What is stored otherwise than its like."""
    patterns_mean_head: bool = True
    """Whether a pattern among the targets may mean the output head."""
    block: int | None = None
    """Neighbours that share a scale, where 8-bit floats are stored in square blocks."""
    kv: Dtype | None = None
    remarks: tuple[str, ...] = ()

    def noting(self, *remarks: str) -> "Scheme":
        """The scheme with remarks added."""
        return replace(self, remarks=(*self.remarks, *remarks))


@dataclass(frozen=True)
class Model:
    """What must be known of the model to read how it is stored."""

    kind: str = ""
    layers: int = 0
    experts: int = 0
    tied: bool = False

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Model":
        """As a config states it; what is not stated, or is none, is 0: that is for other readers
        to refuse."""
        return cls(
            kind=str(fields.get("model_type", "")).lower()[:100],
            layers=min(_count(fields, LAYERS), MOST_LAYERS),
            experts=_count(fields, EXPERTS),
            tied=fields.get("tie_word_embeddings") is True,
        )


def _count(fields: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    for key in keys:
        value = fields.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10**6:
            return value
    return 0


@dataclass(frozen=True, eq=False)
class PublishedStorage:
    """How a published checkpoint is stored; a `Storage`."""

    scheme: Scheme
    model: Model
    said: str = "quantization_config"
    """Where the scheme stands, for sentences."""
    remarks: tuple[str, ...] = ()
    """Sentences that an answer should show."""
    _rules: "list[Rules]" = field(default_factory=list, repr=False)
    _known: dict[str, Stored] = field(default_factory=dict, repr=False)
    _found: "dict[str, Dtype]" = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for rules in (self.scheme.kept, self.scheme.targets):
            self._rules.append(Rules(rules, self.said, self.model.kind, self.model.experts))
        remarks = (*self.scheme.remarks, *self.remarks, *self._doubts())
        object.__setattr__(self, "remarks", tuple(dict.fromkeys(remarks)))

    @property
    def kv_dtype(self) -> Dtype | None:
        """In which the checkpoint wants its cache of keys and values; None: it says nothing."""
        return self.scheme.kv

    @property
    def is_plain(self) -> bool:
        """Whether nothing is quantised."""
        scheme = self.scheme
        ways = (scheme.linear, scheme.experts or PLAIN, scheme.head, scheme.embedding)
        named = tuple(rule.stored for rule in scheme.targets)
        return all(stored == PLAIN for stored in (*ways, *named))

    @property
    def weight_dtype(self) -> Dtype:
        """Of most of the weights."""
        if not self._found:
            self._found["most"] = self._most()
        return self._found["most"]

    @property
    def vector_bits(self) -> float:
        """Of norms and biases: schemes leave them alone."""
        return 0.0

    @property
    def weight_block(self) -> int | None:
        """Neighbours that share one scale, where most weights are stored in square blocks."""
        return self.scheme.block if self.weight_dtype == "fp8" else None

    def of(self, module: str) -> Stored:
        """How the module of that name is stored."""
        if module not in self._known:
            self._known[module] = self._of(part_of(module))
        return self._known[module]

    def _of(self, part: Part) -> Stored:
        kept, targets = self._rules
        if not kept and not targets:
            return self._unnamed(part)
        if kept.of(part) is not None:
            return PLAIN

        found = targets.of(part)
        if found is None:
            return self._unnamed(part)
        # A pattern that means whole layers does not mean what engines never quantise.
        if part.is_router and not found.names_router:
            return PLAIN
        if part.leaf == "embed_tokens" and not found.by_name:
            return self._unnamed(part)
        if part.leaf == "lm_head" and not found.by_name and not self._patterns_mean_head:
            return self._unnamed(part)
        return found.stored

    @property
    def _patterns_mean_head(self) -> bool:
        return self.scheme.patterns_mean_head and not self.model.tied

    def _unnamed(self, part: Part) -> Stored:
        """A module that no rule names."""
        if part.is_router:
            return PLAIN
        if part.leaf == "embed_tokens":
            return self.scheme.embedding
        if part.leaf == "lm_head":
            return self.of("embed_tokens") if self.model.tied else self.scheme.head
        if part.is_expert and self.scheme.experts is not None:
            return self.scheme.experts
        return self.scheme.linear

    def _most(self) -> Dtype:
        # Roughly what share of a layer's weights a matrix of its kind has.
        name = EXPERT if self.model.experts > 1 else "mlp."
        shares = {f"{name}{leaf}": 4 for leaf in ("gate_proj", "up_proj", "down_proj")}
        shares |= {"self_attn.q_proj": 1, "self_attn.o_proj": 1}
        votes: dict[Dtype, int] = {}
        kept, targets = self._rules
        # A list of all that is quantised has no say of modules that a layer may not have at all.
        only_named = self.scheme.linear == PLAIN and targets.lists_layers
        for layer in range(self.model.layers or 1):
            for leaf, share in shares.items():
                part = Part(layer, leaf)
                if only_named and not targets.means(part) and not kept.means(part):
                    continue
                dtype = self.of(f"layers.{layer}.{leaf}").dtype
                votes[dtype] = votes.get(dtype, 0) + share
        return max(votes, key=lambda dtype: votes[dtype]) if votes else self.scheme.linear.dtype

    def _doubts(self) -> list[str]:
        """What the rules say that is not followed."""
        parts = [Part(0, leaf) for leaf in LEAVES]
        parts += [Part(None, "embed_tokens"), Part(None, "lm_head")]
        doubts = []
        unplaced = [
            text for rules in self._rules for text in rules.unplaced(parts, self.model.layers)
        ]
        if unplaced:
            others = f" and {len(unplaced) - 1} more" if len(unplaced) > 1 else ""
            doubts.append(
                f"{self.said} names {shortened(unplaced[0], 60)!r}{others}, which is not a known"
                " module; the price ignores it"
            )
        if any(rules.is_uneven for rules in self._rules):
            doubts.append(
                f"{self.said} stores experts of one layer in different formats; all are priced in"
                " the format that most of them have"
            )
        return doubts
