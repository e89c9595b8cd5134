"""`python -m benchmarks.licences`: writes LICENCES.md, what each pinned package may be used under, as
its own metadata says."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "LICENCES.md"
NEEDED = {"ortools", "networkx", "numpy", "pydantic", "typer", "rich"}
"""What the package itself needs; all others serve an extra or the tests."""
HEAD = """\
# Licences of what is pinned

`planner` is Apache-2.0. What `constraints.txt` pins, as each package's own metadata says; those in bold are installed with
`planner`, and bring some of the others; the rest serves an extra, the notebooks or the tests. Made by
`python -m benchmarks.licences`.

| package | version | licence |
|---|---|---|
"""


def pinned() -> dict[str, str]:
    """Versions by name, as `constraints.txt` has them."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(";")[0].split("==") for line in lines if "==" in line)
    return {name.strip(): version.strip() for name, version in pairs}


def licence_of(name: str) -> str:
    """In the words of its metadata: the expression, else the classifiers, else the first line of
    its text."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return "not installed where this page was made"
    expression = told.get("License-Expression")
    if expression:
        return expression
    classified = [
        line.rpartition("::")[2].strip()
        for line in told.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    lines = (told.get("License") or "").strip().splitlines()
    words = ", ".join(classified) or (lines[0] if lines else "not said")
    return re.sub(r"\s+", " ", words)[:80]


def page() -> str:
    """The whole page."""
    rows = []
    for name, version in sorted(pinned().items(), key=lambda one: one[0].lower()):
        shown = f"**{name}**" if name in NEEDED else name
        rows.append(f"| {shown} | {version} | {licence_of(name)} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
