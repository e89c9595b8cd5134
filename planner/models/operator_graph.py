"""`OperatorGraph`: any DAG of operators with measured times, and the classes of devices that may
run them.

Where a graph of layers is priced by a roofline, an operator says itself how long it takes on a
device of each class. Times may be in any one unit; answers are in the same.
"""

from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from planner.errors import InputError, shortened
from planner.records import Record
from planner.solver.dag.problem import GraphProblem

Time = Annotated[float, Field(ge=0, le=1e12)]
Bytes = Annotated[float, Field(ge=0, le=1e18)]


class DeviceClass(Record):
    """Equal devices."""

    name: str
    """Devices are called by it and a number: a0, a1 and so on."""
    count: Annotated[int, Field(ge=0, le=100_000)]
    memory_bytes: Bytes | None = None
    """Of one device; None: no limit."""
    pays_transfers: bool = True
    """Whether outputs that cross the device's border cost it time; false for a host, which works
    where they are kept."""


class Operator(Record):
    """One operator of a graph, and how long it takes on each class of devices."""

    name: str
    times_s: tuple[Time | None, ...]
    """On a device of each class; None: it cannot run there."""
    transfer_s: Time = 0.0
    """To move its output between a device and the memory of the host."""
    size_bytes: Bytes = 0.0
    """What it keeps in a device's memory."""
    colour: int | None = None
    """Operators of one colour share a device; None: a colour of its own."""
    backward: bool = False
    """Whether it belongs to the backward pass, which contiguous stages leave out of their order."""


class OperatorGraph(Record):
    """Operators, edges from producers to consumers, and devices."""

    operators: Annotated[tuple[Operator, ...], Field(min_length=1)]
    edges: tuple[tuple[int, int], ...]
    """Positions of a producer and a consumer in `operators`."""
    devices: Annotated[tuple[DeviceClass, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for number, operator in enumerate(self.operators):
            self._refuse_homeless(number, operator)
        for number, edge in enumerate(self.edges):
            self._refuse_strange(number, edge)
        if not self.acyclic:
            raise InputError("OperatorGraph.edges form a cycle; an operator cannot wait for itself")
        if len({kind.name for kind in self.devices}) < len(self.devices):
            raise InputError("OperatorGraph.devices must have different names")
        if not sum(kind.count for kind in self.devices):
            raise InputError("OperatorGraph.devices must hold one device at least")
        return self

    def _refuse_homeless(self, number: int, operator: Operator) -> None:
        if len(operator.times_s) != len(self.devices):
            raise InputError(
                f"OperatorGraph.operators[{number}].times_s has {len(operator.times_s)} times; "
                f"give one for each of the {len(self.devices)} classes of devices"
            )
        homes = zip(operator.times_s, self.devices, strict=True)
        if not any(time is not None and kind.count for time, kind in homes):
            raise InputError(
                f"OperatorGraph.operators[{number}] ({shortened(operator.name)}) can run on no"
                " device; give it a time on a class that has devices"
            )

    def _refuse_strange(self, number: int, edge: tuple[int, int]) -> None:
        count = len(self.operators)
        if edge[0] == edge[1] or min(edge) < 0 or max(edge) >= count:
            raise InputError(
                f"OperatorGraph.edges[{number}] must join two different of {count} operators"
            )

    @property
    def acyclic(self) -> bool:
        """Whether no operator waits for itself."""
        waiting = [0] * len(self.operators)
        ahead: list[list[int]] = [[] for _ in self.operators]
        for tail, head in self.edges:
            waiting[head] += 1
            ahead[tail].append(head)

        # The list grows while it is read: an operator is ready when the last that it waits for
        # has been. Those in a circle never are.
        ready = [node for node, count in enumerate(waiting) if not count]
        for node in ready:
            for head in ahead[node]:
                waiting[head] -= 1
                if not waiting[head]:
                    ready.append(head)
        return len(ready) == len(self.operators)

    @property
    def device_names(self) -> tuple[str, ...]:
        """Of every device, class by class."""
        return tuple(
            f"{kind.name}{number}" for kind in self.devices for number in range(kind.count)
        )

    def to_problem(self) -> GraphProblem:
        """The arrays that the solvers read."""
        # To numpy None is no number; as a float it is nan, and neither time nor size may be one.
        times = np.array([node.times_s for node in self.operators], dtype=np.float64).T
        limits = np.array([kind.memory_bytes for kind in self.devices], dtype=np.float64)
        return GraphProblem(
            times=np.where(np.isnan(times), np.inf, times),
            counts=np.array([kind.count for kind in self.devices], dtype=np.intp),
            capacity=np.where(np.isnan(limits), np.inf, limits),
            pays=np.array([kind.pays_transfers for kind in self.devices]),
            transfer=np.array([node.transfer_s for node in self.operators]),
            sizes=np.array([node.size_bytes for node in self.operators]),
            colour=self._colours(),
            forward=np.array([not node.backward for node in self.operators]),
            edges=np.array(self.edges, dtype=np.intp).reshape(-1, 2),
        )

    def _colours(self) -> NDArray[np.intp]:
        """Of each operator, numbered from 0; one that states none gets a fresh one."""
        stated = [node.colour for node in self.operators if node.colour is not None]
        fresh = max(stated, default=0) + 1
        colours = []
        for number, node in enumerate(self.operators):
            colours.append(fresh + number if node.colour is None else node.colour)
        return np.unique(colours, return_inverse=True)[1].astype(np.intp)
