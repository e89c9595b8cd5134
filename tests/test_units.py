"""Quantities with their units: read once, and spoken as people speak."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from planner.errors import InputError
from planner.units import (
    DIMENSIONS,
    EXAMPLES,
    Bytes,
    BytesPerS,
    Count,
    Degree,
    Dollars,
    FlopPerS,
    Fraction,
    Joules,
    PositiveBytes,
    Seconds,
    Watts,
    gauge_of,
    parse_count,
    parse_figure,
    parse_quantity,
    spoken,
    trimmed,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("80 GB", "bytes", 80e9),
        ("80 GiB", "bytes", 85_899_345_920),
        ("80GB", "bytes", 80e9),
        ("  80   GB ", "bytes", 80e9),
        ("230 MB", "bytes", 230e6),
        ("1 KiB", "bytes", 1024),
        ("1 kB", "bytes", 1000),
        ("512 bytes", "bytes", 512),
        ("450 GB/s", "bytes per second", 450e9),
        ("400 Gb/s", "bytes per second", 50e9),
        ("400 Gbit/s", "bytes per second", 50e9),
        ("3.35 TB/s", "bytes per second", 3.35e12),
        ("1.2e3 GB/s", "bytes per second", 1.2e12),
        ("989 TFLOP/s", "operations per second", 989e12),
        ("1.5 PFLOPS", "operations per second", 1.5e15),
        ("750 TOPS", "operations per second", 750e12),
        ("2 us", "seconds", 2e-6),
        ("2 µs", "seconds", 2e-6),
        ("2 μs", "seconds", 2e-6),
        ("500 ns", "seconds", 5e-7),
        ("3 min", "seconds", 180),
        ("1 h", "seconds", 3600),
        ("700 W", "watts", 700),
        ("20 kW", "watts", 20e3),
        ("5 pJ", "joules", 5e-12),
        ("3.00 USD/h", "dollars per hour", 3),
        ("2.5 $/h", "dollars per hour", 2.5),
        ("27,000 USD", "dollars", 27000),
        ("27_000 USD", "dollars", 27000),
        ("-5 W", "watts", -5),
        ("0 s", "seconds", 0),
        (".5 s", "seconds", 0.5),
    ],
)
def test_text_with_a_unit_becomes_an_si_value(text, dimension, value):
    assert parse_quantity(text, dimension, "Chip.figure") == pytest.approx(value, rel=1e-15)


def test_bits_and_bytes_differ_by_eight_and_decimal_and_binary_by_seven_percent():
    assert parse_quantity("8 Gb/s", "bytes per second", "f") == parse_quantity(
        "1 GB/s", "bytes per second", "f"
    )
    ratio = parse_quantity("1 GiB", "bytes", "f") / parse_quantity("1 GB", "bytes", "f")
    assert ratio == pytest.approx(1.073741824, rel=1e-15)


@pytest.mark.parametrize("text", ["80", 80, 80.0, "1e9"])
def test_a_figure_without_its_unit_is_refused(text):
    with pytest.raises(
        InputError,
        match=r"^Chip\.memory needs a number and a unit of bytes, such as '80 GB'; .*no unit$",
    ):
        parse_quantity(text, "bytes", "Chip.memory")


@pytest.mark.parametrize(
    ("text", "dimension"),
    [("450 GB", "bytes per second"), ("450 GB/s", "bytes"), ("2 Gs", "bytes"), ("2 kmin", "seconds"), ("3 kUSD", "dollars"),
     ("700 w", "watts"), ("1 XB", "bytes"), ("450 Gb", "bytes"), ("1 GB per s", "bytes per second")],
)  # fmt: skip
def test_a_wrong_unit_is_refused(text, dimension):
    with pytest.raises(
        InputError, match=rf"^Link\.figure needs .* the unit of '{text}' is not one of {dimension}$"
    ):
        parse_quantity(text, dimension, "Link.figure")


@pytest.mark.parametrize(
    "given_value",
    ["", "GB", "about 5 GB", "five GB", None, True, [80], "nan GB", "inf GB", math.inf],
)
def test_what_is_no_figure_is_refused(given_value):
    with pytest.raises(
        InputError, match=r"^Chip\.memory needs a number and a unit of bytes, such as '80 GB'; "
    ):
        parse_quantity(given_value, "bytes", "Chip.memory")


@pytest.mark.parametrize("text", ["1.2.3 GB", "1..2 GB", pytest.param(10**5000, id="5001 digits")])
def test_a_number_that_python_cannot_read_is_refused_by_name(text):
    with pytest.raises(InputError, match=r"^Chip\.memory needs "):
        parse_quantity(text, "bytes", "Chip.memory")


@pytest.mark.parametrize("text", ["1,5 GB", "0,25 GB", ",5 GB"])
def test_a_decimal_comma_is_refused_or_read_as_one_and_never_dropped(text):
    try:
        value = parse_quantity(text, "bytes", "Chip.memory")
    except InputError:
        return
    assert value == float(text.removesuffix(" GB").replace(",", ".")) * 1e9


@pytest.mark.parametrize("text", ["1\n2 GB", "GB " * 1000, "1 " + "x" * 1000])
def test_a_refusal_is_one_line(text):
    with pytest.raises(InputError) as refusal:
        parse_quantity(text, "bytes", "Chip.memory")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_example_of_a_dimension_is_one_of_it(dimension):
    assert parse_quantity(EXAMPLES[dimension], dimension, "f") > 0


@pytest.mark.parametrize(
    ("prefix", "factor"),
    [("p", 1e-12), ("n", 1e-9), ("u", 1e-6), ("µ", 1e-6), ("m", 1e-3), ("", 1), ("k", 1000), ("K", 1000), ("M", 1e6),
     ("G", 1e9), ("T", 1e12), ("P", 1e15), ("E", 1e18), ("Ki", 1024), ("Mi", 1024**2), ("Gi", 1024**3), ("Ti", 1024**4),
     ("Pi", 1024**5)],
)  # fmt: skip
def test_every_prefix_is_the_power_that_it_stands_for(prefix, factor):
    assert parse_quantity(f"3 {prefix}B", "bytes", "f") == pytest.approx(3 * factor, rel=1e-15)


@pytest.mark.parametrize(
    ("kind", "least", "refused"),
    [(Seconds, 0.0, -1e-9), (Bytes, 0.0, -1.0), (Watts, 0.0, -1.0), (Joules, 0.0, -1.0), (Dollars, 0.0, -0.01),
     (PositiveBytes, 1e-3, 0.0), (BytesPerS, 1e-3, 0.0), (FlopPerS, 1e-3, 0.0), (Fraction, 1e-3, 0.0), (Count, 1, 0),
     (Degree, 1, 0), (Fraction, 1.0, 1.0001)],
)  # fmt: skip
def test_a_figure_is_not_negative_nor_nothing_where_nothing_makes_no_sense(kind, least, refused):
    assert TypeAdapter(kind).validate_python(least) == least
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(refused)


@given(
    st.floats(1e-6, 1e6), st.sampled_from(["", "k", "M", "G", "T"]), st.sampled_from(["B", "bytes"])
)
def test_a_number_is_read_as_python_reads_it(number, prefix, unit):
    factor = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[prefix]
    assert parse_quantity(f"{number!r} {prefix}{unit}", "bytes", "f") == pytest.approx(
        number * factor, rel=1e-15
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.2e-3, "s", "1.2 ms"),
        (3e-6, "s", "3 µs"),
        (0.5e-9, "s", "500 ps"),
        (90.0, "s", "90 s"),
        (86400.0, "s", "86,400 s"),
        (80e9, "B", "80 GB"),
        (3.35e12, "B/s", "3.35 TB/s"),
        (4.5e18, "B", "4.5 EB"),
        (2.5e15, "FLOP/s", "2.5 PFLOP/s"),
        (1.5e6, "B", "1.5 MB"),
        (1.5, "s", "1.5 s"),
        (2e-12, "J", "2 pJ"),
        (999.6, "B", "1 kB"),
        (999.4, "B", "999 B"),
        (123456.0, "W", "123 kW"),
        (-1500.0, "W", "-1.5 kW"),
        (0.0, "s", "0 s"),
        (12.0, "", "12"),
        (1024.0, "", "1,024"),
        (2.5, "", "2.5"),
        (43.21, "%", "43.2 %"),
        (None, "s", "not known"),
    ],
)
def test_a_figure_is_spoken_as_a_person_reads_it(value, unit, text):
    assert spoken(value, unit) == text


def test_more_digits_are_spoken_when_asked_for():
    assert spoken(1.23456e-3, "s", digits=5) == "1.2346 ms"


@given(st.floats(1e-11, 1e20), st.sampled_from(["B", "W", "FLOP/s"]))
def test_what_is_spoken_is_within_half_a_unit_of_the_third_digit(value, unit):
    text = spoken(value, unit)
    number, _, name = text.partition(" ")
    scale = {"p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
             "E": 1e18}[name.removesuffix(unit)]  # fmt: skip
    assert float(number.replace(",", "")) * scale == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (0.123456, "0.123"), (12.345, "12.3"), (1234.5, "1,230"), (9_999_000.0, "10,000,000"),
     (1e7, "1e+07"), (1e-4, "0.0001"), (1.5e-5, "1.5e-05"), (-2.5, "-2.5")],
)  # fmt: skip
def test_a_number_is_trimmed_to_three_digits(value, text):
    assert trimmed(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0456, "0.0456"), (0.0123, "0.0123"), (0.00123, "0.00123")]
)
def test_a_small_number_keeps_its_three_digits_too(value, text):
    assert trimmed(value) == text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ttft_s", "seconds"),
        ("ttft_p99_s", "seconds"),
        ("tokens_per_s", "tokens per second"),
        ("tokens_per_s_per_user", "tokens per second per user"),
        ("energy_per_token_j", "joules"),
        ("usd_per_million_tokens", "dollars"),
        ("usd_per_hour", "dollars per hour"),
        ("usd_per_sample", "dollars"),
        ("memory_headroom_bytes", "bytes"),
        ("mbu_fraction", "shares"),
        ("chips", "chips"),
    ],
)
def test_a_name_says_what_its_figure_is_measured_in(name, words):
    assert gauge_of(name).words == words


@given(
    st.floats(1e-6, 1e6),
    st.sampled_from(
        [
            ("tpot_s", "ms", 1e-3),
            ("power_w", "kW", 1e3),
            ("tokens_per_s", "k", 1e3),
            ("chips", "", 1),
        ]
    ),
)
def test_a_figure_with_a_unit_is_the_number_times_its_unit(number, kind):
    name, unit, factor = kind
    assert parse_figure(f"{number!r} {unit}", name, name) == pytest.approx(
        number * factor, rel=1e-14
    )
    assert parse_figure(number, name, name) == number


@pytest.mark.slow
@given(st.text(max_size=30) | st.floats() | st.integers() | st.none() | st.booleans())
def test_whatever_is_given_for_a_figure_is_positive_or_refused_in_one_line(given_value):
    try:
        value = parse_figure(given_value, "tpot_s", "limits['tpot_s']")
    except InputError as error:
        refusal = str(error)
    else:
        assert 0 < value < math.inf
        return
    assert "\n" not in refusal
    assert "is measured in seconds" in refusal


HUGE = [pytest.param(10**digits, id=f"{digits} digits") for digits in (400, 6000)]


@pytest.mark.parametrize("text", ["1,5 ms", "10 k/s", *HUGE])
def test_what_is_no_figure_of_a_name_is_refused(text):
    with pytest.raises(InputError, match=r"^x is measured in seconds: "):
        parse_figure(text, "tpot_s", "x")


@pytest.mark.parametrize(
    ("text", "count"),
    [("64", 64), ("128k", 128_000), ("128Ki", 131_072), ("1.5M tokens", 1_500_000), ("1 token", 1)],
)
def test_counts_are_whole(text, count):
    assert parse_count(text, "tokens", "prompt") == count


@pytest.mark.parametrize(
    "text", ["", "many", "1.5", "0.0001k", "3 MB", "2 chips", "1e400", "-", "k"]
)
def test_what_is_no_count_is_refused(text):
    with pytest.raises(InputError, match="prompt must be a whole number"):
        parse_count(text, "tokens", "prompt")


def test_prices_of_power_have_a_unit():
    assert parse_figure("0.08 USD/kWh", "usd_per_kwh", "price") == 0.08
    with pytest.raises(InputError, match="dollars per kilowatt-hour"):
        parse_figure("0.08 USD/h", "usd_per_kwh", "price")
