"""`python -m benchmarks.matrix`: the tests on every interpreter from 3.11 on that this machine has.

Each gets a virtual environment of its own (`.venv-3.12`), with the pinned packages; those that are
not there are named, and a failure anywhere is one here.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MINORS = range(11, 16)
TESTS = ("-P", "-m", "pytest", "-p", "no:nbmake", "-n", "2", "--dist", "worksteal", "-q")


def interpreters() -> dict[str, str | None]:
    """Where each version is; None: not on the path."""
    return {f"3.{minor}": shutil.which(f"python3.{minor}") for minor in MINORS}


def python_of(version: str, interpreter: str) -> Path:
    """The interpreter of an environment that has what the tests need."""
    folder = ROOT / f".venv-{version}"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        subprocess.run([interpreter, "-I", "-m", "venv", str(folder)], check=True)
    wanted = ("--constraint", str(ROOT / "constraints.txt"), "--editable", f"{ROOT}[dev]")
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([python, "-I", "-m", "pip", "install", *quiet, *wanted], check=True)
    return python


def tested(version: str, interpreter: str) -> bool:
    """Whether the tests hold there."""
    try:
        python = python_of(version, interpreter)
    except subprocess.CalledProcessError:
        return False
    return subprocess.run([python, *TESTS, "tests"], cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Test, and say what was found, what held and what was not there."""
    found = interpreters()
    said = {
        version: "not on this machine"
        if interpreter is None
        else ("holds" if tested(version, interpreter) else "FAILS")
        for version, interpreter in found.items()
    }
    for version, words in said.items():
        print(f"Python {version}: {words}")
    return int("FAILS" in said.values() or not any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
