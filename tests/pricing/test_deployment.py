"""What check, queue and score ask of one plan."""

import itertools

import planner as pl
from planner.plan import ChipRange, Plan, Stage
from planner.pricing import schedule, served
from planner.pricing.deployment import Deployment
from planner.pricing.holdings import StageHoldings
from planner.pricing.served import Served
from tests.instances import tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology

GRAPH = tiny_graph(4)
WORK = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=28, arrivals="together")


def machine_for(sequences: float, stages: int):
    """Chips with room for so many sequences beside their share of the weights."""
    cache = 128 * GRAPH.kv_bytes_per_token / stages
    software = tiny_software(usable_memory_fraction=1.0, most_sequences=4096)
    capacity = GRAPH.weight_bytes / stages + (sequences + 0.5) * cache
    return tiny_topology(4, chip=tiny_chip(capacity), software=software)


def test_the_fullest_stage_says_how_many_sequences_fit():
    machine = machine_for(200, 2)
    plan = pl.uniform_plan(GRAPH, machine, pipeline_parallel=2)
    in_service = Deployment(plan, [Served(GRAPH, machine, WORK)] * 2)
    most = in_service.most_sequences
    assert 1 < most < 4096
    room = [
        min(one.headroom_bytes for one in in_service.ledgers(in_service.schedule(count)))
        for count in (most, most + 1)
    ]
    assert room[0] >= 0 > room[1]


def test_each_rank_takes_as_many_sequences_as_its_software_allows():
    """Memory has room for thousands; the stage that shares them out over the fewest ranks says
    how many a replica takes."""
    graph = tiny_moe()
    machine = tiny_topology(8, chip=tiny_chip(1e10), software=tiny_software(most_sequences=5))

    def most(*experts: int) -> int:
        cuts = (0, 2, len(graph.names)) if len(experts) == 2 else (0, len(graph.names))
        stages, first = [], 0
        for expert, (tail, head) in zip(experts, itertools.pairwise(cuts), strict=True):
            groups = (ChipRange(first=first, count=expert),)
            layers = graph.names[tail:head]
            stages.append(Stage(layers=layers, groups=groups, expert_parallel=expert))
            first += expert
        plan = Plan(stages=tuple(stages))
        return Deployment(plan, [Served(graph, machine, WORK)] * len(experts)).most_sequences

    assert [most(1), most(2), most(4), most(8)] == [5, 10, 20, 40]
    assert [most(2, 4), most(4, 1)] == [10, 5]


def test_a_score_of_an_open_batch_makes_each_schedule_and_ledger_once(monkeypatch):
    schedules: list[int] = []
    ledgers: list[tuple[int, int]] = []
    real = StageHoldings.ledger

    def scheduled(*given, batch_size, **named):
        schedules.append(batch_size)
        return schedule.scheduled(*given, batch_size=batch_size, **named)

    def ledger(self, at):
        ledgers.append((id(self), at.sequences))
        return real(self, at)

    monkeypatch.setattr(served, "scheduled", scheduled)
    monkeypatch.setattr(StageHoldings, "ledger", ledger)
    machine = machine_for(100, 2)
    plan = pl.uniform_plan(GRAPH, machine, pipeline_parallel=2)
    score = pl.score_plan(plan, GRAPH, machine, WORK)
    assert 1 < score.batch_size < 4096
    assert len(schedules) == len(set(schedules)) <= 8
    assert len(ledgers) == len(set(ledgers)) == 2 * len(schedules)


def test_a_timing_is_made_once_for_each_number_of_sequences():
    machine = machine_for(200, 2)
    plan = pl.uniform_plan(GRAPH, machine, pipeline_parallel=2)
    in_service = Deployment(plan, [Served(GRAPH, machine, WORK)] * 2)
    at = in_service.schedule(5)
    assert in_service.timing(at) is in_service.timing(in_service.schedule(5))
    assert in_service.timing(in_service.schedule(500)).tpot_s > in_service.timing(at).tpot_s
