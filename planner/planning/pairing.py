"""`disaggregate_attention`: attention on one machine and feed-forward parts on another, with a proof.

Every pair of a split of the attention, its replicas, and a layout of the feed-forward parts is bounded
at once over all sizes of a micro-batch: a token takes at least its own way, and at least its share of
what is busiest, whatever the number of micro-batches. The pairs are then worked out in full, the most
promising first, until what is left cannot be better.
"""

import math
import time
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.proof import StoppedBy, proved
from planner.answers.question import FIELDS, PRICED, Limits, Question, as_priced, question_of
from planner.answers.results import Pairing
from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.cost import energy
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, TimeUpError, listed
from planner.guards import guarded
from planner.machines.accounts import PowerBasis, alike_machines, unlike_prices
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope
from planner.planning.cutting_off import cut_off
from planner.pricing.pairs import Pair
from planner.pricing.price_list import Step
from planner.pricing.served import Served
from planner.scoring.disaggregated import Link, common_scope, hourly_usd
from planner.scoring.pairs import check_decodes, score_pairing
from planner.scoring.plans import chosen_power
from planner.space.pairs import (
    AttentionOption,
    ExpertsOption,
    Known,
    Points,
    Way,
    attention_options,
    attention_way,
    experts_options,
    experts_way,
    fits,
    likely_experts,
    paired_plan,
    points_of,
)
from planner.units import PositiveBytes, spoken
from planner.workload import Workload

Floats = NDArray[np.float64]

ASKED = (
    "tpot_s",
    "tokens_per_s_per_user",
    "request_s",
    "tokens_per_s",
    "requests_per_s",
    "tokens_per_s_per_chip",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "usd_per_hour",
    "power_w",
    "chips",
)
"""Fields that may be optimised or limited."""
WATTED = ("energy_per_token_j", "power_w")
SAME = 1 + 1e-12
"""Relative: within rounding."""
LESS = 1 - 1e-9
"""Part of a bound that is claimed at first, so that rounding never proves a pair by itself."""
START_SHARE = 0.4
"""Of the time that is left, that a few pairs may take before all of them are looked at."""


@guarded
@allowance.allowing
def disaggregate_attention(
    graph: AnyModel,
    workload: Workload,
    *,
    attention: AnyMachine,
    experts: AnyMachine,
    link: Link,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: Limits | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
) -> Pairing:
    """The plan that makes one field of `PairedScore` best with attention, caches and the ends of the
    model on one machine and its feed-forward parts (experts or dense) on another, with a proof.

    `link` is all that joins the two, of its bandwidth in each direction at once. The workload is
    one of phase "decode"; prompts are another pool's business. `batch_size` None: the best number
    is found. Plans are those of `planner.space.pairs`; no engine has rules for them that are known.
    InfeasibleError: proved that there are none; NoPlanFoundError: none were found in time.
    """
    graph = model_of(graph)
    attention, experts = machine_of(attention), machine_of(experts)
    started = time.monotonic()
    question = as_priced(question_of(minimize, maximize, limits, power_scope), "a pair of machines")
    check_decodes(workload)
    attention, experts = alike_machines((attention, experts), price_basis, power_basis)
    pair = Pair(graph, workload, attention, experts)
    asked = _Asked(pair, link, question)
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    found = _Found(asked, deadline)
    found.run()
    elapsed_s = time.monotonic() - started
    if found.best is None and found.late:
        raise NoPlanFoundError(
            f"no pair of plans of {graph.name} was found in {elapsed_s:.1f} s; nothing is proved:"
            f" {allowance.remedy()}"
        )
    if found.best is None:
        raise _refusal(asked)
    with allowance.freely():
        return _result(asked, found, found.best, elapsed_s)


