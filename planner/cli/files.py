"""Files that commands write: the whole of them or nothing, refused before the work."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from planner.errors import InputError


def check_writable(path: Path | None, option: str = "--out") -> None:
    """Refuse an output path before the work, not after it."""
    if path is None or _is_stream(path):
        return
    target = path.resolve()
    if target.is_dir():
        raise InputError(f"{option} {path} is a folder; give the name of a file")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise InputError(
            f"{option} {path} cannot be written: {target.parent} is not a folder that may be"
            " written to"
        )


def _is_stream(path: Path) -> bool:
    """Whether something other than a file or a folder stands there: a pipe, /dev/stdout."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_whole(path: Path, text: str, option: str = "--out") -> None:
    """The whole file or nothing; what is no file is written to as it is."""
    try:
        if _is_stream(path):
            path.write_text(text + "\n", encoding="utf-8")
            return
        target = path.resolve()
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text + "\n")
            os.chmod(name, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror or error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_folder(path: Path | None, option: str) -> None:
    """Refuse an output folder before the work: one that is there may be written to, one that is
    not can be made."""
    if path is None:
        return
    target = path.resolve()
    holder = target if target.exists() else target.parent
    if not holder.is_dir() or not os.access(holder, os.W_OK):
        raise InputError(
            f"{option} {path} cannot be written: {holder} is not a folder that may be written to"
        )


def write_folder(path: Path, files: Mapping[str, str], option: str) -> None:
    """All files or none, in a folder that is made where it is not there; scripts may be run."""
    target = path.resolve()
    try:
        for name in files:
            if (target / name).is_dir():
                raise InputError(f"{option} {path} cannot be written: {name} is a folder there")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as made:
            for name, text in files.items():
                place = Path(made) / name
                place.write_text(text, encoding="utf-8")
                place.chmod((0o777 if name.endswith(".sh") else 0o666) & ~_umask())
            target.mkdir(exist_ok=True)
            for name in files:
                os.replace(Path(made) / name, target / name)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written: {error.strerror or error}") from None
