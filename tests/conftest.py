"""What many tests share: the command, how Hypothesis draws, and the lanes."""

import functools
import gc
import importlib
import os
import pkgutil
import random
import sys

import hypothesis
import pytest
import typer
from hypothesis import HealthCheck

import benchmarks
import planner
from planner import cli
from tests.browsing import CHROMIUM, DRIVER, FLAGS, PATIENCE_S
from tests.lanes import (  # noqa: F401  (hooks)
    pytest_addoption,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_terminal_summary,
)
from tests.terminal import Answer

# Of nothing that is tested here; jsonschema would build its thirty grammars, for seconds, in each
# process that imports it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

# How long an example takes says how busy the machine is, so nothing here goes by it.
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
STEADY = {"derandomize": True, "database": None, "print_blob": True}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "steady")

hypothesis.settings.register_profile("steady", **UNTIMED, **STEADY)
hypothesis.settings.register_profile("ci", **UNTIMED, **STEADY)
hypothesis.settings.register_profile("explore", **UNTIMED, print_blob=True, max_examples=500)
hypothesis.settings.load_profile(PROFILE)


def _all_imported() -> None:
    """Import every module of ours.

    Now and then Hypothesis draws a number that stands in one of our modules that are imported by
    then. Which those are must not depend on which tests ran before in the same process.
    """
    for package in (planner, benchmarks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed of an exploration here, so that its number can be told."""
    if PROFILE == "explore" and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(random.SystemRandom().randrange(10**9))


def pytest_report_header(config: pytest.Config) -> str:
    """Say how Hypothesis draws."""
    if PROFILE == "explore":
        return (
            f"hypothesis: explores from seed {config.option.hypothesis_seed}; again with"
            f" HYPOTHESIS_PROFILE=explore and --hypothesis-seed={config.option.hypothesis_seed}"
        )
    return (
        f"hypothesis: profile {PROFILE}, derandomised; the seed of each test is the digest of its"
        " source (HYPOTHESIS_PROFILE=explore draws anew)"
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Once it is known that something runs."""
    # What fifteen thousand tests and all modules are made of is not walked through again at each
    # full collection, of which there are fewer: a tenth of the work of a run.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    if PROFILE != "explore" and session.items:
        _all_imported()


get_command = functools.cache(typer.main.get_command)
"""Typer makes all commands anew at each call, which takes longer than most of them do."""


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process."""
    monkeypatch.setattr(typer.main, "get_command", get_command)
    # What a busy machine takes longer over is told to nobody.
    monkeypatch.setattr("planner.cli.progress.PIPED_S", 1e6)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["planner", *(str(argument) for argument in arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code
        return Answer(status, *capsys.readouterr())

    return call


@pytest.fixture
def browser(tmp_path):
    """A headless Chromium, where there is one."""
    selenium = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    driver.set_page_load_timeout(PATIENCE_S)
    # The connection to the driver waits no longer than two minutes unless told to.
    driver.command_executor.client_config.timeout = PATIENCE_S
    yield driver
    driver.quit()
