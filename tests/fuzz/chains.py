"""Files that name one another, tampered with as one: each case is a folder in one JSON file."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.commands import tampered_command
from tests.fuzz.headers import tampered_bytes, tampered_safetensors
from tests.fuzz.tables import PATHS, tampered_toml
from tests.fuzz.trees import tampered_json

LINKS = "links"
"""Under this name stand, instead of a file, links of the folder and where they lead."""


def packed(parts):
    """Files by name, in one text."""
    held = {
        name: (text if isinstance(text, bytes) else text.encode()).hex()
        for name, text in parts.items()
    }
    return json.dumps(held)


@contextlib.contextmanager
def laid_out(path: Path) -> Iterator[Path]:
    """The folder of a case, as long as it is read."""
    with tempfile.TemporaryDirectory() as folder:
        for name, held in json.loads(path.read_bytes()).items():
            place = Path(folder) / name
            if name == LINKS:
                for link, target in held.items():
                    (Path(folder) / link).unlink(missing_ok=True)
                    (Path(folder) / link).symlink_to(target)
                continue
            place.write_bytes(bytes.fromhex(held))
        yield Path(folder)


def tampered_chain(data, draw, others=()):
    """One or two of the files tampered with, each as its kind is; or one that is lost, stands for
    another, is a link out, or names another of them, or itself."""
    parts = json.loads(data)
    for _ in range(draw.choice([1, 1, 2])):
        names = sorted(name for name in parts if name != LINKS)
        name, other = draw.choice(names), draw.choice(names)
        way = draw.random()
        if way < 0.04 and len(names) > 1:
            del parts[name]
        elif way < 0.1:
            parts[name] = parts[other]
        elif way < 0.15:
            parts.setdefault(LINKS, {})[name] = draw.choice(
                ["/dev/zero", "/etc/passwd", name, other, "/"]
            )
        elif way < 0.35:
            parts[name] = _renamed(bytes.fromhex(parts[name]), draw, names).hex()
        else:
            parts[name] = _tampered(name, bytes.fromhex(parts[name]), draw).hex()
    return json.dumps(parts).encode()


def _renamed(held, draw, names):
    """A name of one of the files in it is that of another, or a path."""
    said = [name.encode() for name in names if name.encode() in held]
    if not said:
        return tampered_bytes(held, draw)
    made = draw.choice([*names, *names, *PATHS]).encode().replace(b"\\", b"").replace(b"\0", b"")
    return held.replace(draw.choice(said), made)


def _tampered(name, held, draw):
    try:
        if name.endswith(".toml"):
            return tampered_toml(held, draw, [held])
        if name.endswith(".safetensors"):
            return tampered_safetensors(held, draw, [held])
        if name.endswith(".json"):
            return tampered_json(held, draw, [held])
    except (ValueError, RecursionError):  # it was tampered with before
        return tampered_bytes(held, draw) if held else held
    return tampered_command(held, draw, [held])
