"""Every rule of a plan bites, and says by how much."""

import pytest

import planner as pl
from planner.machines.engine import Engine
from planner.plan import ChipRange, Plan, Stage
from planner.scoring.checking import check_plan
from planner.space.degrees import uniform_plan
from planner.workload import Speculation, Workload
from tests.by_hand import attention, chain, head, layer, matmul, plan_of, round_machine
from tests.by_hand import stage as round_stage
from tests.instances import (
    tiny_chip,
    tiny_engine,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)
from tests.machines.test_tiers import round_host

GRAPH = tiny_graph()
NAMES = tuple(layer.name for layer in GRAPH.layers)
MOE = tiny_moe()
MOE_NAMES = MOE.names


def stage(layers, *groups, **degrees) -> Stage:
    ranges = tuple(ChipRange(first=first, count=count) for first, count in groups)
    return Stage(layers=tuple(layers), groups=ranges, **degrees)


def broken(plan: Plan, graph=GRAPH, topology=None, **workload) -> tuple[str, str]:
    """The first rule that a plan breaks, and its sentence."""
    first = check_plan(plan, graph, topology or tiny_topology(4), Workload(**workload))[0]
    assert "\n" not in first.message
    assert str(first) == first.message
    return first.rule, first.message


def test_a_valid_plan_breaks_no_rule():
    plan = Plan(
        stages=(
            stage(NAMES[:2], (0, 2), tensor_parallel=2),
            stage(NAMES[2:], (2, 2), tensor_parallel=2),
        )
    )
    assert check_plan(plan, GRAPH, tiny_topology(4), Workload()) == ()


def test_a_layer_left_out_is_named():
    rule, message = broken(Plan(stages=(stage(NAMES[:-1], (0, 1)),)))
    assert (rule, "head" in message) == ("layers", True)


def test_a_layer_run_twice_is_named():
    rule, message = broken(Plan(stages=(stage(NAMES, (0, 1)), stage(NAMES[-1:], (1, 1)))))
    assert (rule, "head" in message) == ("layers", True)


def test_an_unknown_layer_is_named():
    rule, message = broken(Plan(stages=(stage((*NAMES, "extra"), (0, 1)),)))
    assert (rule, "'extra'" in message) == ("layers", True)


def test_an_edge_that_goes_back_breaks_the_order():
    rule, _ = broken(Plan(stages=(stage(NAMES[2:], (0, 1)), stage(NAMES[:2], (1, 1)))))
    assert rule == "order"


def test_a_chip_that_does_not_exist_is_named():
    rule, message = broken(Plan(stages=(stage(NAMES, (4, 1)),)))
    assert (rule, "chip 4" in message) == ("chips", True)


def test_two_groups_on_one_chip_are_refused():
    rule, message = broken(
        Plan(stages=(stage(NAMES[:2], (0, 2), tensor_parallel=2), stage(NAMES[2:], (1, 1))))
    )
    assert (rule, "chip 1" in message) == ("chips", True)


@pytest.mark.parametrize(
    ("graph", "degrees", "chips", "words"),
    [
        (GRAPH, {"tensor_parallel": 3}, 3, "does not divide the 8 heads"),
        (
            tiny_graph(heads=24, kv_heads=6),
            {"tensor_parallel": 4},
            4,
            "neither divides nor is a multiple of the 6",
        ),
        (GRAPH, {"expert_parallel": 2}, 2, "has no experts"),
        (tiny_moe(), {"expert_parallel": 3}, 3, "does not divide the 8 experts"),
        (tiny_moe(), {"tensor_parallel": 2, "expert_parallel": 8}, 4, "must be a multiple of it"),
    ],
)
def test_a_degree_that_does_not_divide_is_explained(graph, degrees, chips, words):
    names = [layer.name for layer in graph.layers]
    rule, message = broken(Plan(stages=(stage(names, (0, chips), **degrees),)), graph)
    assert (rule, words in message) == ("degrees", True), message


def test_software_that_pads_heads_splits_them_unevenly():
    topology = tiny_topology(4, chip=tiny_chip(1e10), software=tiny_software(pads_heads=True))
    plan = Plan(stages=(stage(NAMES, (0, 3), tensor_parallel=3),))
    assert check_plan(plan, GRAPH, topology, Workload()) == ()


def test_no_chip_has_empty_heads_alone():
    topology = tiny_topology(12, chip=tiny_chip(1e10), software=tiny_software(pads_heads=True))
    rule, message = broken(
        Plan(stages=(stage(NAMES, (0, 9), tensor_parallel=9),)), topology=topology
    )
    assert (rule, "without any of the 8 heads" in message) == ("degrees", True)


