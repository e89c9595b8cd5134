"""`Demand`: what operators ask of a chip, as coefficients of the step.

A step runs `tokens` tokens of `sequences` sequences, each token attending to `context_tokens`
earlier ones (a mean, the sliding window not yet applied). Decode is the step with one token per
sequence. Every coefficient may be a float (one operator) or an array (many operators at once, see
`stacked`); the step's figures may be arrays that broadcast with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]

UNLIMITED_TOKENS = 1e12
"""The window of an attention that sees everything."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Coefficients of the work, the traffic and the messages of operators on one chip."""

    flop_per_token: Numbers = 0.0
    flop_per_token_context: Numbers = 0.0
    decode_flop_per_token_context: Numbers = 0.0
    flop_per_sequence: Numbers = 0.0
    weight_bytes: Numbers = 0.0
    """Dense weights: held, and read once in a step."""
    sparse_bytes: Numbers = 0.0
    """Weights of which a step reads just the parts that its tokens touch: routed experts, rows
    of an embedding."""
    sparse_parts: Numbers = 1.0
    sparse_parts_active: Numbers = 1.0
    """Parts that one token touches."""
    sparse_tokens_per_token: Numbers = 1.0
    """Tokens that reach the parts for one token of this chip: data-parallel attention pools its
    experts."""
    sparse_groups: Numbers = 1.0
    """Groups of chips that share out whole parts; all wait for the one with the most to do."""
    sparse_spread: Numbers = 0.0
    """Standard deviations by which the fullest group lies above the mean (see `most_of_normal`)."""
    read_bytes_per_token: Numbers = 0.0
    written_bytes_per_token: Numbers = 0.0
    io_bytes_per_sequence: Numbers = 0.0
    kv_bytes_per_token: Numbers = 0.0
    """Written once for a token, read by every later token of its sequence."""
    borrowed_bytes_per_token: Numbers = 0.0
    """Keys and values of an earlier layer: read like its own, and held by that layer."""
    state_bytes_per_sequence: Numbers = 0.0
    """Held for a sequence whatever its length, read and written in every step: what a recurrence
    remembers."""
    window_tokens: Numbers = UNLIMITED_TOKENS
    """Of the context, as many as a token sees: the neighbours of a window, or those that an indexer
    chooses."""
    prompt_window_share: Numbers = 1.0
    """Over that, the most keys that a token of a prompt may cost as much as: above 1 where those
    that are chosen are dearer than the keys of the whole prompt."""
    kept_tokens: Numbers = UNLIMITED_TOKENS
    """Of the context, as many as are kept: a window's, but all of those to be chosen from."""
    kernels: Numbers = 1.0
    reduced_bytes_per_token: Numbers = 0.0
    """Summed over the tensor-parallel group after the operator."""
    gathered_bytes_per_token: Numbers = 0.0
    gathered_bytes_per_sequence: Numbers = 0.0
    """Gathered over the tensor-parallel group after the operator: the bytes that every chip ends
    with."""
    shuffled_bytes_per_token: Numbers = 0.0
    """Sent among the chips that share out a sequence, so that each sees all tokens of some
    heads."""
    dispatched_bytes_per_token: Numbers = 0.0
    """One copy of a token on its way to experts' chips, in the format that they multiply in."""
    combined_bytes_per_token: Numbers = 0.0
    """And one that comes back, in the format of the stream."""
    activation_bytes_per_token: Numbers = 0.0
    """Held while the operator runs."""

    def for_tokens(self, factor: float) -> "Demand":
        """The same where each token of the step stands for `factor` tokens of these operators,
        in sequences that are longer by it: a text beside a picture, a level of a UNet."""
        if factor == 1:
            return self
        linear = {name: factor * getattr(self, name) for name in PER_TOKEN}
        square = {name: factor**2 * getattr(self, name) for name in PER_TOKEN_CONTEXT}
        limits = {name: getattr(self, name) / factor for name in ("window_tokens", "kept_tokens")}
        return replace(self, **limits, **linear, **square)

    def of_rows(self, chosen: NDArray[np.intp]) -> "Demand":
        """Some of the rows of stacked demands."""
        columns = {}
        for field in fields(self):
            value = getattr(self, field.name)
            columns[field.name] = value[chosen] if isinstance(value, np.ndarray) else value
        return replace(self, **columns)

    @property
    def grows_with_context(self) -> NDArray[np.bool_]:
        """Whether the context of a decode step changes what it takes, for each row."""
        growing = np.asarray(self.decode_flop_per_token_context) > 0
        read = np.asarray(self.kv_bytes_per_token) + np.asarray(self.borrowed_bytes_per_token)
        return np.ravel(growing | (read > 0))

    def flop(
        self,
        tokens: Numbers,
        context_tokens: Numbers,
        rows: Numbers,
        decode: bool | NDArray[np.bool_],
    ) -> Numbers:
        """Floating-point operations of the step, which makes so many rows of what is made for
        sequences: one for each, or for each token that is to be verified; `decode` says it for
        all steps or for each. [FLOP]"""
        per_context = self._flop_per_token_context(decode)
        seen = np.minimum(context_tokens, self._worked_tokens(decode))
        routed = self.busiest_share(tokens) * self.flop_per_token
        return tokens * (routed + per_context * seen) + rows * self.flop_per_sequence

    def _flop_per_token_context(self, decode: bool | NDArray[np.bool_]) -> Numbers:
        if isinstance(decode, np.ndarray):
            return np.where(decode, self.decode_flop_per_token_context, self.flop_per_token_context)
        return self.decode_flop_per_token_context if decode else self.flop_per_token_context

    def _worked_tokens(self, decode: bool | NDArray[np.bool_]) -> Numbers:
        """As many tokens of the context as a token works on at the most."""
        if isinstance(decode, np.ndarray):
            return self.window_tokens * np.where(decode, 1.0, self.prompt_window_share)
        return self.window_tokens * (1.0 if decode else self.prompt_window_share)

    def skipping(self, kept_fraction: float) -> "Demand":
        """The same where only so much of the arithmetic has to be done: the rest multiplies
        zeros."""
        if kept_fraction == 1:
            return self
        return replace(
            self,
            flop_per_token=kept_fraction * self.flop_per_token,
            flop_per_sequence=kept_fraction * self.flop_per_sequence,
        )

    def fused(self, unfused_share: float) -> "Demand":
        """The same where only so much of the traffic is left: the rest never leaves the chip
        between an operator and its neighbour."""
        if unfused_share == 1:
            return self
        return replace(
            self,
            read_bytes_per_token=unfused_share * self.read_bytes_per_token,
            written_bytes_per_token=unfused_share * self.written_bytes_per_token,
        )

    @property
    def held_weight_bytes(self) -> Numbers:
        """Weights that the chip holds. [B]"""
        return self.weight_bytes + self.sparse_bytes

    def weights_read_bytes(self, tokens: Numbers) -> Numbers:
        """Weights that the step reads, of the sparse ones those it is expected to touch. [B]"""
        return self.weight_bytes + self.sparse_bytes * self.touched_fraction(tokens)

    def touched_fraction(self, tokens: Numbers) -> Numbers:
        """Share of its sparse parts that a step touches, in the group with the most: 1 - (1 -
        k/E)^tokens on average, for even, independent routing, and above that the largest of as
        many binomials as there are groups. [1]"""
        missed_by_one = 1.0 - self.sparse_parts_active / self.sparse_parts
        mean = 1.0 - missed_by_one ** (tokens * self.sparse_tokens_per_token)
        if not self._uneven:
            return mean

        parts = self.sparse_parts / self.sparse_groups
        # With a larger spread the normal tail would fall as more parts are touched.
        spread = np.minimum(self.sparse_spread, np.sqrt(3.0 * parts))
        most = mean + spread * np.sqrt(mean * (1.0 - mean) / parts)
        return np.where(spread > 0, np.clip(most, 1.0 / parts, 1.0), mean)

    @property
    def _uneven(self) -> bool:
        """Whether groups share out parts at all: asked of single operators often, so it must be
        quick."""
        spread = self.sparse_spread
        return bool(spread.any() if isinstance(spread, np.ndarray) else spread)

    def busiest_share(self, tokens: Numbers) -> Numbers:
        """Tokens in the group of sparse parts with the most, over their mean: the largest count
        of a multinomial. [1]"""
        if not self._uneven:
            return 1.0
        routed = tokens * self.sparse_tokens_per_token * self.sparse_parts_active
        return 1.0 + self.sparse_spread * np.sqrt((self.sparse_groups - 1.0) / routed)

    def tiles_share(self, tokens: Numbers, tile_tokens: float) -> Numbers:
        """Tokens of the tiles in which sparse parts multiply, over the tokens that are in them:
        half a tile is empty on average, and of parts with few tokens, for which there are smaller
        tiles, a third, as where their sizes double. 1 of parts that no token chooses. [1]"""
        routed = tokens * self.sparse_tokens_per_token * self.sparse_parts_active
        touched = self.sparse_parts * self.touched_fraction(tokens)
        # Half a tile of each that is touched, over their tokens; nothing where there are none.
        empty = np.minimum(0.5, 0.5 * tile_tokens * touched / np.maximum(routed, 1e-12))
        return np.where(np.asarray(self.sparse_parts) > 1.0, 1.0 + empty, 1.0)

    def kv_read_bytes(self, context_tokens: Numbers, sequences: Numbers) -> Numbers:
        """KV cache and state that the step reads: once for each sequence, of a cache to be chosen
        from what is chosen. [B]"""
        read = self.kv_bytes_per_token + self.borrowed_bytes_per_token
        seen = np.minimum(context_tokens, self.window_tokens) * read
        return sequences * (seen + self.state_bytes_per_sequence)

    def read_bytes(
        self,
        tokens: Numbers,
        context_tokens: Numbers,
        sequences: Numbers,
        rows: Numbers | None = None,
    ) -> Numbers:
        """Weights, KV cache and activations that the step reads; rows as in `flop`, None: one
        for each sequence. [B]"""
        made = sequences if rows is None else rows
        weights = self.weights_read_bytes(tokens)
        cache = self.kv_read_bytes(context_tokens, sequences)
        # Of what goes in and out for a row, half goes in.
        streamed = tokens * self.busiest_share(tokens) * self.read_bytes_per_token
        activations = streamed + 0.5 * made * self.io_bytes_per_sequence
        return weights + cache + activations

    def written_bytes(self, tokens: Numbers, rows: Numbers) -> Numbers:
        """Activations, KV cache and state that the step writes; rows as in `flop`, each with its
        state. [B]"""
        activations = self.busiest_share(tokens) * self.written_bytes_per_token
        per_token = activations + self.kv_bytes_per_token
        per_row = 0.5 * self.io_bytes_per_sequence + self.state_bytes_per_sequence
        return tokens * per_token + rows * per_row

    def moved_bytes(
        self, tokens: Numbers, context_tokens: Numbers, sequences: Numbers, rows: Numbers
    ) -> Numbers:
        """All that the step reads and writes, `read_bytes` and `written_bytes` in one sum. [B]"""
        activations = self.read_bytes_per_token + self.written_bytes_per_token
        per_token = self.busiest_share(tokens) * activations + self.kv_bytes_per_token
        per_row = self.io_bytes_per_sequence + self.state_bytes_per_sequence
        held = self.weights_read_bytes(tokens) + self.kv_read_bytes(context_tokens, sequences)
        return held + tokens * per_token + rows * per_row

    def held_kv_bytes(self, context_tokens: Numbers, sequences: Numbers) -> Numbers:
        """KV cache of sequences that have grown to `context_tokens`, and their state; a window
        keeps no more than itself. [B]"""
        cached = np.minimum(context_tokens, self.kept_tokens) * self.kv_bytes_per_token
        return sequences * (cached + self.state_bytes_per_sequence)


