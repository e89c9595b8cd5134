"""Files that commands write: all of them whole or none, refused before the work."""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from planner.errors import InputError, shortened


class OutFile(NamedTuple):
    """A file to be written, and the option that named it."""

    path: Path
    text: str
    option: str = "--out"
    end: str = "\n"
    """What stands behind the text."""
    runs: bool = False
    """Whether it is a script."""


def check_writable(path: Path | None, option: str = "--out") -> None:
    """Refuse an output path before the work, not after it."""
    if path is None or _is_stream(path):
        return
    named = f"{option} {_shown(path)}"
    try:
        target = path.resolve()
        is_folder = target.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise InputError(f"{named} cannot be written: {reason}") from None
    if is_folder:
        raise InputError(f"{named} is a folder; give the name of a file")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise InputError(
            f"{named} cannot be written: {_shown(target.parent)} is not a folder that may be"
            " written to"
        )
    if target.exists():
        _check_owner(target, named)


def _check_owner(target: Path, named: str) -> None:
    """A file of somebody else's stays, also where the folder would let us put another in its
    place."""
    if hasattr(os, "geteuid") and target.stat().st_uid != os.geteuid():
        raise InputError(f"{named} belongs to another user; name another file")
    if not os.access(target, os.W_OK):
        raise InputError(f"{named} may not be written to; name another file, or allow it")


def check_outputs(named: Mapping[str, Path | None]) -> None:
    """Refuse paths before the work, by the options that name them: one that cannot be written, and
    one that is named twice."""
    _check_all(named.items())


def _check_all(named: Iterable[tuple[str, Path | None]]) -> None:
    seen: dict[Path, str] = {}
    for option, path in named:
        check_writable(path, option)
        if path is None or _is_stream(path):
            continue
        target = path.resolve()
        if target in seen:
            raise InputError(
                f"{seen[target]} and {option} both name {_shown(path)}; give each a file of its own"
            )
        seen[target] = option


OUTPUTS = ("--out", "--certificate", "--save", "--to-csv", "--report")
"""Options that name a file to be written."""


def check_inputs_kept(words: Sequence[str]) -> None:
    """Refuse a command line that names one file to be read and to be written."""
    written: dict[str, str] = {}
    read: list[str] = []
    before = ""
    for word in words:
        option, equals, value = word.partition("=")
        if before in OUTPUTS or (equals and option in OUTPUTS):
            name = value if option in OUTPUTS else word
            written[name] = before if before in OUTPUTS else option
        elif not word.startswith("-"):
            read.append(word)
        before = word
    for name, option in written.items():
        if any(_is_one_file(name, other) for other in read):
            raise InputError(
                f"{option} {shortened(name, 200)} is read by this command too, which would write"
                " over it; name another file"
            )


def _is_one_file(one: str, other: str) -> bool:
    try:
        return Path(one).is_file() and Path(other).is_file() and Path(one).samefile(other)
    except (OSError, ValueError):
        return False


def _shown(path: Path) -> str:
    return shortened(path, 200)


def _is_stream(path: Path) -> bool:
    """Whether something other than a file or a folder stands there: a pipe, /dev/stdout."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except (OSError, ValueError):
        return False


def write_whole(path: Path, text: str, option: str = "--out") -> None:
    """The whole file or nothing; what is no file is written to as it is."""
    write_all([OutFile(path, text, option)])


def write_all(outputs: list[OutFile]) -> None:
    """All files whole, or none: each is written beside its place and synced before the first takes
    its place."""
    _check_all((one.option, one.path) for one in outputs)
    ready: list[tuple[Path, Path]] = []
    at = outputs[0] if outputs else None
    try:
        for at in outputs:
            if not _is_stream(at.path):
                ready.append(_written_beside(at))
        for at in outputs:
            if _is_stream(at.path):
                at.path.write_text(at.text + at.end, encoding="utf-8")
        for made, target in ready:
            os.replace(made, target)
        for folder in {target.parent for _, target in ready}:
            _sync_folder(folder)
    except OSError as error:
        assert at is not None
        raise InputError(
            f"{at.option} {_shown(at.path)} cannot be written: {error.strerror or error}"
        ) from None
    finally:
        for made, _ in ready:
            made.unlink(missing_ok=True)


def _written_beside(one: OutFile) -> tuple[Path, Path]:
    """A file in the folder of its place, on the disk, and the place."""
    target = one.path.resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.")
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(one.text + one.end)
            stream.flush()
            os.fsync(stream.fileno())
        made.chmod(_mode(one, target))
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    return made, target


def _mode(one: OutFile, target: Path) -> int:
    """As the file was, or as new ones are; scripts may be run by whoever may read them."""
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    return mode | (mode & 0o444) >> 2 if one.runs else mode


def _sync_folder(folder: Path) -> None:
    """Let the new names survive a loss of power, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_folder(path: Path | None, option: str) -> None:
    """Refuse an output folder before the work: one that is there may be written to, one that is
    not can be made."""
    if path is None:
        return
    try:
        target = path.resolve()
        is_there = target.exists()
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise InputError(f"{option} {_shown(path)} cannot be written: {reason}") from None
    holder = target if is_there else target.parent
    if not holder.is_dir() or not os.access(holder, os.W_OK):
        raise InputError(
            f"{option} {path} cannot be written: {holder} is not a folder that may be written to"
        )


def write_folder(
    path: Path, files: Mapping[str, str], option: str, beside: Sequence[OutFile] = ()
) -> None:
    """All files or none, and with them those `beside`, in a folder that is made where it is not
    there; scripts may be run."""
    target = path.resolve()
    was_there = target.is_dir()
    outputs = [
        OutFile(target / name, text, option, end="", runs=name.endswith(".sh"))
        for name, text in files.items()
    ]
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror or error}") from None
    try:
        write_all([*beside, *outputs])
    except BaseException:
        if not was_there:
            with suppress(OSError):
                target.rmdir()
        raise
    _sync_folder(target.parent)
