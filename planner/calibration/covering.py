"""What the rows of a stack have, phase by phase: what vouches for predictions."""

from collections.abc import Sequence

from planner.machines.software import Covered
from planner.scoring.vouching import Setting


def covers_of(settings: Sequence[Setting]) -> tuple[Covered, ...]:
    """What rows have, phase by phase; a pool's rows are beside those of servers."""
    found = []
    for phase in ("both", "decode", "prefill"):
        alike = [one for one in settings if one.phase == phase]
        if alike:
            found.append(_covered(alike))
    return tuple(found)


def _covered(settings: Sequence[Setting]) -> Covered:
    sizes = {
        kind: _range([one.parameters for one in settings if one.kind == kind])
        for kind in sorted({one.kind for one in settings})
    }
    return Covered(
        phase=settings[0].phase,
        makers=tuple(sorted({one.maker for one in settings})),
        architectures=tuple(sorted({one.architecture for one in settings})),
        chips=tuple(sorted({one.chip for one in settings})),
        weight_dtypes=tuple(sorted({one.weight_dtype for one in settings})),
        most_tensor_parallel=max(one.tensor_parallel for one in settings),
        most_expert_parallel=max(one.expert_parallel for one in settings),
        most_stages=max(one.stages for one in settings),
        across_nodes=any(one.across_nodes for one in settings),
        drafts=any(one.drafts for one in settings),
        sequences=_range([one.sequences for one in settings]),
        context_tokens=_range([one.context_tokens for one in settings]),
        **sizes,
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    least, most = float(f"{min(values):.4g}"), float(f"{max(values):.4g}")
    return least, most
