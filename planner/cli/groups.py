"""Options that several commands take together, as one parameter of each."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any

from planner.cli.options import (
    Acceptance,
    Basis,
    Batch,
    Cached,
    Chips,
    Data,
    Dimensions,
    Draft,
    Drafted,
    Drawn,
    Expert,
    Frames,
    Height,
    Hourly,
    Kind,
    Kv,
    Licence,
    Lifetime,
    Limit,
    Maximize,
    MemoryLimit,
    MicroBatches,
    Minimize,
    Output,
    Pipeline,
    PowerPrice,
    Prompt,
    Pue,
    Rate,
    Scope,
    Sparsity,
    Stack,
    Steps,
    Sure,
    Tensor,
    TimeLimit,
    Usable,
    Utilisation,
    Weights,
    Width,
)
from planner.cli.values import figure, limits_of, memory_bytes, prices_of, scope_of, seconds
from planner.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from planner.machines.topology import Topology
    from planner.models.graph import ModelGraph


@dataclass(frozen=True, slots=True)
class Formats:
    """In what the model is stored."""

    weights: Weights = None
    kv: Kv = "bf16"
    sparsity: Sparsity = None
    dimension: Dimensions = None
    steps: Steps = None
    height: Height = None
    width: Width = None
    frames: Frames = None

    def unserved(self) -> list[str]:
        """Options that are given and that no engine knows."""
        names = ("sparsity", "dimension", "steps", "height", "width", "frames")
        return [f"--{name}" for name in names if getattr(self, name) is not None]


@dataclass(frozen=True, slots=True)
class Requests:
    """How many requests there are at once, and how long they are."""

    batch: Batch = None
    rate: Rate = None
    prompt: Prompt = "1024"
    output: Output = "256"
    cached_share: Cached = "0"

    @property
    def is_counted(self) -> bool:
        """Whether it is said how many there are, or how many come."""
        return self.batch is not None or self.rate is not None

    def or_open(self) -> "Requests":
        """The same, with an open batch where nothing is said of their number."""
        return self if self.is_counted else replace(self, batch="max")


@dataclass(frozen=True, slots=True)
class Hardware:
    """How the machine is taken that is asked about."""

    chips: Chips = None
    software: Stack = None
    usable_memory: Usable = None

    def given(self, software: str | None = None) -> dict[str, Any]:
        """As `asked_of` takes them; a stack that is not given is the other one."""
        return {
            "chips": self.chips,
            "software": self.software or software,
            "usable_memory": self.usable_memory,
        }


@dataclass(frozen=True, slots=True)
class Degrees:
    """Of a uniform plan."""

    tensor: Tensor = 1
    pipeline: Pipeline = 1
    expert: Expert = 1
    data: Data = 1
    micro_batches: MicroBatches = None

    def check(self) -> None:
        """Refuse before the work what is no degree."""
        from planner.space.degrees import check_whole

        check_whole(**{name: degree for name, degree in self.given().items() if degree is not None})

    def given(self) -> dict[str, Any]:
        """As `uniform_plan` takes them."""
        return {
            "tensor_parallel": self.tensor,
            "pipeline_parallel": self.pipeline,
            "expert_parallel": self.expert,
            "data_parallel": self.data,
            "micro_batches": self.micro_batches,
        }


@dataclass(frozen=True, slots=True)
class Drafts:
    """How tokens are guessed before the model checks them."""

    draft: Draft = None
    speculative_tokens: Drafted = "4"
    acceptance: Acceptance = None
    draft_kind: Kind = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What watts and dollars count, and what those who own the machine pay."""

    power_scope: Scope = None
    power_basis: Drawn = None
    price_basis: Basis = None
    price: Hourly = None
    licence: Licence = None
    lifetime_years: Lifetime = None
    usd_per_kwh: PowerPrice = None
    pue: Pue = None
    utilisation: Utilisation = None

    def bases(self) -> dict[str, Any]:
        """As the functions that plan take them."""
        from planner.machines.accounts import check_power_basis
        from planner.machines.prices import check_basis

        check_power_basis(self.power_basis, "--power-basis")
        check_basis(self.price_basis, "--price-basis")
        if self.price and self.price_basis is not None:
            raise InputError(
                "--price and --price-basis are both given; a price that is given has no basis, so"
                " give one"
            )
        return {
            "power_scope": scope_of(self.power_scope),
            "power_basis": self.power_basis,
            "price_basis": self.price_basis,
        }

    def economics(self) -> dict[str, float]:
        """What owners pay, as far as it is given."""
        stated = {
            "lifetime_years": figure("--lifetime-years", self.lifetime_years, "years"),
            "usd_per_kwh": figure("--usd-per-kwh", self.usd_per_kwh, "usd_per_kwh"),
            "pue": self.pue,
            "utilisation": figure("--utilisation", self.utilisation, "fraction"),
        }
        return {name: value for name, value in stated.items() if value is not None}

    def check_prices(self, *names: str) -> None:
        """Refuse the price of a machine that is none of those that are asked about."""
        prices = prices_of(self.price or [])
        unknown = next((name for name in prices if name and name not in names), None)
        if unknown is not None:
            raise UnknownNameError("machine of --price", unknown, dict.fromkeys(names))

    def owned(self, topology: "Topology", *called: str) -> "Topology":
        """The machine with what its owner pays; its price is that of the first name it is called
        by on the command line, of its own name, or of all machines."""
        from planner.machines.accounts import with_economics, with_licence, with_price
        from planner.machines.prices import Economics

        assumed = self.economics()
        if assumed:
            topology = with_economics(topology, Economics(**assumed))
        prices = prices_of(self.price or [])
        names = (*called, topology.name, "")
        price = next((prices[name] for name in names if name in prices), None)
        if price is not None:
            topology = with_price(topology, price, "--price")
        if self.licence is not None:
            topology = with_licence(topology, self.licence, "--licence")
        return topology


