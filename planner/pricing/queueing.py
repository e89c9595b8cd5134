"""What a rate of requests does to a plan: the batch that it brings about, and how times scatter
around their means.

Requests come as a Poisson stream. Each takes its place among those in flight, so the batch is the
smallest at which as many requests end as come (Little's law). How their times scatter is `Load`'s
to say.
"""

import math

from planner.cost import queueing
from planner.errors import InputError
from planner.pricing.deployment import Deployment
from planner.pricing.engines import in_flight
from planner.pricing.holdings import largest
from planner.pricing.loads import SCATTERED, Load, Loop, Spread, rungs
from planner.pricing.schedule import Schedule, burst_shares
from planner.pricing.timing import Timing

FULL = 1.0 - 1e-9
"""Share of the time that prompts may take: at all of it the wait for them has no end."""


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


def load_of(deployment: Deployment) -> Load:
    """How the times of a plan scatter where requests come at a rate. InfeasibleError: not even one
    fits."""
    most = deployment.most_sequences
    sequences = rungs(most, deployment.most_taken)
    each = [_with_in_flight(deployment, count) for count in sequences]
    schedules = [
        one.schedule(count * one.plan.replicas) for one, count in zip(each, sequences, strict=True)
    ]
    among = [one.timing(at) for one, at in zip(each, schedules, strict=True)]
    first, last = among[0], among[-1]
    at = schedules[0]
    ranks = max(stage.attention_parallel for stage in deployment.plan.stages)
    return Load(
        requests_per_s=_rate_of(deployment),
        most=most,
        prompt_s=first.prompt_s,
        first_s=first.ttft_s - first.queue_s - schedules[0].waiting_share * first.round_s,
        packs=at.packs,
        packed_s=first.added_s,
        ranks=1 if at.software.balances_prompts else ranks,
        interruption_share=at.software.interruption_share,
        handed_rounds=last_handed(schedules[-1]),
        turn_share=at.turn_share,
        felt_s=felt_s(at, float(last.prefill.busy_s.max()), ranks),
        later_tokens=at.later_tokens,
        rounds=at.rounds,
        sequences=sequences,
        rounds_s=tuple(one.round_s for one in among),
        tpots_s=tuple(one.tpot_s for one in among),
        cycles_s=tuple(one.cycle_s for one in among),
        full_cycle_s=_full_cycle_s(deployment, most),
    )


def _full_cycle_s(deployment: Deployment, most: int) -> float:
    """That a request stays where every place is taken, for each of `most` that are said to be: all
    micro-batches are alike (see `busy_sequences`), so a few places may stay empty. [s]"""
    each = deployment.plan.micro_batches
    taken = most // each * each
    if not taken:
        return math.inf
    return _timing(deployment, taken).cycle_s * most / taken


def _with_in_flight(deployment: Deployment, sequences: int) -> Deployment:
    """The same plan with as many micro-batches as its engine keeps of so many sequences."""
    plan = deployment.plan
    kept = in_flight(deployment.served.software.engine, len(plan.stages), sequences)
    if kept is None or kept == min(plan.micro_batches, sequences):
        return deployment
    return deployment.cut_into(kept)


def loop_of(at: Schedule, timing: Timing) -> Loop:
    """How the times of a plan scatter around their means under a number of clients."""
    low, high = burst_shares(at.burst_share)
    turn = (0.0, 2.0 * at.turn_share * timing.round_s)
    before = (low * timing.others_s, high * timing.others_s)
    waited_s = at.turn_share * timing.round_s + at.burst_share * timing.others_s

    # Prompts that do not stand before a request come between its later tokens, or after them.
    held_up_s = max(0.0, at.later_tokens * timing.tpot_s - at.rounds * timing.round_s)
    each_s = held_up_s / max(1e-12, 1.0 - at.burst_share)
    meanwhile = ((1.0 - low) * each_s, (1.0 - high) * each_s)
    both = (before[0] + meanwhile[0], before[1] + meanwhile[1])
    tokens = max(1, at.later_tokens)
    phases = {"both": SCATTERED, "prefill": ("ttft_s",), "decode": ("tpot_s",)}
    return Loop(
        ttft_s=Spread.of(timing.ttft_s - waited_s, turn, before),
        tpot_s=Spread.of(
            timing.tpot_s - held_up_s / tokens, (meanwhile[0] / tokens, meanwhile[1] / tokens)
        ),
        request_s=Spread.of(timing.request_s - waited_s - held_up_s, turn, both),
        scattered=phases[at.workload.phase],
    )


def last_handed(at: Schedule) -> float:
    """Rounds of decode passes that a first token waits for beside its turn, where others are in
    flight."""
    return at.waiting_share - at.turn_share


def felt_s(at: Schedule, pass_s: float, ranks: int) -> float:
    """What one more prompt holds up the later tokens of a request at least: its work at the busiest
    stage, `pass_s` for each pass of it, shared out over ranks, and with the prompts that are packed
    into one pass. [s]"""
    return at.software.interruption_share * at.prefill_passes * pass_s / (at.packs * ranks)


def _rate_of(deployment: Deployment) -> float:
    """Of each replica: requests are shared out among them by chance."""
    rate = deployment.served.workload.requests_per_s
    assert rate is not None
    return rate / deployment.plan.replicas


def _timing(deployment: Deployment, sequences: int) -> Timing:
    """With so many sequences in each replica."""
    return deployment.timing(deployment.schedule(sequences * deployment.plan.replicas))
