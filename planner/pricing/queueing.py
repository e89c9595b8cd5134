"""What a rate of requests does to a plan: the batch that it brings about, and how times scatter
around their means.

Requests come as a Poisson stream. Each takes its place among those in flight, so the batch is the
smallest at which as many requests end as come (Little's law). Percentiles take a prompt's wait for
the prompts before it from a queue with one server, and the time per token from how many happen to
be in flight.
"""

import math
from typing import Self

import numpy as np
from numpy.typing import NDArray

from planner.cost import queueing
from planner.errors import InputError, UnknownNameError
from planner.pricing.deployment import Deployment
from planner.pricing.holdings import largest
from planner.pricing.schedule import Schedule
from planner.pricing.timing import Timing
from planner.records import Record

Floats = NDArray[np.float64]

SCATTERED = ("ttft_s", "tpot_s", "request_s")
"""Fields that have percentiles."""
MOST_LOAD = 0.9
"""Share of the rate at which a plan can serve up to which percentiles are given: compared with
simulation up to there."""
MOST_PROMPT = 0.15
"""Share of the time of a request's later tokens that a prompt may take: beyond, a single prompt
of another is felt."""
MOST_FULL = 0.005
"""Share of the time in which as many are in flight as fit: beyond, requests wait for room, which
nothing here counts."""
FULL = 1.0 - 1e-9
"""Share of the time that prompts may take: at all of it the wait for them has no end."""
ROUNDS = 32
"""Points of a round of decode at which a request may come, for percentiles."""


class Load(Record):
    """A replica under a stream of requests."""

    requests_per_s: float
    most_requests_per_s: float
    """That it can serve, with as many sequences in flight as fit."""
    prompt_s: float
    """Work of one prompt at the busiest stage; of attention data parallel ranks, as if one of
    all their speed did it."""
    queue_s: float
    """Mean wait of a prompt for the prompts before it."""
    round_s: float
    """Of decode passes, one of which a new request finds under way."""
    unloaded_ttft_s: float
    """To the first token where nothing is in the way."""
    later_tokens: int
    sequences: tuple[int, ...]
    """Numbers in flight at which the next two are known, ascending; the last is the most that
    fit."""
    tpots_s: tuple[float, ...]
    """Between later tokens of a request among so many."""
    cycles_s: tuple[float, ...]
    """That a request stays among so many."""

    @property
    def load_fraction(self) -> float:
        """Of what it can serve, what comes."""
        return self.requests_per_s / self.most_requests_per_s

    @property
    def prompt_share(self) -> float:
        """Work of a prompt over the time of a request's later tokens."""
        return self.prompt_s / max(self.later_tokens * self.tpots_s[0], 1e-300)

    @property
    def _scattered(self) -> tuple[str, ...]:
        """Fields with percentiles: of a prefill pool, which makes no later tokens, and of a
        decode pool only its own."""
        if not self.later_tokens:
            return ("ttft_s",)
        return SCATTERED if self.prompt_s else ("tpot_s",)

    def slower(self, factor: float) -> Self:
        """The same stream at a replica whose every time is so many times as long; what waits for
        prompts waits longer still, as in a queue of equal services (Khintchine, Pollaczek)."""
        busy = self.requests_per_s * self.prompt_s
        queue_s = factor**2 * self.queue_s * (1 - busy) / max(1e-9, 1 - factor * busy)
        return self.replace(
            most_requests_per_s=self.most_requests_per_s / factor,
            prompt_s=factor * self.prompt_s,
            queue_s=queue_s,
            round_s=factor * self.round_s,
            unloaded_ttft_s=factor * self.unloaded_ttft_s,
            tpots_s=tuple(factor * one for one in self.tpots_s),
            cycles_s=tuple(factor * one for one in self.cycles_s),
        )

    def percentile(self, field: str, probability: float) -> float:
        """What a request's time stays within, with that probability; see `Score.percentile`. [s]"""
        self._refuse(field, probability)
        among, shares = self._crowds(field)
        tpots = np.interp(among, self.sequences, self.tpots_s)
        if field == "tpot_s":
            return float(tpots[np.searchsorted(np.cumsum(shares), probability)])
        if field == "request_s":
            return self._quantile(self.later_tokens * tpots, shares, probability)
        return self._quantile(np.zeros(1), np.ones(1), probability)

    def _refuse(self, field: str, probability: float) -> None:
        """An InputError where a percentile makes no sense or is not known."""
        if field not in SCATTERED:
            raise UnknownNameError("time with percentiles", field, SCATTERED)
        if not 0 < probability < 1:
            raise InputError(f"probability must lie between 0 and 1, not {probability!r}")
        if self.load_fraction > MOST_LOAD:
            raise InputError(
                f"percentiles are known up to {100 * MOST_LOAD:.0f} % of what a plan can serve, and"
                f" requests_per_s is {100 * self.load_fraction:.1f} % of it; lower the rate or hold"
                " more chips"
            )
        if field not in self._scattered:
            raise InputError(
                f"{field} has no percentiles where the other phase has a pool of its own; ask for"
                f" {self._scattered[0]}"
            )
        if field != "ttft_s" and self.prompt_share > MOST_PROMPT:
            raise InputError(
                f"percentiles of {field} are known where a prompt takes at most"
                f" {100 * MOST_PROMPT:.0f} % of the time of a request's later tokens, and"
                f" prompt_tokens makes it {100 * self.prompt_share:.0f} %; ask for ttft_s"
            )

    def _crowds(self, field: str) -> tuple[Floats, Floats]:
        """How many are in flight while a request is, itself included, ascending, and with which
        probability."""
        most = self.sequences[-1]
        counts = np.arange(1, most + 1, dtype=float)
        shares = queueing.in_flight_fraction(
            np.interp(counts, self.sequences, self.cycles_s), self.requests_per_s
        )
        # And those that wait, of whom each further one is as much less likely.
        full = shares[-1] / (1.0 - self.load_fraction)
        if full > MOST_FULL:
            raise InputError(
                f"percentiles of {field} are known where requests need not wait for room in memory,"
                f" and with requests_per_s = {self.requests_per_s:.4g} a replica is full"
                f" {100 * min(full, 1.0):.1f} % of the time; lower the rate or hold more chips"
            )
        shares = shares[:-1]
        likely = shares > 1e-9 * shares.max()
        return counts[likely], shares[likely] / shares[likely].sum()

    def _quantile(self, later_s: Floats, shares: Floats, probability: float) -> float:
        """Of the first token's time and what comes later, by halving."""
        into_round = self.round_s * (np.arange(ROUNDS) + 0.5) / ROUNDS
        low = self.unloaded_ttft_s
        high = low + self.round_s + float(later_s.max()) + 100 * (self.queue_s + self.prompt_s)
        for _ in range(50):
            middle = (low + high) / 2
            waited = middle - self.unloaded_ttft_s - later_s[:, None] - into_round
            longer = queueing.waits_longer_fraction(waited, self.prompt_s, self.requests_per_s)
            if float(shares @ np.asarray(longer).mean(axis=1)) > 1 - probability:
                low = middle
            else:
                high = middle
        return (low + high) / 2


