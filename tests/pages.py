"""What pages show: blocks of code, files to save, commands to type."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")] if "_build" not in path.parts
)
FENCE = re.compile(r"^```(?P<kind>[\w-]*)[^\n]*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
SAVED = re.compile(r"`([\w.-]+\.\w+)`[.:]\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELLS = ("sh", "console", "bash")


def name_of(page: Path) -> str:
    """Of a page, below the root."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, *kinds: str) -> list[str]:
    """The blocks of some kinds, in order."""
    text = page.read_text(encoding="utf-8")
    return [found["text"] for found in FENCE.finditer(text) if found["kind"] in kinds]


def files_of(page: Path) -> dict[str, str]:
    """What a page asks to be saved, by the name that stands in front of the block."""
    return dict(SAVED.findall(page.read_text(encoding="utf-8")))


def commands_of(page: Path) -> Iterator[list[str]]:
    """The words of every command `planner …` that a page shows, comments left out."""
    for block in blocks_of(page, *SHELLS):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for command in _commands(words):
                if command[:1] == ["planner"]:
                    yield command[1:]


def _commands(words: list[str]) -> Iterator[list[str]]:
    """A line's commands, of which there are several between semicolons."""
    command: list[str] = []
    for word in words:
        command.append(word.removesuffix(";"))
        if word.endswith(";"):
            yield command
            command = []
    yield command


def links_of(page: Path) -> list[str]:
    """Where a page's links and pictures lead, blocks of code left out."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"`[^`\n]*`", "", text)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors_of(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}
