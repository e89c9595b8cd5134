"""`Schedule`: the passes in which one replica serves its share of a workload."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.machines.software import Software
from planner.models.graph import ModelGraph
from planner.pricing.price_list import Step
from planner.workload import Workload

Numbers = float | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """What one replica does for its sequences."""

    workload: Workload
    software: Software
    sequences: int
    """In flight in the busiest replica."""
    micro_batches: int
    prefill_passes: float
    """Passes that the prompts of a whole batch ("together") or of one request ("steady") take; 0
    in a decode pool, and of several prompts in one pass the share of each."""
    prefill: Step
    """A pass of one prompt, or of a part of it."""
    packed: Step
    """A pass of as many prompts as the software packs into one; where it packs none, the same."""
    packs: int
    """Prompts in such a pass."""
    decode: Step
    most_tokens: float
    """In any pass: what buffers are made for."""
    pool_prompts: int = 1
    """Prompts that share a pass in a prefill pool."""
    relaxed: bool = False
    """Whether sequences may be shared out in fractions: then times for a sequence only shrink as
    more are in flight, and bounds hold for fewer too."""

    @property
    def later_tokens(self) -> int:
        """Output tokens of a request after its first, none where those are made elsewhere."""
        return 0 if self.workload.phase == "prefill" else self.workload.output_tokens - 1

    @property
    def tokens_per_pass(self) -> float:
        """Of each sequence that a decode pass yields: one, or what is expected to be kept of
        those that are verified."""
        drafting = self.workload.speculation
        return 1.0 if drafting is None else drafting.tokens_per_pass

    @property
    def rounds(self) -> float:
        """Decode passes of each micro-batch in which the later tokens of a request are made."""
        return self.later_tokens / self.tokens_per_pass

    @property
    def useful_decode(self) -> Step:
        """What of a decode pass counts as useful, on average over the micro-batches: the tokens
        that are kept."""
        sequences = self.sequences / self.micro_batches
        return self.decode._replace(
            tokens=sequences * self.tokens_per_pass, sequences=float(sequences)
        )

    @property
    def mean_decode(self) -> Step:
        """A decode pass of the mean over the micro-batches, of which the last may be smaller."""
        share = self.sequences / self.micro_batches / self.decode.sequences
        return self.decode._replace(
            tokens=self.decode.tokens * share, sequences=self.decode.sequences * share
        )

    @property
    def request_overhead_s(self) -> float:
        """Before the first token, where requests join a loaded server; in a decode pool, until
        their cache has come."""
        if self.workload.phase == "decode":
            return self.workload.transfer_s
        return self.software.request_overhead_s if self.workload.arrivals != "together" else 0.0

    @property
    def turn_share(self) -> float:
        """Part of a round of decode passes that a request waits before its prompt starts: it
        takes the place of one that has finished when that place's turn comes, after half a round
        on average; nothing where a batch starts as one, or where nothing decodes."""
        joins = self.workload.arrivals != "together"
        return 0.5 if joins and self.later_tokens else 0.0

    @property
    def waiting_share(self) -> float:
        """Rounds of decode passes that a first token waits for beside its prompt: until its turn,
        and on its way through an engine that plans and hands out while passes of others run."""
        return float(self.waiting_among(self.others_prefills(1)))

    def waiting_among(self, others: Numbers) -> Numbers:
        """The same among so many others in flight: alone, nothing runs meanwhile; where requests
        have no later tokens, as those of encoders, there are no such rounds. [1]"""
        handed = self.software.handover_rounds if self.later_tokens else 0.0
        return self.turn_share + np.where(np.asarray(others) > 0, handed, 0.0)

    @property
    def burst_share(self) -> float:
        """Of the prompts of all others in flight, those that stand before a new one where
        clients start together; where requests come at a rate, the queue says that, and pools of
        their own hand each prompt out when its turn comes."""
        queued = self.workload.is_stream or self.workload.phase != "both"
        return 0.0 if queued else self.software.burst_share

    @property
    def late_share(self) -> float:
        """Of the prompts of all others in flight, those of a cycle that come neither before a
        request's first token nor between its tokens: where it has no later ones, the rest; where
        requests come at a rate, those that stand before one whose place is never empty. With as
        many in flight as fit, a stream is no faster than as many clients would be, who are served
        one request after the other likewise."""
        if not self.later_tokens:
            return 1.0 - self.burst_share
        if self.workload.is_stream and self.workload.phase == "both":
            return self.software.burst_share
        return 0.0

    def added(self, alone: Numbers, full: Numbers) -> Numbers:
        """What a prompt adds to a pass that takes others too, from what a pass of one takes and a
        full one: in proportion."""
        return alone if self.packs == 1 else (full - alone) / (self.packs - 1)

    def others_prefills(self, attention_parallel: int) -> float:
        """Prefills of other requests that a request sees during its life, on a stage that shares
        out its sequences: of all others in flight; where requests come at a rate, of as many as
        are in flight, since one that comes finds so many; none where prompts have a pool of
        their own."""
        share = self.sequences / attention_parallel
        others = others_in_flight(self.workload, share if self.relaxed else math.ceil(share))
        return max(0.0, float(others))

    def held_sequences(self, attention_parallel: int) -> int:
        """Whose cache a rank of a stage that shares out its sequences holds: of a prefill pool
        the prompt in work and the one that leaves, since each stage sends on what it has of a
        prompt when it is done with it. Prompts that share a pass need no more than that: where
        there is less room than for all of them, an engine packs fewer, which we do not price."""
        if self.workload.phase == "prefill":
            return 2
        return math.ceil(self.sequences / attention_parallel)


def burst_shares(mean: float) -> tuple[float, float]:
    """Of the prompts of others, the fewest and the most that stand before one of a burst, from how
    many do on average: anything between is as likely."""
    return max(0.0, 2.0 * mean - 1.0), min(1.0, 2.0 * mean)


def others_in_flight(workload: Workload, sequences: Numbers) -> Numbers:
    """Of so many sequences on a rank, those whose prompts a request sees during its life; see
    `Schedule.others_prefills`."""
    if workload.arrivals == "together" or workload.phase != "both":
        return 0.0 * sequences
    return 1.0 * sequences if workload.is_stream else sequences - 1.0


def scheduled(
    workload: Workload,
    software: Software,
    *,
    batch_size: int,
    replicas: int,
    micro_batches: int,
    graph: ModelGraph | None = None,
) -> Schedule:
    """The passes of the busiest replica: as many micro-batches as are asked for, but no more than
    sequences, all as large as the largest; prompts in chunks that the software takes; of a
    diffusion graph the samples of the whole batch in one pass."""
    sequences = math.ceil(batch_size / replicas)
    if graph is not None and graph.is_diffusion:
        step = denoising(graph, sequences)
        return Schedule(workload, software, sequences, 1, 1.0, step, step, 1, step, step.tokens)
    micro_sequences = math.ceil(sequences / micro_batches)
    in_turn = min(micro_batches, sequences)
    return schedule_of(workload, software, sequences, in_turn, micro_sequences)


def denoising(graph: ModelGraph, samples: int) -> Step:
    """A step of the denoiser: all patches of all samples, once for each pass of guidance."""
    passes = samples * graph.passes_per_step
    return Step(passes * graph.tokens_per_sample, float(passes), graph.tokens_per_sample / 2, False)


def prompts_in_a_pass(workload: Workload, software: Software) -> int:
    """How many whole prompts a pass of a prefill pool takes: as many as its chunk has room for,
    where there is always another prompt and an engine that packs them; where they come at a
    rate, one, as in the queue that says how long each waits."""
    return 1 if workload.is_stream else _in_a_chunk(workload, software)


def _in_a_chunk(workload: Workload, software: Software) -> int:
    """Whole prompts that the software packs into one pass."""
    if not software.packs_prompts:
        return 1
    return max(1, int(software.prefill_chunk_tokens // workload.new_prompt_tokens))


def seen_by_prompts(workload: Workload) -> float:
    """Tokens of the context before one of a prompt that is run, on average: half of the prompt
    where all of it is, and what is cached with half of the rest."""
    return workload.prompt_tokens - workload.new_prompt_tokens / 2


def _packed(workload: Workload, software: Software, packed: int) -> Schedule:
    """Of a prefill pool whose passes take several prompts: each has its share of one."""
    tokens = packed * workload.new_prompt_tokens
    context = seen_by_prompts(workload)
    step = Step(tokens, float(packed), context, decode=False, together=float(packed))
    return Schedule(
        workload=workload,
        software=software,
        sequences=1,
        micro_batches=1,
        prefill_passes=1.0 / packed,
        prefill=step,
        packed=step,
        packs=1,
        decode=Step(1.0, 1.0, workload.mean_context_tokens, decode=True),
        most_tokens=workload.new_prompt_tokens,
        pool_prompts=packed,
    )


def schedule_of(
    workload: Workload,
    software: Software,
    sequences: int,
    micro_batches: int,
    micro_sequences: float,
    *,
    relaxed: bool = False,
    whole_passes: bool = True,
) -> Schedule:
    """The passes of a replica with so many sequences, cut into micro-batches of at most
    `micro_sequences`; of one in a prefill pool, with one pass after the other."""
    if workload.phase == "prefill":
        sequences = micro_batches = micro_sequences = 1
        packed = prompts_in_a_pass(workload, software)
        if packed > 1:
            return _packed(workload, software, packed)
    steady = workload.arrivals != "together"
    prompt_tokens = workload.new_prompt_tokens * (1 if steady else sequences)
    chunk = software.prefill_chunk_tokens
    passes = max(1.0, prompt_tokens / chunk)
    if whole_passes or steady:
        passes = float(math.ceil(passes))
    tokens = prompt_tokens / passes
    verified = micro_sequences * (1.0 + workload.drafted_tokens)
    most_tokens = max(float(min(prompt_tokens, chunk)), verified)
    if workload.phase == "decode":
        # The prompts' steps keep their sizes, which nothing counts: no pass runs them.
        passes = 0.0
        most_tokens = verified
    prompts = max(1.0, tokens / workload.new_prompt_tokens)
    prefill = Step(tokens, prompts, seen_by_prompts(workload), False)
    packs = _packs(workload, software)
    # Any rank of those that share out the sequences may have as many.
    full = prefill._replace(tokens=packs * tokens, sequences=packs * prompts, together=float(packs))
    return Schedule(
        workload=workload,
        software=software,
        sequences=sequences,
        micro_batches=micro_batches,
        prefill_passes=passes,
        prefill=prefill,
        packed=full,
        packs=packs,
        decode=Step(verified, float(micro_sequences), workload.mean_context_tokens, True),
        most_tokens=most_tokens,
        relaxed=relaxed,
    )


def _packs(workload: Workload, software: Software) -> int:
    """Prompts that one pass takes, where they come one by one among decode passes."""
    one_by_one = workload.arrivals != "together" and workload.phase == "both"
    return _in_a_chunk(workload, software) if one_by_one else 1
