"""A result with all that is needed to check it, and what a check has shown."""

from typing import Literal

from planner.machines.cluster import Cluster, PooledPlan
from planner.machines.engine import Space
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.records import Record
from planner.workload import Workload


class ClusterCertificate(Record):
    """A result on a cluster with all that is needed to check it."""

    schema_version: Literal[1] = 1
    graph: ModelGraph
    cluster: Cluster
    workload: Workload
    field: str
    direction: Literal["minimize", "maximize"]
    limits: tuple[tuple[str, float], ...]
    sure: float | None = None
    power_scope: PowerScope | None
    space: Space = "any"
    plan: PooledPlan
    status: Literal["optimal", "feasible"]
    objective: float
    bound: float


class Certificate(Record):
    """A result with all that is needed to check it."""

    schema_version: Literal[1] = 1
    graph: ModelGraph
    topology: Topology
    workload: Workload
    field: str
    direction: Literal["minimize", "maximize"]
    limits: tuple[tuple[str, float], ...]
    """Field and worst value allowed."""
    sure: float | None = None
    """With what probability limits are kept; None: as priced."""
    power_scope: PowerScope | None
    """What watts and joules count."""
    sequence_parallel: bool = False
    """Whether stages were allowed to share out the tokens of a sequence."""
    micro_batches: int | None = None
    """That every plan was to have; None: as many as suited it."""
    space: Space = "any"
    """Of which plans the bound speaks."""
    plan: Plan
    status: Literal["optimal", "feasible"]
    objective: float
    """The plan's score in the field."""
    bound: float
    """That no plan is better than."""


AnyCertificate = Certificate | ClusterCertificate


class Likeness(Record):
    """How a model, machine or software stands to the catalogue's entry of its name."""

    what: str
    name: str
    digest: str
    """Of all that it holds (SHA-256, its first 16 digits)."""
    is_entry: bool
    """Whether the catalogue has just that under this name."""
    differences: tuple[str, ...] = ()
    """From the entry of that name, the first of them; () where there is no such entry."""
    difference_count: int = 0


class Verdict(Record):
    """What a check of a certificate has shown; a wrong certificate is refused with an error."""

    field: str
    objective: float
    bound: float
    checked_bound: float | None
    """No plan is better than this: proved by the check itself; None where it can say nothing."""
    confirmed: bool
    """Whether that is the bound claimed."""
    boxes: int
    """Of batches, each bounded by itself."""
    space: Space = "any"
    """Of which plans the bound speaks; certificates written before this was said are of any."""
    elapsed_s: float
    is_late: bool = False
    """Whether it was not confirmed since time ran out."""
    asked: str = ""
    """The question that the bound answers, in a line."""
    likenesses: tuple[Likeness, ...] = ()
    """Of model, machine and software: what the proof is about, whatever it is called."""
    again_bound: float | None = None
    """No plan is better than this: proved by OR-Tools CP-SAT from the question alone; None where it
    was not asked."""
    again_confirmed: bool = False
    """Whether that is the bound claimed, to a millionth."""
    again_rows: int = 0
    """Forms with a batch, and those alike together, that CP-SAT could choose from."""

    @property
    def is_of_the_catalogue(self) -> bool:
        """Whether model, machine and software are the catalogue's entries of their names."""
        return all(one.is_entry for one in self.likenesses)
