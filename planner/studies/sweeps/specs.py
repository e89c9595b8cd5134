"""A sweep from a TOML file.

models = ["llama-3.1-8b", "llama-3.1-70b"]
weights = "fp8"                             # of all of them; default: as published
topologies = ["hgx-h100:8", "groq-lpu-chain"]    # NAME or NAME:CHIPS
objectives = ["tpot_s", "energy_per_token_j"]
limits = { ttft_s = "2 s", tpot_s = 0.03 }

[[workload]]
batch_size = [1, 8, 64]                     # lists are multiplied out
prompt_tokens = 1024
output_tokens = [256, 1024]
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from planner.catalogue import load_model, load_topology
from planner.machines.accounts import PowerBasis
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope
from planner.models.dtypes import Dtype
from planner.readers.files import read_toml
from planner.readers.naming import with_names
from planner.readers.topology_file import tables
from planner.records import Record
from planner.studies.sweeps.cells import Cell, check_count
from planner.workload import Workload

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class SweepSpec(Record):
    """What a file asks of a sweep."""

    models: Names
    topologies: Names
    """NAME or NAME:CHIPS."""
    workloads: Annotated[tuple[Workload, ...], Field(min_length=1)]
    objectives: Names = ("tpot_s",)
    limits: dict[str, float | str] = Field(default_factory=dict)
    weights: Dtype | None = None
    kv: Dtype = "bf16"
    time_limit_s: float | None = None
    """For each cell."""
    power_scope: PowerScope | None = None
    price_basis: OfferBasis | None = None
    power_basis: PowerBasis | None = None
    space: Space = "engine"
    """Whether plans are those that each machine's software can be started with, or any."""

    @model_validator(mode="after")
    def check_cells(self) -> Self:
        lists = (self.models, self.topologies, self.workloads, self.objectives)
        check_count(
            math.prod(map(len, lists)),
            "SweepSpec: models x topologies x workloads x objectives are",
        )
        return self

    def cells(self) -> Iterator[Cell]:
        """All combinations."""
        models = [
            load_model(name, weight_dtype=self.weights, kv_dtype=self.kv) for name in self.models
        ]
        machines = [load_topology(name) for name in self.topologies]
        for one in itertools.product(models, machines, self.workloads, self.objectives):
            yield Cell(*one, self.limits)


def read_spec(path: str | Path) -> SweepSpec:
    """The sweep that a TOML file describes; an InputError names the field that is wrong."""
    fields = with_names(read_toml(Path(path), "a sweep"), Path(path).parent)
    given = tables(fields, "workload")
    check_count(sum(_count(table) for table in given), "[[workload]] asks for")
    workloads = [Workload.from_fields(one) for table in given for one in _multiplied(table)]
    rest = {name: value for name, value in fields.items() if name != "workload"}
    return SweepSpec.from_fields({**rest, "workloads": workloads or [Workload()]})


def _count(table: Mapping[str, Any]) -> int:
    """Of workloads that a table stands for."""
    return math.prod(len(value) for value in table.values() if isinstance(value, list))


def _multiplied(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    choices = [value if isinstance(value, list) else [value] for value in table.values()]
    return (dict(zip(table, one, strict=True)) for one in itertools.product(*choices))
