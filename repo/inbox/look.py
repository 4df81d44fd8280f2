"""Look into an inbox: which batches there are, known by their content; which are still being written, which are new.

Nothing is read but bytes: what they mean is judged later, one batch at a time.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import fsspec

from repo.annotations.reading.sources import driver_remedy, files_in, format_of
from repo.errors import UserError
from repo.settings import InboxSettings
from repo.uris import public_name, without_secrets

_CHUNK = 1 << 20
_STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated")
"""What storage services call that which changes when a file does."""
_MOVES = "it is still being written"


class State(StrEnum):
    """What is to be done with a batch."""

    NEW = "new"
    WAITING = "waiting"
    DUPLICATE = "duplicate"
    NOTHING_NEW = "nothing new"
    CONSUMED = "consumed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Taken:
    """A batch that a model version has consumed: its content's digest, its name then, and the version."""

    digest: str
    name: str
    version: str


@dataclass(frozen=True)
class Batch:
    """A file in the inbox.

    Attributes:
        name: its path inside the inbox.
        address: where it lies; may hold a URI's secrets.
        digest: SHA-256 (hex) of its bytes, '' while it waits.
        state: what is to be done with it.
        note: more about that, in words: why it waits, whose duplicate it is, who consumed it; or ''.
    """

    name: str
    address: str
    digest: str
    state: State
    note: str


@dataclass(frozen=True)
class _Sight:
    """What a file looks like from outside: while it is written, this changes from one look to the next."""

    size: int
    stamp: str


def look(
    inbox: str,
    settings: InboxSettings,
    taken: Iterable[Taken] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> list[Batch]:
    """Return the batches in an inbox, by name: files of the formats that are read; other files are none.

    Args:
        inbox: a folder or an fsspec URI of one.
        settings: how long a file must keep still, and the marker its folder must hold.
        taken: what the champion has consumed.
        sleep: waits between the two looks.

    Raises:
        UserError: there is no such folder, or a file cannot be read.
    """
    names = files_in(inbox)
    markers = {os.path.dirname(name) for name in names if os.path.basename(name) == settings.marker}
    files = {name: _sight(name) for name in names if format_of(name)}
    known = _Known(taken, {_inside(inbox, address) for address in files})
    batches = []
    for address, sight in files.items():
        name = _inside(inbox, address)
        if settings.marker and os.path.dirname(address) not in markers:
            batches.append(_waiting(name, address, f"its folder holds no {settings.marker} yet"))
        elif sight is None:
            batches.append(_waiting(name, address, _MOVES))
        else:
            batches.append(known.judge(name, address, digest_of(address)))
    if settings.settle_seconds and new_batches(batches):
        sleep(settings.settle_seconds)
        batches = [_unless_moving(batch, files[batch.address]) for batch in batches]
    return batches


def new_batches(batches: Iterable[Batch]) -> list[Batch]:
    """Return those to be consumed."""
    return [batch for batch in batches if batch.state is State.NEW]


def addresses(inbox: str) -> dict[str, str]:
    """Return the address of every file in an inbox by its name there.

    Raises:
        UserError: there is no such folder.
    """
    return {_inside(inbox, address): address for address in files_in(inbox)}


class _Known:
    """The contents that were seen before, consumed ones and those of the batches so far; and the names in the inbox."""

    def __init__(self, taken: Iterable[Taken], here: set[str]):
        batches = list(taken)
        self._by_digest = {batch.digest: batch for batch in batches}
        self._by_name = {batch.name: batch for batch in batches}
        self._here = here
        self._first: dict[str, str] = {}

    def judge(self, name: str, address: str, digest: str) -> Batch:
        if digest in self._by_digest:
            taken = self._by_digest[digest]
            note = f"by version {taken.version}"
            if taken.name == name:
                return Batch(name, address, digest, State.CONSUMED, note)
            if taken.name in self._here:
                return Batch(name, address, digest, State.DUPLICATE, f"of {taken.name}, consumed {note}")
            return Batch(name, address, digest, State.CONSUMED, f"{note}, as {taken.name}")
        if digest in self._first:
            return Batch(name, address, digest, State.DUPLICATE, f"of {self._first[digest]}")
        self._first[digest] = name
        earlier = self._by_name.get(name)
        note = f"its content is another than version {earlier.version} consumed under this name" if earlier else ""
        return Batch(name, address, digest, State.NEW, note)


def _waiting(name: str, address: str, why: str) -> Batch:
    return Batch(name, address, "", State.WAITING, why)


def _unless_moving(batch: Batch, before: _Sight | None) -> Batch:
    if batch.state is not State.NEW or _sight(batch.address) == before:
        return batch
    return _waiting(batch.name, batch.address, _MOVES)


def _sight(name: str) -> _Sight | None:
    """Return how a file looks now, or None where it has gone."""
    if "://" not in name:
        try:
            found = os.stat(name)
        except OSError:
            return None
        return _Sight(found.st_size, str(found.st_mtime_ns))
    files, path = fsspec.core.url_to_fs(name)
    files.invalidate_cache()
    try:
        info = files.info(path)
    except FileNotFoundError:
        return None
    return _Sight(int(info.get("size") or 0), " ".join(str(info[key]) for key in _STAMPS if key in info))


def digest_of(address: str) -> str:
    """Return the SHA-256 (hex) of a file's bytes.

    Raises:
        UserError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with fsspec.open(address, "rb") if "://" in address else open(address, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except Exception as error:  # every storage service raises its own kinds
        problem = without_secrets(getattr(error, "strerror", None) or str(error) or type(error).__name__, address)
        remedy = driver_remedy(address, error) or "check your access to it, or take it out of the inbox"
        raise UserError(f"{public_name(address)}: cannot be read: {problem}", remedy) from error
    return digest.hexdigest()


def _inside(inbox: str, address: str) -> str:
    """Return a file's path inside the inbox."""
    if "://" not in address:
        folder = os.path.expanduser(inbox.partition("://")[2] if "://" in inbox else inbox)
        return os.path.relpath(address, folder)
    _, folder = fsspec.core.url_to_fs(inbox)
    _, path = fsspec.core.url_to_fs(address)
    return str(os.path.relpath(path, folder))
