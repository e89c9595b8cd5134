"""The site: its code runs, its commands are those of the command line, its links lead somewhere, its
reference is whole, and Sphinx builds it without a warning."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import getdoc, isfunction
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import typer

import planner as pl
from planner import studies
from planner.calibration.measurements import read_measurements
from planner.cli import COMMANDS, app_for
from planner.studies.audits.claims import read_claims
from planner.studies.sweeps.specs import read_spec
from tests.pages import (
    DOCS,
    PAGES,
    ROOT,
    anchors_of,
    blocks_of,
    commands_of,
    files_of,
    links_of,
    name_of,
)

RUN = (
    ROOT / "README.md",
    *sorted((DOCS / "tutorial").glob("*.md")),
    *sorted((DOCS / "how_to").glob("*.md")),
)
"""Pages whose Python blocks are run, in order; `docs/method.md` and `docs/export.md` have tests of
their own, `docs/first_hour.md` too."""
TOO_LONG = {"docs/how_to/map.md"}
"""That a notebook runs in other words."""


def made(name: str):
    """A module beside the configuration of the site."""
    pytest.importorskip("sphinx")
    spec = spec_from_file_location(name, DOCS / "extensions" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_a_page_is_python(page):
    for number, block in enumerate(blocks_of(page, "python")):
        compile(block, f"{name_of(page)}, block {number}", "exec")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in RUN if blocks_of(page, "python") and name_of(page) not in TOO_LONG],
    ids=name_of,
)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in files_of(page).items():
        Path(name).write_text(text, encoding="utf-8")
    known: dict = {}
    for number, block in enumerate(blocks_of(page, "python")):
        exec(compile(block, f"{name_of(page)}, block {number}", "exec"), known)


def parsed(words: list[str]) -> None:
    """What the command line makes of the words; it refuses what it does not know."""
    command = typer.main.get_command(app_for(words[0])).commands[words[0]]
    rest = words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(" ".join(words), list(rest))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(commands_of(page))], ids=name_of)
def test_commands_on_a_page_are_taken_by_the_command_line(page):
    for words in commands_of(page):
        parsed(words)


def test_a_command_that_there_is_not_is_noticed():
    with pytest.raises(Exception, match="--no-such-option"):
        parsed(["plan", "llama-3.1-8b", "hgx-h100", "--no-such-option"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_somewhere(page):
    for link in links_of(page):
        where = urlsplit(link)
        if where.scheme:
            assert where.scheme == "https", link
            assert re.fullmatch(r"[\w.-]+\.[a-z]{2,}", where.netloc), link
            continue
        target = (page.parent / where.path).resolve() if where.path else page
        assert target.exists(), link
        if where.fragment and target.suffix == ".md":
            assert where.fragment in anchors_of(target), link


def test_the_examples_of_file_formats_are_read(tmp_path):
    files = files_of(DOCS / "formats.md")
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    machine = pl.load_topology(tmp_path / "topology.toml")
    assert (machine.chips, machine.chip.name) == (2, "NVIDIA GeForce RTX 4090")
    assert [pool.name for pool in pl.load_cluster(tmp_path / "cluster.toml").pools] == [
        "new",
        "old",
    ]
    stack = pl.load_topology("hgx-h100", software=str(tmp_path / "stack.toml")).software
    assert (stack.engine.version, stack.memory_efficiency) == ("2.1", 0.8)
    assert len(pl.load_operators(tmp_path / "operators.json").operators) == 3
    assert pl.Workload.from_json(files["workload.json"]).batch_size == 8
    assert pl.Plan.from_json(files["plan.json"]).chips == 2
    assert len(list(read_spec(tmp_path / "sweep.toml").cells())) == 2 * 2 * 2 * 3 * 2
    assert [claim.name for claim in read_claims(tmp_path / "claims.toml")] == ["one card"]
    assert [row.field for row in read_measurements(tmp_path / "measurements.csv")] == [
        "tpot_s",
        "ttft_s",
    ]
    assert len(files) == 9


def explained() -> list[tuple[str, str]]:
    """Module and name of all that the reference explains."""
    names_on = made("reference_pages").names_on
    pages = sorted((DOCS / "reference").glob("*.md"))
    return [one for page in pages for one in names_on(page.read_text(encoding="utf-8"))]


@pytest.mark.slow
def test_the_reference_explains_every_public_name_once():
    told = explained()
    wanted = {("planner", name) for name in pl.__all__}
    wanted |= {("planner.studies", name) for name in studies.__all__}
    wanted |= {("planner.export", "to_engine"), ("planner.errors", "TooLargeError")}
    assert len(told) == len(set(told))
    assert set(told) == wanted


RAISE_NOTHING = {
    "article_claims",
    "check_plan",
    "cluster_names",
    "model_names",
    "moved_bytes",
    "rules_of_thumb",
    "software_names",
    "topology_names",
}
"""Beside refusing arguments that are of no use to them, as all do."""


def test_functions_say_what_they_raise():
    for module, name in explained():
        thing = getattr(import_module(module), name)
        if isfunction(thing) and name not in RAISE_NOTHING:
            assert "Error" in getdoc(thing), name


def test_numbers_of_records_have_their_unit_in_the_reference():
    pages = made("reference_pages")
    fields = {field.name: field for field in pages.fields_of(pl.Score)}
    assert fields["tpot_s"].unit == "s"
    assert fields["energy_per_token_j"].unit == "J/token"
    assert fields["tokens_per_s_per_chip"].unit == "tokens/s"
    assert fields["mfu_fraction"].unit == "share"
    assert fields["chips"].unit == ""
    links = {field.name: field for field in pages.fields_of(pl.Fabric)}
    assert (links["bandwidth_bytes_per_s"].unit, links["bandwidth_bytes_per_s"].kind) == (
        "B/s",
        "float",
    )


class Sample(NamedTuple):
    """A record, as the reference sees one."""

    latency_s: float = 0.5
    """Of a `hop`; *port* to port."""
    chips: int = 1
    name: str = ""


def test_a_table_says_of_each_field_its_unit_its_default_and_its_words(monkeypatch):
    pages = made("reference_pages")
    monkeypatch.setattr(Sample, "__module__", "planner.sample")
    monkeypatch.setattr(pages.inspect, "getsource", lambda _: SAMPLE)
    first, second, third = pages.fields_of(Sample)
    assert first == ("latency_s", "float", "s", "0.5", "Of a `hop`; *port* to port.")
    assert second == ("chips", "int", "", "1", "")
    assert third.unit == ""
    assert "   * - ``latency_s``" in pages.table_of((first,))
    assert "     - Of a ``hop``; \\*port\\* to port. Default: ``0.5``." in pages.table_of((first,))


SAMPLE = '''class Sample(NamedTuple):
    """A record, as the reference sees one."""

    latency_s: float = 0.5
    """Of a `hop`; *port* to port."""
    chips: int = 1
    name: str = ""
'''


def test_errors_of_a_docstring_become_a_list():
    text = (
        "A plan. InfeasibleError: proved that there is none; NoPlanFoundError: none in time. More."
    )
    assert made("reference_pages").with_raises(text) == (
        "A plan. More.",
        [("InfeasibleError", "proved that there is none"), ("NoPlanFoundError", "none in time")],
    )


@pytest.mark.slow
def test_every_command_stands_on_the_page_of_the_command_line():
    pages = made("command_pages")
    text = "\n".join(pages.page_of(words, command) for words, command in pages.commands())
    for name in COMMANDS:
        assert f"## planner {name}" in text
    assert "## planner machine detect" in text
    assert "| `--kv <text>` | Format of the KV cache." in text


def test_pictures_are_those_of_the_notebooks():
    pictures = made("pictures")
    for name, taken in pictures.TAKEN.items():
        assert (DOCS / "pictures" / name).read_bytes() == pictures.picture_of(*taken), (
            "make notebooks"
        )


def test_the_readme_is_a_screen_and_a_half():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_what_the_site_needs_is_an_extra_that_developers_have_too():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = extras["optional-dependencies"]["docs"]
    assert set(needed) <= set(extras["optional-dependencies"]["dev"])


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_for_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("furo")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html"]
    answer = subprocess.run(
        [*command, "-d", str(tmp_path / "read"), "-c", "docs", ".", str(tmp_path / "html")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > 60
    loaded = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc="(\w+:)?//|<link[^>]*\shref="(\w+:)?//"""
    )
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page.name
    for sheet in (tmp_path / "html" / "_static").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), (
            sheet.name
        )