def _result(asked: "_Asked", found: "_Found", best: "_Best", elapsed_s: float) -> Pairing:
    pair, question = asked.pair, asked.question
    plan = paired_plan(
        pair, best.attention, best.experts, best.replicas, best.micro_batches, best.batch_size
    )
    score = score_pairing(
        plan,
        pair.graph,
        pair.workload,
        attention=asked.machines[0],
        experts=asked.machines[1],
        link=asked.link,
        power_scope=question.power_scope,
    )
    proof = proved(
        question,
        objective=float(getattr(score, question.objective)),
        promised=asked.field_value(best.value),
        bound=asked.field_value(min(found.bound, best.value)),
        elapsed_s=elapsed_s,
        stopped_by=found.stopped_by,
    )
    return Pairing(
        plan=plan,
        attention_topology=asked.machines[0],
        experts_topology=asked.machines[1],
        score=score,
        graph=pair.graph,
        workload=pair.workload,
        link=asked.link,
        **proof,
    )


class _Best(NamedTuple):
    value: float
    attention: AttentionOption
    experts: ExpertsOption
    replicas: int
    micro_batches: int
    batch_size: int

    @property
    def chips(self) -> int:
        return self.attention.tensor * self.replicas + self.experts.chips


class _Held(NamedTuple):
    """What two plans hold, and how active one token keeps that."""

    chips: tuple[int, int]
    active_s: tuple[Floats, Floats]
    """For an output token, on each machine, of each way to cut the batch."""


class _Asked:
    """The question, and what it makes of times."""

    def __init__(self, pair: Pair, link: Link, question: Question) -> None:
        self.pair = pair
        self.link = link
        self.question = question
        self.limits = dict(question.limits)
        self.machines = [pair.attention.topology, pair.experts.topology]
        self.scope = common_scope(self.machines, question.power_scope)
        self._check()
        workload = pair.workload
        at = pair.attention.schedule(1)
        self.rounds = at.later_tokens
        """Of a request, in which its later tokens are made."""
        self.waits_s = at.request_overhead_s
        self.all_rounds = at.later_tokens + float(at.waiting_share)
        """With those in which it waits for its turn."""
        self.tokens = workload.output_tokens
        self.draws = [
            () if self.scope is None else chosen_power(machine, self.scope)[0]
            for machine in self.machines
        ]

    def _check(self) -> None:
        for name in self.question.fields:
            if name not in ASKED:
                raise InputError(
                    f"{name} cannot be optimised or limited for a pair of machines; ask for"
                    f" {listed(ASKED, 'or')}"
                )
            if name in WATTED and self.scope is None:
                raise InputError(
                    f"{name} needs the power of both machines in the same scope; write it into their"
                    " files"
                )
            if name in PRICED and hourly_usd(self.machines, (1, 1)) is None:
                raise InputError(unlike_prices(name, self.machines))

    def field_value(self, canonical: float) -> float:
        """The objective's own value: of what is better the more of it there is, canonical values
        are inverse."""
        if self.question.direction == "minimize":
            return canonical
        return 1.0 / canonical if canonical > 0 else math.inf

    def values(
        self, tpot_s: Floats, token_s: Floats, held: _Held, active: tuple[Floats, ...]
    ) -> Floats:
        """Canonical values of the objective; infinite where a limit is broken. It grows with each
        time; `active` says how busy each machine is, for its watts, where that is known."""
        given = (tpot_s, token_s, held, active)
        found = self.field(self.question.objective, *given)
        for name, allowed in self.limits.items():
            most = 1.0 / allowed if FIELDS[name].best == "most" else allowed
            found = np.where(self.field(name, *given) > most * SAME, math.inf, found)
        return np.asarray(found)

    def field(
        self, name: str, tpot_s: Floats, token_s: Floats, held: _Held, active: tuple[Floats, ...]
    ) -> Floats:
        """Canonical value of a field: of rates their inverse."""
        same = np.ones(np.shape(token_s))
        if name in ("tpot_s", "tokens_per_s_per_user"):
            return tpot_s
        if name == "request_s":
            return self.waits_s + self.all_rounds * tpot_s
        if name == "tokens_per_s":
            return token_s
        if name == "requests_per_s":
            return self.tokens * token_s
        if name in ("chips", "tokens_per_s_per_chip"):
            chips = float(sum(held.chips))
            return chips * (same if name == "chips" else token_s)
        if name in PRICED:
            hourly = hourly_usd(self.machines, held.chips) or 0.0
            if name == "usd_per_hour":
                return hourly * same
            return np.asarray(energy.usd_per_million_tokens(1.0, hourly, 1.0) * token_s)
        if name == "power_w":
            drawn = zip(self.draws, held.chips, active, strict=True)
            return same * sum(energy.energy_j(*each) for each in drawn)
        spent = zip(self.draws, held.chips, held.active_s, strict=True)
        return np.asarray(
            sum(energy.energy_j(draws, chips * token_s, busy) for draws, chips, busy in spent)
        )

    @property
    def most_tpot_s(self) -> float:
        """The longest that the limits let a token take."""
        request_s = self.limits.get("request_s", math.inf) - self.waits_s
        return min(
            self.limits.get("tpot_s", math.inf),
            1.0 / self.limits.get("tokens_per_s_per_user", 1e-300),
            request_s / self.all_rounds,
        )


