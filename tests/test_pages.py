"""The notebook of the map runs unchanged as a page under Voilà: in a real browser a slider
moves, and the picture changes."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1000,900",
)  # fmt: skip
PATIENCE_S = 600
LOOK_S = 0.2
LOOKS = 1_500
"""Before a page counts as broken. Looks and not seconds: on a busy machine each takes longer."""


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


@pytest.fixture
def browser(tmp_path) -> Iterator[Any]:
    selenium = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    driver.set_page_load_timeout(PATIENCE_S)
    yield driver
    driver.quit()


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
