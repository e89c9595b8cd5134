"""Plans as lines and tables, and from which plans an answer was chosen."""

import itertools
import math
from collections.abc import Iterable, Sequence

from planner.answers.results import Result
from planner.errors import listed
from planner.machines.cluster import PooledStage
from planner.machines.engine import Space
from planner.machines.software import Software
from planner.machines.tiers import STREAMED_TOKENS, tier_of
from planner.machines.topology import Topology
from planner.plan import Plan, Stage
from planner.report.words import field_text
from planner.units import trimmed

MOST_ROWS = 24
"""Stages up to which each has a row of its own, and rows of a table in any case."""
MOST_TERMS = 8
"""Stages of a cut up to which each has a number of its own, and numbers in any case."""
MOST_REPLICAS = 6
"""Replicas up to which the chips of each are told."""
LEAST_COST = 5e-6
"""Relative: limits that cost less are said to cost nothing."""

DEGREES = {
    "TP": "tensor_parallel",
    "EP": "expert_parallel",
    "attention DP": "attention_parallel",
    "SP": "sequence_parallel",
}
"""Degrees of a stage by their heads; SP, context or sequence parallel, has a column where it is not
1 everywhere."""


# ── One line ─────────────────────────────────────────────────────────────────────────────────────


def plan_line(plan: Plan) -> str:
    """ "4 × (TP2 × PP2, EP8, 33+30)": replicas, degrees, the cut; 'one chip'."""
    each = _replica_line(plan)
    away = sum(len(stage.offloaded) for stage in plan.stages)
    if away:
        each += f", {away} layer{'s' * (away > 1)} off the chips"
    if plan.replicas == 1:
        return each
    return f"{plan.replicas} × ({each})"


def _replica_line(plan: Plan) -> str:
    degrees = list(dict.fromkeys(map(_degrees_line, plan.stages)))
    split = listed(one or "one chip" for one in degrees)
    stages = len(plan.stages)
    if stages == 1:
        return split
    cut = cut_text(plan, "+")
    if len(degrees) > 1:
        return f"PP{stages} of {split}, {cut}"
    product, _, experts = degrees[0].partition(", ")
    parts = [" × ".join(part for part in (product, f"PP{stages}") if part), experts, cut]
    return ", ".join(part for part in parts if part)


def _degrees_line(stage: Stage) -> str:
    """ "TP2 × DP4, EP8"; empty where everything is 1."""
    ways = {
        "TP": stage.tensor_parallel,
        "SP": stage.sequence_parallel,
        "DP": stage.attention_parallel,
    }
    product = " × ".join(f"{name}{degree}" for name, degree in ways.items() if degree > 1)
    if stage.expert_parallel == 1:
        return product
    return f"{product}, EP{stage.expert_parallel}"


def cut_text(plan: Plan, plus: str = " + ") -> str:
    """Layers of each stage: "33 + 30"; of many stages like neighbours together: "3 + 60 × 1 + 2",
    for sixty stages of one layer each."""
    counts = [len(stage.layers) for stage in plan.stages]
    if len(counts) <= MOST_TERMS:
        return plus.join(map(str, counts))
    times = "×" if plus == "+" else " × "
    terms = []
    for count, run in itertools.groupby(counts):
        often = len(list(run))
        terms.append(f"{often}{times}{count}" if often > 1 else str(count))
    return plus.join(_shortened(terms, MOST_TERMS))


def _shortened(terms: Sequence[str], most: int) -> list[str]:
    """The first and the last of many."""
    if len(terms) <= most:
        return list(terms)
    return [*terms[: most - 2], "…", terms[-1]]


def offload_lines(plan: Plan, topology: Topology) -> list[str]:
    """Where layers lie that the chips have no room for, and who computes them."""
    away = sum(len(stage.offloaded) for stage in plan.stages)
    if not away:
        return []
    tier = tier_of(topology)
    layers = sum(len(stage.layers) for stage in plan.stages)
    name = topology.chip.memory[0].name
    how = "which the chips read there"
    if tier.host is not None:
        how = f"whose processor computes them in passes of fewer than {STREAMED_TOKENS} tokens"
    return [
        f"{away} of {layers} layers are kept in the memory of {tier.name}, {how}: not all of them"
        f" fit in the {name} of the chips"
    ]


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────


def plan_header(plan: Plan) -> tuple[str, ...]:
    """Of the row of a whole plan."""
    tensor, *others = _degrees_shown(plan)
    return (
        "replicas",
        tensor,
        "PP",
        *others,
        "micro-batches",
        "layers of each stage",
        "chips used",
    )


def plan_row(plan: Plan, there: int | None = None) -> tuple[str, ...]:
    """What a plan is in all its stages; `there`: chips that there are to be used."""
    tensor, *others = [_degree_text(plan, DEGREES[head]) for head in _degrees_shown(plan)]
    return (
        str(plan.replicas),
        tensor,
        str(len(plan.stages)),
        *others,
        str(plan.micro_batches),
        cut_text(plan),
        _used_text(plan, there),
    )


def _degree_text(plan: Plan, name: str) -> str:
    """ "8", or "4 and 8" of stages that are split unlike."""
    degrees = dict.fromkeys(getattr(stage, name) for stage in plan.stages)
    return listed(_shortened([str(degree) for degree in degrees], MOST_TERMS))


def _used_text(plan: Plan, there: int | None) -> str:
    """ "16 of 16 (8 in each replica)"."""
    used = f"{plan.chips:,}" if there is None else f"{plan.chips:,} of {there:,}"
    if plan.replicas == 1:
        return used
    return f"{used} ({plan.chips // plan.replicas:,} in each replica)"


