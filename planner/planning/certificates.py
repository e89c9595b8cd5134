"""Certificates: a result written out so that anyone can check it, and the check, which knows
nothing of the solver.

The plan is checked rule by rule and scored again. The bound is proved anew, by one plain recursion
over (layer, chips) in place of labels: in each box of batches, and for each range of the longest
turn (or other largest load), runs that would take longer are left out, and the cheapest way to the
end, on each number of chips, is a bound for all plans of that range. Box and range are cut in two
until each is at least as dear as the bound. What this cannot confirm in time it says. It shares
with the solver the price list and the arrays that `candidates` makes of it, and nothing else.
"""

import math
import re
import time
from dataclasses import replace
from pathlib import Path

from planner import allowance
from planner.answers.certificates import (
    AnyCertificate,
    Certificate,
    ClusterCertificate,
    Likeness,
    Verdict,
)
from planner.answers.proof import AS_GOOD
from planner.answers.question import ASKED, SAMPLE_FIELDS, Question, question_of
from planner.errors import InputError, shortened
from planner.guards import guarded
from planner.machines.topology import Topology
from planner.planning.again import NOT_AGAIN, Again, check_statable, proved_again
from planner.planning.box_proof import CLOSE, Proof, posed_in_a_row
from planner.planning.cutting_off import cut_off
from planner.planning.engine_proof import EngineProof
from planner.planning.likeness import likenesses_of, likenesses_on_pools
from planner.planning.pooled_proof import shown_on_pools
from planner.planning.rate_proof import RateProof
from planner.planning.sampling_proof import best_sample_value
from planner.pricing.loads import PERCENTILES
from planner.readers.files import read_text
from planner.scoring.checking import Violation, check_plan
from planner.scoring.clusters import check_pooled_plan, score_pooled_plan
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.solver.chain.problem import ChainProblem
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterCandidates
from planner.units import PositiveBytes

ON_A_CLUSTER = re.compile(r'"cluster"\s*:')
"""In the text of a certificate, whether it is about one."""
OF_A_QUESTION = re.compile(r'"graph"\s*:')
"""In the text of a certificate; a plan alone has none."""
OF_A_PLAN = re.compile(r'"stages"\s*:')


@guarded
@allowance.allowing
def verify(
    certificate: AnyCertificate | str | Path,
    *,
    time_limit_s: float | None = 60.0,
    memory_limit_bytes: PositiveBytes | None = None,
    again: bool = False,
) -> Verdict:
    """Check a certificate, or the one in a file, without the solver; `again` lets OR-Tools CP-SAT prove its bound too, in
    as much time (see `planning.again`).

    An InputError in one sentence says what is false: a rule that the plan breaks, a limit that it
    misses, an objective that is not its score, a bound that the plan itself beats or that its
    status contradicts. A bound that is not refuted but cannot be confirmed (in time, or by this
    method) is told as such: `confirmed` is False and `checked` says how far.
    """
    started = time.monotonic()
    certificate = _read(certificate)
    question = _question(certificate)
    with allowance.freely():
        score = _check_answer(certificate)
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    if again and isinstance(certificate, ClusterCertificate):
        raise InputError("CP-SAT is told no questions about clusters; verify it without --again")
    if again and isinstance(certificate, Certificate):
        check_statable(certificate)
    checked, boxes = _checked_in_time(certificate, question, score, deadline)
    confirmed = checked is not None and not _better(certificate, checked, certificate.bound)
    is_late = not confirmed and (allowance.is_up() or time.monotonic() >= deadline)
    second = NOT_AGAIN
    if again and isinstance(certificate, Certificate):
        second = _again(certificate, question, score, time_limit_s)
    if second.value is not None and _better(certificate, second.value, certificate.bound):
        raise InputError(
            f"Certificate.bound is {certificate.bound:.9g}, and OR-Tools CP-SAT found a plan that is"
            f" better: {second.value:.9g}"
        )
    is_as_good = second.bound is not None and not _better(
        certificate, second.bound, certificate.bound
    )
    return Verdict(
        again_bound=second.bound,
        again_confirmed=is_as_good,
        again_rows=second.rows,
        field=certificate.field,
        objective=certificate.objective,
        bound=certificate.bound,
        checked_bound=certificate.bound if confirmed else checked,
        confirmed=confirmed,
        boxes=boxes,
        is_late=is_late,
        asked=_asked(certificate),
        likenesses=_likenesses(certificate),
        space=certificate.space,
        elapsed_s=time.monotonic() - started,
    )


def _checked_in_time(
    certificate: AnyCertificate, question: Question, score: Score, deadline: float
) -> tuple[float | None, int]:
    """What is proved anew until the time is up; nothing where that came too early."""
    found: list[tuple[float | None, int]] = []

    def check() -> None:
        if isinstance(certificate, ClusterCertificate):
            found.append(_checked_on_pools(certificate, question, deadline))
        else:
            found.append(_checked_bound(certificate, question, score, deadline))

    cut_off(check, deadline)
    return found[0] if found else (None, 0)


