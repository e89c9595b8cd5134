"""Plans as lines and tables: what is printed is the plan; and from which plans it was chosen."""

import json

import pytest

import planner as pl
from planner.machines.engine import Engine
from planner.plan import ChipRange, Plan, Stage
from planner.report import plans, text
from tests.instances import tiny_graph, tiny_moe, tiny_software, tiny_topology
from tests.report.conftest import WORKLOAD

KNOWN = Engine(version="1.2", like_stages=True, decoder_on_each_stage=True, micro_batches="stages")
WITH_ENGINE = tiny_software(engine=KNOWN)


def staged(counts, *, replicas=1, width=1, **degrees):
    """A plan of so many layers a stage, stages and replicas one behind the other."""
    stages, layer = [], 0
    for number, count in enumerate(counts):
        bases = [width * (number + len(counts) * replica) for replica in range(replicas)]
        groups = tuple(ChipRange(first=base, count=width) for base in bases)
        names = tuple(f"l{layer + place}" for place in range(count))
        stages.append(Stage(layers=names, groups=groups, **degrees))
        layer += count
    return Plan(stages=tuple(stages), micro_batches=len(counts))


# ── One line ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (staged([4]), "one chip"),
        (staged([4], width=8, tensor_parallel=8), "TP8"),
        (staged([4], replicas=3), "3 × (one chip)"),
        (staged([33, 30]), "PP2, 33+30"),
        (
            staged([33, 30], replicas=4, width=8, tensor_parallel=2, expert_parallel=8),
            "4 × (TP2 × DP4 × PP2, EP8, 33+30)",
        ),
        (staged([3, *[1] * 60, 2]), "PP62, 3+60×1+2"),
        (staged([5], width=8, tensor_parallel=2, sequence_parallel=4), "TP2 × SP4"),
    ],
)
def test_a_plan_in_one_line_says_replicas_degrees_and_the_cut(plan, line):
    assert plans.plan_line(plan) == line


def test_stages_that_are_split_unlike_are_all_named():
    wide = staged([3, 2], width=2, tensor_parallel=2)
    narrow = wide.stages[0].replace(tensor_parallel=1)
    assert plans.plan_line(wide.replace(stages=(narrow, wide.stages[1]))) == (
        "PP2 of DP2 and TP2, 3+2"
    )


def test_a_cut_of_many_stages_counts_like_neighbours():
    assert plans.cut_text(staged([7, 7, 8, 8, 8, 8, 8, 7])) == "7 + 7 + 8 + 8 + 8 + 8 + 8 + 7"
    assert plans.cut_text(staged([3, *[1] * 60, 2])) == "3 + 60 × 1 + 2"
    assert plans.cut_text(staged([1, 2] * 20)) == "1 + 2 + 1 + 2 + 1 + 2 + … + 2"


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────


def test_a_table_says_what_a_plan_is_and_a_row_for_each_stage_where_it_stands():
    plan = staged([3, 2], replicas=2, width=4, tensor_parallel=2, expert_parallel=4)
    assert text.plan_section(plan) == [
        "plan: 2 × (TP2 × DP2 × PP2, EP4, 3+2)",
        "  replicas  TP  PP  EP  attention DP  micro-batches  layers of each stage  chips used",
        "  2         2   2   4   2             2              3 + 2                 16 (8 in each replica)",
        "  stage  layers     TP  EP  attention DP  chips, replica by replica",
        "  0      3 (l0…l2)  2   4   2             0-3, 8-11",
        "  1      2 (l3…l4)  2   4   2             4-7, 12-15",
    ]


def test_the_table_says_how_many_chips_there_are_where_that_is_known():
    assert plans.plan_row(staged([4], width=8, tensor_parallel=8), 16)[-1] == "8 of 16"
    many = plans.plan_row(staged([4], replicas=3), 4)
    assert many[-1] == "3 of 4 (1 in each replica)"


def test_degrees_of_stages_that_are_split_unlike_are_all_told():
    wide = staged([3, 2], width=2, tensor_parallel=2)
    narrow = wide.stages[0].replace(tensor_parallel=1)
    row = plans.plan_row(wide.replace(stages=(narrow, wide.stages[1])))
    assert row[:5] == ("1", "1 and 2", "2", "1", "2 and 1")


def test_one_group_that_begins_at_the_first_chip_needs_no_row_of_its_own():
    assert len(text.plan_section(staged([4], width=8, tensor_parallel=8))) == 3
    assert plans.has_stage_rows(staged([4], replicas=2))
    assert plans.has_stage_rows(staged([2, 2]))
    apart = staged([4])
    moved = apart.stages[0].replace(groups=(ChipRange(first=1, count=1),))
    assert plans.has_stage_rows(apart.replace(stages=(moved,)))


def test_shared_tokens_have_a_column_only_where_they_are_shared():
    apart = staged([2], width=4, tensor_parallel=4)
    shared = staged([2], width=4, tensor_parallel=2, sequence_parallel=2)
    assert "SP" not in plans.stages_header(apart)
    assert plans.stages_header(shared)[-2:] == ("SP", "chips")
    assert plans.stages_rows(shared)[0][-2:] == ("2", "0-3")


