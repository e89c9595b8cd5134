"""How a Python process is started here: isolated, so that no file of the folder that it works in,
and no variable of the environment, stands in for a module."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
START = """
import runpy, site, sys
standard = [*sys.path]
site.main()
root, kind, what, *arguments = sys.argv[1:]
sys.path.insert(len(standard), root)
sys.argv[:] = [what, *arguments]
if kind == "-m":
    runpy.run_module(what, run_name="__main__", alter_sys=True)
else:
    exec(what, {"__name__": "__main__"})
"""
"""The standard library comes first, then the checkout, then what is installed."""


def isolated(*arguments: str, checkout: Path = HERE) -> tuple[str, ...]:
    """The command that runs `-m MODULE` or `-c TEXT` by the code of a checkout."""
    return (sys.executable, "-I", "-S", "-c", START, str(checkout), *arguments)
