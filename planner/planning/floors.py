"""What no plan is better than, soon told: from one replica by itself, relaxed.

A replica of any plan has some number of sequences in flight, and what it costs is no less than what
it would with the best of all numbers for each part of the cost: latencies with one sequence, what is
paid for a token with as many as fit. One problem of one replica holds all of these, however many
forms, replicas and batches there are, so its relaxation is a bound of all plans. It knows neither
limits nor queues, both of which only make plans worse.
"""

import math
from dataclasses import replace

from planner.answers.question import PER_TOKEN, TOTALS
from planner.pricing.engines import split_fault
from planner.pricing.loads import PERCENTILES
from planner.pricing.price_list import Split
from planner.solver.chain import thresholds
from planner.space.candidates import Candidates
from planner.workload import Workload

LATENCIES = ("ttft_s", "tpot_s", "request_s", "tokens_per_s_per_user")
"""Fields that one sequence alone has at their best."""
EACH = "tokens_per_s_per_chip"
LESS = 1 - 1e-9
"""Part of a bound that is claimed, so that rounding never proves a plan by itself."""


def floor_of(candidates: Candidates) -> float:
    """Canonical value of the objective that no plan is below; 0 where nothing is known."""
    field = _told_by(candidates)
    if field is None:
        return 0.0
    if candidates.workload.is_stream and field in ("ttft_s", "request_s"):
        least = _of_stream(candidates, field)
    else:
        least = _of_replica(candidates, field, candidates.workload)
    # That there is no plan at all is for the search to prove.
    return LESS * _of_all(candidates, field, least) if math.isfinite(least) else 0.0


def _told_by(candidates: Candidates) -> str | None:
    """The field of one replica that tells the objective; None where none does."""
    asked = candidates.question.objective
    if asked in PERCENTILES:
        asked = PERCENTILES[asked].field
    if asked in LATENCIES:
        return asked
    if asked in TOTALS:
        return EACH
    if _counts_chips(candidates):
        is_filled = candidates.basis.is_filled(asked)
        return EACH if _wanted_tokens_per_s(candidates) and not is_filled else None
    return asked if asked in PER_TOKEN else None


def _counts_chips(candidates: Candidates) -> bool:
    """Whether the objective follows from the number of chips alone."""
    asked = candidates.question.objective
    per_token = asked in PER_TOKEN and candidates.opens_rate
    return asked in candidates.basis.per_chip() and not per_token and not candidates.averages


def _wanted_tokens_per_s(candidates: Candidates) -> float:
    """That all replicas together have to give at least."""
    limits = dict(candidates.limits)
    output_tokens = candidates.workload.output_tokens
    requests = limits.get("requests_per_s", 0.0) * output_tokens
    tokens: float = limits.get("tokens_per_s", 0.0)
    return max(tokens, requests)


def _of_stream(candidates: Candidates, field: str) -> float:
    """How long a first token or a request takes at least where others come when they like: nobody
    may be there whose round would be waited for, as where only prompts are met."""
    work = candidates.workload
    first_s = _of_replica(candidates, "ttft_s", work.replace(output_tokens=1))
    if field == "ttft_s":
        return first_s
    return first_s + (work.output_tokens - 1) * _of_replica(candidates, "tpot_s", work)


def _of_replica(candidates: Candidates, field: str, work: Workload) -> float:
    """Canonical value of a field that no replica is below, whatever it has in flight of a
    workload."""
    arrivals = "together" if work.arrivals == "together" else "steady"
    single = work.replace(batch_size=None, queued=0, requests_per_s=None, arrivals=arrivals)
    question = replace(candidates.question, objective=field, limits=(), sure=None)
    served = candidates.served.under(single)
    alone = Candidates(candidates.graph, candidates.topology, single, question, served=served)
    alone.offer(tuple(one for one in candidates.splits if may_stand(candidates, one)))
    if not alone.splits:
        return 0.0
    box = alone.open_box(1)
    if work.batch_size is not None:
        most_micro_batches = min(box.micro_batches[1], work.batch_size)
        most_sequences = min(box.micro_sequences[1], work.batch_size)
        box = box._replace(
            micro_batches=(1, most_micro_batches), micro_sequences=(1, most_sequences)
        )
    # How many sequences its chips hold is left out, which takes long and seldom counts.
    problem = alone.to_problem(box)
    return 0.0 if problem is None else thresholds.root_bound(problem)


def _of_all(candidates: Candidates, field: str, least: float) -> float:
    """Canonical value of the objective, from that of one replica."""
    asked = candidates.question.objective
    if field != EACH or (asked == EACH and not _counts_chips(candidates)):
        return least
    if asked in TOTALS:
        each = least / (candidates.topology.chips - len(candidates.exclude))
        return each * candidates.workload.output_tokens if asked == "requests_per_s" else each
    chips = math.ceil(LESS * least * _wanted_tokens_per_s(candidates))
    return candidates.basis.per_chip()[asked] * max(1, chips)


def may_stand(candidates: Candidates, split: Split) -> bool:
    """Whether some stage of a plan may be split so."""
    rules = not candidates.of_engine
    return rules or split_fault(candidates.graph, candidates.topology.software, split, 1) is None
