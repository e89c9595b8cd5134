"""Commands about where machines win: `map` and `crossover`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli import completing
from planner.cli.options import Basis, Drawn, Pue, RowsShape, Scope
from planner.cli.outputs import DRAWN, MapOut, PictureOut, answer_rows, check_out, write_out
from planner.cli.progress import at_work
from planner.cli.questions import question
from planner.cli.values import figure, prices_of, scope_of, whole
from planner.errors import InputError, UnknownNameError, check_word, shortened

if TYPE_CHECKING:
    from planner.machines.topology import Topology

METRICS = ("energy_per_token_j", "usd_per_million_tokens", "chips")
FAMILIES = ("dense", "moe")
PROVERS = ("engines", "all", "none")
RIVALS = ("hgx-h100", "groq-lpu-chain", "cerebras-cs3")
"""Machines of a map where none is named."""

Rivals = Annotated[
    list[str] | None,
    typer.Argument(
        help="Machines; default: hgx-h100, groq-lpu-chain and cerebras-cs3.",
        autocompletion=completing.machine_names,
    ),
]
First = Annotated[
    str,
    typer.Argument(help="A machine, by name or file.", autocompletion=completing.machine_names),
]
Second = Annotated[
    str,
    typer.Argument(help="The other machine.", autocompletion=completing.machine_names),
]
Metric = Annotated[
    str,
    typer.Option(
        "--metric",
        help="What is compared: energy_per_token_j, usd_per_million_tokens or chips.",
        autocompletion=completing.field_names,
    ),
]
CrossoverMetric = Annotated[
    str,
    typer.Option("--metric", help="Field that is compared.", autocompletion=completing.field_names),
]
FamilyName = Annotated[str, typer.Option("--family", help="Models: dense, or moe (experts).")]
Sizes = Annotated[
    str | None,
    typer.Option("--sizes", help="Parameters of the models: '8G,70G,400G'; default: 40 sizes."),
]
Speeds = Annotated[
    str | None,
    typer.Option(
        "--speeds", help="Tokens a second that each user gets: '20,50,100'; default: 40 speeds."
    ),
]
Proved = Annotated[
    str,
    typer.Option(
        "--proved",
        help="Borders between plans of the solver: of engines whose rules are known (engines), all,"
        " or none.",
    ),
]
ProofTime = Annotated[
    str,
    typer.Option(
        "--proof-time", help="How long the proof of a plan may take: '5', '1 min', or 'none'."
    ),
]
PromptLength = Annotated[
    str | None, typer.Option("--prompt", help="Prompt tokens of a request; default: 1024.")
]
OutputLength = Annotated[
    str | None, typer.Option("--output", help="Output tokens of a request; default: 256.")
]
WeightFormat = Annotated[
    str | None, typer.Option("--weights", help="Format of the weights on all machines.")
]
FormatRule = Annotated[
    str | None,
    typer.Option(
        "--formats",
        help="nearest: each chip takes the nearest format that it multiplies; stored: all store the"
        " same.",
    ),
]
DraftRule = Annotated[
    str | None, typer.Option("--drafts", help="none, or best: as each software drafts best.")
]
Pools = Annotated[
    bool,
    typer.Option("--pools", help="Prompts get a pool of their own where the software can do that."),
]
MostUsers = Annotated[
    str | None,
    typer.Option("--users", help="Most requests in flight, or 'max': as many as are best."),
]
ComingRate = Annotated[
    str | None, typer.Option("--rate", help="Requests a second that come in all.")
]
BusyShare = Annotated[
    str | None,
    typer.Option("--utilisation", help="Share of all hours in which machines serve: '60 %'."),
]
SpaceRule = Annotated[
    str | None,
    typer.Option(
        "--space", help="engine: plans that the machines' software can run; any: all plans."
    ),
]
UnknownRule = Annotated[
    str | None,
    typer.Option(
        "--unknown", help="Machines of unknown power or price: refuse, or draw what is known."
    ),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        help="Price of each chip of a machine: 'hgx-h100=2.10 USD/h', once for each machine; default: the"
        " machine's.",
    ),
]


@dataclass(frozen=True, slots=True)
class Agreed:
    """Under what terms machines are compared; None: as the comparison has it."""

    prompt: PromptLength = None
    output: OutputLength = None
    weights: WeightFormat = None
    formats: FormatRule = None
    drafts: DraftRule = None
    pools: Pools = False
    users: MostUsers = None
    rate: ComingRate = None
    utilisation: BusyShare = None
    pue: Pue = None
    power_scope: Scope = None
    power_basis: Drawn = None
    price_basis: Basis = None
    price: Prices = None
    space: SpaceRule = None
    unknown: UnknownRule = None

    def given(self) -> dict[str, Any]:
        """Fields of `Terms` that are given, as they are taken one by one."""
        stated: dict[str, Any] = {
            "prompt_tokens": _whole("--prompt", self.prompt, "tokens"),
            "output_tokens": _whole("--output", self.output, "tokens"),
            "weight_dtype": self.weights,
            "formats": self.formats,
            "drafts": self.drafts,
            "pools": self.pools or None,
            "requests_per_s": figure("--rate", self.rate, "requests_per_s"),
            "utilisation": figure("--utilisation", self.utilisation, "fraction"),
            "pue": self.pue,
            "power_scope": scope_of(self.power_scope),
            "power_basis": self.power_basis,
            "price_basis": self.price_basis,
            "space": self.space,
            "unknown": self.unknown,
        }
        found = {name: value for name, value in stated.items() if value is not None}
        if self.users is not None:
            is_open = self.users == "max"
            found["most_users"] = None if is_open else whole("--users", self.users, "users")
        return found

    def priced(self, machines: Sequence[str]) -> "list[str | Topology]":
        """The machines, with the prices that are given of them."""
        prices = prices_of(self.price or [])
        if "" in prices:
            raise InputError(
                f"--price must look like hgx-h100=2.10 USD/h, not {shortened(prices[''])!r}"
            )
        if prices and self.price_basis is not None:
            raise InputError(
                "--price and --price-basis are both given; a price that is given has no basis, so"
                " give one"
            )
        unknown = next((name for name in prices if name not in machines), None)
        if unknown is not None:
            raise UnknownNameError("machine of --price", unknown, machines)
        return [_with_price(name, prices.get(name)) for name in machines]


def _with_price(name: str, price: str | None) -> "str | Topology":
    if price is None:
        return name
    from planner.machines.accounts import with_price
    from planner.studies.study import uncounted_machine_of

    return with_price(uncounted_machine_of(name), price, "--price")


def _whole(option: str, given: str | None, counted: str) -> int | None:
    return None if given is None else whole(option, given, counted)


def _figures(option: str, given: str | None, name: str) -> tuple[float, ...] | None:
    """Figures with commas between them."""
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",")]
    found = tuple(figure(option, part, name) for part in parts if part)
    if len(found) != len(parts):
        raise InputError(f"{option} must be figures with commas between them, not {given!r}")
    return tuple(one for one in found if one is not None)


@question
def draw_map(
    machines: Rivals = None,
    *,
    metric: Metric = "energy_per_token_j",
    family: FamilyName = "dense",
    sizes: Sizes = None,
    speeds: Speeds = None,
    proved: Proved = "engines",
    agreed: Agreed,
    out: MapOut = None,
    format: RowsShape = "table",
) -> None:
    """Which machine is the cheapest for models of each size at each speed, as a map."""
    from planner.studies import advantage_map

    check_out(out, DRAWN)
    check_word(metric, METRICS, "--metric")
    check_word(family, FAMILIES, "--family")
    check_word(proved, PROVERS, "--proved")
    asked = agreed.given()
    axes = {
        "sizes": _figures("--sizes", sizes, "parameters"),
        "speeds": _figures("--speeds", speeds, "tokens_per_s_per_user"),
        "topologies": agreed.priced(machines or RIVALS),
    }
    chosen: dict[str, Any] = {name: value for name, value in axes.items() if value is not None}
    chosen |= {"metric": metric, "family": family, "proved": proved}
    with at_work("pricing plans of all sizes"):
        made = advantage_map(**chosen, **asked)
    rows = [row.model_dump(mode="json") for row in made.rows]
    fields = made.model_dump(mode="json")
    write_out(out, made, fields, rows)
    borders = [one.words() for one in made.lines]
    answer_rows(format, "\n".join([str(made), *borders]), fields, rows)


@question
def find_crossover(
    first: First,
    second: Second,
    *,
    metric: CrossoverMetric = "energy_per_token_j",
    family: FamilyName = "dense",
    proof_time: ProofTime = "1",
    agreed: Agreed,
    out: PictureOut = None,
    format: RowsShape = "table",
) -> None:
    """The size of model at which one machine's advantage over another ends."""
    from planner.studies import crossover

    check_out(out)
    check_word(family, FAMILIES, "--family")
    asked = agreed.given()
    proof_s = None if proof_time == "none" else figure("--proof-time", proof_time, "proof_time_s")
    chosen: dict[str, Any] = {"metric": metric, "family": family, "proof_time_s": proof_s}
    one, other = agreed.priced((first, second))
    with at_work("looking for the size at which both are equal"):
        made = crossover(one, other, **chosen, **asked)
    rows = [row.model_dump(mode="json") for row in made.rows]
    fields = made.model_dump(mode="json")
    fields |= {"verdict": made.verdict, "under": made.under}
    if made.params is not None:
        fields["interval_80_percent"] = made.interval()
    write_out(out, made, fields, rows)
    answer_rows(format, str(made), fields, rows)