def _again(
    certificate: Certificate, question: Question, score: Score, time_limit_s: float | None
) -> Again:
    """The same by CP-SAT, which has as much time of its own."""
    found: list[Again] = []
    with allowance.apart(time_limit_s):
        cut_off(
            lambda: found.append(proved_again(certificate, question, score, time_limit_s)), math.inf
        )
    return found[0] if found else NOT_AGAIN


def _read(given: AnyCertificate | str | Path) -> AnyCertificate:
    if isinstance(given, Certificate | ClusterCertificate):
        return given
    text = read_text(Path(given), "a certificate")
    try:
        return certificate_from(text)
    except InputError as error:
        raise InputError(f"{given}: {error}") from None


def certificate_from(text: str) -> AnyCertificate:
    """The certificate in a text: of a plan on one machine, or on a cluster."""
    if OF_A_PLAN.search(text) and not OF_A_QUESTION.search(text):
        raise InputError(
            "this is a plan, and verify needs a certificate, as --certificate of `planner plan` or"
            " Result.certificate() writes it"
        )
    if ON_A_CLUSTER.search(text):
        return ClusterCertificate.from_json(text, whole="the certificate")
    return Certificate.from_json(text, whole="the certificate")


def _likenesses(certificate: AnyCertificate) -> tuple[Likeness, ...]:
    graph, workload = certificate.graph, certificate.workload
    if isinstance(certificate, ClusterCertificate):
        return likenesses_on_pools(graph, certificate.cluster, workload)
    return likenesses_of(graph, certificate.topology, workload)


def _asked(certificate: AnyCertificate) -> str:
    """The question that the bound is an answer to, in a line."""
    at = certificate
    limits = [f"{name} {_at_most(name, at)} {value:.6g}" for name, value in at.limits]
    sure = [] if at.sure is None else [f"kept with a probability of {at.sure:g}"]
    load = at.workload.model_dump(mode="json", exclude={"speculation"}, exclude_defaults=True)
    served = ", ".join(f"{name} {value}" for name, value in load.items())
    chosen = at.micro_batches if isinstance(at, Certificate) else None
    cut = [] if chosen is None else [f"{chosen} micro-batches"]
    parts = [
        f"{at.direction} {at.field} of {shortened(at.graph.name)}",
        f"on {_machine(at)}",
        f"for {served or 'one request'}",
        *limits,
        *sure,
        *cut,
        f"space {at.space}",
    ]
    return "; ".join(parts)


def _machine(certificate: AnyCertificate) -> str:
    """What it is about, in words."""
    if isinstance(certificate, ClusterCertificate):
        pools = [f"{one.name}: {_counted(one.topology)}" for one in certificate.cluster.pools]
        return f"{shortened(certificate.cluster.name)} ({'; '.join(pools)})"
    return _counted(certificate.topology)


def _counted(topology: Topology) -> str:
    return f"{topology.chips} x {shortened(topology.name)} ({shortened(topology.software.name)})"


def _at_most(name: str, certificate: AnyCertificate) -> str:
    fields = SAMPLE_FIELDS if certificate.graph.is_diffusion else ASKED
    return "at most" if fields[name].best == "least" else "at least"


def _checked_bound(
    certificate: Certificate, question: Question, score: Score, deadline: float
) -> tuple[float | None, int]:
    """A bound on the field that is proved anew, as far as that is possible, and the boxes that
    were looked at; where some sequences wait, also that no plan has more of them in flight."""
    graph, topology, workload = certificate.graph, certificate.topology, certificate.workload
    if any(stage.offloaded for stage in certificate.plan.stages):
        return None, 0  # plans with layers elsewhere are scored one by one: there is no bound
    if graph.is_diffusion:
        return best_sample_value(certificate, deadline), 1
    boxes = 0
    if score.batch_size < (workload.batch_size or 0):
        workload = workload.seated(score.batch_size)
        more = workload.replace(batch_size=workload.next_batch, queued=0)
        asked = replace(question, objective="chips", limits=())
        # Every plan has fewer chips than this claim, so that it stands where there is no plan.
        claim = 2.0 * topology.chips
        room = _proof(Candidates(graph, topology, more, asked), claim)
        if room.least(deadline) < claim:
            return None, room.boxes
        boxes = room.boxes
    candidates = Candidates(graph, topology, workload, question)
    scattered = certificate.field in PERCENTILES and workload.is_stream
    if scattered or (question.scatters and not candidates.of_engine):
        # No bound of a box tells how times scatter under a stream; nor, where any plan is allowed,
        # under clients.
        return None, boxes
    proof = _proof(candidates, candidates.canonical(certificate.field, certificate.bound))
    if candidates.averages:
        # An average does not grow with what it is over, as the recursion needs it.
        return None, boxes
    reached = proof.least(deadline)
    boxes += proof.boxes
    if reached <= 0:
        return None, boxes
    return candidates.field_value(certificate.field, reached), boxes


