"""`Price`: what holding a chip for an hour costs, and what that counts: the chip alone, the chip
with its share of the node around it, a lease of that, or everything, as rented; or what a provider
asks for each token, whatever it holds. Software that is licensed by the chip comes on top of what
is bought or leased."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.cost.energy import hourly_usd
from planner.errors import InputError, check_word, listed, told
from planner.machines.origin import Confidence
from planner.records import Record
from planner.units import Dollars, Watts, parse_quantity

OfferBasis = Literal["chip", "node", "rental", "lease", "token"]
PriceBasis = Literal["chip", "node", "rental", "lease", "token", "given", "unknown"]
BASES: tuple[OfferBasis, ...] = ("node", "rental", "lease", "chip", "token")
"""In the order in which one is taken where nobody asks: the widest that is bought, then rent, then
a lease, then a card without the computer that it cannot do without; last what is asked for tokens,
which no plan changes."""
LICENSED = ("chip", "node", "lease")
"""Bases on which software is paid for besides; who rents has it in the rent."""
BASIS_WORDS: dict[str, str] = {
    "chip": "the chip alone",
    "node": "the chip and its share of the node",
    "rental": "rent",
    "lease": "a lease and the power",
    "token": "a list price for tokens",
    "given": "as given",
    "unknown": "not known",
}
HOURS_PER_YEAR = 365 * 24.0
MOST_USD = 1e9


class Economics(Record):
    """Costs that an owner is assumed to have: lifetime, power, hours in use (see each field); all are
    our guesses."""

    lifetime_years: Annotated[float, Field(gt=0, le=100)] = 4.0
    """Over which a purchase is spread evenly. A guess: tax tables and clouds take 3 to 6."""
    usd_per_kwh: Annotated[float, Field(ge=0, le=100)] = 0.10
    """Price of power. A guess: industrial prices lie between 0.05 and 0.20."""
    pue: Annotated[float, Field(ge=1, le=10)] = 1.2
    """Power usage effectiveness: what a site draws over what its machines draw. A guess: large
    sites state 1.1, surveys 1.5."""
    utilisation: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of all hours in which the machine serves as planned; the others are paid for too. 1
    is a bound that no one reaches."""


class Offer(Record):
    """What a chip costs on one basis: a purchase, a rent, a lease; or what a token does."""

    basis: Literal["chip", "node", "rental", "lease", "token", "given"]
    purchase_usd: Annotated[float, Field(ge=0, le=MOST_USD)] | None = None
    power_w: Watts = 0.0
    """Provisioned for what was bought: its owner pays for that around the clock."""
    rent_usd_per_chip_hour: Dollars | None = None
    lease_usd_per_chip_year: Dollars | None = None
    """Of a machine that stands at whoever leases it, and draws their power."""
    lease_fee_usd: Dollars = 0.0
    """For each chip, once in `lease_years`."""
    lease_years: Annotated[float, Field(gt=0, le=100)] | None = None
    """The term of a lease, over which its fee is spread."""
    usd_per_million_input_tokens: Dollars | None = None
    usd_per_million_output_tokens: Dollars | None = None
    """A provider's list price, whatever holds the model."""
    source: str = ""
    confidence: Confidence = "stated"
    note: str = ""
    within: Annotated[float, Field(gt=1, le=1e3)] | None = None
    """The true price lies between value / within and value × within, with 80 %; None: as near as
    its confidence says."""

    @model_validator(mode="after")
    def check_one(self) -> Self:
        ways = {
            "purchase_usd": self.purchase_usd,
            "rent_usd_per_chip_hour": self.rent_usd_per_chip_hour,
            "lease_usd_per_chip_year": self.lease_usd_per_chip_year,
            "usd_per_million_output_tokens": self.usd_per_million_output_tokens,
        }
        if sum(paid is not None for paid in ways.values()) != 1:
            raise InputError(f"Offer: give {listed(list(ways), 'or')}, one of them")
        if (self.basis == "lease") != (self.lease_usd_per_chip_year is not None):
            raise InputError("Offer.lease_usd_per_chip_year and the basis 'lease' go together")
        if (self.basis == "token") != (self.usd_per_million_output_tokens is not None):
            raise InputError(
                "Offer.usd_per_million_output_tokens and the basis 'token' go together"
            )
        if self.lease_fee_usd and self.lease_years is None:
            raise InputError("Offer.lease_years is missing: a fee is spread over the lease's term")
        return self

    def usd_per_chip_hour(self, economics: Economics) -> float:
        """For an hour in which the chip serves. [USD/h]

        A purchase over its life, or a lease with its fee over the term, and its power with what the
        site loses; rent has both in it. Hours in which nothing is served are paid by those in which
        something is. An InputError where tokens are paid for and no chips.
        """
        if self.rent_usd_per_chip_hour is not None:
            return self.rent_usd_per_chip_hour / economics.utilisation
        at_the_site_w = self.power_w * economics.pue
        if self.lease_usd_per_chip_year is not None:
            yearly = self.lease_usd_per_chip_year + self.lease_fee_usd / (self.lease_years or 1.0)
            paid_usd, over_h = yearly, HOURS_PER_YEAR
        elif self.purchase_usd is not None:
            paid_usd, over_h = self.purchase_usd, economics.lifetime_years * HOURS_PER_YEAR
        else:
            raise InputError("a list price for tokens pays for no hour of a chip")
        hourly = hourly_usd(paid_usd, over_h, at_the_site_w, economics.usd_per_kwh)
        return float(hourly) / economics.utilisation

    def usd_per_million_tokens(self, prompt_tokens: float, output_tokens: float) -> float | None:
        """What a user pays for a million output tokens with the prompts that they answer; None
        where chips are paid for. [USD]"""
        made = self.usd_per_million_output_tokens
        if made is None:
            return None
        return made + (self.usd_per_million_input_tokens or 0.0) * prompt_tokens / output_tokens