def test_chips_of_many_replicas_are_shortened():
    (row,) = plans.stages_rows(staged([2], replicas=9, width=2, tensor_parallel=2))
    assert row[-1] == "0-1, 2-3, 4-5, 6-7, …, 16-17"


def test_like_neighbours_of_many_stages_share_a_row_where_they_stand_side_by_side():
    rows = plans.stages_rows(staged([3, *[1] * 60, 2]))
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("0", "3 (l0…l2)", "0"),
        ("1-60", "1 each of 60 (l3…l62)", "1-60"),
        ("61", "2 (l63…l64)", "61"),
    ]


def test_stages_apart_do_not_share_a_row():
    plan = staged([1] * 30)
    moved = tuple(
        stage.replace(groups=(ChipRange(first=2 * number, count=1),))
        for number, stage in enumerate(plan.stages)
    )
    rows = plans.stages_rows(plan.replace(stages=moved))
    assert len(rows) == plans.MOST_ROWS + 1
    assert [row[0] for row in (rows[0], rows[-1])] == ["0", "29"]
    assert [row[1] for row in rows if row[0] == "…"] == ["6 more rows"]


def test_a_printed_plan_says_which_kind_it_was_made_as():
    plan = staged([3, 2])
    assert str(plan).splitlines()[0] == "plan: PP2, 3+2"
    assert str(plan).endswith("chosen from: any plan")
    engine = str(plan.replace(space="engine"))
    assert engine.endswith("chosen from: plans that the machine's software can run")


# ── Which plans there were ───────────────────────────────────────────────────────────────────────


def test_an_answer_says_with_which_plans_its_software_can_be_started():
    assert plans.space_line("engine", [WITH_ENGINE]) == "plans that plain 1.2 can run"
    assert plans.space_line("any", [WITH_ENGINE]) == "any plan"


def test_where_no_rules_are_known_it_says_so():
    unknown = tiny_software()
    assert plans.space_line("engine", [unknown]) == (
        "any plan, since the rules of plain's engine are not known"
    )
    assert plans.space_line("engine", [WITH_ENGINE, unknown.replace(name="other")]) == (
        "plans that plain 1.2 can run; any plan, since the rules of other's engine are not known"
    )


@pytest.fixture(scope="module")
def free():
    """Any plan of experts, of which the engine takes fewer."""
    machine = tiny_topology(4, software=WITH_ENGINE)
    return pl.partition(tiny_moe(3), machine, WORKLOAD, minimize="tpot_s", space="any")


@pytest.mark.slow
def test_a_result_says_from_which_plans_it_was_chosen(result):
    assert "chosen from: any plan, since the rules of plain's engine are not known" in str(result)
    machine = tiny_topology(4, software=WITH_ENGINE)
    found = pl.partition(tiny_graph(), machine, WORKLOAD)
    assert "chosen from: plans that plain 1.2 can run" in str(found).splitlines()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"engine_objective": 0.020, "objective": 0.018},
            "the best plan that plain can run has 20 ms; the best of all plans has 18 ms (proved),"
            " so the limits of plain cost 11 %",
        ),
        (
            {"engine_objective": 0.018, "objective": 0.018},
            "the best plan that plain can run has 18 ms; the best of all plans has 18 ms (proved),"
            " so the limits of plain cost nothing",
        ),
        (
            {
                "engine_objective": 0.020,
                "objective": 0.018,
                "bound": 0.016,
                "status": "feasible",
            },
            "the best plan that plain can run has 20 ms; of all plans, the best found has 18 ms and"
            " none is better than 16 ms, so the limits of plain cost at least 11 % and at most 25 %",
        ),
        (
            {"field": "tokens_per_s", "direction": "maximize", "engine_objective": 80.0,
             "objective": 100.0},
            "the best plan that plain can run has 80 tokens/s; the best of all plans has"
            " 100 tokens/s (proved), so the limits of plain cost 25 %",
        ),
    ],
)  # fmt: skip
def test_what_the_engines_limits_cost_is_told_and_called_proved_only_where_it_is(
    free, changes, said
):
    assert plans.engine_cost_lines(free.replace(**changes)) == [said]


def test_without_what_the_engine_reaches_nothing_is_said_of_its_cost(free):
    assert plans.engine_cost_lines(free.replace(engine_objective=None)) == []
    assert free.engine_objective is not None
    assert plans.engine_cost_lines(free)[0] in str(free).splitlines()


def test_files_written_before_spaces_were_said_are_of_any_plan_and_say_so(free):
    engine = free.replace(space="engine", engine_objective=None)
    fields = json.loads(engine.to_json())
    del fields["space"], fields["plan"]["space"], fields["engine_objective"]
    read = pl.Result.from_json(json.dumps(fields))
    assert (read.space, read.plan.space) == ("any", "any")
    assert "chosen from: any plan" in str(read).splitlines()
    certificate = json.loads(engine.certificate().to_json())
    del certificate["space"]
    assert pl.Certificate.from_json(json.dumps(certificate)).space == "any"
    plan = json.loads(engine.plan.to_json())
    del plan["space"]
    assert str(Plan.from_json(json.dumps(plan))).endswith("any plan")
