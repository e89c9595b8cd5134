"""In which order engines count their ranks over the chips that they see.

`Launch` has the chips of a stage together; vLLM has all stages of an attention rank together.
"""

from planner.launches.launch import Launch

Chips = tuple[int, ...]


def by_attention_rank(launch: Launch, chips: Chips) -> Chips:
    """The chips of one engine in the order of one that counts attention ranks before stages."""
    return tuple(chips[place] for place in _places(launch))


def by_stage(launch: Launch, chips: Chips) -> Chips:
    """The way back: chips in the order of a launch, of those in vLLM's."""
    seen = dict(zip(_places(launch), chips, strict=True))
    return tuple(seen[place] for place in range(len(chips)))


def _places(launch: Launch) -> list[int]:
    """Where in a launch's order each rank of vLLM's stands."""
    stage = launch.stage_ranks
    share = stage // launch.attention_parallel
    return [
        first + share * attention + rank
        for attention in range(launch.attention_parallel)
        for first in range(0, launch.replica_chips, stage)
        for rank in range(share)
    ]
