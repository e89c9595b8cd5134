"""What small changes make of a plan: the largest batch that the limits allow, and layers moved
across the borders of its stages.

Nothing is proved here: a search that starts from a good plan has less to look at.
"""

from collections.abc import Callable, Iterator

from planner.plan import Plan
from planner.planning.best import Best
from planner.space.candidates import Candidates

MOVES = (4, -4, 1, -1)
"""Layers that a border moves by."""
MOST_TRIED = 60
"""Plans, of each of which the best batch is looked for."""


def polished(candidates: Candidates, plan: Plan, stop: Callable[[], bool]) -> Best[Plan]:
    """The best of a plan and of those that its borders lead to, each with its best batch; of open
    batches. `stop` says when there is no time left."""
    best = _with_best_batch(candidates, plan)
    tried = {_sizes(plan)}
    improved = True
    while improved:
        improved = False
        for other in _moved(best.plan or plan):
            if len(tried) > MOST_TRIED or stop():
                return best
            if _sizes(other) in tried:
                continue
            tried.add(_sizes(other))
            found = _with_best_batch(candidates, other)
            if found.value < best.value:
                best, improved = found, True
                break
    return best


def _with_best_batch(candidates: Candidates, plan: Plan) -> Best[Plan]:
    box = candidates.open_box(plan.replicas)
    alike = box._replace(micro_batches=(plan.micro_batches, plan.micro_batches))
    return Best(*candidates.realised(alike, plan))


def _sizes(plan: Plan) -> tuple[int, ...]:
    return tuple(len(stage.layers) for stage in plan.stages)


def _moved(plan: Plan) -> Iterator[Plan]:
    """The plan with one border moved, where both stages keep a layer."""
    for move in MOVES:
        for border in range(1, len(plan.stages)):
            before, after = plan.stages[border - 1], plan.stages[border]
            layers = (*before.layers, *after.layers)
            first = len(before.layers) + move
            if not 0 < first < len(layers):
                continue
            stages = list(plan.stages)
            stages[border - 1] = before.replace(layers=layers[:first])
            stages[border] = after.replace(layers=layers[first:])
            yield plan.replace(stages=tuple(stages))