def _quick_enough(
    asked: _Asked, attention: list[AttentionOption], experts: list[ExpertsOption]
) -> tuple[list[AttentionOption], list[ExpertsOption]]:
    """The options with which a token of a single sequence keeps the limits on its time, whatever
    the other machine does: more sequences are no faster."""
    most_s = asked.most_tpot_s * SAME
    if most_s > 1e200 or not attention or not experts:
        return attention, experts
    one = np.ones(1)
    pair = asked.pair
    mine = [float(attention_way(pair, each, 1, one).pass_s[0]) for each in attention]
    theirs = [float(experts_way(pair, each, one).pass_s[0]) for each in experts]
    quick = [each for each, s in zip(attention, mine, strict=True) if s + min(theirs) <= most_s]
    near = [each for each, s in zip(experts, theirs, strict=True) if s + min(mine) <= most_s]
    return quick, near


class _Row(NamedTuple):
    """A pair of options with what bounds it."""

    bound: float
    chips: int
    attention: int
    replicas: int
    experts: int


class _Found:
    """The search over pairs of options."""

    def __init__(self, asked: _Asked, deadline: float) -> None:
        self.asked, self.deadline = asked, deadline
        self.pair = asked.pair
        self.attention: list[AttentionOption] = []
        self.experts: list[ExpertsOption] = []
        self.best: _Best | None = None
        self.spare: _Best | None = None
        """What was found at once, for a search that is cut off."""
        self.late = False
        self.interrupted: bool | None = None
        """Whether it was Ctrl-C that cut it off, or the clock; None where nothing did."""
        self.bound = 0.0
        """No plan has a lower value: canonical."""

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        if self.interrupted:
            return "interrupt"
        return "time" if self.late else "proof"

    def run(self) -> None:
        """Until the best is proved, the clock runs out, or Ctrl-C."""
        self.interrupted = cut_off(self._run, self.deadline)
        if self.interrupted is None:
            return
        # What was being looked at is open still.
        self.late = True
        if self.spare and (self.best is None or self.spare.value < self.best.value):
            self.best = self.spare

    def _run(self) -> None:
        self.bound = 0.0
        attention = attention_options(self.pair)
        if allowance.left_s() is not None:
            self._start(attention)
        self.attention, self.experts = _quick_enough(
            self.asked, attention, experts_options(self.pair)
        )
        rows = sorted(self._rows())
        for row in rows:
            self.bound = max(self.bound, row.bound)
            beaten = math.inf if self.best is None else self.best.value
            if row.bound > beaten * SAME or row.bound == math.inf:
                break
            allowance.look()
            if self.best is not None and row.bound * SAME > beaten and row.chips >= self.best.chips:
                continue  # as good at best, and no fewer chips
            self._take(self.attention[row.attention], self.experts[row.experts], row.replicas)
        if self.best is not None:
            self.bound = self.best.value

    def _start(self, attention: list[AttentionOption]) -> None:
        """A bound from the attention by itself, and the best of a few pairs, as far as a part of
        the time goes."""
        self.bound = LESS * self._floor(attention)
        with suppress(TimeUpError), allowance.in_part(math.inf, START_SHARE):
            for layout in likely_experts(self.pair):
                for option in attention:
                    room = self.pair.attention.topology.chips // option.tensor
                    most = min(room, self.pair.workload.batch_size or room)
                    for replicas in {most, math.ceil(most / 2), 1}:
                        allowance.look()
                        self._take(option, layout, replicas, coarsely=True)
        self.spare, self.best = self.best, None

    def _floor(self, attention: list[AttentionOption]) -> float:
        """Canonical value that no pair is below, whatever the feed-forward parts are: a token takes
        at least its way through the attention of a single sequence, and its share of what as many
        replicas as there is room for are busy with; 0 where nothing fits."""
        asked, tpot_s, token_s = self.asked, math.inf, math.inf
        latency_s = 2 * float(self.pair.layer_counts.sum()) * asked.link.latency_s
        for option in attention:
            sizes = np.arange(1.0, option.most_sequences + 1)
            way = attention_way(self.pair, option, 1, sizes)
            replicas = self.pair.attention.topology.chips // option.tensor
            each_s = asked.all_rounds * float((way.busy_s / sizes).min()) / replicas
            tpot_s = min(tpot_s, float(way.pass_s.min()) + latency_s)
            token_s = min(token_s, each_s / asked.tokens)
        if not math.isfinite(tpot_s):
            return 0.0
        none = np.zeros(1)
        held = _Held((min(option.tensor for option in attention), 1), (none, none))
        times = np.array([tpot_s]), np.array([token_s])
        return float(asked.field(asked.question.objective, *times, held, (none, none))[0])

    def _rows(self) -> list[_Row]:
        found: list[_Row] = []
        chips = self.pair.attention.topology.chips
        narrowest = min((one.tensor for one in self.attention), default=1)
        most = max((one.most_sequences for one in self.attention), default=0)
        for replicas in range(1, chips // narrowest + 1) if most and self.experts else ():
            if replicas > (self.pair.workload.batch_size or replicas):
                break
            allowance.look()
            points = points_of(self.pair, replicas, most)
            known: Known = {}
            ways = [experts_way(self.pair, one, points.together, known) for one in self.experts]
            active = self._active(points, replicas)
            for number, option in enumerate(self.attention):
                if option.tensor * replicas <= chips:
                    found += self._bounded(number, replicas, points, ways, active)
        return found

    def _bounded(
        self,
        number: int,
        replicas: int,
        points: Points,
        ways: list[Way],
        active: tuple[Floats, Floats],
    ) -> list[_Row]:
        """Of one attention with each layout of the feed-forward parts."""
        allowance.look()
        option = self.attention[number]
        given = self.pair.workload.batch_size
        sizes = len(points.sequences)
        if given is None:
            sizes = min(sizes, option.most_sequences)
        mine, together = points.sequences[:sizes], points.together[:sizes]
        first = attention_way(self.pair, option, replicas, mine)
        most = float(given or 0) or replicas * float(option.most_sequences)
        found = []
        for place, (layout, second) in enumerate(zip(self.experts, ways, strict=True)):
            later = Way(second.pass_s[:sizes], second.busy_s[:sizes])
            pass_s, slowest_s = self._passes(first, later, layout, together)
            # Each round serves `together` for each turn of the busiest, and no more than fit.
            waits_s = self.asked.waits_s + self.asked.all_rounds * pass_s
            served_s = np.maximum(self.asked.all_rounds * slowest_s / together, waits_s / most)
            held = _Held(
                (option.tensor * replicas, layout.chips),
                (active[0][:sizes], active[1][:sizes]),
            )
            idle = (np.zeros(sizes), np.zeros(sizes))
            values = self.asked.values(pass_s, served_s / self.asked.tokens, held, idle)
            bound = float(values.min())
            if bound < math.inf:
                found.append(_Row(bound, sum(held.chips), number, replicas, place))
        return found

    def _passes(
        self, first: Way, later: Way, layout: ExpertsOption, together: Floats
    ) -> tuple[Floats, Floats]:
        """A token's own way, and how long the busiest is busy with a micro-batch."""
        link = self.asked.link
        there_s = together * layout.there_bytes / link.bandwidth_bytes_per_s
        back_s = together * layout.back_bytes / link.bandwidth_bytes_per_s
        visits = 2 * float(self.pair.layer_counts.sum())
        pass_s = first.pass_s + later.pass_s + there_s + back_s + visits * link.latency_s
        busiest = [first.busy_s, later.busy_s, there_s, back_s]
        return pass_s, np.max(busiest, axis=0)

    def _active(self, points: Points, replicas: int) -> tuple[Floats, Floats]:
        """Activity for an output token on each machine, of each size; where the batch is given,
        of the mean pass of each way to cut it."""
        given = self.pair.workload.batch_size
        mine, together = points.sequences, points.together
        if given is not None:
            together = given / points.micro_batches
            mine = together / replicas
        rounds = self.asked.rounds / self.asked.tokens
        return (
            rounds * self._active_s(self.pair.attention, mine) / mine,
            rounds * self._active_s(self.pair.experts, together) / together,
        )

    def _active_s(self, served: Served, sequences: Floats) -> Floats:
        if not any(name in WATTED for name in self.asked.question.fields):
            return np.zeros(len(sequences))
        context = self.pair.workload.mean_context_tokens
        steps = [Step(each, each, context, True) for each in sequences.tolist()]
        return np.asarray(served.prices.counts @ served.prices.active_kinds_s(steps))

    def _take(
        self,
        option: AttentionOption,
        layout: ExpertsOption,
        replicas: int,
        *,
        coarsely: bool = False,
    ) -> None:
        """Work a pair of options out, in full or at a few sizes of a pass."""
        points = points_of(self.pair, replicas, option.most_sequences, coarsely=coarsely)
        first = attention_way(self.pair, option, replicas, points.sequences)
        later = experts_way(self.pair, layout, points.together)
        pass_s, slowest_s = self._passes(first, later, layout, points.together)
        column = points.column
        tpot = np.maximum(pass_s[column], points.micro_batches * slowest_s[column])
        request_s = self.asked.waits_s + self.asked.all_rounds * tpot
        token_s = request_s / points.batch / self.asked.tokens
        active = self._active(points, replicas)
        spent = (active[0][column], active[1][column])
        held = _Held((option.tensor * replicas, layout.chips), spent)
        drawing = (spent[0] / token_s, spent[1] / token_s)
        values = self.asked.values(tpot, token_s, held, drawing)
        values = np.where(fits(self.pair, option, layout, points), values, math.inf)
        cut = int(values.argmin())
        value = float(values[cut])
        if value == math.inf:
            return
        new = _Best(
            value,
            option,
            layout,
            replicas,
            int(points.micro_batches[cut]),
            int(points.batch[cut]),
        )
        best = self.best
        if (
            best is None
            or value * SAME < best.value
            or (value <= best.value * SAME and new.chips < best.chips)
        ):
            self.best = new


def _refusal(asked: _Asked) -> InfeasibleError:
    """Which machine holds too little, or that the limits are too tight."""
    pair = asked.pair
    for name, options, served in (
        ("attention", attention_options(pair), pair.attention),
        ("experts", experts_options(pair), pair.experts),
    ):
        if not options:
            needed = served.graph.weight_bytes
            room = served.usable_bytes * served.topology.chips
            return InfeasibleError(
                f"the {name} machine is too small: {served.topology.chips} chips of"
                f" {served.topology.name} have room for {spoken(room, 'B')}, and the"
                f" {served.graph.name} has {spoken(needed, 'B')} of weights, which are split by whole layers and"
                " experts and need room for caches and buffers too; give it more chips",
                resource="memory",
                demand=needed,
                capacity=room,
            )
    kept = listed(asked.limits) if asked.limits else "the batch"
    return InfeasibleError(
        f"it is proved that no pair of plans keeps {kept}; loosen the limits, or give more chips or"
        " a faster link",
        resource="limits together",
        demand=float(len(asked.limits)),
        capacity=0.0,
    )
