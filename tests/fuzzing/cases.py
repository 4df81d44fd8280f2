"""A case: a file's name and content, and how it is read. One file on disk, so that it can be kept and repeated."""

import json
import os
import signal
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd

from repo.annotations.comparisons.gold import read_gold
from repo.annotations.comparisons.margins import read_margins
from repo.annotations.comparisons.orientation import name_responses
from repo.annotations.quarantine import QuarantinedRow, plain
from repo.annotations.reading.crowd_tables import ReadVotes, read_votes
from repo.annotations.reading.reader import read_annotations
from repo.annotations.schema import empty_table
from repo.annotations.validation.suite import save, validate
from repo.errors import UserError
from repo.settings import DataSettings, Settings
from tests.fuzzing.corpus import as_lines, layouts

READERS = ("annotations", "votes", "gold", "margins")
SECONDS = 10
"""A case that takes longer to read hangs: the slowest take a tenth of it."""
VALIDATING = 60
"""The same where it is validated as well, the first time with all that is imported for it."""
ONE_SCREEN = 6_000
"""The most characters of an error."""
_VALIDATED = 200
"""One case in so many is validated too: that takes seconds."""


@dataclass(frozen=True)
class Case:
    """What is read (a file's name and content), by which of READERS, with which `data` settings."""

    name: str
    content: bytes
    reader: str
    settings: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return it in one piece: a line of JSON, then the content."""
        head = {"name": self.name, "reader": self.reader, "settings": self.settings}
        return json.dumps(head).encode() + b"\n" + self.content

    @classmethod
    def from_bytes(cls, data: bytes) -> "Case":
        """Undo to_bytes.

        Raises:
            ValueError: these bytes are no case.
        """
        head, _, content = data.partition(b"\n")
        try:
            return cls(content=content, **json.loads(head))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError("not a case") from error


class FindError(Exception):
    """Reading did what it must not; `place` tells one fault from another."""

    def __init__(self, problem: str, place: str) -> None:
        self.place = place
        super().__init__(problem)


def check(case: Case, validated: bool | None = None) -> None:
    """Read a case: a sound table or one screen of a user's error is right.

    Args:
        case: what to read.
        validated: whether to validate what is read as well; None: one case in two hundred.

    Raises:
        FindError: anything else came of it.
    """
    try:
        settings = DataSettings(**case.settings)
    except ValueError:
        return
    if validated is None:
        validated = zlib.crc32(case.to_bytes()) % _VALIDATED == 0
    if case.reader in ("gold", "margins"):
        _beside()  # once, outside of the time that a case may take
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        path = Path(folder) / case.name
        path.write_bytes(case.content)
        try:
            with _limited(VALIDATING if validated else SECONDS):
                _read(str(path), case.reader, settings, validated)
        except UserError as error:
            _check_error(error)
        except (FindError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise FindError("".join(traceback.format_exception(error)), _place(error)) from error
    if warned:
        first = warned[0]
        shown = f"{first.category.__name__}: {first.message} ({Path(first.filename).name}:{first.lineno})"
        raise FindError(
            f"{len(warned)} warnings, the first: {shown}", f"warning {first.category.__name__} {first.lineno}"
        )


def _read(path: str, reader: str, settings: DataSettings, validated: bool) -> None:
    if reader in ("gold", "margins"):
        table, names = _beside()
        if reader == "gold":
            _expect(len(read_gold(path, table, names)[0]) == len(table), "a gold for each row")
        else:
            _expect(len(read_margins(path, table, names).values) == len(table), "a margin for each row")
        return
    only_texts = reader == "annotations"
    votes = ReadVotes(read_annotations(path, settings), None) if only_texts else read_votes(path, settings)
    _check_result(votes)
    if validated:
        result = validate(votes.read, Settings(data=settings))
        save(result, Path(path).parent / "saved")
        result.raise_if_failed()


def _check_result(votes: ReadVotes) -> None:
    read = votes.read
    table = read.annotations
    _expect(table.dtypes.to_dict() == empty_table().dtypes.to_dict(), "the canonical table's columns")
    _expect(len(table) == len(read.raw), "a raw row for each row")
    _expect(not table.isna().any(axis=None), "no missing values")
    _expect(all(isinstance(row, QuarantinedRow) and row.reasons for row in read.rejected), "reasons for rejected rows")
    table.to_parquet(os.devnull)
    name_responses(table, votes.classes)
    kept = [{"reasons": row.reasons, "row": plain(row.row)} for row in read.rejected]
    json.dumps([*kept, *map(plain, read.raw), *read.notes], allow_nan=False, ensure_ascii=False).encode()


def _check_error(error: UserError) -> None:
    shown = str(error)
    shown.encode()
    _expect(bool(error.problem.strip()), "a problem in words")
    if len(shown) > ONE_SCREEN:
        raise FindError(f"an error of {len(shown):,} characters: {shown[:1500]}", f"long error {_place(error)}")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise FindError(f"expected: {what}", what)


def _place(error: BaseException) -> str:
    """Return the error's kind and the last line of ours that it went through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/repo/" in frame.filename]
    last = frames[-1] if frames else None
    return f"{type(error).__name__} {Path(last.filename).name}:{last.lineno}" if last else type(error).__name__


@cache
def _beside() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the annotations that side files are read beside, and the names of their responses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "votes.jsonl"
        path.write_bytes(as_lines(layouts()["paired"]))
        read = read_annotations(str(path), DataSettings())
    table = validate(read, Settings()).annotations
    return table, name_responses(read.annotations)


class _HangError(BaseException):
    """Nobody catches this by accident."""


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        raise _HangError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
