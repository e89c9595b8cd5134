"""Plans: chips in ranges, stages in groups, and which of them are refused."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.errors import InputError
from planner.plan import ChipRange, Plan, Stage

names = st.lists(st.text(max_size=8), min_size=1, max_size=4).map(tuple)
degrees = st.sampled_from([1, 2, 3, 4])


@st.composite
def stages(draw, replicas):
    tensor, sequence, attention = draw(degrees), draw(degrees), draw(degrees)
    groups = [
        ChipRange(first=draw(st.integers(0, 10**6)), count=tensor * sequence * attention)
        for _ in range(replicas)
    ]
    return Stage(
        layers=draw(names),
        groups=groups,
        tensor_parallel=tensor,
        sequence_parallel=sequence,
        expert_parallel=draw(degrees),
    )


plans = st.integers(1, 3).flatmap(
    lambda replicas: st.builds(
        Plan,
        stages=st.lists(stages(replicas), min_size=1, max_size=4),
        micro_batches=st.integers(1, 10**6),
        batch_size=st.none() | st.integers(1, 10**6),
    )
)


def stage(*groups, **changes):
    return Stage(
        layers=("a",),
        groups=[ChipRange(first=first, count=count) for first, count in groups],
        **changes,
    )


def test_a_range_ends_with_its_last_chip_and_says_so():
    assert ChipRange(first=8, count=4).last == 11
    assert [str(ChipRange(first=8, count=count)) for count in (1, 2, 4)] == ["8", "8-9", "8-11"]


def test_a_group_divides_into_tensor_sequence_and_attention_parallel():
    split = stage((0, 24), tensor_parallel=4, sequence_parallel=2)
    assert (split.group_chips, split.attention_parallel) == (24, 3)
    assert isinstance(split.attention_parallel, int)
    assert stage((0, 8), tensor_parallel=8).attention_parallel == 1


def test_a_plan_holds_the_chips_of_all_groups_of_all_stages():
    plan = Plan(
        stages=(stage((0, 4), (6, 4), tensor_parallel=4), stage((4, 2), (10, 2), tensor_parallel=2))
    )
    assert (plan.replicas, plan.chips) == (2, 12)


def test_what_a_plan_does_not_say_it_does_not_do():
    plan = Plan(stages=(stage((0, 1)),))
    assert (plan.replicas, plan.chips, plan.micro_batches, plan.batch_size) == (1, 1, 1, None)
    alone = plan.stages[0]
    splits = (
        alone.tensor_parallel,
        alone.expert_parallel,
        alone.sequence_parallel,
        alone.attention_parallel,
    )
    assert splits == (1, 1, 1, 1)


@pytest.mark.slow
@settings(max_examples=50)
@given(plans)
def test_json_gives_back_an_equal_plan(plan):
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.slow
@settings(max_examples=50)
@given(plans)
def test_a_plan_from_its_own_fields_is_equal_and_as_hashable(plan):
    again = Plan.from_fields(plan.model_dump())
    assert again == plan.replace() == plan
    assert hash(again) == hash(plan)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            lambda: stage((0, 2), (2, 3)),
            "Stage.groups: every replica needs as many chips as the others, not [2, 3]",
        ),
        (
            lambda: stage((0, 6), tensor_parallel=4),
            "Stage.groups: 6 chips do not divide into groups of tensor_parallel × sequence_parallel = 4",
        ),
        (
            lambda: stage((0, 4), tensor_parallel=4, sequence_parallel=2),
            "Stage.groups: 4 chips do not divide into groups of tensor_parallel × sequence_parallel = 8",
        ),
        (
            lambda: Plan(stages=(stage((0, 1)), stage((1, 1), (2, 1)))),
            "Plan.stages: every stage needs as many groups as the others, not [1, 2]",
        ),
        (lambda: ChipRange(first=0), "ChipRange.count is missing"),
        (
            lambda: stage((0, 2), data_parallel=2),
            "Stage.data_parallel is not a field of it; did you mean expert_parallel, tensor_parallel or sequence_parallel?",
        ),
    ],
)
def test_a_plan_that_is_none_is_refused_in_a_sentence(build, sentence):
    with pytest.raises(InputError) as refusal:
        build()
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: ChipRange(first=-1, count=1), "ChipRange.first"),
        (lambda: ChipRange(first=0, count=0), "ChipRange.count"),
        (lambda: ChipRange(first=math.nan, count=1), "ChipRange.first"),
        (lambda: ChipRange(first=0, count=math.inf), "ChipRange.count"),
        (lambda: stage((0, 1), tensor_parallel=0), "Stage.tensor_parallel"),
        (lambda: stage((0, 1), expert_parallel=0), "Stage.expert_parallel"),
        (lambda: stage((0, 1), sequence_parallel=1.5), "Stage.sequence_parallel"),
        (stage, "Stage.groups"),
        (lambda: Stage(layers=(), groups=(ChipRange(first=0, count=1),)), "Stage.layers"),
        (lambda: Stage(layers="abc", groups=(ChipRange(first=0, count=1),)), "Stage.layers"),
        (lambda: Plan(stages=()), "Plan.stages"),
        (lambda: Plan(stages=(stage((0, 1)),), micro_batches=0), "Plan.micro_batches"),
        (lambda: Plan(stages=(stage((0, 1)),), batch_size=0), "Plan.batch_size"),
        (lambda: Plan(stages=(stage((0, 1)),), schema_version=2), "Plan.schema_version"),
        (
            lambda: Plan.from_json('{"stages": [{"layers": ["a"], "groups": [{"first": 0}]}]}'),
            "Plan.stages[0].groups[0].count",
        ),
    ],
)
def test_a_bad_figure_is_refused_by_name(build, field):
    with pytest.raises(InputError) as refusal:
        build()
    assert str(refusal.value).startswith(f"{field} ")
    assert "\n" not in str(refusal.value)


def test_a_plan_stays_as_it_is():
    plan = Plan(stages=(stage((0, 2), tensor_parallel=2),))
    with pytest.raises(ValidationError, match="frozen"):
        plan.micro_batches = 2
    with pytest.raises(ValidationError, match="frozen"):
        plan.stages[0].tensor_parallel = 1


def test_replacing_validates_the_whole():
    split = stage((0, 4), tensor_parallel=4)
    assert split.replace(tensor_parallel=2).attention_parallel == 2
    with pytest.raises(InputError, match=r"^Stage\.groups: 4 chips do not divide"):
        split.replace(tensor_parallel=3)


def test_a_file_from_before_layers_could_lie_elsewhere_is_read():
    old = '{"stages": [{"layers": ["a", "b"], "groups": [{"first": 0, "count": 1}]}]}'
    assert Plan.from_json(old).stages[0].offloaded == ()


def test_only_layers_of_a_stage_can_lie_elsewhere():
    with pytest.raises(InputError, match=r"Stage\.offloaded: 'c' is not one of the stage's layers"):
        Stage(layers=("a", "b"), groups=(ChipRange(first=0, count=1),), offloaded=("c",))