def test_software_that_does_not_split_layers_is_named():
    topology = tiny_topology(4, software=tiny_software(most_tensor_parallel=1))
    rule, message = broken(
        Plan(stages=(stage(NAMES, (0, 2), tensor_parallel=2),)), topology=topology
    )
    assert (rule, "plain" in message) == ("degrees", True)


def test_memory_says_demand_and_capacity():
    topology = tiny_topology(1, chip=tiny_chip(1e7))
    violation = check_plan(Plan(stages=(stage(NAMES, (0, 1)),)), GRAPH, topology, Workload())[0]
    assert violation.rule == "memory"
    assert violation.demand > GRAPH.weight_bytes
    assert violation.capacity == pytest.approx(0.9e7)


def test_more_sequences_of_a_plan_than_the_software_takes_are_refused():
    topology = tiny_topology(1, software=tiny_software(most_sequences=2))
    plan = Plan(stages=(stage(NAMES, (0, 1)),), batch_size=3)
    rule, _ = broken(plan, topology=topology, batch_size=None, prompt_tokens=1)
    assert rule == "sequences"


def test_more_sequences_of_a_workload_than_the_software_takes_wait():
    topology = tiny_topology(1, software=tiny_software(most_sequences=2))
    plan = Plan(stages=(stage(NAMES, (0, 1)),))
    work = Workload(batch_size=3, prompt_tokens=1)
    assert check_plan(plan, GRAPH, topology, work) == ()
    score = pl.score_plan(plan, GRAPH, topology, work)
    assert (score.batch_size, score.queued) == (2, 1)


def test_scoring_a_broken_plan_says_the_same():
    with pytest.raises(pl.InputError, match="no stage runs 'head'"):
        pl.score_plan(
            Plan(stages=(stage(NAMES[:-1], (0, 1)),)), GRAPH, tiny_topology(4), Workload()
        )


# ── On paper: 1,000 B a chip, and each rule at its very edge ──────────────────────────────────────

PAIR = chain(layer("a", matmul()), layer("b", attention()), layer("c", head(), kind="head"))


def rules(plan: Plan, graph=GRAPH, topology=None, **options) -> list[str]:
    work = options.pop("workload", Workload())
    return [
        one.rule for one in check_plan(plan, graph, topology or tiny_topology(8), work, **options)
    ]


def test_memory_is_full_to_the_byte_and_no_further():
    # 200 B of weights, n sequences of 6 + 2 tokens of 40 B, buffers of 4 × 40 B: 360 + 320 n B
    # together.
    work = Workload(batch_size=2, prompt_tokens=6, output_tokens=2, arrivals="together")
    plan = plan_of(round_stage("a", "b", "c"))
    tight = round_machine(1, software={"prefill_chunk_tokens": 4})
    assert check_plan(plan, PAIR, tight, work) == ()
    tighter = tight.replace(software=tight.software.replace(reserved_bytes=1.0))
    # A plan's own batch must fit; of a workload's, one waits.
    assert check_plan(plan, PAIR, tighter, work) == ()
    unsized = work.replace(batch_size=None)
    (violation,) = check_plan(plan.replace(batch_size=2), PAIR, tighter, unsized)
    assert (violation.rule, violation.demand, violation.capacity) == ("memory", 1000.0, 999.0)
    assert "weights 200 B, KV cache 640 B, activations 160 B" in violation.message
    replicas = plan_of(round_stage("a", "b", "c", replicas=2))
    two = tight.replace(chips=2)
    assert rules(replicas.replace(batch_size=4), PAIR, two, workload=unsized) == []
    assert rules(replicas.replace(batch_size=5), PAIR, two, workload=unsized) == ["memory"]


def test_a_rate_that_is_too_high_says_what_would_do():
    work = Workload(requests_per_s=1.0, prompt_tokens=4, output_tokens=3)
    (violation,) = check_plan(plan_of(round_stage("a", "b", "c")), PAIR, round_machine(1), work)
    assert (violation.rule, violation.demand) == ("rate", 1.0)
    assert 0 < violation.capacity < 1 / 78  # a prompt takes 78 s
    within = work.replace(requests_per_s=0.999 * violation.capacity)
    assert check_plan(plan_of(round_stage("a", "b", "c")), PAIR, round_machine(1), within) == ()
    # Where not even one fits, memory is what is told.
    assert rules(
        plan_of(round_stage("a", "b", "c")),
        PAIR,
        round_machine(1),
        workload=work.replace(prompt_tokens=40),
    ) == ["memory"]