def _checked_on_pools(
    certificate: ClusterCertificate, question: Question, deadline: float
) -> tuple[float | None, int]:
    """The same of a plan on a cluster."""
    at = certificate
    candidates = ClusterCandidates(at.graph, at.cluster, at.workload, question)
    return shown_on_pools(candidates, at.field, at.bound, deadline)


def _proof(
    candidates: Candidates, claim: float
) -> "EngineProof | RateProof | Proof[Box, ChainProblem]":
    if candidates.opens_rate:
        return RateProof(candidates, claim)
    alike = candidates.of_engine or candidates.question.scatters
    if alike:
        return EngineProof(candidates, claim)
    return Proof(candidates, claim, posed_in_a_row)


def _better(certificate: AnyCertificate, one: float, other: float) -> bool:
    """Whether a value of the field is better than another, by more than rounding."""
    sign = 1 if certificate.direction == "minimize" else -1
    return sign * (one - other) < -CLOSE * abs(other)


def _question(certificate: AnyCertificate) -> Question:
    wanted = {certificate.direction: certificate.field}
    asked = question_of(
        wanted.get("minimize"),
        wanted.get("maximize"),
        dict(certificate.limits),
        certificate.power_scope,
        diffusion=certificate.graph.is_diffusion,
        space=certificate.space,
        sure=certificate.sure,
    )
    if isinstance(certificate, ClusterCertificate):
        return asked
    return replace(
        asked,
        sequence_parallel=certificate.sequence_parallel,
        micro_batches=certificate.micro_batches,
    )


def _check_answer(certificate: AnyCertificate) -> Score:
    """Everything that needs no search; the score of the plan."""
    at = certificate
    broken = _broken(at)
    if broken:
        raise InputError(f"Certificate.plan breaks a rule: {broken[0].message}")
    score = _score(at)
    if isinstance(at, Certificate):
        _check_micro_batches(at, score)
    reached = getattr(score, at.field)
    if reached is None or not math.isclose(reached, at.objective, rel_tol=CLOSE):
        raise InputError(
            f"Certificate.objective is {at.objective:.9g}, but {at.field} of its plan is {reached}"
        )
    _check_limits(at, score)
    if _better(at, at.objective, at.bound):
        raise InputError(
            f"Certificate.bound is {at.bound:.9g}, and its own plan is better: {at.objective:.9g}"
        )
    within = AS_GOOD if at.space == "engine" else CLOSE
    if at.status == "optimal" and not math.isclose(at.objective, at.bound, rel_tol=within):
        raise InputError(
            f"Certificate.status is optimal, but objective {at.objective:.9g}"
            f" and bound {at.bound:.9g} differ"
        )
    return score


def _check_micro_batches(at: Certificate, score: Score) -> None:
    """That the plan has those that every plan was to have; of a given batch no more than
    sequences."""
    if at.micro_batches is None:
        return
    sequences = math.ceil(score.batch_size / at.plan.replicas)
    wanted = at.micro_batches
    if at.workload.batch_size is not None:
        wanted = min(wanted, sequences)
    if min(at.plan.micro_batches, sequences) != wanted:
        raise InputError(
            f"Certificate.plan has {at.plan.micro_batches} micro-batches of {sequences} sequences,"
            f" and Certificate.micro_batches is {at.micro_batches}"
        )


def _broken(at: AnyCertificate) -> tuple[Violation, ...]:
    """The rules that the plan breaks."""
    if isinstance(at, ClusterCertificate):
        return check_pooled_plan(at.plan, at.graph, at.cluster, at.workload, space=at.space)
    return check_plan(at.plan, at.graph, at.topology, at.workload, space=at.space)


def _score(at: AnyCertificate) -> Score:
    """The price of the plan."""
    scope = at.power_scope
    if isinstance(at, ClusterCertificate):
        return score_pooled_plan(at.plan, at.graph, at.cluster, at.workload, power_scope=scope)
    return score_plan(at.plan, at.graph, at.topology, at.workload, power_scope=scope)


def _check_limits(certificate: AnyCertificate, score: Score) -> None:
    fields = SAMPLE_FIELDS if certificate.graph.is_diffusion else ASKED
    sure = certificate.sure
    for name, value in certificate.limits:
        if name in PERCENTILES and score.stays_within(name, value * (1 + CLOSE), sure):
            continue
        kept = getattr(score, name) if sure is None else score.sure(name, sure)
        sign = 1 if fields[name].best == "least" else -1
        if kept is None or sign * (kept - value) > CLOSE * abs(value):
            raise InputError(
                f"Certificate.plan misses its limit: {name} is {kept}, allowed {value:.9g}"
            )
