"""Readers that fail in each of the ways that the runner must notice."""

import os
import signal
import time

from planner.errors import InputError
from tests.fuzz.reader import Reader


def _seeds(folder):
    path = folder / "one.json"
    path.write_text('{"a": 1, "b": [1, 2, 3]}', encoding="utf-8")
    return [path]


def _careful(call):
    """A reader that does so for one case only, which is no longer the seed."""

    def read(path):
        if path.read_bytes() != b'{"a": 1, "b": [1, 2, 3]}':
            return call(path)
        return None

    return read


def _refuse(path):
    raise InputError(f"{path} is refused whatever it is")


def _raise(path):
    raise KeyError("a")


def _work(path):
    until = time.process_time() + 1.2
    while time.process_time() < until:
        pass


def _work_on(path):
    while True:
        pass


def _hold(path):
    return len(bytearray(250 * 10**6))


def _ask_for_more(path):
    return len(bytearray(2**40))


def _die(path):
    os.kill(os.getpid(), signal.SIGKILL)


def _leave(path):
    raise SystemExit(0)


def _recurse(path):
    return _recurse(path)


def _chatter(path):
    raise InputError(f"{path}\nhas two lines")


WAYS = {
    "raises": (_raise, "KeyError left it"),
    "works": (_work, "s of CPU"),
    "works on": (_work_on, "ended with status -24"),
    "holds": (_hold, " MB"),
    "asks for more": (_ask_for_more, "MemoryError left it"),
    "dies": (_die, "ended with status -9"),
    "leaves": (_leave, "SystemExit left it"),
    "recurses": (_recurse, "RecursionError left it"),
    "chatters": (_chatter, "says in"),
}
"""What goes wrong, and what is said of it."""
READERS = {name: Reader(name, _seeds, _careful(call)) for name, (call, _) in WAYS.items()}
READERS["refuses"] = Reader("refuses", _seeds, _careful(_refuse))