def test_the_last_chip_is_the_last_and_neighbours_do_not_overlap():
    whole = plan_of(
        stage(NAMES[:2], (0, 2), tensor_parallel=2), stage(NAMES[2:], (2, 2), tensor_parallel=2)
    )
    assert rules(whole, topology=tiny_topology(4)) == []
    (beyond,) = check_plan(
        plan_of(stage(NAMES, (3, 2), tensor_parallel=2)), GRAPH, tiny_topology(4), Workload()
    )
    assert (beyond.rule, beyond.demand, beyond.capacity) == ("chips", 5, 4)
    assert beyond.message == "a stage uses chip 4, but tiny has chips 0 to 3"


def test_excluded_chips_are_named_one_by_one():
    plan = plan_of(stage(NAMES, (2, 2), tensor_parallel=2))
    assert rules(plan, exclude=(1, 4)) == []
    found = check_plan(plan, GRAPH, tiny_topology(8), Workload(), exclude=(3, 2, 3))
    assert [(one.rule, one.demand) for one in found] == [("exclude", 2), ("exclude", 3)]


def test_an_order_without_a_chain_is_told_by_edges():
    swapped = (NAMES[1], NAMES[0], *NAMES[2:])
    assert (
        rules(plan_of(stage(swapped, (0, 1)))) == []
    )  # inside a stage the order of the names does not matter
    later = plan_of(stage(NAMES[1:], (0, 1)), stage(NAMES[:1], (1, 1)))
    (violation,) = check_plan(later, GRAPH, tiny_topology(4), Workload())
    assert violation.message == (
        f"stage 1 runs {NAMES[0]!r}, whose output {NAMES[1]!r} needs on the earlier stage 0"
    )


@pytest.mark.parametrize(
    ("graph", "chips", "degrees", "fine"),
    [
        (GRAPH, 8, {"tensor_parallel": 8}, True),  # each of four key-value heads twice
        (tiny_graph(heads=12, kv_heads=3), 6, {"tensor_parallel": 6}, True),
        (tiny_graph(heads=12, kv_heads=3), 2, {"tensor_parallel": 2}, False),
        (tiny_moe(), 4, {"tensor_parallel": 4, "expert_parallel": 2}, True),
        (tiny_moe(), 4, {"tensor_parallel": 2, "expert_parallel": 4}, True),
        (tiny_moe(), 8, {"tensor_parallel": 2, "expert_parallel": 4}, True),
        (
            tiny_moe(),
            6,
            {"tensor_parallel": 2, "expert_parallel": 4},
            False,
        ),  # three ranks, not two each
        (tiny_moe(heads=12, kv_heads=12), 6, {"tensor_parallel": 6, "expert_parallel": 4}, False),
    ],
)
def test_degrees_that_fit_into_each_other_are_fine(graph, chips, degrees, fine):
    names = tuple(one.name for one in graph.layers)
    topology = tiny_topology(8, chip=tiny_chip(1e10))
    plan = plan_of(stage(names, (0, chips), **degrees))
    assert rules(plan, graph, topology, workload=Workload(batch_size=8)) == (
        [] if fine else ["degrees"]
    )


def test_software_splits_as_far_as_it_can_and_no_further():
    for most, expected in ((4, []), (3, ["degrees"])):
        topology = tiny_topology(8, software=tiny_software(most_tensor_parallel=most))
        assert (
            rules(plan_of(stage(NAMES, (0, 4), tensor_parallel=4)), topology=topology) == expected
        )


def test_collectives_that_the_software_lacks_are_named():
    topology = tiny_topology(4, software=tiny_software(collectives=()))
    rule, message = broken(plan_of(stage(NAMES, (2, 2), tensor_parallel=2)), topology=topology)
    assert (rule, message) == (
        "degrees",
        "stage 0: plain has no all_reduce over so many chips of tiny; split the stage less far",
    )
    assert rules(plan_of(stage(NAMES, (0, 1))), topology=topology) == []
    # Of chips that do not exist, only that is said.
    assert rules(plan_of(stage(NAMES, (3, 2), tensor_parallel=2)), topology=topology) == ["chips"]


def test_a_group_inside_another_uses_its_chips_too():
    inside = plan_of(
        stage(NAMES[:2], (0, 4), tensor_parallel=4), stage(NAMES[2:], (1, 2), tensor_parallel=2)
    )
    rule, message = broken(inside)
    assert (rule, message) == ("chips", "two groups use chip 1")


