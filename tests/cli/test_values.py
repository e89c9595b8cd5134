"""Numbers, units and lists as options say them."""

import pytest

from planner.cli.values import chips_of, figure, prices_of, whole
from planner.errors import InputError
from tests.terminal import SMALL


@pytest.mark.parametrize(
    ("text", "count"),
    [("64", 64), ("128k", 128_000), ("128Ki", 131_072), ("1,000", 1000), ("2k tokens", 2000), ("1 token", 1), ("0.5k", 500)],
)  # fmt: skip
def test_counts_take_thousands(text, count):
    assert whole("--prompt", text, "tokens") == count


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("0.4", "fraction", 0.4),
        ("40 %", "fraction", 0.4),
        ("30 ms", "time_limit_s", 0.03),
        ("2 min", "time_limit_s", 120.0),
        ("0", "time_limit_s", 0.0),
        ("1.5k/s", "requests_per_s", 1500.0),
        ("0.08 USD/kWh", "usd_per_kwh", 0.08),
        ("5 years", "years", 5.0),
    ],
)
def test_figures_take_units(text, name, value):
    assert figure("--option", text, name) == pytest.approx(value, rel=1e-12)
    assert figure("--option", None, name) is None


@pytest.mark.slow
def test_units_on_the_command_line_say_the_same_as_plain_figures(run):
    plain = ("--prompt", "2000", "--usable-memory", "0.9", "--usd-per-kwh", "0.2")
    told = ("--prompt", "2k", "--usable-memory", "90 %", "--usd-per-kwh", "0.2 USD/kWh")
    one, other = (run("plan", *SMALL, *given, "--format", "json").fields for given in (plain, told))
    assert one["score"] == other["score"]


def test_prices_are_those_of_machines_or_of_all():
    assert prices_of(["2 USD/h", "a = 3 USD/h"]) == {"": "2 USD/h", "a": "3 USD/h"}
    for entries, said in (
        (["1 USD/h", "2 USD/h"], "--price is given twice"),
        (["a=1", "a=2"], "--price of a is given twice"),
    ):
        with pytest.raises(InputError, match=said):
            prices_of(entries)
    for wrong in ("", "a=", "=2"):
        with pytest.raises(InputError, match="--price must look like"):
            prices_of([wrong])


def test_chips_are_named_by_number_and_range():
    assert chips_of("--lost", "0,4-6") == (0, 4, 5, 6)
    assert chips_of("--lost", None) == ()
