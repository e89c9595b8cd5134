"""What the words of options say: numbers, units, lists."""

from typing import TYPE_CHECKING, cast

from planner.errors import InputError, listed, shortened, told

if TYPE_CHECKING:
    from planner.machines.engine import Space
    from planner.machines.topology import PowerScope
    from planner.planning.search import Engine

MOST_CHIPS = 1_000_000
"""The highest number by which a chip is named."""


def one_of(name: str, given: str, *known: str) -> str:
    """One of a few words."""
    if given not in known:
        raise InputError(f"{name} must be {listed(known, 'or')}, not {shortened(given)!r}")
    return given


def shape_of(given: str) -> str:
    """What --format says."""
    return one_of("--format", given, "table", "json")


def rows_shape_of(given: str) -> str:
    """What --format says of an answer in rows."""
    return one_of("--format", given, "table", "json", "csv")


def figure(option: str, given: str | None, name: str) -> float | None:
    """What an option says: a number in the unit that `name` tells, or one with its unit, such as
    "30 ms" for a name that ends in `_s`. Bounds are those of whoever takes it."""
    if given is None:
        return None
    try:
        return float(given)
    except ValueError:
        from planner.units import parse_figure

        return parse_figure(given, name, option)


def seconds(given: str | None) -> float | None:
    """What --time-limit says: '30', '2 min'."""
    limit_s = figure("--time-limit", given, "time_limit_s")
    if limit_s is not None and not limit_s >= 0:
        raise InputError(f"--time-limit must be a number of seconds of at least 0, not {given}")
    return limit_s


def checked_seconds(given: str | None) -> str | None:
    """The same, refused while the command line is read."""
    seconds(given)
    return given


def memory_bytes(given: str | None) -> float | None:
    """What --memory-limit says. [B]"""
    if given is None:
        return None
    from planner.units import parse_quantity

    most = parse_quantity(given, "bytes", "--memory-limit")
    if not most > 0:
        raise InputError(f"--memory-limit must be above 0, such as 4GB, not {told(given)}")
    return most


def space_of(given: str) -> "Space":
    """What --space says."""
    from planner.machines.engine import SPACES

    return cast("Space", one_of("--space", given, *SPACES))


def checked_space(given: str) -> str:
    """The same, refused while the command line is read."""
    return one_of("--space", given, "engine", "any")


def engine_of(given: str) -> "Engine":
    """What --solver says."""
    from planner.planning.search import ENGINES

    return cast("Engine", one_of("--solver", given, *ENGINES))


def scope_of(given: str | None) -> "PowerScope | None":
    """What --power-scope says."""
    if given is None:
        return None
    return cast("PowerScope", one_of("--power-scope", given, "chip", "system", "facility"))


def whole(name: str, text: str, counted: str = "") -> int:
    """A whole number: '64', '128k' (128,000), '128Ki' (131,072), with what is `counted` behind it
    or not."""
    try:
        return int(text)
    except ValueError:
        from planner.units import parse_count

        return parse_count(text, counted, name)


def chips_of(option: str, text: str | None) -> tuple[int, ...]:
    """Chips by number, as '3' or '0,4-7' names them."""
    found: list[int] = []
    for part in (text or "").split(",") if text is not None else ():
        first, is_range, last = part.strip().partition("-")
        try:
            low = int(first)
            high = int(last) if is_range else low
        except ValueError:
            low, high = 1, 0
        if not 0 <= low <= high < MOST_CHIPS:
            raise InputError(
                f"{option} names chips by number, such as '3' or '0,4-7', not {shortened(text)!r}"
            )
        found += range(low, high + 1)
    return tuple(found)


def limits_of(entries: list[str]) -> dict[str, str]:
    """What --limit says, by field, as it was written: 'tpot_s=30ms'."""
    limits = {}
    for entry in entries:
        name, is_given, value = entry.partition("=")
        if not is_given:
            raise InputError(f"--limit must look like tpot_s=30ms, not {shortened(entry)!r}")
        limits[name.strip()] = value.strip()
    return limits


def prices_of(entries: list[str]) -> dict[str, str]:
    """What --price says, by machine; that of all others by an empty name."""
    found: dict[str, str] = {}
    for entry in entries:
        named, is_named, said = (part.strip() for part in entry.rpartition("="))
        if not said or (is_named and not named):
            raise InputError(
                "--price must look like '2.10 USD/h', or hgx-h100=2.10 USD/h, not"
                f" {shortened(entry)!r}"
            )
        if named in found:
            of = f" of {shortened(named)}" if named else ""
            raise InputError(f"--price{of} is given twice; leave one out")
        found[named] = said
    return found


def dimensions_of(entries: list[str]) -> dict[str, int]:
    """What --dimension says, by axis."""
    dimensions: dict[str, int] = {}
    for entry in entries:
        # Names of axes may hold an equals sign themselves, as sums of others do.
        name, is_given, size = entry.rpartition("=")
        if not is_given:
            raise InputError(f"--dimension must look like batch=1, not {shortened(entry)!r}")
        name = name.strip()
        if name in dimensions:
            raise InputError(f"--dimension {shortened(name)} is given twice")
        dimensions[name] = whole(f"--dimension {shortened(name)}", size.strip())
    return dimensions
