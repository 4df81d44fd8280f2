"""A command's output directory: it is there with all its files, or not at all."""

import os
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from repo.errors import UserError

_REMEDY = "choose another --output"


def check_output(directory: Path, names: Collection[str]) -> None:
    """Check, before any work, that a directory can be written.

    Args:
        directory: it need not exist; where it does, it may hold nothing but an earlier output.
        names: the files that an earlier output may consist of; none where only a new or empty directory will do.

    Raises:
        UserError: it cannot be written, or holds something else.
    """
    place = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not place.is_dir():
        raise UserError(f"--output {directory}: {place} is a file, not a directory", _REMEDY)
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"--output {directory}: {place} cannot be written", _REMEDY)
    others = sorted(path.name for path in directory.iterdir() if path.name not in names) if directory.exists() else []
    if others:
        why = "which is not from an earlier output" if names else "and only a new or empty directory will do"
        raise UserError(f"--output {directory}: holds {others[0]!r}, {why}", f"{_REMEDY}, or empty that directory")


def write_output(directory: Path, names: Collection[str], write: Callable[[Path], None]) -> None:
    """Write files to a temporary directory and move them to their place when all of them are whole.

    Args:
        directory: see check_output; files of an earlier output are replaced or removed.
        names: the files that an output may consist of.
        write: writes some of them to the directory it is given.

    Raises:
        UserError: the directory cannot be written.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        # The temporary directory must be on the same file system, and an existing one may be a mount of its own.
        home = directory if directory.exists() else directory.parent
        with tempfile.TemporaryDirectory(dir=home, prefix=".partial-") as partial:
            whole = Path(partial, "output")
            whole.mkdir()
            write(whole)
            if not directory.exists():
                whole.rename(directory)
                return
            for name in names:
                if (whole / name).exists():
                    os.replace(whole / name, directory / name)
                else:
                    (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"--output {directory}: cannot be written: {error.strerror}", _REMEDY) from None
