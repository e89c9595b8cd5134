"""Which tests are slow, and how much each of them works.

`make fast` runs what is not marked `slow`. A test is slow where it works for more than `SLOW_CPU_S`
seconds of CPU, the processes that it starts included; wall time would depend on what else the
machine does. Where one law is checked in very many cases, `mostly_slow` keeps a few
of them in the fast lane, and `spread`, `paired` and `some` keep all but a few for `make oracle`.
"""

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

SLOW_CPU_S = 0.2

EVERYTHING = bool(os.environ.get("PLANNER_ORACLE"))
"""Whether all cases are asked for (`make oracle`), or those of which `make test` has the time."""

_WORKED = pytest.StashKey[float]()


def some(few: int, everything: int) -> int:
    """How many cases of a kind: a few, or as many as `make oracle` tries."""
    return everything if EVERYTHING else few


def spread(values: Iterable[Any], few: int) -> list[Any]:
    """A few of the values, evenly spread from the first on; `make oracle` takes them all."""
    values = list(values)
    assert 0 < few <= len(values)
    few = some(few, len(values))
    return [values[len(values) * place // few] for place in range(few)]


def paired(firsts: Sequence[Any], seconds: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Pairs in which each value comes at least once; `make oracle` takes all pairs."""
    if EVERYTHING:
        return list(itertools.product(firsts, seconds))
    pairs = range(max(len(firsts), len(seconds)))
    return [(firsts[place % len(firsts)], seconds[place % len(seconds)]) for place in pairs]


def mostly_slow(values: Iterable[Any], *, but: tuple[Any, ...]) -> list[Any]:
    """Values to parametrize by, all slow but for a few."""
    values = list(values)
    unknown = set(but) - set(values)
    assert not unknown, f"no such case: {unknown}"
    return [
        value if value in but else pytest.param(value, marks=pytest.mark.slow) for value in values
    ]


def cpu_s() -> float:
    """What this process and those that it has waited for have worked. [s]"""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Count what fixtures work."""
    before = cpu_s()
    yield
    item.stash[_WORKED] = cpu_s() - before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Count what the test works, and hand both on with its report."""
    before = cpu_s()
    try:
        yield
    finally:
        worked = item.stash[_WORKED] + cpu_s() - before
        item.user_properties.append(("cpu_s", round(worked, 2)))
        item.user_properties.append(("own_cpu_s", round(worked - item.stash[_WORKED], 2)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many of the heaviest tests to list."""
    parser.addoption(
        "--heaviest",
        type=int,
        default=0,
        metavar="N",
        help="list the N tests that worked most, in seconds of CPU",
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """List the heaviest tests, and those that should be marked slow and are not."""
    reports = [
        report
        for outcome in ("passed", "failed", "xfailed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
    ]
    told = {report.nodeid: dict(report.user_properties) for report in reports}
    worked = {name: properties.get("cpu_s", 0.0) for name, properties in told.items()}
    heaviest = sorted(worked, key=lambda name: -worked[name])[: config.getoption("heaviest")]
    if heaviest:
        total = sum(worked.values())
        terminalreporter.section(f"heaviest tests, seconds of CPU; {total:.0f} in all")
    for name in heaviest:
        terminalreporter.write_line(f"{worked[name]:8.2f}  {name}")
    _tell_files(terminalreporter, worked, len(heaviest))
    slow = {report.nodeid for report in reports if "slow" in report.keywords}
    forgotten = [
        name
        for name, properties in told.items()
        if properties.get("own_cpu_s", 0.0) > 2 * SLOW_CPU_S and name not in slow
    ]
    if forgotten:
        terminalreporter.section(f"over {2 * SLOW_CPU_S} s of CPU and not marked slow")
    for name in forgotten:
        terminalreporter.write_line(f"{worked[name]:8.2f}  {name}")


def _tell_files(
    terminalreporter: pytest.TerminalReporter, worked: Mapping[str, float], count: int
) -> None:
    """List as many of the heaviest files."""
    files: Counter[str] = Counter()
    for name, cpu in worked.items():
        files[name.partition("::")[0]] += cpu
    if count:
        terminalreporter.section("heaviest files, seconds of CPU")
    for name, cpu in files.most_common(count):
        terminalreporter.write_line(f"{cpu:8.1f}  {name}")
