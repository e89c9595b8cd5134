"""The server itself: its socket, its token, its end, and the page in a browser."""

import json
import os
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.isolated import isolated
from planner.doors.web import running
from planner.doors.web.running import address_of, bound, is_plain, token_for, usual_keep
from planner.errors import InputError
from tests.browsing import PATIENCE_S

pytest.importorskip("uvicorn")

LOOK_S = 0.1
LOOKS = 3_000
"""Before a page counts as broken. Looks and not seconds: on a busy machine each takes longer."""


def test_a_missing_extra_is_a_sentence(monkeypatch):
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'spread-planner\[serve\]'"):
        running.check_extra()


def test_other_machines_need_a_token_and_this_one_does_not():
    assert token_for("127.0.0.1", None) is None
    made = token_for("0.0.0.0", None)
    assert len(made) >= 32
    assert made != token_for("0.0.0.0", None)
    assert is_plain(made)
    assert token_for("127.0.0.1", made) == made
    for given in ("short", "with a blank and more", "ä" * 20):
        with pytest.raises(InputError, match="--token must have 16 or more letters"):
            token_for("127.0.0.1", given)


def test_a_port_that_is_taken_is_a_sentence():
    with bound("127.0.0.1", 0) as first:
        taken = first.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1 port {taken} cannot be listened on"):
            bound("127.0.0.1", taken)
    with pytest.raises(InputError, match="cannot be listened on"):
        bound("no.such.host.invalid", 0)


def test_the_address_is_one_to_open():
    assert address_of("127.0.0.1", 80, None).endswith("//127.0.0.1:80/")
    assert address_of("::1", 80, "abc").endswith("//[::1]:80/?token=abc")


def test_answers_are_kept_where_a_users_state_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert usual_keep() == tmp_path / "spread-planner" / "serve.sqlite"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert usual_keep() == tmp_path / ".local" / "state" / "spread-planner" / "serve.sqlite"


@contextmanager
def serving(keep: Path):
    """A server of its own on a port that is free: its process and its address."""
    command = isolated("-m", "planner", "serve", "--port", "0", "--keep", str(keep))
    environment = {name: value for name, value in os.environ.items() if name != "PLANNER_TOKEN"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=keep.parent
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def asked(address, path, question=None):
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(f"{address}{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_a_killed_server_loses_no_finished_job(tmp_path):
    keep = tmp_path / "kept.sqlite"
    with serving(keep) as (process, address):
        done = asked(address, "api/names?wait=60", {"kind": "software"})
        assert done["status"] == "done"
        process.kill()
        process.wait()
    with serving(keep) as (_, address):
        assert asked(address, f"api/jobs/{done['id']}") == done


class Page:
    """The page in a browser, as a person goes about it."""

    def __init__(self, browser):
        self.browser = browser

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def write(self, name, text):
        field = self.find(f'[name="{name}"]')
        field.clear()
        field.send_keys(text)

    def press(self, selector):
        element = self.find(selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def text(self, selector):
        """Read in one go: the page may replace the element between two questions."""
        return self.browser.execute_script(
            f"return document.querySelector({selector!r})?.textContent ?? ''"
        )

    def waited_for(self, selector, words):
        for _ in range(LOOKS):
            if words in self.text(selector):
                return self.text(selector)
            time.sleep(LOOK_S)
        raise AssertionError(f"no {words!r} in {selector}: {self.text('body')[-500:]!r}")


@pytest.mark.slow
def test_from_an_empty_page_to_an_exported_command(tmp_path, browser):
    with serving(tmp_path / "kept.sqlite") as (_, address):
        page = Page(browser)
        browser.get(address)
        assert page.text("#outcome") == ""
        page.write("model", "qwen3-0.6x")
        page.write("machine", "hgx-h100")
        page.write("chips", "1")
        page.write("users", "4\n")
        page.waited_for("#outcome .refusal", "nearest names are qwen3-0.6b")

        page.write("model", "qwen3-0.6b\n")
        page.waited_for("#outcome", "it is proved that no plan")
        page.waited_for("#outcome", "qwen3-0.6b on 1 chips of hgx-h100")
        assert "model=qwen3-0.6b" in browser.current_url
        browser.back()
        page.waited_for("#outcome .refusal", "nearest names are qwen3-0.6b")
        browser.forward()
        page.waited_for("#outcome", "it is proved that no plan")
        page.press("[data-ask=explain]")
        page.waited_for("#detail", "What binds")
        page.press("[data-ask=pareto]")
        page.waited_for("#detail svg title", "plans of qwen3-0.6b")
        write_rivals = "document.getElementById('rivals').value = 'hgx-h10'"
        browser.execute_script(write_rivals)
        page.press("[data-ask=map]")
        page.waited_for("#detail .refusal", "nearest names are hgx-h100")
        page.press("[data-ask=export]")
        page.waited_for("#detail pre", "vllm serve")
        page.press("details.other summary")
        page.write("machines", "hgx-h100:1, l4:1")
        page.press("[value=compare]")
        page.waited_for("#outcome h2", "The best plan on each machine, by time per output token")
        assert "ask=compare&" in browser.current_url
        page.press(".pick")
        page.press("[data-ask=explain]")
        page.waited_for("#detail", "What binds")
        browser.back()
        page.waited_for("#outcome", "it is proved that no plan")
        before = page.text("#outcome table")

        page.press("#slider")
        page.find("#slider").send_keys("\ue010")  # End
        page.find("#slider").send_keys("\ue011")  # Home: one user
        page.waited_for("#slid-value", "1")
        page.waited_for("#outcome table tr:nth-child(12)", "sequences in flight1")
        assert page.text("#outcome table") != before
        shared = browser.current_url
        assert "users=1&" in shared

        browser.get("about:blank")
        browser.get(shared)
        page.waited_for("#outcome table tr:nth-child(12)", "sequences in flight1")
        if place := os.environ.get("PLANNER_SCREENSHOT"):
            browser.save_screenshot(place)
