"""Measured kernels: one operator by itself, timed on one chip."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from planner.catalogue import load_topology
from planner.errors import InputError
from planner.machines.topology import Topology
from planner.models.graph import Layer, ModelGraph
from planner.models.operators import LayerOperator
from planner.pricing.price_list import PriceList, Split, Step, reach_of
from planner.readers.files import read_rows
from planner.readers.naming import with_names
from planner.records import Record

KERNELS = Path(__file__).parent / "kernels.csv"
"""Published timings of single kernels, thinned."""


class KernelTime(Record):
    """One operator, timed."""

    row_id: str
    topology: str
    software: str
    operator: LayerOperator
    """As the columns of the file hold it: JSON."""
    tokens: Annotated[int, Field(ge=1)]
    sequences: Annotated[int, Field(ge=1)]
    context_tokens: Annotated[float, Field(ge=0)] = 0
    """As each token sees it."""
    decode: bool
    value: Annotated[float, Field(gt=0)]
    """[s]"""
    source: str = ""


@dataclass(frozen=True, slots=True)
class KernelCase:
    """A timed operator, and what the planner says of it."""

    timed: KernelTime
    topology: Topology
    graph: ModelGraph
    """One layer of this operator alone."""

    @property
    def field(self) -> str:
        return f"{self.timed.operator.kind}_s"

    @property
    def family(self) -> str:
        return self.field

    @property
    def measured(self) -> float:
        return self.timed.value

    def predicted(self, topology: Topology | None = None) -> float:
        """Launch and roofline. [s]"""
        machine = topology or self.topology
        timed = self.timed
        alone = Split()
        step = Step(timed.tokens, timed.sequences, timed.context_tokens, timed.decode)
        prices = PriceList(self.graph, machine).prices(alone, step, reach_of(machine, alone, 0))
        return float(prices.seconds.sum())


def read_kernels(path: Path = KERNELS) -> tuple[KernelTime, ...]:
    """The rows of a table of kernels; an InputError names the line."""
    rows = []
    for line, row in enumerate(read_rows(path, "a table of kernels")[1], 2):
        given: dict[str, Any] = {name: text for name, text in row.items() if text not in (None, "")}
        try:
            given["operator"] = json.loads(given.get("operator", "{}"))
            rows.append(KernelTime.from_fields(with_names(given, path.parent)))
        except (InputError, ValueError) as error:
            raise InputError(f"{path}, line {line}: {error}") from None
    return tuple(rows)


def kernel_cases(rows: Sequence[KernelTime]) -> list[KernelCase]:
    """Each on one chip of its machine."""
    machines = {
        (row.topology, row.software): load_topology(row.topology, chips=1, software=row.software)
        for row in rows
    }
    return [
        KernelCase(row, machines[row.topology, row.software], _alone(row.operator)) for row in rows
    ]


def _alone(operator: LayerOperator) -> ModelGraph:
    layer = Layer(name="operator", kind="decoder", operators=(operator,), activation_width=1)
    return ModelGraph(
        name="operator",
        layers=(layer,),
        edges=(),
        weight_dtype="bf16",
        kv_dtype="bf16",
        activation_dtype="bf16",
        parameters_active=0,
    )