def test_many_missing_layers_are_told_by_three():
    graph = tiny_graph(6)
    _, message = broken(Plan(stages=(stage(("head",), (0, 1)),)), graph)
    assert message.count("'") == 6
    assert message.endswith("others")
    _, message = broken(Plan(stages=(stage(NAMES[:1], (0, 1)),)))
    assert (len(NAMES), message.count("'"), message.endswith("others")) == (4, 6, False)


@pytest.mark.parametrize("space", ["engine", "any"])
def test_experts_are_held_twice_only_by_software_that_does(space):
    """Of 8 experts three ranks hold three each, one of them twice."""
    plan = Plan(stages=(stage(MOE_NAMES, (0, 3), expert_parallel=3),))
    software = tiny_software(engine=Engine(redundant_experts=True))
    redundant = tiny_topology(4, software=software)
    work = Workload(batch_size=3)
    assert check_plan(plan, MOE, redundant, work, space=space) == ()
    (refused,) = check_plan(plan, MOE, tiny_topology(4), work, space=space)
    assert refused.rule == "degrees"
    assert "does not divide the 8 experts" in refused.message


@pytest.mark.parametrize(
    ("expert", "sequences", "said"),
    [
        (4, 8, None),  # two on each of four ranks
        (4, 9, "9 sequences, 3 on the busiest of 4 ranks; plain takes at most 2 on each"),
        (2, 4, None),
        (2, 5, "5 sequences, 3 on the busiest of 2 ranks"),
        (1, 3, "a replica has 3 sequences, plain takes at most 2"),
    ],
)
def test_each_rank_that_shares_out_the_sequences_takes_as_many(expert, sequences, said):
    topology = tiny_topology(4, software=tiny_software(most_sequences=2))
    plan = Plan(stages=(stage(MOE_NAMES, (0, expert), expert_parallel=expert),))
    work = Workload(batch_size=None, prompt_tokens=1)
    found = check_plan(plan.replace(batch_size=sequences), MOE, topology, work)
    if said is None:
        assert found == ()
        return
    (refused,) = found
    assert said in refused.message
    assert (refused.demand, refused.capacity) == (sequences, 2 * expert)


def test_the_stage_with_the_fewest_ranks_says_how_many_a_replica_takes():
    topology = tiny_topology(4, software=tiny_software(most_sequences=2))
    cut = stage(MOE_NAMES[:2], (0, 1)), stage(MOE_NAMES[2:], (1, 2), expert_parallel=2)
    plan = Plan(stages=cut, batch_size=5)
    work = Workload(batch_size=None, prompt_tokens=1)
    (refused,) = check_plan(plan, MOE, topology, work)[:1]
    assert (refused.rule, refused.capacity) == ("sequences", 2)


def test_shards_that_cut_blocks_are_refused_only_among_plans_that_the_engine_runs():
    """Feed-forward layers are 4,096 wide: in blocks of 512 eight ranks have one each, in blocks of
    1,024 half of one."""
    engine = Engine(like_stages=True, micro_batches="stages", whole_blocks=True)
    topology = tiny_topology(8, software=tiny_software(engine=engine))
    plan = Plan(stages=(stage(NAMES, (0, 8), tensor_parallel=8),))
    work = Workload(batch_size=1, prompt_tokens=1)
    whole, cut = (GRAPH.replace(weight_block=block) for block in (128, 1024))
    assert check_plan(plan, whole, topology, work) == ()
    (refused,) = check_plan(plan, cut, topology, work)
    assert refused.rule == "engine"
    assert "a block of 1024 weights" in refused.message
    assert check_plan(plan, cut, topology, work, space="any") == ()


def test_the_best_plan_of_an_engine_cuts_no_block():
    engine = Engine(like_stages=True, micro_batches="stages", whole_blocks=True)
    topology = tiny_topology(8, software=tiny_software(engine=engine))
    work = Workload(batch_size=1, prompt_tokens=2048)
    graph = GRAPH.replace(weight_block=1024)
    free = pl.partition(GRAPH, topology, work, minimize="ttft_s").plan.stages[0].tensor_parallel
    best = pl.partition(graph, topology, work, minimize="ttft_s").plan
    assert free > best.stages[0].tensor_parallel
    assert check_plan(best, graph, topology, work) == ()


# ── The software's engine ────────────────────────────────────────────────────────────────────────


def started(**rules):
    """A machine whose software has an engine with such rules."""
    return tiny_topology(4, software=tiny_software(engine=tiny_engine(**rules)))


