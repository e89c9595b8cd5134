"""Pages that people read name what there is; and the notebook of the map runs unchanged as a page
under Voilà: in a real browser a slider moves, and the picture changes."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.browsing import PATIENCE_S

ROOT = Path(__file__).resolve().parent.parent
LOOK_S = 0.2
LOOKS = 1_500
"""Before a page counts as broken. Looks and not seconds: on a busy machine each takes longer."""
READ = (
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "NOMENCLATURE")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
)


def words_of(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def names_in(text: str) -> set[str]:
    """What is written as `planner.x.y`, or imported from there."""
    names = set(re.findall(r"\bplanner(?:\.[A-Za-z_]\w*)+", text))
    for module, given in re.findall(r"from (planner[\w.]*) import (\([^)]*\)|[\w, ]+)", text):
        names |= {f"{module}.{name}" for name in re.findall(r"\w+", given.split(" as ")[0])}
    return names


def is_there(name: str) -> bool:
    """Whether a module, or what stands in one, has that name."""
    parts = name.split(".")
    place = import_module(parts[0])
    for end, part in enumerate(parts[1:], 2):
        try:
            place = getattr(place, part)
        except AttributeError:
            try:
                place = import_module(".".join(parts[:end]))
            except ModuleNotFoundError:
                return False
    return True


@pytest.mark.parametrize("page", READ, ids=lambda page: page.name)
def test_a_page_names_only_what_there_is(page):
    assert [name for name in sorted(names_in(words_of(page))) if not is_there(name)] == []


def test_names_are_found_where_pages_write_them():
    text = "see `planner.studies.crossover`; from planner.solver import chain, gone"
    assert names_in(text) == {
        "planner.studies.crossover",
        "planner.solver",
        "planner.solver.chain",
        "planner.solver.gone",
    }
    assert is_there("planner.solver.chain.labels")
    assert not is_there("planner.solver.gone")
    assert sum(len(names_in(words_of(page))) for page in READ) > 10


@pytest.fixture
def address(tmp_path) -> Iterator[str]:
    pytest.importorskip("voila")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    notebook = shutil.copy(ROOT / "notebooks" / "where_does_the_lpu_advantage_fade.ipynb", tmp_path)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "voila",
        str(notebook),
        "--no-browser",
        f"--port={port}",
    ]
    command.append(f"--VoilaConfiguration.http_keep_alive_timeout={PATIENCE_S}")
    places = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "1"}
    with subprocess.Popen(
        command, env=os.environ | places, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            waited_for(lambda: answers(port))
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def waited_for(found: Any) -> Any:
    """The first answer that is not empty."""
    for _ in range(LOOKS):
        if answer := found():
            return answer
        time.sleep(LOOK_S)
    raise AssertionError("the page did not come to it")


@pytest.mark.slow
def test_moving_a_slider_changes_the_picture(address, browser):
    browser.get(address)
    handles = waited_for(lambda: browser.find_elements("css selector", ".noUi-handle"))
    assert len(handles) == 3

    def picture() -> str:
        """Read in one go: the page may replace the element between two questions."""
        return browser.execute_script(
            "return document.querySelector('.widget-html svg')?.outerHTML ?? ''"
        )

    before = waited_for(picture)
    assert "Groq LPUs" in before
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", handles[0])
    for _ in range(4):  # from any number of users in flight to one
        browser.find_elements("css selector", ".noUi-handle")[0].send_keys(
            "\ue014"
        )  # arrow to the right
    after = waited_for(lambda: picture() if "at most 1 user in" in picture() else "")
    assert after != before
    if place := os.environ.get("PLANNER_SCREENSHOT"):
        browser.save_screenshot(place)
