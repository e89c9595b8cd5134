"""`Claim`: what somebody says of a machine and a model, in fields that can be checked. The
article's claims are shipped."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, model_validator

from planner.errors import InputError, UnknownNameError
from planner.guards import guarded
from planner.machines.origin import Confidence
from planner.machines.topology import PowerScope, Topology
from planner.models.dtypes import Dtype
from planner.readers.files import read_toml
from planner.readers.naming import with_names
from planner.records import Record
from planner.units import Count, Fraction, Watts

Positive = Annotated[float, Field(gt=0, le=1e24)]
Amounts = Annotated[tuple[float, ...], Field(min_length=1, max_length=1000)]


class Total(Record):
    """Parts that are said to add up."""

    kind: Literal["total"] = "total"
    parts: Amounts
    value: float
    """What they are said to add up to."""


class Quotient(Record):
    """One number that is said to be so many times another."""

    kind: Literal["quotient"] = "quotient"
    first: Positive
    second: Positive
    value: Positive


class Growth(Record):
    """Growth that is said to be so much a year, compounded."""

    kind: Literal["growth"] = "growth"
    first: Positive
    last: Positive
    years: Positive
    value: Annotated[float, Field(gt=-1, le=1e3)]
    """A year: 0.41 is 41 %."""


class Greatest(Record):
    """One of several series that is said to have grown most."""

    kind: Literal["greatest"] = "greatest"
    names: tuple[str, ...]
    first: Amounts
    last: Amounts
    winner: str

    @model_validator(mode="after")
    def check_names(self) -> Self:
        if not len(self.names) == len(self.first) == len(self.last):
            raise InputError("Greatest.first and last need one figure for each of its names")
        if self.winner not in self.names:
            raise UnknownNameError("series", self.winner, self.names)
        return self


class Distance(Record):
    """Cores in a square mesh of which each is said to reach any other's memory in so many cycles,
    where a message takes `cycles_per_hop`."""

    kind: Literal["distance"] = "distance"
    cores: Positive
    cycles_per_hop: Positive = 1.0
    value: Positive
    """Cycles."""


class Area(Record):
    """Memory that is said to take a share of a die, in cells of one size."""

    kind: Literal["area"] = "area"
    memory_bytes: Positive
    cell_mm2_per_mbit: Positive
    """Of the array with its periphery."""
    die_mm2: Positive
    value: Fraction
    """Of the die."""


class Lookup(Record):
    """Rows of a table that are summed up where they lie, so that one row leaves for many: the share
    of the traffic that is said to be saved."""

    kind: Literal["lookup"] = "lookup"
    row_bytes: Positive
    index_bytes: Positive = 4.0
    value: Fraction
    """Of the bytes that leave otherwise."""


Arithmetic = Annotated[
    Total | Quotient | Growth | Greatest | Distance | Area | Lookup, Field(discriminator="kind")
]


class Known(Record):
    """What a source says of a thing that is no machine of the catalogue: a range, or words."""

    what: str
    claimed: Positive | None = None
    low: Positive | None = None
    high: Positive | None = None
    unit: str = ""
    agrees: bool | None = None
    """Where it is words and no figure: whether they say the same."""
    words: str = ""
    source: str
    """Explained in `topologies/sources.toml`."""
    confidence: Confidence

    @model_validator(mode="after")
    def check_kind(self) -> Self:
        figures = (self.claimed, self.low, self.high)
        if any(one is None for one in figures) != (self.agrees is not None):
            raise InputError(
                f"Known.claimed, low and high of {self.what!r} are all needed, or `agrees` alone"
            )
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InputError(f"Known.low of {self.what!r} lies above its high")
        return self


class Claim(Record):
    """A claim: what it is about, and any of the figures that an audit knows. What it leaves open
    stays None."""

    name: str
    """Unique among the claims of an audit."""
    quote: str = ""
    """The words."""
    source: str = ""
    reading: str = ""
    """What whoever put the words into fields had to add."""
    premises: tuple[str, ...] = ()
    """Names of claims on which it rests."""

    topic: Literal["", "market"] = ""
    """Market: revenue, funding, shares, shipments, stars and forecasts, on which laws are silent."""

    topology: str | Topology | None = None
    """The machine: a name of the catalogue, a file, or a record."""
    announced: bool = False
    """Whether the machine is only announced: where the catalogue has none of that name, the claim
    is held against what it would take of any machine."""
    chips: Count | None = None
    """That the figures are said to take; None: not said, as many as it takes."""
    model: str | None = None
    parameters: Positive | None = None
    """The size of the model: of the dense family where no `model` is named; else it is itself a
    figure to check."""
    weight_dtype: Dtype | None = None
    """None: not said; the claim may hold in any format of 4 bit and more that the chip
    multiplies in."""
    sparsity: str | None = None
    """"2:4", a share of zeros such as "90%", or "unstructured" where the share is not said."""
    batch_size: Count | None = None
    """None: not said; the claim may hold at any."""
    prompt_tokens: Count | None = None
    """None: not said; bounds then count no cache at all, and the engine prices requests of 1,024
    + 256 tokens."""
    output_tokens: Count | None = None
    scope: PowerScope = "chip"
    """What its watts and joules count."""

    tokens_per_s: Positive | None = None
    """Of all users, on `chips`."""
    tokens_per_s_per_user: Positive | None = None
    power_w: Watts | None = None
    """Of one chip."""
    energy_per_token_j: Positive | None = None
    tokens_per_s_per_w: Positive | None = None
    usd_per_million_tokens: Positive | None = None
    """Of a diffusion model: of a million pictures."""
    purchase_usd: Positive | None = None
    """Of one chip."""
    bubble_fraction: Fraction | None = None
    """Of the stages' time, at most."""
    hops: Count | None = None
    """Between two chips of a node, at most."""
    latency_exponent: Positive | None = None
    """With which power of the number of chips the time per token is said to grow."""
    utilisation_fraction: Fraction | None = None
    """Of arithmetic or of bandwidth, whichever is higher."""
    speed_up: Positive | None = None
    """That the sparsity is said to bring."""
    efficiency_fraction: Fraction | None = None
    """Speed on `chips` over that of as many times the fewest chips that hold the model."""
    denied: bool = False
    """Whether the claim is that the efficiency cannot be had."""
    resident: bool = False
    """Whether the weights are said to stay in the chips' first memory."""
    bound_by: Literal["memory", "compute"] | None = None
    over: str | Topology | None = None
    """The machine over which `topology` is said to have an advantage."""
    advantage: Positive | None = None
    """How many times better it is said to be."""
    metric: str = "energy_per_token_j"
    """The field of `Score` in which."""
    ends_at_parameters: Positive | None = None
    """Beyond which the advantage is said to be gone."""
    figure: str = ""
    """A machine's own figure, by its path: "chip.memory[0].bandwidth_bytes_per_s"."""
    value: Positive | None = None
    """Of that figure, in SI units."""
    arithmetic: Arithmetic | None = None
    known: Known | None = None
    purposes: tuple[str, ...] = ()
    """Each of which one chip is said to be made specifically for."""
    architecture: str = ""
    """The family that its chips are said to be of."""
    lease_usd_per_year: Positive | None = None
    """For one chip."""
    near_memory: bool = False
    """Whether arithmetic beside the memory is said to save its traffic."""
    denser_than: tuple[str, ...] = ()
    """Machines whose racks draw less power for their height, it is said."""

    @model_validator(mode="after")
    def check_figure(self) -> Self:
        of = f"of {self.name!r}"
        if bool(self.figure) != (self.value is not None):
            raise InputError(
                f"Claim.figure and value {of} go together: a path and what is claimed of it"
            )
        if self.figure and self.topology is None:
            raise InputError(f"Claim.topology {of} is missing: a figure belongs to a machine")
        if self.sparsity == "unstructured" and self.speed_up is not None:
            raise InputError(
                f"Claim.sparsity {of}: a speed-up needs a share of zeros, such as '90%'"
            )
        return self


@guarded
def read_claims(path: str | Path) -> tuple[Claim, ...]:
    """The claims of a TOML file: a table [[claim]] each, with the fields of `Claim`; `source` at
    the top goes for all.

    InputError: a field that is wrong, by its name and its claim.
    """
    fields = with_names(read_toml(Path(path), "a file of claims"), Path(path).parent)
    return _claims_in(fields, str(path))


def article_claims() -> tuple[Claim, ...]:
    """What the article "trust in AI chips moves from shipments to efficiency" says, in the order
    of its 59 figures; "7 LPU" is the LPU's part of figure 7, "47 racks" a remark beside it."""
    with resources.as_file(resources.files("planner.studies.audits") / "article.toml") as path:
        return read_claims(path)


def _claims_in(fields: dict[str, Any], path: str) -> tuple[Claim, ...]:
    rows = fields.get("claim")
    is_table = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not is_table or set(fields) - {"claim", "source"}:
        raise InputError(
            f"{path} must hold tables called [[claim]], and nothing else but a source for all of"
            " them"
        )
    source = {"source": fields.get("source", "")}
    return tuple(Claim.from_fields(source | row) for row in cast(list[dict[str, Any]], rows))