@dataclass(frozen=True, slots=True)
class Goal:
    """What a plan is to be best for, and what it must keep to."""

    minimize: Minimize = None
    maximize: Maximize = None
    limit: Limit = None
    sure: Sure = None
    time_limit: TimeLimit = None
    memory_limit: MemoryLimit = None

    def options(self, counts: Counts) -> dict[str, Any]:
        """As the functions that plan take them."""
        return {"minimize": self.minimize, "maximize": self.maximize} | self.bounds(counts)

    def bounds(self, counts: Counts) -> dict[str, Any]:
        """Those of them that hold whatever is made best."""
        sure = figure("--sure", self.sure, "fraction")
        return {
            "limits": limits_of(self.limit or []),
            **({} if sure is None else {"sure": sure}),
            "time_limit_s": seconds(self.time_limit),
            "memory_limit_bytes": memory_bytes(self.memory_limit),
            **counts.bases(),
        }

    def field(self, graph: "ModelGraph") -> str:
        """What the best plan of a model is best in."""
        return self.maximize or self.minimize or ("image_s" if graph.is_diffusion else "tpot_s")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command some of whose parameters are dataclasses of options, with each field of them a
    parameter by itself: typer knows no groups. A group may hold groups."""
    wanted = [*signature(command).parameters.values()]
    parameters = [part for one in wanted for part in _parts(one)]
    groups = {one.name: one.annotation for one in wanted if is_dataclass(one.annotation)}

    def run(**given: Any) -> None:
        made = {name: _gathered(group, given) for name, group in groups.items()}
        command(**given, **made)

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    ordered = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
    run.__signature__ = Signature(ordered)  # type: ignore[attr-defined]
    return run


def _parts(one: Parameter) -> list[Parameter]:
    """A parameter, or those that the fields of a group are."""
    if not is_dataclass(one.annotation):
        return [one]
    of_group = signature(one.annotation).parameters.values()  # type: ignore[arg-type]
    return [part for field in of_group for part in _parts(field)]


def _gathered(group: Any, given: dict[str, Any]) -> Any:
    """A group of what is given, which is taken out of it."""
    values = {
        field.name: _gathered(field.type, given)
        if is_dataclass(field.type)
        else given.pop(field.name)
        for field in fields(group)
    }
    return group(**values)
