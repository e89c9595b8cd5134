"""OR-Tools CP-SAT, which states the problem once more, cuts the layers of an engine's plan no
better than the search."""

import random

import pytest

import planner as pl
from planner.planning.engine_cuts import cut_by_cpsat, problem_of
from planner.planning.engine_search import EngineSearch
from planner.solver.chain import cpsat
from tests.questions import random_space


def pipelines(count):
    """Plans of several stages that are best of random small questions, each with its space."""
    found = []
    seed = 0
    while len(found) < count:
        space = random_space(random.Random(f"cut {seed}"))
        seed += 1
        search = EngineSearch(space.candidates, nice=False)
        search.run()
        if search.found is not None and search.found.span.form.stages > 1:
            found.append((space, search.found))
    return found


@pytest.mark.slow
def test_cp_sat_proves_the_cut_that_was_found():
    stated = 0
    for space, found in pipelines(25):
        problem = problem_of(space, found)
        assert problem is not None
        other, bound = cut_by_cpsat(space, found, 60.0, seed=0)
        assert other.value == pytest.approx(found.value, rel=1e-9)
        assert bound <= found.value * (1 + 1e-9)
        stated += cpsat.supports(problem)
        if cpsat.supports(problem):
            assert bound >= found.value * (1 - 2e-5)
    assert stated > 10


def test_partition_can_leave_the_cuts_to_cp_sat():
    graph = pl.load_model("llama-3.2-1b")
    topology = pl.load_topology("l4", chips=3, software="vllm")
    topology = topology.replace(software=topology.software.replace(most_tensor_parallel=1))
    work = pl.Workload(batch_size=3, prompt_tokens=512, output_tokens=64)
    asked = {"maximize": "memory_headroom_bytes"}
    one = pl.partition(graph, topology, work, **asked)
    other = pl.partition(graph, topology, work, engine="cp-sat", **asked)
    assert len(one.plan.stages) == 3
    assert other.objective == pytest.approx(one.objective, rel=1e-9)
    assert other.gap < 1e-4
