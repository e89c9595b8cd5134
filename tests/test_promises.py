"""What an answer promises, on machines made from every file in `topologies/`: its objective is the
score of its plan, and no plan of the space that is said of it is better.

Two questions for each machine; `make oracle` asks eight, `PLANNER_EXAMPLES=50 pytest
tests/test_promises.py` more.
"""

import itertools
import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.answers.question import FIELDS, NOT_IN_PHASE, PRICED
from planner.plan import Plan
from planner.pricing.degrees import sequence_degrees
from tests.instances import tiny_graph, tiny_moe
from tests.lanes import mostly_slow, some
from tests.oracle import (
    HIGHER_IS_BETTER,
    all_sequence_splits,
    all_splits,
    batched,
    copies,
    kept,
    packed,
    scored,
    width_of,
)

EXAMPLES = int(os.environ.get("PLANNER_EXAMPLES", some(2, 8)))
FEW = settings(max_examples=EXAMPLES)
FAST = ("hgx-h100", "inferentia2", "tpu-v5e", "groq-lpu-dragonfly")
CLOSE = 1e-9
RANDOM_PLANS = 8
UNIFORM_PLANS = 16


class Asked:
    """A question about a small model on a small machine."""

    def __init__(self, name: str, seed: int) -> None:
        self.dice = random.Random(f"{name} {seed}")
        self.graph = drawn_graph(self.dice)
        self.topology = drawn_machine(self.dice, name, self.graph)
        self.workload = drawn_workload(self.dice)
        fields = known_fields(self.topology, self.workload)
        times = [name for name in ("ttft_s", "tpot_s", "request_s") if name in fields]
        self.field = self.dice.choice(self.dice.choice((fields, times)))
        self.sequences = self.workload.phase != "decode" and self.dice.random() < 0.2
        self.limits = drawn_limits(self)

    @property
    def is_small(self) -> bool:
        """So that a certificate is checked in no time."""
        return self.topology.chips <= 4 and self.workload.batch_size in (1, 2, 3)

    def sign(self) -> int:
        return -1 if self.field in HIGHER_IS_BETTER else 1

    def answer(self) -> pl.Result | None:
        """None where it is proved that there is none."""
        direction = (
            {"maximize": self.field} if self.field in HIGHER_IS_BETTER else {"minimize": self.field}
        )
        try:
            return pl.partition(
                self.graph,
                self.topology,
                self.workload,
                limits=self.limits,
                sequence_parallel=self.sequences,
                time_limit_s=20.0,
                **direction,
            )
        except pl.InfeasibleError:
            return None

    def value(self, plan: Plan) -> float | None:
        """Of a plan that keeps the rules and the limits, so that less is better."""
        if pl.check_plan(plan, self.graph, self.topology, self.workload):
            return None
        score = scored(plan, self.graph, self.topology, self.workload)
        if score is None or not kept(score, self.limits):
            return None
        return self.sign() * float(getattr(score, self.field))


def drawn_graph(dice: random.Random) -> pl.ModelGraph:
    """Heads that divide by two and by three; sometimes experts."""
    heads = dice.choice((2, 3, 4, 6, 8, 12, 16))
    shape = {
        "heads": heads,
        "kv_heads": dice.choice([count for count in (1, 2, 3, 4, 8) if heads % count == 0]),
        "hidden": dice.choice((256, 512, 1024)),
        "head_dim": 64,
        "tied_embedding": dice.random() < 0.3,
        "vocabulary": dice.choice((1000, 8192, 50000)),
    }
    layers = dice.choice((1, 2, 3, 6))
    if dice.random() < 0.3:
        return tiny_moe(layers, **shape)
    return tiny_graph(layers, ffn=dice.choice((1024, 4096)), **shape)


