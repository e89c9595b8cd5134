"""What a proof is about is compared with the catalogue's entry of its name."""

import copy
import json
import os
import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest

import planner as pl
from planner.answers.certificates import Certificate
from planner.machines.accounts import alike_pools
from planner.planning.likeness import (
    differences,
    likeness_of_machine,
    likeness_of_model,
    likeness_of_software,
    likenesses_on_pools,
)

FORGERIES = 1_000 if os.environ.get("PLANNER_ORACLE") else 30


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama-3.1-70b", {}),
        ("llama-3.1-70b", {"weight_dtype": "fp8", "kv_dtype": "fp8"}),
        ("llama-3.1-8b", {"sparsity": "2:4"}),
        ("deepseek-v3", {}),
        ("sdxl", {}),
    ],
)
def test_a_model_in_any_of_its_formats_is_the_entry(name: str, options: dict[str, str]) -> None:
    assert likeness_of_model(pl.load_model(name, **options)).is_entry


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hgx-h100", {"chips": 4}),
        ("hgx-h100", {"software": "vllm", "price_basis": "rental"}),
        ("groq-lpu-chain", {}),
    ],
)
def test_a_machine_of_any_size_stack_and_offer_is_the_entry(
    name: str, options: dict[str, Any]
) -> None:
    machine = pl.load_topology(name, **options)
    assert likeness_of_machine(machine).is_entry
    assert likeness_of_software(machine).is_entry


def test_what_was_changed_is_named_and_the_rest_is_not() -> None:
    machine = pl.load_topology("hgx-h100", chips=8)
    software = machine.software.replace(most_tensor_parallel=1)
    forbidden = machine.replace(software=software, other_software=machine.other_software)
    assert likeness_of_machine(forbidden).is_entry
    assert likeness_of_software(forbidden).differences == (
        "most_tensor_parallel: 1 in place of 1000000",
    )
    unsourced = machine.replace(figures=machine.figures[1:])
    (told,) = likeness_of_machine(unsourced).differences
    assert told.startswith(f"figures.{machine.figures[0].path}: nothing in place of")


@pytest.mark.slow
def test_a_name_of_another_is_not_believed_and_one_of_nobody_is_its_owners() -> None:
    model = pl.load_model("llama-3.1-8b")
    renamed = likeness_of_model(model.replace(name="llama-3.1-70b"))
    assert not renamed.is_entry
    assert renamed.difference_count > 100
    own = likeness_of_model(model.replace(name="mine"))
    assert (own.is_entry, own.difference_count) == (False, 0)
    assert own.digest != likeness_of_model(model).digest


def test_lists_are_compared_by_what_their_entries_are_called() -> None:
    here = [{"name": "a", "x": 1}, {"name": "c", "x": 3}]
    there = [{"name": "a", "x": 2}, {"name": "b", "x": 0}, {"name": "c", "x": 3}]
    assert list(differences(here, there, "at")) == [
        "at.a.x: 1 in place of 2",
        "at.b: nothing in place of {'name': 'b', 'x': 0}",
    ]
    assert list(differences([1, 2], [1], "at")) == ["at: 2 in place of 1"]


@lru_cache
def honest() -> str:
    """A certificate of the catalogue's model, machine and software."""
    machine = pl.load_topology("hgx-h100", chips=2)
    result = pl.partition(pl.load_model("llama-3.2-1b"), machine, pl.Workload())
    return result.certificate().to_json()


def leaves(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to all figures and words of nested data."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from leaves(value, (*at, name))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from leaves(value, (*at, number))
    elif data is not None:
        yield at


def forged(fields: dict[str, Any], draw: random.Random) -> tuple[dict[str, Any], str]:
    """A figure or word of model, machine or software changed, or the answer made better."""
    fields = copy.deepcopy(fields)
    places = [way for way in leaves(fields) if way[0] in ("graph", "topology")]
    way = draw.choice([("objective",), ("bound",), *draw.sample(places, 8)])
    place = fields
    for step in way[:-1]:
        place = place[step]
    value = place[way[-1]]
    if isinstance(value, bool):
        place[way[-1]] = not value
    elif isinstance(value, int | float):
        # Objective and bound are of a time, which would be better shorter.
        larger = () if len(way) == 1 else (2, 1000)
        place[way[-1]] = type(value)(value * draw.choice([0.5, *larger])) if value else 1
    else:
        place[way[-1]] = draw.choice([f"{value}x", "llama-3.1-70b", "hgx-b200", "fp8", "A"])
    return fields, ".".join(map(str, way))


@pytest.mark.slow
def test_no_forged_certificate_is_confirmed_as_the_catalogues() -> None:
    """`make oracle` forges a thousand."""
    fields = json.loads(honest())
    verdict = pl.verify(Certificate.from_fields(fields))
    assert verdict.confirmed
    assert verdict.is_of_the_catalogue

    draw = random.Random(7)
    refused = 0
    for _ in range(FORGERIES):
        given, where = forged(fields, draw)
        if given == fields:
            continue
        try:
            found = pl.verify(Certificate.from_fields(given), time_limit_s=5)
        except pl.PlannerError:
            refused += 1
            continue
        assert not (found.confirmed and found.is_of_the_catalogue), where
    assert refused > FORGERIES / 10


@pytest.mark.parametrize("name", ["three-macs", "a100-l4-t4"])
def test_a_cluster_of_the_catalogue_is_the_entry_however_its_watts_are_counted(name: str) -> None:
    cluster = alike_pools(pl.load_cluster(name))
    graph, work = pl.load_model("llama-3.1-8b"), pl.Workload(batch_size=1)
    assert all(one.is_entry for one in likenesses_on_pools(graph, cluster, work))


def test_what_was_changed_in_a_cluster_is_named() -> None:
    cluster = pl.load_cluster("three-macs")
    link = cluster.links[0].replace(latency_s=1.0)
    chip = cluster.pools[0].topology.chip
    faster = cluster.pools[0].topology.replace(
        chip=chip.replace(
            memory=(chip.memory[0].replace(bandwidth_bytes_per_s=1e13), *chip.memory[1:])
        )
    )
    pools = (cluster.pools[0].replace(topology=faster), *cluster.pools[1:])
    forged = cluster.replace(links=(link, *cluster.links[1:]), pools=pools)
    graph, work = pl.load_model("llama-3.1-8b"), pl.Workload(batch_size=1)
    found = {one.what: one for one in likenesses_on_pools(graph, forged, work)}
    assert found["cluster"].differences[0].startswith("links[0].latency_s: 1 in place of")
    (told,) = found["machine of pool m2-ultra"].differences
    assert told.startswith("chip.memory.unified LPDDR5.bandwidth_bytes_per_s: 1e+13")
    assert found["machine of pool m3-max"].is_entry


def test_machines_of_the_catalogue_in_a_cluster_of_ones_own_are_the_entries() -> None:
    cluster = pl.load_cluster("three-macs").replace(name="mine")
    graph, work = pl.load_model("llama-3.1-8b"), pl.Workload(batch_size=1)
    found = {one.what: one.is_entry for one in likenesses_on_pools(graph, cluster, work)}
    assert not found.pop("cluster")
    assert all(found.values())
