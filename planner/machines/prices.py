"""`Price`: what holding a chip for an hour costs, and what that counts: the chip alone, the chip
with its share of the node around it, or everything, as rented."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.cost.energy import hourly_usd
from planner.errors import InputError, check_word
from planner.machines.origin import Confidence
from planner.records import Record
from planner.units import Dollars, Watts, parse_quantity

OfferBasis = Literal["chip", "node", "rental"]
PriceBasis = Literal["chip", "node", "rental", "given", "unknown"]
BASES: tuple[OfferBasis, ...] = ("node", "rental", "chip")
"""In the order in which one is taken where nobody asks: the widest that is bought, then rent, then
a card without the computer that it cannot do without."""
BASIS_WORDS: dict[str, str] = {
    "chip": "the chip alone",
    "node": "the chip and its share of the node",
    "rental": "rent",
    "given": "as given",
    "unknown": "not known",
}
HOURS_PER_YEAR = 365 * 24.0
MOST_USD = 1e9


class Economics(Record):
    """What is assumed of those who own machines: ours, and guesses all (see each field)."""

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
    """What a chip costs on one basis: a purchase, or a rent."""

    basis: Literal["chip", "node", "rental", "given"]
    purchase_usd: Annotated[float, Field(ge=0, le=MOST_USD)] | None = None
    power_w: Watts = 0.0
    """Provisioned for what was bought: its owner pays for that around the clock."""
    rent_usd_per_chip_hour: Dollars | None = None
    source: str = ""
    confidence: Confidence = "stated"
    note: str = ""
    within: Annotated[float, Field(gt=1, le=1e3)] | None = None
    """The true price lies between value / within and value × within, with 80 %; None: as near as
    its confidence says."""

    @model_validator(mode="after")
    def check_one(self) -> Self:
        if (self.purchase_usd is None) == (self.rent_usd_per_chip_hour is None):
            raise InputError("Offer: give purchase_usd or rent_usd_per_chip_hour, one of them")
        return self

    def usd_per_chip_hour(self, economics: Economics) -> float:
        """For an hour in which the chip serves. [USD/h]

        A purchase over its life, and its power with what the site loses; rent has both in it. Hours
        in which nothing is served are paid by those in which something is.
        """
        if self.rent_usd_per_chip_hour is not None:
            return self.rent_usd_per_chip_hour / economics.utilisation
        assert self.purchase_usd is not None
        lifetime_h = economics.lifetime_years * HOURS_PER_YEAR
        at_the_site_w = self.power_w * economics.pue
        hourly = hourly_usd(self.purchase_usd, lifetime_h, at_the_site_w, economics.usd_per_kwh)
        return float(hourly) / economics.utilisation


class Price(Record):
    """What holding a chip costs, on the basis that was chosen; and the others that are known."""

    usd_per_chip_hour: Dollars | None = None
    """For an hour in which it serves."""
    basis: PriceBasis = "unknown"
    """Chip: the chip or card bought alone. Node: with its share of hosts, network and cooling.
    Rental: a cloud's list price, everything in it. Given: what was asked for."""
    offers: tuple[Offer, ...] = ()
    """One for each basis on which a price is known."""
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


def offered(offers: tuple[Offer, ...], economics: Economics, basis: str | None = None) -> Price:
    """The price on a basis; None: the first of `BASES` that is known."""
    price = Price(offers=offers, economics=economics)
    chosen = basis or next(iter(price.bases), None)
    offer = None if chosen is None else price.offer(chosen)
    if offer is None:
        return price
    return price.replace(usd_per_chip_hour=offer.usd_per_chip_hour(economics), basis=offer.basis)


def given_price(price: Price, text: str, field: str = "price") -> Price:
    """What a user says that a chip costs, as "2.10 USD/h" for each chip, in place of what is known
    of it."""
    hourly = parse_quantity(text, "dollars per hour", field)
    if not 0 <= hourly <= MOST_USD:
        raise InputError(f"{field} must lie between 0 and {MOST_USD:.0e} USD/h, not {text!r}")
    said = Offer(basis="given", rent_usd_per_chip_hour=hourly, note="as asked for")
    known = tuple(offer for offer in price.offers if offer.basis != "given")
    return offered((*known, said), price.economics, "given")


def repriced(price: Price, economics: Economics | None = None) -> Price:
    """The same basis under other costs of the owner; an hourly price that stands by itself is
    paid for hours without work too."""
    assumed = price.economics if economics is None else economics
    if price.offer(price.basis) is not None:
        return offered(price.offers, assumed, price.basis)
    if price.usd_per_chip_hour is None:
        return price.replace(economics=assumed)
    hourly = price.usd_per_chip_hour * price.economics.utilisation / assumed.utilisation
    return price.replace(usd_per_chip_hour=hourly, economics=assumed)


def check_basis(basis: str | None, field: str = "price_basis") -> None:
    """Refuse what is no basis, with those that are nearest."""
    check_word(basis, BASES, field)
