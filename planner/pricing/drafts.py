"""The price list of a model whose tokens are drafted: the target's own, and on the chips of its
last stage the draft model.

There the last layer's tokens come to be, which drafting starts from; engines put it there too [1].
The draft model takes the tensor degree of that stage, or the largest below that its heads allow,
and its experts are shared out over as many ranks as the target's, or the most below that they
allow; it sees all sequences of the stage.

[1] vLLM 0.10, `vllm/v1/worker/gpu_model_runner.py`: "we put the entire draft model on the last PP
rank".
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from planner.errors import InputError
from planner.machines.topology import Topology
from planner.models.demand import Numbers
from planner.models.graph import ModelGraph
from planner.pricing.degrees import expert_fault, nesting_fault, tensor_degrees
from planner.pricing.price_list import (
    CAUSES,
    Floats,
    Holdings,
    PriceList,
    Prices,
    Reach,
    Recall,
    Split,
    Step,
    reach_of,
)
from planner.workload import Speculation, Workload

RecallOf = Callable[[ModelGraph], Recall | None]
"""What was worked out of a graph before."""


def nothing_of(_: ModelGraph) -> None:
    """Of no graph anything."""


class DraftingPriceList(PriceList):
    """Prices of a target and of its draft, whose share falls to the target's last layer."""

    def __init__(
        self,
        graph: ModelGraph,
        topology: Topology,
        speculation: Speculation,
        recall_of: RecallOf = nothing_of,
    ) -> None:
        super().__init__(graph, topology, recall=recall_of(graph))
        self.tokens = speculation.tokens or 0
        draft = speculation.draft
        self.draft = None if draft is None else PriceList(draft, topology, recall=recall_of(draft))
        self._splits: dict[Split, Split] = {}
        self._last = np.arange(len(graph.kinds)) == graph.kind_of_layer[-1]

    def prices_of_steps(
        self, split: Split, steps: Sequence[Step], reach: Reach, *, whole: bool = True
    ) -> list[Prices]:
        """What several steps cost; a decode step with all passes that draft for it."""
        own = super().prices_of_steps(split, steps, reach, whole=whole)
        if self.draft is None:
            return own
        narrow, reach = self._draft_on(split, reach)
        beside = [self._drafted(step) for step in steps]
        drafted = [step for _, step in beside]
        drafts = self.draft.prices_of_steps(narrow, drafted, reach, whole=whole)
        return [
            self._with_draft(one, draft, passes, decode=step.decode)
            for one, draft, (passes, step) in zip(own, drafts, beside, strict=True)
        ]

    def decode_kinds_s(
        self,
        split: Split,
        sequences: Floats,
        context_tokens: Numbers,
        reach: Reach,
        *,
        verified: float = 1.0,
        whole: bool = True,
    ) -> Floats:
        """How long one layer of each kind keeps its chips busy in decode steps, the last one with
        all passes that draft for it [s], shape (kinds, steps)."""
        own = super().decode_kinds_s(
            split, sequences, context_tokens, reach, verified=verified, whole=whole
        )
        if self.draft is None:
            return own
        narrow, reach = self._draft_on(split, reach)
        each = self.draft.decode_kinds_s(narrow, sequences, context_tokens, reach, whole=whole)
        overhead_s = self.tokens * self.topology.software.draft_overhead_s
        return own + np.outer(self._last, self._counts(self.tokens) @ each + overhead_s)

    def latent_s(self, step: Step) -> Floats:
        """What a pass waits while its chips are free for others, those that draft for it
        included, shape (kinds,). [s]"""
        own = super().latent_s(step)
        if self.draft is None:
            return own
        passes, drafted = self._drafted(step)
        waited = float(self.draft.latent_s(drafted) @ self._counts(passes))
        return np.asarray(own + waited * self._last)

    def _with_draft(self, own: Prices, draft: Prices, passes: int, *, decode: bool) -> Prices:
        """A step of the target with so many passes of the draft model besides."""
        counts = self._counts(passes)
        seconds = draft.seconds @ counts
        if decode:
            seconds[CAUSES.index("overhead")] += passes * self.topology.software.draft_overhead_s
        return Prices(
            own.seconds + np.outer(seconds, self._last),
            own.flop + (draft.flop @ counts) * self._last,
            own.moved_bytes + (draft.moved_bytes @ counts) * self._last,
        )

    def active_kinds_s(
        self, steps: Sequence[Step], *, runs_per_sample: int | None = None
    ) -> Floats:
        """What the power of a group follows, of one layer of each kind, shape (kinds, steps).
        [s]"""
        own = super().active_kinds_s(steps, runs_per_sample=runs_per_sample)
        if self.draft is None:
            return own
        passes, drafted = zip(*(self._drafted(step) for step in steps), strict=True)
        drafting = self._counts(1) @ self.draft.active_kinds_s(drafted)
        return own + np.outer(self._last, np.array(passes) * drafting)

    def holdings(self, split: Split, workload: Workload, tokens: float) -> Holdings:
        """What one chip holds: caches have room for the tokens that are drafted, recurrences for
        a state after each."""
        own = super().holdings(split, workload, tokens)
        each = own.kv_bytes_per_sequence + workload.drafted_tokens * self.token_bytes(split)
        if self.draft is None:
            return replace(own, kv_bytes_per_sequence=each)
        narrow = self.draft_split(split)
        graph = self.draft.graph
        counts = self._counts(1)
        more = self.draft.holdings(narrow, workload, tokens)
        readers = [graph.kind_of_layer[reader] for reader, _ in graph.tied_layers]
        tied = float(more.tied_bytes[readers].sum())
        drafted_bytes = workload.drafted_tokens * self.draft.token_bytes(narrow)
        ahead = more.kv_bytes_per_sequence + drafted_bytes
        return replace(
            own,
            weight_bytes=own.weight_bytes + (more.weight_bytes @ counts - tied) * self._last,
            kv_bytes_per_sequence=each + (ahead @ counts) * self._last,
            kv_bytes_more=own.kv_bytes_more + (more.kv_bytes_more @ counts) * self._last,
        )

    def activation_bytes(self, split: Split, workload: Workload, tokens: Numbers) -> Floats:
        """Buffers of a chip, as large as the largest layer of either model needs [B], shape
        (steps,)."""
        own = super().activation_bytes(split, workload, tokens)
        if self.draft is None:
            return own
        narrow = self.draft_split(split)
        return np.maximum(own, self.draft.activation_bytes(narrow, workload, tokens))

    def logits_bytes(
        self, split: Split, workload: Workload, tokens: Numbers, rows: Numbers
    ) -> Floats:
        """What the last stage needs beyond that to sample, for the one model or for the other
        [B], shape (steps,)."""
        more = super().logits_bytes(split, workload, tokens, rows)
        if self.draft is None:
            return more
        own = super().activation_bytes(split, workload, tokens) + more
        narrow = self.draft_split(split)
        drafting = self.draft.activation_bytes(narrow, workload, tokens)
        drafting = drafting + self.draft.logits_bytes(narrow, workload, tokens, rows)
        return np.maximum(own, drafting) - self.activation_bytes(split, workload, tokens)

    def draft_split(self, split: Split) -> Split:
        """How the chips of a stage under a split share out the draft model."""
        if split not in self._splits:
            self._splits[split] = self._draft_split(split)
        return self._splits[split]

    def _draft_split(self, split: Split) -> Split:
        assert self.draft is not None
        software = self.topology.software
        able = tensor_degrees(self.draft.graph, software, split.tensor)
        tensor = max(degree for degree in able if split.tensor % degree == 0)
        expert = max(
            ways
            for ways in range(1, split.expert + 1)
            if split.expert % ways == 0
            and expert_fault(self.draft.graph, software, ways) is None
            and nesting_fault(tensor, ways) is None
            and split.attention % max(1, ways // tensor) == 0
        )
        return Split(tensor, expert, split.sequence, split.attention)

    def _draft_on(self, split: Split, reach: Reach) -> tuple[Split, Reach]:
        """How the chips of a stage share out the draft model, and how far its messages go."""
        narrow = self.draft_split(split)
        if (narrow.tensor, narrow.expert) == (split.tensor, split.expert):
            return narrow, reach
        return narrow, reach_of(self.topology, self._copied(split, narrow), 0)

    @staticmethod
    def _copied(split: Split, narrow: Split) -> Split:
        """All chips of the stage: where a narrower draft stands in copies, as far as its
        messages may have to go."""
        copies = split.tensor // narrow.tensor
        return replace(narrow, attention=split.attention * copies)

    def _drafted(self, step: Step) -> tuple[int, Step]:
        """How often the draft model runs beside a step of the target, and what it does then:
        prompts it reads as well."""
        if step.decode:
            return self.tokens, step._replace(tokens=step.sequences)
        return 1, step

    def _counts(self, passes: int) -> Floats:
        assert self.draft is not None
        return passes * np.array(self.draft.graph.kind_counts, dtype=float)


def serving_prices(
    graph: ModelGraph, topology: Topology, workload: Workload, recall_of: RecallOf = nothing_of
) -> PriceList:
    """A price list for a workload; an InputError where its tokens cannot be drafted. What was
    worked out of either model before is taken from `recall_of`."""
    speculation = workload.speculation
    if speculation is None:
        return PriceList(graph, topology, recall=recall_of(graph))
    if speculation.tokens is None:
        raise InputError(
            "Speculation.tokens is None, and only partition() on one machine and plan_grid() choose"
            " a number; give one, such as 4"
        )
    if not graph.makes_tokens or graph.kind_counts[graph.kind_of_layer[-1]] > 1:
        raise InputError(
            f"Workload.speculation: {graph.name} does not generate tokens one by one, so none can be"
            " drafted; make it None"
        )
    return DraftingPriceList(graph, topology, speculation, recall_of)
