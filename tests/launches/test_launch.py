import pytest

from planner.errors import InputError
from planner.launches.launch import Launch


def launch(**fields: object) -> Launch:
    return Launch(engine="vllm", model="m", **fields)


def test_chips_are_those_of_all_degrees_and_replicas() -> None:
    one = launch(tensor_parallel=2, attention_parallel=4, pipeline_parallel=3, replicas=5)
    assert (one.stage_ranks, one.replica_chips, one.chips) == (8, 24, 120)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"layers": (3, 4), "pipeline_parallel": 3},
            "2 stages are cut, but pipeline_parallel is 3",
        ),
        ({"devices": ((0,), (1,))}, "chips are named for 2 engines, but replicas is 1"),
        ({"devices": ((0, 1),)}, "an engine has 2 chips, but its degrees ask for 1"),
        ({"devices": ((0,), (0,)), "replicas": 2}, "a chip is named twice"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        launch(**fields)
