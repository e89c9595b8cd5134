"""The plans that an engine can be started with as rows of a table: a form, a number of replicas and
a batch, and what every cut of the layers costs there.

What a row costs is put together here from the price list alone, apart from `engine_space`: loads of
the layers of each kind on the peaks of a stage, and each field as a `Cost` of these peaks. It is
what CP-SAT proves a result with, so it shares with the search only the list of forms.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.cost.energy import SECONDS_PER_HOUR
from planner.errors import InputError
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.collectives import hop_s
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.price_list import (
    Split,
    Step,
    host_s,
    made_on_rank,
    reach_of,
    shares_of,
    useful_steps,
)
from planner.pricing.queueing import FULL
from planner.pricing.schedule import Schedule, others_in_flight, schedule_of
from planner.pricing.timing import Hop, interruptions_s, packing_of
from planner.pricing.trailing import (
    chunks_behind,
    first_share,
    fresh_share,
    met_share,
    synchronised,
)
from planner.solver.rows.costs import Cost, Way, longest_of
from planner.space.candidates import Candidates
from planner.space.forms import Batches, Form, forms_of

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

DECODE, PREFILL, OTHERS, TURN, BEHIND, NEEDED = range(6)
"""Peaks: a decode pass; a pass of a prompt; the prompts of all others; a round's turn with what it
loses to prompts; what a round meets behind the first chunk of a prompt; memory of a chip."""
PEAKS = 6
ANY = -1
SLACK = 1 + 1e-12
"""Limits are kept up to this much, relative."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one split, each array of shape (rows,)."""

    split: Split
    forms: tuple[Form, ...]
    form: Ints
    """Number of the form of each row."""
    replicas: Ints
    most_replicas: Ints
    """Rows for any number of replicas from the one to the other are told apart in `apart`."""
    sequences: Ints
    """Of a replica."""
    most_sequences: Ints
    """Rows up to so many are told apart in `apart` too: no rank has more to do."""
    micro_batches: Ints
    micro_sequences: Ints
    """In the largest micro-batch."""
    draw: Ints
    """Which bound on what a chip draws counts energy, the least of which is what a plan draws; ANY
    before they are told apart."""

    def __len__(self) -> int:
        return len(self.form)

    def some(self, rows: Ints) -> "Rows":
        """Some of the rows."""
        kept = {
            one.name: getattr(self, one.name)[rows]
            for one in fields(self)
            if one.name not in ("split", "forms")
        }
        return Rows(self.split, self.forms, **kept)

    @property
    def is_apart(self) -> bool:
        """Whether every row has one number of replicas, and one bound on what is drawn."""
        one_batch = (self.sequences == self.most_sequences).all()
        one_number = (self.replicas == self.most_replicas).all()
        return bool(one_batch and one_number and (self.draw != ANY).all())

    @property
    def stages(self) -> Ints:
        """Of each row."""
        return np.array([form.stages for form in self.forms], dtype=np.intp)[self.form]

    @property
    def chips(self) -> Ints:
        """Held by each row, replicas and all."""
        return self.chips_of_replica * self.replicas

    @property
    def chips_of_replica(self) -> Ints:
        """Of each row."""
        return np.array([form.chips for form in self.forms], dtype=np.intp)[self.form]


@dataclass(frozen=True, slots=True)
class Segments:
    """Runs of like layers, one behind the other, each array of shape (segments,)."""

    sizes: Ints
    kinds: Ints
    inner: NDArray[np.bool_]
    """Whether they lie between the embedding and the head."""