def test_a_plan_that_no_engine_can_be_started_with_breaks_a_rule_but_in_any_space():
    plan = Plan(stages=(stage(NAMES[:1], (0, 1)), stage(NAMES[1:], (1, 1))))
    rule, message = broken(plan, topology=started())
    assert (rule, "no decoder layer" in message) == ("engine", True)
    assert check_plan(plan, GRAPH, started(), Workload(), space="any") == ()
    assert check_plan(plan, GRAPH, tiny_topology(4), Workload()) == ()


def test_micro_batches_that_the_engine_does_not_keep_are_told_with_those_it_does():
    plan = Plan(stages=(stage(NAMES[:2], (0, 1)), stage(NAMES[2:], (1, 1))))
    four = Workload(batch_size=4)
    (fault,) = check_plan(plan, GRAPH, started(), four)
    assert (fault.rule, fault.demand, fault.capacity) == ("engine", 1, 2)
    assert "keeps 2 micro-batches of 4 sequences" in fault.message
    assert check_plan(plan.replace(micro_batches=2), GRAPH, started(), four) == ()
    assert check_plan(plan, GRAPH, started(), four, space="any") == ()


def test_micro_batches_are_counted_in_a_replica():
    # Two replicas of two stages share three sequences: two in the larger, each by itself.
    plan = Plan(
        stages=(stage(NAMES[:2], (0, 1), (2, 1)), stage(NAMES[2:], (1, 1), (3, 1))),
        micro_batches=2,
    )
    assert check_plan(plan, GRAPH, started(), Workload(batch_size=3)) == ()
    assert check_plan(plan.replace(micro_batches=1), GRAPH, started(), Workload(batch_size=3))
    assert check_plan(plan.replace(micro_batches=1), GRAPH, started(), Workload(batch_size=2)) == ()


def test_a_pool_of_prompts_keeps_no_micro_batches():
    plan = Plan(stages=(stage(NAMES[:2], (0, 1)), stage(NAMES[2:], (1, 1))), micro_batches=5)
    pool = Workload(batch_size=None, phase="prefill", output_tokens=1)
    assert check_plan(plan, GRAPH, started(), pool) == ()


def test_form_is_told_before_memory():
    topology = started(like_stages=True).replace(chip=tiny_chip(1e3))
    plan = Plan(
        stages=(
            stage(NAMES[:2], (0, 1)),
            stage(NAMES[2:], (1, 2), tensor_parallel=2),
        )
    )
    assert {one.rule for one in check_plan(plan, GRAPH, topology, Workload())} == {"engine"}
    assert {one.rule for one in check_plan(plan, GRAPH, topology, Workload(), space="any")} == {
        "memory"
    }


# ── Layers off the first memory ──────────────────────────────────────────────────────────────────


def away_from(plan: Plan, count: int = 1) -> Plan:
    (only,) = plan.stages
    return plan.replace(stages=(only.replace(offloaded=only.layers[-count:]),))


def test_an_offload_to_a_host_that_has_none_is_refused_in_one_sentence():
    graph = tiny_graph()
    software = tiny_software(engine=Engine(offload="streams"))
    plan = away_from(uniform_plan(graph, tiny_topology(1)))
    for topology, words in (
        (tiny_topology(1), "plain is not known to run layers"),
        (tiny_topology(1, software=software), "neither a second memory on its chips nor a host"),
    ):
        (fault,) = check_plan(plan, graph, topology, Workload(batch_size=1))
        assert fault.rule == "offload"
        assert words in fault.message


def test_a_draft_model_stands_on_the_chips():
    graph = tiny_graph()
    software = tiny_software(engine=Engine(offload="streams"))
    topology = tiny_topology(1, software=software, host=round_host())
    drafted = Workload(batch_size=1, speculation=Speculation(draft=tiny_graph(1), tokens=2))
    plan = away_from(uniform_plan(graph, topology))
    (fault,) = check_plan(plan, graph, topology, drafted)
    assert "beside the last layer, 'head', stands the draft model" in fault.message
    with pytest.raises(pl.InputError, match="beside the last layer"):
        pl.score_plan(plan, graph, topology, drafted)


def test_a_host_is_not_filled_beyond_its_memory():
    graph = tiny_graph()
    software = tiny_software(engine=Engine(offload="streams"))
    topology = tiny_topology(1, software=software, host=round_host())  # 5,000 B
    plan = away_from(uniform_plan(graph, topology))
    (fault,) = check_plan(plan, graph, topology, Workload(batch_size=1))
    assert fault.rule == "memory"
    assert "stage 0 leaves 16.8 MB of each chip to board, which has 5 kB to fill" in fault.message
    assert fault.capacity == 5000
