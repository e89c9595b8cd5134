"""The fields of a config.json as a reader asks for them: typed, by any of their names, and none
that says how layers are made left unread.

Families borrow keys from each other and add their own. A reader that passes over a key which it
does not know is silently wrong, so each key that is asked for is ticked off, and `refuse_unread`
names the first that says something of the structure and was not.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from planner.errors import InputError, listed, nearest_names, shortened

Names = str | tuple[str, ...]

MOST = 10**9
"""No count or width of a model is larger."""
MOST_LAYERS = 10_000

INERT = re.compile(
    r"""
    # how it is trained or sampled from
    .*dropout.* | .*_drop | .*init(ializer)?(_.*)? | .*_std | .*_loss.* | .*_coef(f|ficient)?
    | .*jitter.* | .*temperature | top_k | top_p | typical_p | num_beams | num_beam_groups
    | num_return_sequences | .*repeat_ngram_size | .*penalty | .*_length_penalty | min_length
    | max_length | do_sample | early_stopping | .*bad_words.* | .*suppress_tokens | .*forced_.*
    | pretraining_tp | ep_size | tp_size | tensor_parallel.* | pipeline_parallel.* | .*_aux | .*pruned_heads
    | gradient_checkpointing.* | .*_lr | num_logits_to_keep | .*_noise.* | z_loss.* | .*_warmup.*
    # what tokens are called, and where they stand
    | .*token_?ids? | .*token_ids? | .*_token_index | .*_token_id_list | .*_token | .*token_type.* | .*_tokens_id
    | tokenizer.* | .*placeholder.* | prefix | .*_template | pad_.* | bos_.* | eos_.* | .*_tag_.*
    # positions that are computed
    | .*rope(?!_head_dim|_dim).* | .*rotary.* | rotary_dim | partial_rotary_factor | .*yarn.* | alibi.* | .*_theta
    | use_dynamic_ntk | use_logn_attn | ntk_.* | max_position_embeddings | n_positions | n_ctx
    | seq_length | seq_len | max_seq_len.* | max_sequence_length | model_max_length | context_length
    | original_max_position.* | initial_context_length | rel_pos.* | relative_attention_.*
    | position_embedding_type | position_encoding.* | .*mrope.* | max_wavelength | no_rope.* | use_nope.* | mla_use_nope
    | max_context_length | .*_ntk_.* | position_embedding_xpos
    # numerics and activations
    | .*eps(ilon)? | .*norm_type | .*_?(layer_?|rms_?)norm(_.*)? | .*_act(ivation)?(_fn|_func|_function|_type)? | activation.* | act_.* | hidden_act.*
    | .*softcap.* | .*_cap | .*logit.*scal.* | .*_scal(e|ar|ing|er)(_.*)? | scale_.* | .*multiplier | .*_alpha | .*_beta | .*_gamma | .*_limit
    | time_step_.* | .*clip.* | residual_in_fp32 | fp32_.* | .*_fp32.* | .*norm_topk.* | norm_.*prob | .*renormali[sz]e
    | .*dtype | bf16 | fp16 | fp32 | use_bfloat16 | softmax_.* | .*_upcast.* | rescale_.* | hc_eps | hc_sinkhorn_iters
    | quantization.* | compression_config | .*_hash_layers | routed_scaling_factor | moe_router_.* | router_(?!bias).*
    | scoring_func | score_.* | topk_method | use_grouped_topk | group_selection.* | output_gate_type | .*_kernel_impl.*
    | qk_rope_head_dim_sqrt | .*_softmax.* | use_(expert|routing|moe_router)_bias | .*_chunk_size_feed_forward | chunk_size_feed_forward
    | chunk_size | mamba_chunk_size | attention_value_scale | swiglu_.* | .*sink.* | .*_flash_.* | .*_kernels? | use_mem_.*
    # who made it, and how a library loads it
    | model_type | _.* | architectures | auto_map | transformers_version | torchscript | use_cache | output_.*
    | return_dict.* | id2label | label2id | num_labels | problem_type | .*task.* | is_decoder | is_encoder_decoder
    | add_cross_attention | cross_attention_hidden_size | tie_encoder_decoder | tf_.* | license | language | .*version
    | name | model_name | .*_implementation | .*attn_impl.* | use_flash.* | use_sdpa.* | remove_invalid_values | decoder_start_token_id
    | .*_config_id | unsloth.* | hf_.* | library.* | is_.*_model | vocab_file | base_model.* | .*description.* | keys_to_ignore.* | sep_.*
    | diversity_.* | encoder_.* | exponential_decay.* | num_reward_heads | begin_.* | use_return_dict | finetuning.* | checkpoint.*
    | .*_overlap | use_mamba_kernels | context_window_size | prefill_chunk_size | use_bidirectional_attention | attn_temperature_tuning | floor_scale | embd_layer
    | use_conv_bias | conv_use_.* | use_mla | mla_.*_factor | head_dtype | latent_moe_use_norm | moe_shared_expert_overlap | post_layer_norm | apply_residual_.*
    | linear_attention_out_norm | attention_other_name | enable_bias_.* | mlp_type | (full|linear)_attn_.*_factor | mlp_.*_factor | .*multipliers | expert_selection.* | mamba_norm_before_gate | mamba_rms_norm | embedding_fraction | learned_pos_emb | emb_pdrop | attn_uses_.* | resid_pdrop | no_bias | logit_.* | mamba_use_mlp | shared_expert_combination.* | mamba_(conv|proj)_bias |  full_attn_mod | do_layer_norm_before | embedding_multiplier | mamba_hidden_act | pooling_.* | classifier_.* | summary_.* | dual_.* | ignore_index
    # prediction layers, which are no part of the model that is served
    | .*mtp.* | .*nextn.* | .*eagle.* | .*speculat.* | num_draft.* | index_share_for_mtp_iteration | num_nextn.*
    # pictures and sounds that a text model is fed with
    | (.*_)?(vision|image|video|audio|visual|img|media|speech|patch|pixel|mm|projector|boi|eoi|boa|eoa|multimodal|vq|spatial|temporal)(_.*|s)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Keys that say nothing of how a model's layers are made."""

