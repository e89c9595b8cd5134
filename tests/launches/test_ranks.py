from planner.launches.launch import Launch
from planner.launches.ranks import by_attention_rank, by_stage

LAUNCH = Launch(
    engine="vllm", model="m", tensor_parallel=2, attention_parallel=2, pipeline_parallel=2
)
HERE = tuple(range(8))


def test_attention_ranks_may_count_before_stages() -> None:
    # Stage 0: attention ranks (0 1) (2 3); stage 1: (4 5) (6 7).
    assert by_attention_rank(LAUNCH, HERE) == (0, 1, 4, 5, 2, 3, 6, 7)


def test_the_way_back_leads_back() -> None:
    assert by_stage(LAUNCH, (0, 1, 4, 5, 2, 3, 6, 7)) == HERE
    assert by_stage(LAUNCH, by_attention_rank(LAUNCH, (9, 3, 1, 0, 4, 5, 7, 6))) == (
        9, 3, 1, 0, 4, 5, 7, 6,
    )  # fmt: skip