def drawn_machine(dice: random.Random, name: str, graph: pl.ModelGraph) -> pl.Topology:
    """A few chips of a machine, in one node or in two; memory as it is, or about as large as the
    model's share."""
    machine = pl.load_topology(name)
    few = [*range(1, 13), 16]
    first = machine.levels[0].span_chips if machine.levels else 1
    few += [first + more for more in (1, 2, first) if first + more <= 24]
    machine = machine.replace(
        chips=dice.choice([chips for chips in few if chips <= machine.limit_chips])
    )
    machine = machine.replace(software=machine.software.replace(most_sequences=8))
    if dice.random() < 0.3:  # far apart, so that each hop counts
        slow = tuple(fabric.replace(latency_s=50 * fabric.latency_s) for fabric in machine.fabrics)
        machine = machine.replace(fabrics=slow)
    if dice.random() < 0.6:
        machine = machine.replace(software=machine.software.replace(reserved_bytes=0.0))
        share = graph.weight_bytes * dice.choice((0.3, 0.6, 1.2, 4.0))
        machine = pl.with_value(machine, "chip.memory[0].capacity_bytes", share)
    return machine


def drawn_workload(dice: random.Random) -> pl.Workload:
    phase = dice.choice(("both", "both", "both", "prefill", "decode"))
    batch = dice.choice((1, 1, 2, 3, 4, 6, None))
    return pl.Workload(
        batch_size=None if phase == "prefill" else batch,
        prompt_tokens=dice.choice((8, 100, 500, 3000)),
        output_tokens=dice.choice((2, 20) if phase == "decode" else (1, 2, 20)),
        arrivals=dice.choice(("steady", "together")) if phase == "both" else "steady",
        phase=phase,
    )


def known_fields(topology: pl.Topology, workload: pl.Workload) -> list[str]:
    """Those that the machine has figures for, and the phase a meaning."""
    unknown = set(NOT_IN_PHASE.get(workload.phase, ()))
    if topology.power.chip_w is None and topology.power.system_w is None:
        unknown |= {"energy_per_token_j", "power_w"}
    if topology.price.usd_per_chip_hour is None:
        unknown |= set(PRICED)
    return [name for name in FIELDS if name not in unknown]


def drawn_limits(asked: Asked) -> dict[str, float]:
    """What some plan just keeps, on one other field."""
    if asked.dice.random() < 0.7:
        return {}
    name = asked.dice.choice(
        [one for one in known_fields(asked.topology, asked.workload) if one != asked.field]
    )
    scores = (
        scored(plan, asked.graph, asked.topology, asked.workload) for plan in random_plans(asked, 3)
    )
    found = [float(getattr(score, name)) for score in scores if score is not None]
    return {name: asked.dice.choice(found)} if found else {}