STRUCTURAL = re.compile(
    r"""
    .*layer.* | .*block.* | .*pattern.* | .*every.* | .*interval.* | .*period.* | .*freq.* | .*types?$ | .*idxs?$ | .*indices$
    | .*heads?(_.*)?$ | .*dims?$ | .*_rank | .*width.* | .*_size(s|_.*)?$ | .*groups?(_.*)?$ | num_.* | n_.* | .*expert.* | .*moe.*
    | .*window.* | .*attn.* | .*attention.* | .*ssm.* | .*mamba.* | .*conv.* | .*compress.* | .*latent.* | .*lora.* | .*shared?_.*
    | .*sparse.* | .*topk.* | .*top_k.* | .*index.* | .*recurr.* | .*rnn.* | .*lru.* | .*state.* | .*delta.* | .*hidden.* | .*ffn.*
    | .*mlp.* | .*depth.* | .*embedding.* | .*residual.* | .*parallel.* | .*tie.* | .*ratio.* | .*mult$ | .*memory.* | .*cross.* | .*vocab.*
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Keys that may say something of it."""


class ConfigFields:
    """Fields of a config, the text part brought to the top, with a tick for each that was asked
    for."""

    def __init__(self, fields: Mapping[str, Any], path: str) -> None:
        self.fields = fields
        self.path = path
        self.read: set[str] = set()

    def fault(self, said: str) -> InputError:
        """A refusal that names the file."""
        return InputError(f"{self.path}: {said}")

    # ── One value ────────────────────────────────────────────────────────────────────────────────

    def get(self, names: Names) -> Any:
        """The first value of these names that is there and not null; None: there is none."""
        for name in _each(names):
            self.read.add(name)
        return next(
            (self.fields[name] for name in _each(names) if self.fields.get(name) is not None), None
        )

    def has(self, names: Names) -> bool:
        return self.get(names) is not None

    def name_of(self, names: Names) -> str:
        """By which of its names a value is there."""
        found = (name for name in _each(names) if self.fields.get(name) is not None)
        return next(found, _each(names)[0])

    def whole(self, names: Names, default: int | None = None, *, most: int = MOST) -> int:
        """A count or a width; a list of equal numbers is that number. None as default: it must be
        there."""
        value = self.get(names)
        name = self.name_of(names)
        if isinstance(value, list) and value and all(each == value[0] for each in value):
            value = value[0]
        if value is None:
            if default is None:
                raise self.fault(f"{name} is missing")
            return default
        return self._whole(name, value, least=0 if default == 0 else 1, most=most)

    def _whole(self, name: str, value: Any, least: int = 0, most: int = MOST) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            limit = f" of at most {most:,}" if isinstance(value, int) and value > most else ""
            raise self.fault(
                f"{name} must be a whole number{limit}, not {shortened(repr(value), 30)}"
            )
        if value < least:
            raise self.fault(f"{name} must be at least {least}, not {value}")
        return value

    def number(self, names: Names, default: float) -> float:
        """A factor."""
        value = self.get(names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MOST:
            raise self.fault(
                f"{self.name_of(names)} must be a number above 0, not {shortened(repr(value), 30)}"
            )
        return float(value)

    def flag(self, names: Names, default: bool = False) -> bool:
        """True or false; a word that looks like either is refused, since "false" would be true."""
        value = self.get(names)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fault(
                f"{self.name_of(names)} must be true or false, not {shortened(repr(value), 30)}"
            )
        return value

    def word(self, names: Names, known: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self.get(names)
        if value is None:
            return default
        if value not in known:
            raise self.fault(
                f"{self.name_of(names)} must be {listed([repr(word) for word in known], 'or')},"
                f" not {shortened(repr(value), 30)}"
            )
        return str(value)

    # ── A value for each layer ───────────────────────────────────────────────────────────────────

    def each(self, names: Names, layers: int, what: str = "one for each layer") -> list[Any] | None:
        """A list with a value for each layer; None: it is not there. Longer ones, whose end is for
        prediction layers, are cut."""
        value = self.get(names)
        if value is None:
            return None
        name = self.name_of(names)
        if not isinstance(value, list):
            raise self.fault(f"{name} must be a list, {what}, not {shortened(repr(value), 30)}")
        if len(value) < layers:
            raise self.fault(f"{name} has {len(value)} entries; there must be {layers}, {what}")
        return value[:layers]

    def each_whole(self, names: Names, layers: int, *, least: int = 0) -> list[int] | None:
        """A whole number for each layer; null counts as 0."""
        values = self.each(names, layers)
        if values is None:
            return None
        name = self.name_of(names)
        return [
            self._whole(f"{name}[{number}]", value or 0, least=least)
            for number, value in enumerate(values)
        ]

    def each_word(self, names: Names, layers: int, meanings: Mapping[str, Any]) -> list[Any] | None:
        """For each layer what its word means."""
        values = self.each(names, layers)
        if values is None:
            return None
        for number, value in enumerate(values):
            if not isinstance(value, str) or value not in meanings:
                near = nearest_names(str(value), meanings, 3)
                raise self.fault(
                    f"{self.name_of(names)}[{number}] is {shortened(repr(value), 40)}, which is no"
                    f" kind of layer that is read; {listed([repr(word) for word in near], 'or')} are"
                )
        return [meanings[value] for value in values]

    def positions(self, names: Names, layers: int, *, first: int = 0) -> set[int] | None:
        """Numbers of some layers, counted from `first`; None: it is not there."""
        value = self.get(names)
        if value is None:
            return None
        name = self.name_of(names)
        if not isinstance(value, list) or len(value) > MOST_LAYERS:
            raise self.fault(f"{name} must be a list of layers, not {shortened(repr(value), 30)}")
        places = set()
        for each in value:
            place = self._whole(name, each) - first
            if not 0 <= place < layers:
                raise self.fault(f"{name} names layer {each}; there are {layers}")
            places.add(place)
        return places

    def table(self, names: Names) -> "ConfigFields | None":
        """A group of fields; None: it is not there, or empty."""
        value = self.get(names)
        if value is None or value == {}:
            return None
        name = self.name_of(names)
        if not isinstance(value, dict):
            raise self.fault(f"{name} must be an object, not {shortened(repr(value), 30)}")
        return ConfigFields(value, f"{self.path}: {name}")

    # ── What was not read ────────────────────────────────────────────────────────────────────────

    def tick(self, *names: str) -> None:
        """Say of keys that they were considered."""
        self.read.update(names)

    def refuse_unread(self, stated: Iterable[str] | None = None) -> None:
        """Refuse the first key that may say how layers are made, is set, and was not asked for;
        `stated` are the keys of the file itself, where defaults stand beside them."""
        for key in self.fields if stated is None else stated:
            value = self.fields[key]
            if key in self.read or INERT.fullmatch(key) or not _says(key, value):
                continue
            raise self.fault(
                f"{shortened(key)} is not understood, and may say how layers are made; read"
                " without it the model would be another"
            )


def _says(key: str, value: Any) -> bool:
    """Whether a field may say something of the structure: null, false, zero and nothing do not."""
    if value is None or value is False or value in (0, "", [], {}):
        return False
    if isinstance(value, float) and not value.is_integer():
        return False
    return bool(STRUCTURAL.fullmatch(key)) or _is_long(value)


def _is_long(value: Any) -> bool:
    """Whether it is a list that may stand for layers."""
    return isinstance(value, list) and (len(value) > 3 or any(isinstance(v, dict) for v in value))


def _each(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