def has_stage_rows(plan: Plan) -> bool:
    """Whether a table of stages says more than the row of the whole plan does: which chips run
    which layers, where there is more than one group or it does not begin at the first chip."""
    stage = plan.stages[0]
    is_all = len(plan.stages) == plan.replicas == 1 and stage.groups[0].first == 0
    return not is_all or _is_pooled(plan)


def stages_header(plan: Plan) -> tuple[str, ...]:
    """Of the table of stages: degrees, and the chips in each replica."""
    chips = "chips" if plan.replicas == 1 else "chips, replica by replica"
    pool = ["pool"] if _is_pooled(plan) else []
    return ("stage", *pool, "layers", *_degrees_shown(plan), chips)


def stages_rows(plan: Plan) -> list[tuple[str, ...]]:
    """A row for each stage; of many, one for each run of like neighbours."""
    together = len(plan.stages) > MOST_ROWS
    rows = [_run_row(plan, run) for run in _runs(plan.stages, together=together)]
    if len(rows) <= MOST_ROWS:
        return rows
    half = MOST_ROWS // 2
    blank = [""] * (len(rows[0]) - 2)
    between = ("…", f"{len(rows) - 2 * half} more rows", *blank)
    return [*rows[:half], between, *rows[-half:]]


def _is_pooled(plan: Plan) -> bool:
    return isinstance(plan.stages[0], PooledStage)


def _degrees_shown(plan: Plan) -> list[str]:
    shares_tokens = any(stage.sequence_parallel > 1 for stage in plan.stages)
    return [head for head in DEGREES if head != "SP" or shares_tokens]


def _runs(stages: Sequence[Stage], *, together: bool) -> list[list[int]]:
    """Numbers of the stages that share a row."""
    runs: list[list[int]] = []
    for number, stage in enumerate(stages):
        if together and runs and _continues(stages[runs[-1][-1]], stage):
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _continues(one: Stage, other: Stage) -> bool:
    """Whether a stage is like the one before it, and stands right behind it in every replica."""
    kept = ("tensor_parallel", "expert_parallel", "sequence_parallel", "group_chips", "pool")
    if any(getattr(one, name, None) != getattr(other, name, None) for name in kept):
        return False
    if len(one.layers) != len(other.layers):
        return False
    pairs = zip(one.groups, other.groups, strict=True)
    return all(before.last + 1 == after.first for before, after in pairs)


def _run_row(plan: Plan, run: Sequence[int]) -> tuple[str, ...]:
    first, last = plan.stages[run[0]], plan.stages[run[-1]]
    each = f" each of {len(run)}" if len(run) > 1 else ""
    names = from_to(first.layers[0], last.layers[-1], "…")
    degrees = [str(getattr(first, DEGREES[head])) for head in _degrees_shown(plan)]
    pool = [first.pool] if isinstance(first, PooledStage) else []
    return (
        from_to(str(run[0]), str(run[-1])),
        *pool,
        f"{len(first.layers)}{each} ({names})",
        *degrees,
        _chips_text(first, last),
    )


def from_to(first: str, last: str, between: str = "-") -> str:
    """ "3" or "3-5"."""
    return first if first == last else f"{first}{between}{last}"


def _chips_text(first: Stage, last: Stage) -> str:
    """The chips of a run of stages in each replica."""
    pairs = zip(first.groups, last.groups, strict=True)
    chips = [from_to(str(start.first), str(end.last)) for start, end in pairs]
    return ", ".join(_shortened(chips, MOST_REPLICAS))


# ── Which plans there were ───────────────────────────────────────────────────────────────────────


def space_line(space: Space, softwares: Iterable[Software], *, alike: bool = False) -> str:
    """From which plans the answer was chosen: "plans that tensorrt-llm 1.2 can be started with";
    `alike`: where no rules are known, of those whose stages are split alike."""
    every = list({software.name: software for software in softwares}.values())
    if space == "any":
        return "any plan"
    known = [software for software in every if software.engine.is_known]
    unknown = [_owner(software.name) for software in every if not software.engine.is_known]
    parts = []
    if known:
        parts.append(f"plans that {listed(map(versioned, known))} can run")
    if unknown:
        which = " whose stages are split alike" if alike else ""
        parts.append(f"any plan{which}, since the rules of {listed(unknown)} engine are not known")
    return "; ".join(parts)


def versioned(software: Software) -> str:
    """ "tensorrt-llm 1.2": with the version whose rules are known."""
    return f"{software.name} {software.engine.version}".rstrip()


def _owner(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def engine_cost_lines(result: Result) -> list[str]:
    """Where any plan was allowed: what the limits of the software's engine cost, as far as that
    is proved."""
    reached = result.engine_objective
    if reached is None:
        return []
    software = result.topology.software.name
    started = f"the best plan that {software} can run has {field_text(result.field, reached)}"
    found = field_text(result.field, result.objective)
    cost = _cost_text(result, reached, result.objective)
    if result.status == "optimal":
        return [
            f"{started}; the best of all plans has {found} (proved), so the limits of {software}"
            f" cost {cost}"
        ]
    bound = field_text(result.field, result.bound)
    most = _cost_text(result, reached, result.bound)
    return [
        f"{started}; of all plans, the best found has {found} and none is better than {bound}, so"
        f" the limits of {software} cost at least {cost} and at most {most}"
    ]


def _cost_text(result: Result, reached: float, freer: float) -> str:
    """How much worse the one is than the other: 100 % where a time doubles or a rate halves."""
    worse, better = (reached, freer) if result.direction == "minimize" else (freer, reached)
    if better <= 0.0 or math.isinf(worse):
        return "an unknown amount"
    share = worse / better - 1.0
    return "nothing" if share < LEAST_COST else f"{trimmed(100 * share, 2)} %"