def random_plans(asked: Asked, count: int) -> Iterator[Plan]:
    """Plans of the space, listed by the oracle's rules."""
    names = [layer.name for layer in asked.graph.layers]
    splits = all_splits(asked.graph, asked.topology)
    if asked.sequences:
        splits += all_sequence_splits(asked.graph, asked.topology)
    for _ in range(count):
        inner = [
            item
            for item in range(1, len(names))
            if asked.dice.random() < asked.dice.choice((0.1, 0.5))
        ]
        cuts = (0, *inner, len(names))
        chosen = tuple(asked.dice.choice(splits) for _ in cuts[1:])
        widths = [width_of(split) for split in chosen]
        starts = packed(asked.topology, widths)
        if starts is None:
            continue
        end = starts[-1] + widths[-1]
        bases = copies(asked.topology, end, asked.dice.randint(1, asked.topology.chips // end))
        if bases is None:
            continue
        software = asked.topology.software
        plans = list(batched(names, cuts, chosen, starts, bases, asked.workload, software))
        yield asked.dice.choice(plans)


def uniform_plans(asked: Asked, count: int) -> Iterator[Plan]:
    """What engines make of some degrees, where that stands as the space has it."""
    chips, dice = asked.topology.chips, asked.dice
    most = asked.topology.software.most_tensor_parallel
    for _ in range(count):
        tensor = dice.randint(1, min(chips, most))
        sequences = sequence_degrees(asked.graph, asked.topology.software, tensor, chips)
        sequence = dice.choice([1, *sequences]) if asked.sequences else 1
        pipeline = dice.randint(1, 3)
        data = dice.randint(1, max(1, chips // (tensor * sequence * pipeline)))
        try:
            plan = pl.uniform_plan(
                asked.graph,
                asked.topology,
                tensor_parallel=tensor,
                pipeline_parallel=pipeline,
                expert_parallel=dice.choice((1, 1, 2, 4, 8)) if sequence == 1 else 1,
                data_parallel=data,
                sequence_parallel=sequence,
                micro_batches=dice.choice((None, 1, 2)),
            )
        except pl.InputError:
            continue
        if stands_in_order(plan, asked.topology):
            yield with_batch(plan, asked)


def stands_in_order(plan: Plan, topology: pl.Topology) -> bool:
    """Whether no stage straddles a border that it could keep clear of, and replicas are alike."""
    widths = [stage.group_chips for stage in plan.stages]
    starts = packed(topology, widths)
    if starts is None:
        return False
    bases = copies(topology, starts[-1] + widths[-1], plan.replicas)
    if bases is None:
        return False
    return all(
        [group.first for group in stage.groups] == [base + start for base in bases]
        for stage, start in zip(plan.stages, starts, strict=True)
    )


def with_batch(plan: Plan, asked: Asked) -> Plan:
    """With a batch where the question leaves it open."""
    if asked.workload.batch_size is not None or asked.workload.phase == "prefill":
        return plan
    sequences = plan.micro_batches * asked.dice.randint(1, 3)
    return plan.replace(batch_size=plan.replicas * sequences)


def away_of(plan: Plan) -> int:
    """Layers that lie off the first memory of the chips."""
    return sum(len(stage.offloaded) for stage in plan.stages)


@pytest.mark.parametrize("name", mostly_slow(pl.topology_names(), but=FAST))
@FEW
@given(seed=st.integers(0, 10_000))
def test_no_plan_beats_what_is_promised_and_no_certificate_says_so_of_a_worse_one(name, seed):
    asked = Asked(name, seed)
    found = asked.answer()
    if found is not None and found.score.queued:
        # The promise is about plans that have as many in flight.
        asked.workload = asked.workload.seated(found.score.batch_size)
    valued = {}
    for plan in itertools.chain(
        random_plans(asked, RANDOM_PLANS), uniform_plans(asked, UNIFORM_PLANS)
    ):
        value = asked.value(plan)
        if value is not None:
            valued[plan] = value
    if found is None:
        assert not valued
        return
    reached = asked.value(found.plan)
    assert reached == pytest.approx(asked.sign() * found.objective, rel=CLOSE)
    bound = asked.sign() * found.bound
    # Where layers have to lie elsewhere, it is about plans with the fewest there.
    away = away_of(found.plan)
    valued = {plan: value for plan, value in valued.items() if away_of(plan) <= away}
    assert all(bound <= value + CLOSE * abs(value) for value in valued.values())
    worse = [plan for plan, value in valued.items() if value > reached + CLOSE * abs(reached)]
    if worse and asked.is_small:
        claimed = asked.sign() * valued[worse[0]]
        claim = found.certificate().replace(
            plan=worse[0], status="optimal", objective=claimed, bound=claimed
        )
        assert not pl.verify(claim, time_limit_s=2.0).confirmed


LLAMA = pl.load_model("llama-3.2-1b")
FOUR = pl.Workload(batch_size=4)


def test_stages_that_skip_chips_of_a_torus_cost_what_they_score():
    found = pl.partition(LLAMA, pl.load_topology("tpu-v5e", chips=12), FOUR, minimize="ttft_s")
    assert found.status == "optimal"
    assert found.objective == pl.score_plan(found.plan, LLAMA, found.topology, FOUR).ttft_s


@pytest.mark.slow
def test_heads_that_are_padded_are_split_as_the_rules_allow_and_no_certificate_leaves_them_out():
    machine = pl.load_topology("inferentia2")
    padded = pl.uniform_plan(LLAMA, machine, tensor_parallel=12)
    whole = pl.uniform_plan(LLAMA, machine, tensor_parallel=8)
    reached = pl.score_plan(padded, LLAMA, machine, FOUR).tpot_s
    worse = pl.score_plan(whole, LLAMA, machine, FOUR).tpot_s
    found = pl.partition(LLAMA, machine, FOUR, minimize="tpot_s")
    assert found.status == "optimal"
    assert found.bound <= reached * (1 + CLOSE) < worse
    claim = found.certificate().replace(plan=whole, objective=worse, bound=worse)
    assert not pl.verify(claim, time_limit_s=5.0).confirmed