PER_TOKEN = (
    "flop_per_token",
    "sparse_tokens_per_token",
    "read_bytes_per_token",
    "written_bytes_per_token",
    "kv_bytes_per_token",
    "borrowed_bytes_per_token",
    "reduced_bytes_per_token",
    "gathered_bytes_per_token",
    "shuffled_bytes_per_token",
    "dispatched_bytes_per_token",
    "combined_bytes_per_token",
    "activation_bytes_per_token",
)
"""Coefficients that grow with the tokens; those below, with pairs of them."""
PER_TOKEN_CONTEXT = ("flop_per_token_context", "decode_flop_per_token_context")


@cache
def most_of_normal(count: int) -> float:
    """Expected largest of `count` independent standard normal variables, by Blom's formula, within
    0.03 [1]. [1]

    [1] G. Blom, "Statistical estimates and transformed beta-variables", 1958.
    """
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25))


def stacked(demands: Sequence[Demand]) -> Demand:
    """One Demand whose every coefficient is an array over `demands`, shape (n, 1): a column that
    grids broadcast with. Where no parts are unevenly filled, that is told by a number, since every
    step asks it many times over."""

    def column(name: str) -> Any:
        if name == "sparse_spread" and not any(demand.sparse_spread for demand in demands):
            return 0.0
        array = np.array([[float(getattr(demand, name))] for demand in demands])
        array.setflags(write=False)
        return array

    return Demand(**{field.name: column(field.name) for field in fields(Demand)})
