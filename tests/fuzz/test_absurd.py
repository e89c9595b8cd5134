"""Public functions refuse what is absurd in one sentence, or answer."""

import json
import math
import subprocess
import sys

import pytest

import planner as pl
from planner import studies
from planner.errors import PlannerError
from tests.fuzz import absurd
from tests.fuzz.running import ROOT
from tests.lanes import some

CALLS = some(150, 250)
SEED = 20260
FAILED = [
    ("partition", "seed", "10**30"),
    ("partition", "graph", "10**400"),
    ("partition_operators", "seed", "2**40"),
    ("global_sensitivity", "samples", "2**40"),
    ("global_sensitivity", "seed", "minus one"),
    ("decode_grid_s", "tensor_parallel", "empty tuple"),
    ("plan_grid", "shapes", "model"),
    ("advantage_map", "speeds", "empty tuple"),
    ("advantage_map", "speeds", "zeros"),
    ("advantage_map", "checks", "minus one"),
    ("sweep", "file", "null byte"),
    ("sweep", "file", "surrogate"),
    ("sweep", "file", "long text"),
    ("partition", "maximize", "three thousand letters"),
    ("load_topology", "price_basis", "three thousand letters"),
    ("Workload", "phase", "mute"),
    ("Software", "stores_kept_in", "mutes"),
    ("ModelGraph", "weight_dtype", "mute"),
    ("ModelGraph", "layers", "endless"),
    ("Workload", "batch_size", "10**5000"),
    ("Workload", "requests_per_s", "denormal"),
    ("score_plan", "workload", "nothing"),
    ("verify", "certificate", "10**5000"),
    ("map_grids", "loads", "empty tuple"),
]
"""What once left a traceback, took the memory, or was told in a million letters."""


@pytest.mark.parametrize("call", FAILED, ids="-".join)
def test_what_once_failed_is_refused_or_answered(call):
    assert absurd.fault_of(absurd.Call(*call)) == ""


def test_every_function_and_every_argument_is_tried():
    tried = {(call.function, call.argument) for call in absurd.calls()}
    assert {name for name, _ in tried} == set(absurd.good_calls()) == set(absurd.public())
    assert len(tried) > 250
    assert len(absurd.ABSURD) > 50


def test_every_public_function_is_guarded():
    """What takes arguments is held against its annotations before it does anything."""
    for name, function in absurd.public().items():
        assert hasattr(function, "__wrapped__"), name


@pytest.mark.slow
def test_some_calls_of_all_are_refused_or_answered():
    command = (sys.executable, "-m", "tests.fuzz.absurd", str(SEED), str(CALLS))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr[-500:]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"made": CALLS}]


@pytest.mark.parametrize("mode", ["throughput", "latency"])
def test_rules_of_thumb_break_a_limit_where_an_operator_runs_on_one_class_alone(mode):
    graph = absurd.nouns().operators
    first, second = graph.operators
    stuck = graph.replace(operators=(first.replace(times_s=(None, 2.0)), second))
    assert set(pl.rules_of_thumb(stuck, mode=mode).values()) == {math.inf}
    plain = [device.replace(pays_transfers=False) for device in graph.devices]
    free = pl.rules_of_thumb(graph.replace(devices=tuple(plain)), mode=mode)
    assert all(value > 0 for value in free.values())


def test_models_and_machines_may_be_named_wherever_they_are_meant():
    at = absurd.nouns()
    workload = at.workload.replace(batch_size=1)
    named = pl.partition("llama-3.2-1b", "gh200", workload, minimize="tpot_s")
    graph, machine = pl.load_model("llama-3.2-1b"), pl.load_topology("gh200")
    loaded = pl.partition(graph, machine, workload, minimize="tpot_s")
    assert named.objective == loaded.objective
    plan = pl.uniform_plan("llama-3.2-1b", "gh200")
    scores = [
        pl.score_plan(plan, one, other, workload)
        for one, other in (("Llama 3.2 1B", "GH200"), (graph, machine))
    ]
    assert scores[0] == scores[1]
    assert pl.check_plan(plan, "llama-3.2-1b", "gh200", workload) == ()
    with pytest.raises(pl.UnknownNameError, match="gh200"):
        pl.partition("llama-3.2-1b", "gh2000", workload)


def test_an_argument_that_there_is_not_is_told_with_the_nearest():
    at = absurd.nouns()
    with pytest.raises(pl.InputError, match="takes no 'minimise'; did you mean minimize"):
        pl.partition(at.graph, at.machine, at.workload, minimise="tpot_s")
    with pytest.raises(pl.InputError, match="missing a required argument: 'workload'"):
        pl.partition(at.graph, at.machine)


def test_a_certificate_may_be_a_file(tmp_path):
    path = tmp_path / "certificate.json"
    path.write_text(absurd.nouns().result.certificate().to_json(), encoding="utf-8")
    assert pl.verify(path).confirmed
    assert pl.verify(str(path)).confirmed
    with pytest.raises(PlannerError, match="cannot be read"):
        pl.verify(tmp_path / "none.json")


def test_cells_of_a_sweep_may_be_plain_tuples():
    at = absurd.nouns()
    made = studies.sweep(
        cells=[(at.graph, at.machine, at.workload)], file=None, progress=False, processes=1
    )
    assert len(made.rows) == 1
