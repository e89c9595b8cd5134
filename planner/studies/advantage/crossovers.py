"""Where one machine's advantage over another ends as models grow, under the agreed terms of a
comparison.

Far from the root both machines have their best uniform plans, of which a grid prices all at once;
at the root the best of all plans is proved, and where proof takes too long the answer says how far
it is from it.
"""

from typing import Unpack, get_args

from planner.answers.question import FIELDS
from planner.errors import InputError, UnknownNameError
from planner.guards import guarded
from planner.machines.topology import Topology
from planner.studies.advantage.agreements import agreement_of
from planner.studies.advantage.crossings import Crossover
from planner.studies.advantage.family import Family
from planner.studies.advantage.races import Race
from planner.studies.advantage.roots import bisected, bracket_near, bracket_of
from planner.studies.advantage.terms import Terms, TermsAsked
from planner.studies.study import uncounted_machine_of
from planner.workload import Workload

ONE_AT_A_TIME = Terms(weight_dtype="bf16", formats="stored", most_users=1)
"""Unless asked otherwise: 16 bit on all, one request of 1,024 + 256 tokens, no drafts."""
PROOF_S = 1.0
"""How long the proof of one plan at the root may take, unless asked otherwise."""


@guarded
def crossover(
    first: str | Topology,
    second: str | Topology,
    *,
    metric: str = "energy_per_token_j",
    workload: Workload | None = None,
    family: Family = "dense",
    proof_time_s: float | None = PROOF_S,
    terms: Terms | None = None,
    **asked: Unpack[TermsAsked],
) -> Crossover:
    """The number of parameters at which two machines, each with its best plan, cost the same for
    one token.

    `first` and `second` are names of the catalogue or topologies; `family` is "dense" or "moe"
    (experts). `terms` are those of the comparison, by default `ONE_AT_A_TIME`; `asked` are fields
    of `Terms`, in place of those. `most_users` 1 is one request in flight, None as many as are best
    on the largest version of each machine; a `workload` says exactly how many, and its lengths and
    drafts stand for terms that nobody gave. `Crossover.compared_under` says what was agreed.
    InputError: terms that do not go together, or that this metric cannot keep.

    Sizes from 8 B to 1.9 T are scanned, a little more than a doubling apart, for the first change
    of sign, where the root is then found; around it figures are moved one at a time, and both
    breakdowns are compared.

    Energy and price of a token are scanned among uniform plans, and the root is found again among
    the best of all plans of each machine whose plan at the root is proved in `proof_time_s`;
    `Crossover.proofs` says how far any other is from a proof. None: every plan is proved, however
    long that takes. Pools, a rate of requests, hours that wait, and a number of users that is open
    up to a limit, are no question to the solver: uniform plans stand there alone, and say so.
    """
    if metric not in FIELDS:
        raise UnknownNameError("field to compare", metric, FIELDS)
    if family not in get_args(Family):
        raise UnknownNameError("family of models", family, get_args(Family))
    agreed = agreement_of(metric, family, ONE_AT_A_TIME, terms, asked, workload)
    rivals = [uncounted_machine_of(one) for one in (first, second)]
    if rivals[0] == rivals[1]:
        raise InputError(
            f"{rivals[0].name} is given twice, and a machine does not cross itself; name another"
        )
    machines = agreed.machines(rivals)
    race = Race(list(machines), agreed, proof_time_s)
    bracket = bracket_of(race.advantage)
    if bracket is None:
        return race.outcome(None, None)
    root = bisected(race.advantage, *bracket)
    if race.prove(root):
        # The best of all plans may be better than the uniform ones that led here.
        bracket = bracket_near(race.advantage, bracket)
        if bracket is None:
            return race.outcome(None, None)
        root = bisected(race.advantage, *bracket)
    found = race.outcome(root, bracket[1])
    return found.replace(proofs=race.proofs(root), **race.explained(root, bracket))