class Price(Record):
    """What holding a chip costs, on the basis that was chosen; and the others that are known."""

    usd_per_chip_hour: Dollars | None = None
    """For an hour in which it serves."""
    basis: PriceBasis = "unknown"
    """Chip: the chip or card bought alone. Node: with its share of hosts, network and cooling.
    Rental: a cloud's list price, everything in it. Lease: a yearly sum for the machine, power
    besides. Token: a provider's list price for tokens. Given: what was asked for."""
    offers: tuple[Offer, ...] = ()
    """One for each basis on which a price is known."""
    licence_usd_per_chip_year: Dollars = 0.0
    """Software for each chip, on top of what is bought or leased."""
    economics: Economics = Economics()

    @model_validator(mode="before")
    @classmethod
    def read_older(cls, fields: object) -> object:
        """Records of before prices had a scope: a purchase brought its node."""
        if isinstance(fields, dict) and fields.get("basis") == "purchase":
            return {**fields, "basis": "node"}
        return fields

    @property
    def bases(self) -> tuple[str, ...]:
        """On which it is known, the one that is taken unasked first."""
        known = {offer.basis for offer in self.offers} | ({self.basis} - {"given", "unknown"})
        return tuple(basis for basis in BASES if basis in known)

    def offer(self, basis: str) -> Offer | None:
        """The one of a basis."""
        return next((offer for offer in self.offers if offer.basis == basis), None)


def offered(
    offers: tuple[Offer, ...],
    economics: Economics,
    basis: str | None = None,
    licence_usd: float = 0.0,
) -> Price:
    """The price on a basis, software at so much for each chip and year on top of what is bought or
    leased; None: the first of `BASES` that is known."""
    price = Price(offers=offers, economics=economics)
    if licence_usd:
        price = price.replace(licence_usd_per_chip_year=licence_usd)
    chosen = basis or next(iter(price.bases), None)
    offer = None if chosen is None else price.offer(chosen)
    if offer is None:
        return price
    if offer.basis == "token":
        return price.replace(basis="token")
    hourly = offer.usd_per_chip_hour(economics)
    if offer.basis in LICENSED:
        hourly += licence_usd / HOURS_PER_YEAR / economics.utilisation
    return price.replace(usd_per_chip_hour=hourly, basis=offer.basis)


def given_price(price: Price, text: str, field: str = "price", *, power_w: float = 0.0) -> Price:
    """What a user says that a chip costs, in place of what is known of it: "2.10 USD/h" for each
    chip, everything in it; a lease, "20000 USD/month" or "2,000,000 USD/year" for each chip, which
    draws `power_w` besides; or what a provider asks, "0.59/0.79 USD/Mtok" for tokens in and out, or
    one price for both."""
    said = _said_offer(text, field, power_w)
    known = tuple(offer for offer in price.offers if offer.basis != said.basis)
    return offered((*known, said), price.economics, said.basis, price.licence_usd_per_chip_year)


def _said_offer(text: str, field: str, power_w: float) -> Offer:
    unit = str(text).strip().rpartition("/")[2]
    if unit in ("month", "year"):
        yearly = _amount(text, "dollars per year", field)
        return Offer(
            basis="lease", lease_usd_per_chip_year=yearly, power_w=power_w, note="as asked for"
        )
    if unit == "Mtok":
        told, _, made = str(text).rpartition("/Mtok")[0].removesuffix("USD").rpartition("/")
        each = [f"{part.strip().removesuffix('$')} USD/Mtok" for part in (told or made, made)]
        asked, answered = (_amount(one, "dollars per million tokens", field) for one in each)
        return Offer(
            basis="token",
            usd_per_million_input_tokens=asked,
            usd_per_million_output_tokens=answered,
            note="as asked for",
        )
    hourly = _amount(text, "dollars per hour", field)
    return Offer(basis="given", rent_usd_per_chip_hour=hourly, note="as asked for")


def _amount(text: str, dimension: str, field: str) -> float:
    usd = parse_quantity(text, dimension, field)
    if not 0 <= usd <= MOST_USD:
        unit = dimension.replace("dollars", "USD")
        raise InputError(f"{field} must lie between 0 and {MOST_USD:.0e} {unit}, not {told(text)}")
    return usd


def licensed(price: Price, text: str, field: str = "licence") -> Price:
    """With software at "4500 USD/year" for each chip, in place of what is known of it."""
    yearly = _amount(text, "dollars per year", field)
    return repriced(price.replace(licence_usd_per_chip_year=yearly))


def repriced(price: Price, economics: Economics | None = None) -> Price:
    """The same basis under other costs of the owner; an hourly price that stands by itself is
    paid for hours without work too."""
    assumed = price.economics if economics is None else economics
    if price.offer(price.basis) is not None:
        return offered(price.offers, assumed, price.basis, price.licence_usd_per_chip_year)
    if price.usd_per_chip_hour is None:
        return price.replace(economics=assumed)
    hourly = price.usd_per_chip_hour * price.economics.utilisation / assumed.utilisation
    return price.replace(usd_per_chip_hour=hourly, economics=assumed)


def check_basis(basis: str | None, field: str = "price_basis") -> None:
    """Refuse what is no basis, with those that are nearest."""
    check_word(basis, BASES, field)
