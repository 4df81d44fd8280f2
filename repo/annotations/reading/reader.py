"""Annotation files → one canonical table, and the rows that could not be understood."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from repo.annotations.quarantine import QuarantinedRow
from repo.annotations.reading.canonical import canonical_table
from repo.annotations.reading.chunks import Chunk, Coded
from repo.annotations.reading.ids import case_notes
from repo.annotations.reading.layouts import Reading, recognise
from repo.annotations.reading.loading import LoadedFile, load
from repo.annotations.reading.pseudonyms import pseudonym_key, pseudonymise
from repo.annotations.reading.rows import Row, Rows
from repo.annotations.reading.sources import expand_sources
from repo.annotations.schema import empty_table
from repo.ids import id_text
from repo.settings import DataSettings


@dataclass(frozen=True)
class ReadResult:
    """What was read.

    Attributes:
        annotations: the canonical table, one row an annotation, ties included, nothing judged yet.
        raw: the rows as read, one for each row of `annotations`, in its order.
        rejected: rows that could not be turned into a canonical row.
        notes: what a person should know about the reading.
        files: how each file was understood; of crowd tables nothing.
    """

    annotations: pd.DataFrame
    raw: Sequence[Row]
    rejected: list[QuarantinedRow]
    notes: list[str]
    files: Mapping[str, Reading] = field(default_factory=dict)

    @property
    def rows_read(self) -> int:
        """Annotations seen, good and bad."""
        return len(self.annotations) + len(self.rejected)


def read_annotations(source: str, settings: DataSettings) -> ReadResult:
    """Read annotations from files, saved datasets or the Hugging Face hub.

    Args:
        source: a path, glob, folder, fsspec URI or hf://owner/name[?config=NAME&split=NAME]; or several, separated by
            commas or new lines.
        settings: column names and pseudonymisation.

    Raises:
        UserError: something is missing, unreadable or has unknown columns; it names the file and the line.
    """
    key = pseudonym_key() if settings.pseudonymise else None
    tables = [empty_table()]
    raw = Rows()
    rejected: list[QuarantinedRow] = []
    notes: list[str] = []
    files: dict[str, Reading] = {}
    people: set[str] = set()
    for name in expand_sources(source):
        loaded, reading = recognise(load(name), settings)
        files[loaded.name] = reading
        loaded = _with_annotators(loaded, key, people)
        notes.extend(loaded.notes)
        for part in _convert(loaded, reading):
            tables.append(part.annotations)
            raw.append(part.raw)
            rejected.extend(part.rejected)
    notes.extend(case_notes(people, secret=key is not None))
    return ReadResult(pd.concat(tables, ignore_index=True), raw, rejected, notes, files)


def _with_annotators(loaded: LoadedFile, key: bytes | None, people: set[str]) -> LoadedFile:
    """Turn annotator ids into text, and into pseudonyms where there is a key, before anything is kept.

    The ids as people wrote them are added to `people`.
    """
    if "annotator_id" not in loaded.columns:
        note = (
            f"{loaded.name}: no annotator ids: all votes count as one annotator's, and a repeated vote as another vote"
        )
        return replace(loaded, notes=[*loaded.notes, note])

    def named(chunk: Chunk) -> Chunk:
        ids = chunk.columns["annotator_id"].unpack().map(id_text)
        people.update(ids.distinct)
        if key is not None:
            ids = Coded(pseudonymise(pd.Series(ids.distinct, dtype="str"), key).tolist(), ids.places)
        return chunk.replace("annotator_id", ids)

    return replace(loaded, rows=loaded.rows.convert(named))


@dataclass(frozen=True)
class _Part:
    """Some rows of a file, converted."""

    annotations: pd.DataFrame
    raw: Chunk
    rejected: list[QuarantinedRow]


def _convert(loaded: LoadedFile, reading: Reading) -> Iterator[_Part]:
    """Convert a file a chunk at a time: Python's own strings and dicts take several times the table's space."""
    start = 0
    for chunk in loaded.rows.packed:
        lines = loaded.lines[start : start + chunk.size]
        start += chunk.size
        table, bad = canonical_table(chunk, reading, loaded.name, lines)
        if not bad:
            yield _Part(table, chunk, [])
            continue
        rows = chunk.rows()
        rejected = [QuarantinedRow(loaded.name, lines[row], bad[row].reasons, rows[row]) for row in sorted(bad)]
        yield _Part(table, chunk.take(np.setdiff1d(np.arange(chunk.size), list(bad))), rejected)
