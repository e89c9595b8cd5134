"""Commands and manifests that were tampered with, word by word."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from random import Random

PUBLIC = Path(__file__).parent.parent / "data" / "commands.toml"
WORDS = re.compile(rb"\s+|\S+")
ODD = (
    b"-1", b"0", b"99999999999999999999", b"1e400", b"nan", b"32K", b"''", b"'", b'"', b"$X",
    b"${X:-4}", b"$(", b"`", b"\\", b"|", b"&&", b"<<E", b"> x", b"{", b"}", b"[[[[", b"*a", b"&a",
    b"--", b"-tp", b"--tp=8", b"-pp", b"--config", b"--speculative-config", b'{"a": [', b"\xff",
    b"\x00", "\u202e".encode(), b"CUDA_VISIBLE_DEVICES=9,9", b"VLLM_PP_LAYER_PARTITION=1,2",
    b"bash -c 'vllm serve m'", b"--model", b"---", b"- ", b"? ", b"a: b: c", b"!!python/name:os.x",
)  # fmt: skip
"""Words that mean something somewhere."""


def command_files(folder: Path) -> list[Path]:
    """Those of public pages, one a file."""
    paths = []
    rows = tomllib.loads(PUBLIC.read_text(encoding="utf-8"))["command"]
    for number, row in enumerate(rows):
        path = folder / f"{number}.sh"
        path.write_text(row["text"], encoding="utf-8")
        paths.append(path)
    return paths


def tampered_command(held: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """A few words lost, doubled, swapped, glued, cut, made odd, or taken from another command."""
    words = WORDS.findall(held)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at = draw.randrange(len(words))
        other = WORDS.findall(draw.choice(others))
        words[at : at + 1] = draw.choice(
            (
                [],
                [words[at], b" ", words[at]],
                [draw.choice(ODD)],
                [draw.choice(ODD), b" ", words[at]],
                [words[at] + draw.choice(ODD)],
                [words[at][: draw.randint(0, len(words[at]))]],
                other[draw.randrange(len(other)) :][:4],
            )
        )
        words = words or [b" "]
    made = b"".join(words)
    if draw.random() < 0.02:
        made *= draw.randint(2, 200)
    return made