class Table:
    """All rows of one question, and what they are made of."""

    def __init__(self, candidates: Candidates) -> None:
        """An InputError says what of the question cannot be stated in rows."""
        self.candidates = candidates
        self.graph = candidates.graph
        self.topology = candidates.topology
        self.workload = candidates.workload
        self.software = candidates.topology.software
        self.question = candidates.question
        self.served = candidates.served
        self.prices = candidates.served.prices
        self.counts = self.prices.counts
        self.rate = self.workload.requests_per_s or 0.0
        rules = self.software.engine
        self.needs_inner = rules.decoder_on_each_stage and bool(self.graph.inner_positions)
        self.segments = segments_of(candidates)
        self.limits = tuple(
            (name, candidates.canonical(name, value) * SLACK) for name, value in candidates.limits
        )
        self._schedules: dict[tuple[int, int, int], Schedule] = {}
        self.draws = candidates.draws if self._draws_count else candidates.draws[:1]
        self._refuse()

    def _refuse(self) -> None:
        if self.candidates.averages:
            raise InputError(
                "solver 'cp-sat' cannot use power_w on this machine, where it is an average and not a"
                " sum; ask for energy_per_token_j, or leave solver out"
            )
        ends = self.ends_of_stages
        handed = {self.graph.layers[place - 1].activation_bytes_per_token for place in ends}
        if len(handed) > 1:
            raise InputError(
                f"solver 'cp-sat' cannot plan {self.graph.name}, whose layers send different numbers"
                " of bytes, so that the time of links depends on the cut; leave solver out"
            )
        self.handed_bytes = handed.pop() if handed else 0.0

    @property
    def ends_of_stages(self) -> range:
        """Layers in front of which a stage may begin."""
        layers = len(self.graph.layers)
        if not self.needs_inner:
            return range(1, layers)
        inner = self.graph.inner_positions
        return range(inner[0] + 1, inner[-1] + 1)

    @property
    def _draws_count(self) -> bool:
        """Whether energy is asked about, of which several bounds are known."""
        return "energy_per_token_j" in self.question.fields and not self.rate

    @property
    def rows_are_plans(self) -> bool:
        """Whether a row says what its plans cost. Else it is a bound of them, and another row of
        theirs may say less: the least bound on what is drawn counts, and of the batches that keep
        up with a rate the smallest."""
        return len(self.draws) <= 1 and not self.rate

    # ── Which rows there are ─────────────────────────────────────────────────────────────────

    def blocks(self) -> Iterator[Rows]:
        """All rows, split by split."""
        for forms in forms_of(self.candidates):
            rows = self._block(forms) if forms else None
            if rows:
                yield rows

    def _block(self, forms: Sequence[Form]) -> Rows:
        columns: list[list[Ints]] = [[] for _ in range(7)]
        for number, form in enumerate(forms):
            allowance.look()
            every = self._of_form(form)
            every = (np.full(len(every[0]), number), *every)
            for column, one in zip(columns, every, strict=True):
                column.append(np.asarray(one, dtype=np.intp))
        joined = [np.concatenate(one) for one in columns]
        joined.append(np.full(len(joined[0]), ANY if len(self.draws) > 1 else 0))
        return Rows(forms[0].split, tuple(forms), *joined)

    def _of_form(self, form: Form) -> tuple[Ints, ...]:
        """Fewest and most replicas, fewest and most sequences, micro-batches and sequences in each,
        of the rows of a form."""
        given = self.workload.batch_size
        if given is not None:
            replicas = np.arange(1, min(given, form.most_replicas) + 1)
            sequences = -(-given // replicas)
            kept = (sequences <= self._most(form)) & (sequences >= form.in_flight)
            replicas = replicas[kept]
            sequences = sequences[kept]
            return replicas, replicas, sequences, sequences, *self._held(form, sequences)
        one = np.ones(1, dtype=np.intp)
        is_pool = self.workload.phase == "prefill"
        batch = (one, one, one, one) if is_pool else self._open(form)
        fewest = np.ones(len(batch[0]), dtype=np.intp)
        return fewest, form.most_replicas * fewest, *batch

    def apart(self, rows: Rows) -> Rows:
        """The same, one for each number of replicas and each bound on what is drawn."""
        often = rows.most_replicas - rows.replicas + 1
        whole = rows.some(np.repeat(np.arange(len(rows)), often))
        replicas = whole.replicas + _places(often)
        whole = replace(whole, replicas=replicas, most_replicas=replicas)
        often = whole.most_sequences - whole.sequences + 1
        if (often > 1).any():
            whole = whole.some(np.repeat(np.arange(len(whole)), often))
            sequences = whole.sequences + _places(often)
            sizes = -(-sequences // whole.micro_batches)
            whole = replace(
                whole, sequences=sequences, most_sequences=sequences, micro_sequences=sizes
            )
        if not (rows.draw == ANY).any():
            return whole
        draws = len(self.draws)
        each = whole.some(np.repeat(np.arange(len(whole)), draws))
        return replace(each, draw=np.tile(np.arange(draws), len(whole)))

    def _most(self, form: Form) -> int:
        """Sequences that a replica takes."""
        return self.software.most_sequences * form.split.attention

    def _open(self, form: Form) -> tuple[Ints, ...]:
        """All batches of a replica: those in which no rank has more to do together; where a rate
        brings them about, those of like parts."""
        first = max(1, form.in_flight)
        sequences = np.arange(first, self._most(form) + 1)
        most = Batches(self.software.engine, form.stages, form.in_flight).most_in_flight
        if not self.rate:
            micro_batches, _ = self._held(form, sequences)
            on_rank = -(-sequences // form.split.attention)
            differs = (np.diff(micro_batches) > 0) | (np.diff(on_rank) > 0)
            starts = np.flatnonzero(np.concatenate([[True], differs]))
            ends = np.concatenate([starts[1:] - 1, [len(sequences) - 1]])
            return sequences[starts], sequences[ends], *self._held(form, sequences[starts])
        if most is None:
            return sequences, sequences, sequences, np.ones_like(sequences)
        few = np.arange(first, min(most, self._most(form) + 1))
        each = np.arange(1, self._most(form) // most + 1)
        micro_batches = np.concatenate([few, np.full(len(each), most)])
        sizes = np.concatenate([np.ones_like(few), each])
        held = micro_batches * sizes
        return held, held, micro_batches, sizes

    def _held(self, form: Form, sequences: Ints) -> tuple[Ints, Ints]:
        """Micro-batches as the engine makes them, and sequences in each."""
        most = Batches(self.software.engine, form.stages, form.in_flight).most_in_flight
        micro_batches = sequences if most is None else np.minimum(most, sequences)
        return micro_batches, -(-sequences // micro_batches)

    # ── Prices ───────────────────────────────────────────────────────────────────────────────

    def schedule(self, sequences: int, micro_batches: int, each: int) -> Schedule:
        """The passes of a replica."""
        key = sequences, micro_batches, each
        if key not in self._schedules:
            self._schedules[key] = schedule_of(self.workload, self.software, *key)
        return self._schedules[key]

    def priced(self, split: Split, steps: Sequence[Step]) -> Floats:
        """Seconds of one layer of each kind in each step, shape (kinds, steps)."""
        distinct = list(dict.fromkeys(steps))
        every = self.prices.prices_of_steps(split, distinct, reach_of(self.topology, split, 0))
        seconds = {step: one.seconds.sum(axis=0) for step, one in zip(distinct, every, strict=True)}
        return np.stack([seconds[step] for step in steps], axis=1)

    # ── Plans ────────────────────────────────────────────────────────────────────────────────

    def to_plan(self, rows: Rows, row: int, borders: Sequence[int]) -> Plan:
        """The plan of a row whose stages begin with these layers; the last is the end."""
        form = rows.forms[int(rows.form[row])]
        replicas = int(rows.replicas[row])
        bases = form.bases_of(self.candidates.packing, replicas)
        width = form.split.chips
        names = self.graph.names
        stages = tuple(
            Stage(
                layers=names[borders[number] : borders[number + 1]],
                groups=tuple(ChipRange(first=base + start, count=width) for base in bases),
                tensor_parallel=form.split.tensor,
                expert_parallel=form.split.expert,
                sequence_parallel=form.split.sequence,
            )
            for number, start in enumerate(form.starts)
        )
        is_open = self.workload.batch_size is None and self.workload.phase != "prefill"
        held = replicas * int(rows.sequences[row])
        return Plan(
            stages=stages,
            micro_batches=int(rows.micro_batches[row]),
            batch_size=held if is_open and not self.rate else None,
            space="engine",
        )


def _places(often: Ints) -> Ints:
    """0, 1, 2, … for each of some runs of such lengths, one behind the other."""
    return np.asarray(np.arange(often.sum()) - np.repeat(np.cumsum(often) - often, often))


def segments_of(candidates: Candidates) -> Segments:
    """Of the chain of layers."""
    graph = candidates.graph
    inner = set(graph.inner_positions)
    sizes: list[int] = []
    alike: list[tuple[int, bool]] = []
    for place, kind in enumerate(graph.kind_of_layer.tolist()):
        one = kind, place in inner
        if alike and alike[-1] == one:
            sizes[-1] += 1
        else:
            sizes.append(1)
            alike.append(one)
    kinds = [kind for kind, _ in alike]
    return Segments(
        np.array(sizes, dtype=np.intp),
        np.array(kinds, dtype=np.intp),
        np.array([is_inner for _, is_inner in alike]),
    )


class Priced:
    """What rows of one split cost, whatever the cut."""

    def __init__(self, table: Table, rows: Rows, touched: Floats | None = None) -> None:
        """`touched`: largest passes of a prompt at which the wait in a queue is told exactly, shape
        (points, rows); beside the least that each can be."""
        self.table = table
        self.rows = rows
        self.split = rows.split
        self.stages = rows.stages
        self.touched = touched
        self._schedules()
        self._shares()
        self._prices()
        self._loads()

    # ── Passes ───────────────────────────────────────────────────────────────────────────────

    def _schedules(self) -> None:
        """The schedules that differ, and which of them each row has.

        Sequences are shared out whole, so that a pass takes as long as one in which every rank has
        as many as the busiest one: what is in flight is rounded up to that, but for memory.
        """
        rows = self.rows
        workload = self.table.workload
        ranks = self.split.attention
        one_by_one = workload.arrivals == "steady" or workload.phase == "prefill"
        sizes = ranks * -(-rows.micro_sequences // ranks)
        if one_by_one:  # then the size of a micro-batch says all
            sizes, self.index = np.unique(sizes, return_inverse=True)
            distinct = np.stack([sizes, np.ones_like(sizes), sizes], axis=1)
        else:
            keys = np.stack([rows.sequences, rows.micro_batches, sizes], axis=1)
            distinct, index = np.unique(keys, axis=0, return_inverse=True)
            self.index = index.reshape(-1)
        self.each = [self.table.schedule(*key) for key in distinct.tolist()]
        self.at = self.each[0]
        self.passes = np.array([at.prefill_passes for at in self.each])[self.index]
        if workload.phase == "prefill":
            self.most_tokens = np.full(len(rows), self.at.most_tokens)
            self.verified = np.full(len(rows), self.at.decode.rows)
            return
        # Of a pass of prompts, whatever the micro-batches: what a schedule of single ones has.
        self.verified = rows.micro_sequences * (1.0 + workload.drafted_tokens)
        alone = [(1, 1, 1)] if one_by_one else [(key[0], key[0], 1) for key in distinct.tolist()]
        prompts = np.array([self.table.schedule(*key).most_tokens for key in alone])
        self.most_tokens = np.maximum(
            prompts[self.index] if len(prompts) > 1 else prompts[0], self.verified
        )

    def _of_each(self, figure: Callable[[Schedule], float]) -> Floats:
        """A figure of the schedule of each row."""
        return np.array([figure(at) for at in self.each], dtype=float)[self.index]

    def _shares(self) -> None:
        """How often prompts of others get in the way."""
        rows = self.rows
        ranks = self.split.attention
        at = self.at
        turns = rows.micro_batches.astype(float)
        on_rank = np.ceil(rows.sequences / ranks)
        others = np.maximum(0.0, others_in_flight(self.table.workload, on_rank))
        self.others = np.asarray(others, dtype=float)
        met = synchronised(at, others, ranks, turns)
        self.lost = np.asarray(interruptions_s(at, met * self.passes)) + 0.0 * turns
        self.fresh = np.asarray(fresh_share(at, others, turns)) + 0.0 * turns
        self.standing = np.asarray(first_share(at, others)) + 0.0 * turns
        rest, beyond = chunks_behind(at, others, turns)
        self.rest = np.asarray(rest) + 0.0 * turns
        self.beyond = np.asarray(beyond) + 0.0 * turns
        self.met = np.asarray(met_share(at, others)) + 0.0 * turns
        self.own = np.asarray(met_share(at, others / turns)) + 0.0 * turns
        prefilling = self.table.workload.phase == "prefill"
        self.held = self._of_each(lambda one: one.held_sequences(ranks)) if prefilling else on_rank

    def _prices(self) -> None:
        """Of a layer of each kind, of the host, and of each link. [s]"""
        table = self.table
        split = self.split
        runs = (self.passes > 0).astype(float)
        self.decode = table.priced(split, [at.decode for at in self.each])[:, self.index]
        self.prefill = table.priced(split, [at.prefill for at in self.each])[:, self.index] * runs
        packed = table.priced(split, [at.packed for at in self.each])[:, self.index] * runs
        self.more = np.asarray(self.at.added(self.prefill, packed))
        software = table.software
        self.host = self._of_each(
            lambda at: float(host_s(software, made_on_rank(split, at.decode)))
        )
        self.prompt_host = float(host_s(software, 0.0)) * runs
        latent = table.prices.latent_s
        self.latent = float(latent(self.at.decode) @ table.counts)
        self.prompt_latent = float(latent(self.at.prefill) @ table.counts) * runs

    def _link(self, hop: Hop) -> tuple[Floats, Floats, Floats]:
        """Of a decode pass, of a prompt's, and what a prompt adds to one that takes others. [s]"""
        level, hops = hop
        handed = self.table.handed_bytes

        def sent_s(step: Callable[[Schedule], Step]) -> Floats:
            tokens = self._of_each(lambda at: shares_of(self.split, step(at))[0])
            return np.asarray(hop_s(self.table.topology, level, hops, handed * tokens))

        runs = (self.passes > 0).astype(float)
        prefill = sent_s(lambda at: at.prefill) * runs
        packed = sent_s(lambda at: at.packed) * runs
        return sent_s(lambda at: at.decode), prefill, np.asarray(self.at.added(prefill, packed))

    # ── Loads ────────────────────────────────────────────────────────────────────────────────

    def _on_peaks(self, decode: Floats, prefill: Floats, more: Floats, memory: Floats) -> Floats:
        """What a piece of a stage loads on each peak, shape (peaks, …, rows)."""
        standing = self.standing * prefill + (1.0 - self.standing) * more
        joining = self.fresh * prefill + (1.0 - self.fresh) * more
        behind = self.rest * prefill + self.beyond * more + self.own * np.minimum(decode, prefill)
        return np.stack(
            [
                decode,
                prefill,
                self.others * self.passes * standing,
                self.rows.micro_batches * decode + self.lost * joining,
                behind,
                memory,
            ]
        )

    def _loads(self) -> None:
        """Of a layer of each kind, shape (peaks, kinds, rows); of the host on the last stage, and
        of the longest link, shape (peaks, rows)."""
        nothing = np.zeros(len(self.rows))
        self.each_layer = self._on_peaks(self.decode, self.prefill, self.more, self._memory())
        added = np.asarray(self.at.added(self.prompt_host, self.prompt_host))
        workload = self.table.workload
        logits = self.table.prices.logits_bytes(self.split, workload, self._tokens, self.verified)
        self.last = self._on_peaks(self.host, self.prompt_host, added, logits)
        self.floor = np.zeros((PEAKS, len(self.rows)))
        self.sums = np.stack([
            self.table.counts @ self.decode + self.host + self.latent,
            self.table.counts @ self.prefill + self.prompt_host + self.prompt_latent,
            self.table.counts @ np.maximum(self.decode, self.prefill)
            + np.maximum(self.host, self.prompt_host) + self.latent,
        ])  # fmt: skip
        often = self._often_crossed()
        for hop, times in often.items():
            decode, prefill, more = self._link(hop)
            load = self._on_peaks(decode, prefill, more, nothing)
            self.floor = np.maximum(self.floor, load * (times > 0))
            self.sums += times * np.stack([decode, prefill, np.maximum(decode, prefill)])

    def _often_crossed(self) -> dict[Hop, Ints]:
        """How many of the links of each row are such."""
        if not self.table.topology.levels:
            return {}
        hops = dict.fromkeys(hop for form in self.rows.forms for hop in form.hops)
        return {
            hop: np.array([form.hops.count(hop) for form in self.rows.forms])[self.rows.form]
            for hop in hops
        }

    def _memory(self) -> Floats:
        """Weights and caches of a layer of each kind, shape (kinds, rows). [B]"""
        holdings = self.table.served.holdings(self.split)
        fixed = holdings.weight_bytes + holdings.kv_bytes_more
        caches = np.outer(holdings.kv_bytes_per_sequence, self.held)
        return np.asarray(fixed[:, None] + caches)

    @cached_property
    def tied(self) -> Floats:
        """Weights that a single stage has twice in the sums, but once in memory. [B]"""
        holdings = self.table.served.holdings(self.split)
        graph = self.table.graph
        readers = [graph.kind_of_layer[reader] for reader, _ in self.table.candidates.tied]
        return np.asarray(float(holdings.tied_bytes[readers].sum()) * (self.stages == 1))

    @property
    def _tokens(self) -> Floats:
        """In any pass, at the most."""
        return np.asarray(self.most_tokens / self.table.graph.passes_per_step)

    @cached_property
    def buffers(self) -> Floats:
        """On every stage. [B]"""
        prices = self.table.prices
        buffers = prices.activation_bytes(self.split, self.table.workload, self._tokens)
        return np.asarray(buffers + prices.workspace_bytes(self.split))

    @property
    def most(self) -> Floats:
        """That a stage may load on each peak, buffers left out, shape (peaks, rows)."""
        most = np.full((PEAKS, len(self.rows)), np.inf)
        most[NEEDED] = self.table.candidates.prices.usable_bytes - self.buffers + self.tied
        if self.table.rate:
            share = self.passes * self.table.rate / (self.rows.replicas * self.split.attention)
            busy = np.divide(FULL, share, out=np.full(len(share), np.inf), where=share > 0)
            most[PREFILL] = busy
        return most

    @cached_property
    def least(self) -> Floats:
        """What the peaks are at least, whatever the cut, shape (peaks, rows): the mean over the
        stages, what the first or last stage has in any case, and of like layers that lie side by
        side as many as one of the stages must have of them."""
        counts = self.table.counts
        each = self.each_layer
        segments = self.table.segments
        stages = self.stages
        whole = np.einsum("k,pkr->pr", counts, each) + self.last
        found = np.maximum(whole / stages, self.floor)
        for size, kind in zip(segments.sizes.tolist(), segments.kinds.tolist(), strict=True):
            found = np.maximum(found, -(-size // stages) * each[:, kind])
        ends = self.table.ends_of_stages
        kinds = self.table.graph.kind_of_layer
        if len(ends):
            found = np.maximum(found, each[:, kinds[: ends[0]]].sum(axis=1))
            found = np.maximum(found, each[:, kinds[ends[-1] :]].sum(axis=1) + self.last)
        return np.asarray(np.where(stages == 1, whole, found))

    # ── Fields ───────────────────────────────────────────────────────────────────────────────

    def _of_all(self, values: Floats | float) -> Floats:
        return np.asarray(values + np.zeros(len(self.rows)))

    def _peak(self, number: int, weights: Floats | float) -> Cost:
        return Cost(self._way(0.0, (number, weights)))

    def _fixed(self, values: Floats | float) -> Cost:
        return Cost(self._way(values))

    def _way(self, fixed: Floats | float, *peaks: tuple[int, Floats | float]) -> Way:
        return Way(self._of_all(fixed), {number: self._of_all(one) for number, one in peaks})

    @cached_property
    def tpot(self) -> Cost:
        """The longest of a token's own way, the turn of all micro-batches, and a round that trails
        a prompt."""
        at = self.at
        passing, _, slower = self.sums
        quiet = 1.0 - self.met
        trails = (self.met > 0).astype(float)
        turns = self.rows.micro_batches.astype(float)
        behind = (BEHIND, 1.0 * trails)
        held_up = trails * self.met * slower
        ways = [
            self._way(passing),
            self._way(0.0, (TURN, 1.0)),
            self._way(trails * quiet * passing + held_up, behind),
            self._way(held_up, (DECODE, trails * quiet * turns), behind),
        ]
        return longest_of(ways).times(1.0 / at.tokens_per_pass)

    @cached_property
    def joined(self) -> Cost:
        """To the first token, but for the queue: the wait for a turn, the prompts before it, and
        its own passes."""
        at = self.at
        passing, prompt, _ = self.sums
        runs = (self.passes > 0).astype(float)
        others = others_in_flight(self.table.workload, self.rows.sequences.astype(float))
        rounds = np.asarray(at.waiting_among(np.maximum(0.0, others))) + 0.0 * passing
        turn = self._way(0.0, (DECODE, self.rows.micro_batches.astype(float)))
        found = longest_of([self._way(passing), turn]).times(rounds)
        found = found.plus(self._fixed(at.request_overhead_s + runs * prompt))
        found = found.plus(self._peak(OTHERS, at.burst_share))
        later = runs * (np.maximum(1.0, self.passes) - 1.0)
        return found.plus(self._peak(PREFILL, later))

    @cached_property
    def whole(self) -> Cost:
        """To the last token, but for the queue."""
        return self.joined.plus(self.tpot.times(float(self.at.later_tokens)))

    @cached_property
    def cycle(self) -> Cost:
        """In which a replica serves what it has in flight."""
        if self.table.workload.phase == "prefill":
            return self._peak(PREFILL, self.passes / self.split.attention)
        return self.whole.plus(self._peak(OTHERS, self.at.late_share))

    @cached_property
    def waited(self) -> Cost:
        """In a queue: for a place among those in flight, and for prompts that came before. Of that
        the tangents at some lengths of a prompt: it is convex, so they bound it."""
        seated = self.cycle.times(self.table.workload.cycles_waited)
        if not self.table.rate or not self.passes.any():
            return seated
        share = self.passes / self.split.attention
        each = self.table.rate / self.rows.replicas
        most = self.most[PREFILL]
        first = self.least[PREFILL]
        # Near what a replica can serve the wait grows without end: only what was touched is told.
        points = [first, *(np.minimum(more * first, 0.9 * most) for more in (1.02, 1.1, 1.4))]
        points += [] if self.touched is None else list(self.touched)
        ways = [self._way(0.0)]
        for point in points:
            work = np.minimum(point, most) * share
            room = np.maximum(1.0 - each * work, 0.1 * (1.0 - FULL))
            wait = each * work**2 / (2.0 * room)
            slope = each * work * (2.0 - each * work) / (2.0 * room**2)
            ways.append(self._way(wait - slope * work, (PREFILL, slope * share)))
        return seated.plus(longest_of(ways))

    @property
    def tokens(self) -> Floats:
        """Of all replicas in a cycle."""
        workload = self.table.workload
        if workload.batch_size is not None:
            served = workload.taken_share * workload.batch_size
            return np.full(len(self.rows), served * workload.output_tokens)
        sequences = self.rows.replicas * self.rows.most_sequences
        return np.asarray(sequences * float(workload.output_tokens))

    @property
    def held_chips(self) -> Floats:
        """Of all replicas, what counts for power and price: whole chips, or the share of them that
        is filled."""
        chips = self.rows.chips.astype(float)
        topology = self.table.topology
        if not topology.divisible:
            return chips
        filled = self.table.counts @ self.each_layer[NEEDED] - self.tied
        capacity = topology.chip.memory[0].capacity_bytes
        return np.asarray(self.rows.replicas * self.split.chips * filled / capacity)

    def cost(self, name: str) -> Cost:
        """Canonical value of a field."""
        simple: dict[str, Callable[[], Cost]] = {
            "ttft_s": lambda: self.joined.plus(self.waited),
            "tpot_s": lambda: self.tpot,
            "tokens_per_s_per_user": lambda: self.tpot,
            "request_s": lambda: self.whole.plus(self.waited),
            "chips": lambda: self._fixed(self.rows.chips.astype(float)),
            "power_w": lambda: self._fixed(self._watts * self.held_chips),
            "memory_headroom_bytes": self._needed,
            "tokens_per_s": lambda: self.cycle.times(1.0 / self.tokens),
            "requests_per_s": lambda: self.cycle.times(
                self.table.workload.output_tokens / self.tokens
            ),
            "tokens_per_s_per_chip": lambda: self._for_tokens(self.rows.chips.astype(float)),
            "usd_per_hour": lambda: self._fixed(self._hourly_usd * self.held_chips),
            "energy_per_token_j": self._energy,
            "usd_per_million_tokens": self._usd,
            "mfu_fraction": lambda: self._over_peak(0),
            "mbu_fraction": lambda: self._over_peak(1),
        }
        return simple[name]()

    @property
    def _watts(self) -> float:
        return self.table.candidates.draws[0].held_w

    def _needed(self) -> Cost:
        return self._peak(NEEDED, 1.0).plus(self._fixed(self.buffers - self.tied))

    @property
    def _tokens_per_s(self) -> float:
        """That a rate of requests asks for."""
        return self.table.rate * self.table.workload.output_tokens

    def _energy(self) -> Cost:
        held = self.held_chips
        if self.table.rate:
            return self._fixed(self._watts * held / self._tokens_per_s)
        draws = self.table.draws
        idle = np.array([draw.held_w for draw in draws])[self.rows.draw]
        busy = np.array([draw.active_w for draw in draws])[self.rows.draw]
        found = self.cycle.times(idle * held / self.tokens)
        if not busy.any():
            return found
        active = self.active * self.rows.replicas
        return found.plus(self._fixed(busy * active / self.tokens))

    @property
    def _hourly_usd(self) -> float:
        """Of a chip."""
        return self.table.topology.price.usd_per_chip_hour or 0.0

    def _usd(self) -> Cost:
        return self._for_tokens(1e6 * self.held_chips * self._hourly_usd / SECONDS_PER_HOUR)

    def _for_tokens(self, each: Floats) -> Cost:
        """What is held, over the tokens of a second."""
        if self.table.rate:
            return self._fixed(each / self._tokens_per_s)
        return self.cycle.times(each / self.tokens)

    def _over_peak(self, number: int) -> Cost:
        """Inverse of the useful share of operations, or of bytes."""
        topology = self.table.topology
        peak = (
            peak_flop_per_s(self.table.graph, topology),
            topology.chip.memory[0].bandwidth_bytes_per_s,
        )[number]
        most = self.rows.most_sequences
        useful = self._over_cycle(self._useful, self.at.tokens_per_pass, most)[number]
        useful = useful * self.rows.replicas
        return self.cycle.times(self.rows.chips * peak / useful)

    @cached_property
    def active(self) -> Floats:
        """What the power of a replica's chips follows, over a cycle. [s]"""

        def activity(steps: list[Step]) -> Floats:
            active = self.table.counts @ self.table.prices.active_kinds_s(steps)
            return np.asarray(active)[None]

        drafted = self.table.workload.drafted_tokens
        return np.asarray(self._over_cycle(activity, 1.0 + drafted, self.rows.sequences)[0])

    def _useful(self, steps: list[Step]) -> Floats:
        """Operations and bytes that count as useful, shape (2, steps)."""
        return np.stack(useful_steps(self.table.graph, steps))

    def _over_cycle(
        self, of_steps: Callable[[list[Step]], Floats], kept: float, sequences: Ints
    ) -> Floats:
        """What the passes of a replica with so many sequences add up to in a cycle, shape (figures,
        rows); `kept`: how many of the tokens of a decode pass count, for each sequence."""
        rows = self.rows
        prompts = of_steps([step for at in self.each for step in (at.prefill, at.packed)])
        alone = prompts[:, ::2][:, self.index]
        packed = prompts[:, 1::2][:, self.index]
        # Micro-batches count at their mean, of which the last may be smaller.
        means, index = np.unique(sequences / rows.micro_batches, return_inverse=True)
        step = self.at.decode
        steps = [step._replace(tokens=kept * mean, sequences=mean) for mean in means.tolist()]
        decode = of_steps(steps)[:, index.reshape(-1)]
        one, full = packing_of(self.at, sequences.astype(float))
        requests = sequences if self.table.workload.arrivals != "together" else 1
        prefills = requests * self.passes
        rounds = self.at.rounds * rows.micro_batches
        return np.asarray(prefills * (one * alone + full * packed) + rounds * decode)

    # ── Bounds ───────────────────────────────────────────────────────────────────────────────

    def bounds(self) -> Floats:
        """Canonical values of the objective, at least, whatever the cut, shape (rows,); infinite
        where no cut fits or keeps the limits.

        Of several replicas a field is best with the fewest or the most: what they hold grows with
        them, and what each has to do shrinks.
        """
        least = self.least
        ends = self._ends()
        roomy = ends[-1].most
        kept = (least <= roomy * (1 + 1e-9)).all(axis=0)
        for name, most in self.table.limits:
            values = np.min([end.cost(name).value(least) for end in ends], axis=0)
            kept &= values <= most * (1 + 1e-9)
        objective = self.table.question.objective
        values = np.min([end.cost(objective).value(least) for end in ends], axis=0)
        return np.where(kept, values, np.inf)

    def _ends(self) -> list["Priced"]:
        """The rows with the fewest and with the most replicas, and each bound on what is drawn."""
        rows = self.rows
        if rows.is_apart:
            return [self]
        every = range(len(self.table.draws)) if (rows.draw == ANY).any() else (0,)
        found = []
        _ = self.cycle  # what all of them share is worked out once
        if len(every) > 1:
            _ = self.active
        for replicas in (rows.replicas, rows.most_replicas):
            for draw in every:
                end = copy.copy(self)
                end.rows = replace(rows, replicas=replicas, draw=np.full(len(rows), draw))
                end.__dict__.pop("waited", None)
                found.append(end)
        return found
