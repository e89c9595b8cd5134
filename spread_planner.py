"""What `planner` gives, from the files of spread-planner, whoever else wrote into that folder.

    import spread_planner as pl        # as `import planner as pl`; the command is spread-planner

Another distribution, llm-d-planner, installs a package and a command of the same name `planner`:
whichever of the two is installed later writes over files of the other. So a wheel of ours holds the
package a second time, in a folder that is ours alone. Importing this module puts that folder first
on the path: `planner` is then ours, in this process and in those that it starts.
"""

import filecmp
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner import *  # noqa: F403

NAME = "spread-planner"
HERE = Path(__file__).resolve().parent
COPY = HERE / "spread_planner_files"
"""Beside this file in what was installed; a checkout has none, and nobody writes over it."""
HOME = COPY if COPY.is_dir() else HERE
"""The folder of a package `planner` that is ours alone."""
_ADDED: list[str] = []
"""What we put on the path."""
SEPARATED = (
    "give each a virtual environment of its own, or uninstall the other and run"
    f" pip install --force-reinstall --no-deps {NAME}"
)


def owner() -> str:
    """Whose package `import planner` loads where this module was not imported first."""
    folder = _found()
    if folder is None:
        return f"no package planner can be imported; {NAME} works from {HOME}"
    if folder != HERE / "planner":
        return _elsewhere(folder)
    changed = _changed(folder)
    if changed:
        return _overwritten(folder, changed)
    others = _claimants("planner/")
    if not others:
        return f"planner ({folder}) is {NAME}'s"
    return (
        f"planner ({folder}) is {NAME}'s, and {_listed(others)} installed files into the same"
        " folder: whichever of them is installed or removed next breaks the other;"
        f" {SEPARATED}"
    )


def main() -> None:
    """The command: `planner` from our own files; --owner says whose the package `planner` is."""
    if sys.argv[1:] == ["--owner"]:
        print(owner())
        return
    folder = HERE / "planner"
    changed = _changed(folder)
    if changed:
        print(_overwritten(folder, changed), file=sys.stderr)
    run = importlib.import_module("planner.cli").main
    run()


def _elsewhere(folder: Path) -> str:
    others = _claimants("planner/__init__.py")
    whose = f", of {_listed(others)}" if others else ""
    return (
        f"planner is {folder}{whose}, and not {NAME}'s, which works from {HOME} as the command"
        f" {NAME} and as import spread_planner; to have both by name, {SEPARATED}"
    )


def _overwritten(folder: Path, changed: tuple[str, ...]) -> str:
    who = _listed(_claimants(*changed)) or "somebody"
    return (
        f"planner ({folder}) is no longer {NAME}'s: {who} wrote over or removed {len(changed)} of"
        f" its files ({_listed(changed[:3])}); the command {NAME} and import spread_planner still"
        f" work from files of their own; {SEPARATED}"
    )


def _found() -> Path | None:
    """The folder that `import planner` takes where we put nothing on the path."""
    places = [*sys.path]
    for place in _ADDED:
        if place in places:
            places.remove(place)
    found = PathFinder.find_spec("planner", places)
    if found is None or found.submodule_search_locations is None:
        return None
    return Path(next(iter(found.submodule_search_locations))).resolve()


def _changed(folder: Path) -> tuple[str, ...]:
    """Files of ours that in that folder are not as they were installed."""
    if HOME == HERE:
        return ()
    _, different, missing = filecmp.cmpfiles(
        HOME / "planner", folder, tuple(_files(HOME / "planner")), shallow=False
    )
    return tuple(f"planner/{name}" for name in sorted((*different, *missing)))


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each != "__pycache__")
        for name in names:
            yield Path(place, name).relative_to(folder).as_posix()


def _claimants(*begins: str) -> list[str]:
    """Other distributions whose records list a file that begins so."""
    # Only here: it takes longer to import than all the rest.
    from importlib import metadata

    found = set()
    for distribution in metadata.distributions():
        name = distribution.name
        lines = (distribution.read_text("RECORD") or "").splitlines()
        if name != NAME and any(line.startswith(begins) for line in lines):
            found.add(f"{name} {distribution.version}")
    return sorted(found)


def _listed(names: Sequence[str]) -> str:
    first = ", ".join(names[:-1])
    return f"{first} and {names[-1]}" if first else "".join(names)


def _ours() -> ModuleType:
    """The package `planner`, ours whoever wrote over it."""
    loaded = sys.modules.get("planner")
    if loaded is None:
        if _first() != HOME / "planner":
            # On the path, and not only loaded from there: processes that are started get the path.
            sys.path.insert(0, str(HOME))
            _ADDED.append(str(HOME))
        return importlib.import_module("planner")
    file = getattr(loaded, "__file__", None)
    folder = Path(file).resolve().parent if file else None
    if folder == HOME / "planner" or (folder == HERE / "planner" and not _changed(folder)):
        return loaded
    raise ImportError(
        f"planner was imported before, from {folder or 'a folder'} that is not {NAME}'s; import"
        f" spread_planner first, or in a process of its own, and to have both by name, {SEPARATED}"
    )


def _first() -> Path | None:
    found = PathFinder.find_spec("planner")
    return Path(found.origin).resolve().parent if found and found.origin else None


if __name__ == "__main__" and not sys.flags.safe_path:
    # As `python -m planner` does: the folder that somebody works in is looked in last.
    sys.path.append(sys.path.pop(0))

_package = _ours()
__version__: str = _package.__version__
__all__: list[str] = _package.__all__


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module 'spread_planner' has no attribute {name!r}")
    try:
        return getattr(_package, name)
    except AttributeError:
        if PathFinder.find_spec(f"planner.{name}", _package.__path__) is None:
            raise
        return importlib.import_module(f"planner.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)


if __name__ == "__main__":
    main()