def batch_of(deployment: Deployment) -> int:
    """Sequences in flight in the whole deployment: what the rate of requests brings about, else
    the workload's, else the plan's, else as many as fit; of a prefill pool a prompt in each
    replica. 0: not even one fits, or the plan cannot keep up with the rate."""
    plan = deployment.plan
    workload = deployment.served.workload
    if workload.requests_per_s is not None:
        if deployment.served.graph.is_diffusion:
            raise InputError(
                "Workload.requests_per_s is for language models; give a diffusion model a"
                " batch_size"
            )
        return busy_sequences(deployment) * plan.replicas
    if workload.phase == "prefill":
        return plan.replicas
    given = workload.batch_size or plan.batch_size
    return given or deployment.most_sequences * plan.replicas


def busy_sequences(deployment: Deployment) -> int:
    """The fewest sequences in each replica, in equal micro-batches, that leave as fast as they
    come: the smallest n with n ≥ rate × the time that one stays among n. 0 where no number that
    fits does.

    That time only grows with n, so the steps from below, n to rate × time, end at the smallest;
    what one replica serves grows with whole rounds over all ranks that share out its sequences, so
    halving finds where to begin.
    """
    plan = deployment.plan
    rate = _rate_of(deployment)
    each = plan.micro_batches
    ranks = math.lcm(*(stage.attention_parallel for stage in plan.stages))
    most = deployment.most_sequences // each

    def needed(parts: int) -> float:
        stays = _timing(deployment, parts * each).cycle_s
        return float(queueing.in_flight_sequences(stays, rate)) / each * (1 - 1e-12)

    def falls_short(rounds: int) -> bool:
        return needed(rounds * ranks) > rounds * ranks

    if most < 1 or rate * _timing(deployment, each).prompt_s > FULL:
        return 0
    if deployment.served.workload.phase == "prefill":
        return 1
    parts = ranks * largest(falls_short, most // ranks) + 1
    while parts <= most and (wanted := needed(parts)) > parts:
        parts = max(parts + 1, math.ceil(wanted))
    return parts * each if parts <= most else 0


def most_requests_per_s(deployment: Deployment) -> float:
    """What the whole deployment can serve, with as many sequences in flight as fit; 0 where not
    even one does."""
    most = deployment.most_sequences
    if most < 1:
        return 0.0
    return deployment.plan.replicas * _most_served_per_s(_timing(deployment, most), most)


def _most_served_per_s(timing: Timing, sequences: int) -> float:
    """By one replica with so many in flight: in a prefill pool a prompt after the other, in a
    decode pool no prompts."""
    prompts = 1.0 / timing.prompt_s if timing.prompt_s else math.inf
    return min(sequences / timing.cycle_s, prompts)


AROUND = (0.5, 0.75, 1.0, 1.35, 2.0)
"""Numbers in flight around the mean at which times are known, as shares of it."""


def load_of(deployment: Deployment, at: Schedule, timing: Timing) -> Load:
    """How the times of a plan scatter where requests come at a rate."""
    most = deployment.most_sequences
    around = (min(most, max(1, round(at.sequences * share))) for share in AROUND)
    sequences = sorted({1, *around, most})
    among = [_timing(deployment, count) for count in sequences]
    return Load(
        requests_per_s=_rate_of(deployment),
        most_requests_per_s=_most_served_per_s(among[-1], most),
        prompt_s=timing.prompt_s,
        queue_s=timing.queue_s,
        round_s=timing.round_s,
        unloaded_ttft_s=timing.ttft_s - timing.queue_s - at.turn_share * timing.round_s,
        later_tokens=at.later_tokens,
        sequences=tuple(sequences),
        tpots_s=tuple(one.tpot_s for one in among),
        cycles_s=tuple(one.cycle_s for one in among),
    )


def _rate_of(deployment: Deployment) -> float:
    """Of each replica: requests are shared out among them by chance."""
    rate = deployment.served.workload.requests_per_s
    assert rate is not None
    return rate / deployment.plan.replicas


def _timing(deployment: Deployment, sequences: int) -> Timing:
    """With so many sequences in each replica."""
    return deployment.timing(deployment.schedule(sequences * deployment.plan.replicas))
