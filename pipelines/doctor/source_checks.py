"""Annotations and inboxes: they can be listed, and their first file can be read."""

from pathlib import Path

from pipelines.doctor.finding import Outcome, ok, skipped, warning
from repo.annotations.reading.sources import HUB, driver_remedy, expand_sources, files_in, format_of, is_saved_dataset
from repo.annotations.simulation import is_simulated
from repo.errors import UserError
from repo.reporting.text import count
from repo.uris import public_name, without_secrets

_BYTES = 4096
"""Read of the first file: enough to see that it may be read."""


def look_at_data(data: str) -> Outcome:
    """Expand what --data names, and read a little of the first file."""
    if is_simulated(data):
        return ok("simulated")
    names = expand_sources(data)
    shown = public_name(data)
    if names[0].startswith(HUB):
        return skipped(f"{shown}: the hub is asked by `repo-pipeline inspect`")
    _read(names[0])
    return ok(
        f"{shown}: {count(len(names), 'source')}, the first can be read; `repo-pipeline inspect` says what it holds"
    )


def look_at_inbox(inbox: str) -> Outcome:
    """List an inbox, and read a little of its first file."""
    names = files_in(inbox)
    batches = [name for name in names if format_of(name)]
    shown = public_name(inbox)
    if not batches:
        others = f"; {count(len(names), 'file')} of other formats" if names else ""
        return warning(f"{shown}: can be listed, and holds no batch yet{others}", "drop a file of annotations there")
    _read(batches[0])
    return ok(
        f"{shown}: {count(len(batches), 'file')}, the first can be read; `repo-pipeline inbox` says which are new"
    )


def _read(name: str) -> None:

    import fsspec

    if "://" not in name and is_saved_dataset(Path(name)):
        return
    try:
        with fsspec.open(name, "rb") as file:
            file.read(_BYTES)
    except Exception as error:  # every storage service raises its own kinds
        problem = without_secrets(getattr(error, "strerror", None) or str(error) or type(error).__name__, name)
        remedy = driver_remedy(name, error) or "check your access to it"
        raise UserError(f"{public_name(name)}: cannot be read: {problem}", remedy) from error
