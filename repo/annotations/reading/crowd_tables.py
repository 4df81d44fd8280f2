"""Crowd labels without texts (task or item, worker, label: crowd-kit's tables) → the canonical table.

A label names one of two classes. The class that sorts last stands as response a, the other as response b.
"""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from repo.annotations.quarantine import QuarantinedRow
from repo.annotations.reading.columns import names_of
from repo.annotations.reading.ids import case_notes
from repo.annotations.reading.loading import LoadedFile, load
from repo.annotations.reading.pseudonyms import pseudonym_key, pseudonymise
from repo.annotations.reading.reader import ReadResult, read_annotations
from repo.annotations.reading.rows import Row
from repo.annotations.reading.side_files import TASK, one_column, value_text
from repo.annotations.reading.sources import expand_sources
from repo.annotations.reading.values import quoted
from repo.annotations.schema import empty_table
from repo.errors import UserError
from repo.ids import id_text
from repo.settings import DataSettings

OURS = (*TASK, "worker", "label")
_CROWD = "a crowd table has the columns task (or item), worker, label"
_TEXTS = ("prompt", "response_a", "response_b", "chosen", "rejected")
_MOST_NAMED = 6


@dataclass(frozen=True)
class ReadVotes:
    """What was read.

    Attributes:
        read: as of any annotation file; from a crowd table, with ids where the texts would stand, because validation
            wants texts.
        classes: names of response a and b in a crowd table; None for annotations of texts.
    """

    read: ReadResult
    classes: tuple[str, str] | None


@dataclass(frozen=True)
class _Labels:
    """Crowd labels of all files: complete rows (columns file, line, task, worker, label; and as read), and the rest."""

    complete: pd.DataFrame
    raw: list[Row]
    rejected: list[QuarantinedRow]
    notes: list[str]


def read_votes(source: str, settings: DataSettings) -> ReadVotes:
    """Read annotation files or crowd tables, told apart by their columns.

    Args:
        source: what read_annotations takes.
        settings: column names and pseudonymisation; for crowd tables `columns` maps task, worker and label.

    Raises:
        UserError: something is missing, unreadable or has unknown columns, or a crowd table has not just two classes.
    """
    first, *others = expand_sources(source)
    loaded = load(first)
    if not _is_crowd_table(loaded, settings):
        return ReadVotes(read_annotations(source, settings), None)
    return _read([loaded, *map(load, others)], settings)


def without_texts(annotations: pd.DataFrame) -> pd.DataFrame:
    """Return a crowd table's canonical table, once validated, with empty texts."""
    return annotations.assign(prompt="", response_a="", response_b="")


def _is_crowd_table(loaded: LoadedFile, settings: DataSettings) -> bool:
    """Tell a crowd table from an annotation file; a file of neither kind is left to the annotations' reader."""
    columns = set(loaded.columns)
    if settings.columns or columns & set(_TEXTS):
        return bool(settings.columns.keys() & set(OURS))
    return len(columns & {"worker", "label"}) + bool(columns & set(TASK)) >= 2


def _read(files: list[LoadedFile], settings: DataSettings) -> ReadVotes:
    key = pseudonym_key() if settings.pseudonymise else None
    labels = _labels(files, settings, key)
    classes = _two_classes(labels)
    table = labels.complete.rename(columns={"task": "comparison_id", "worker": "annotator_id"})
    canonical = table.drop(columns="label").assign(
        prompt=table["comparison_id"],
        response_a=classes[0],
        response_b=classes[1],
        messages=False,
        preference=(table["label"] == classes[0]).map({True: "a", False: "b"}),
        gold="",
        shown_first="",
        listed_first="",
        weight=1.0,
        created_at="",
    )
    empty = empty_table()
    canonical = canonical[list(empty.columns)].astype(empty.dtypes.to_dict())
    return ReadVotes(ReadResult(canonical, labels.raw, labels.rejected, labels.notes), classes)


def _labels(files: list[LoadedFile], settings: DataSettings, key: bytes | None) -> _Labels:
    """Collect the labels; a row where something is missing is set aside with its reasons."""
    complete: list[Row] = []
    raw: list[Row] = []
    rejected: list[QuarantinedRow] = []
    people: set[str] = set()
    for loaded in files:
        names = _columns(loaded, settings)
        workers = pd.Series([id_text(row.get(names["worker"])) for row in loaded.rows], dtype="str")
        people.update(workers.unique())
        if key is not None:
            workers = pseudonymise(workers, key)
        for line, row, worker in zip(loaded.lines, loaded.rows, workers, strict=True):
            task, label = id_text(row.get(names["task"])), value_text(row.get(names["label"]))
            found = {"task": task, "worker": worker, "label": label}
            as_read = {names[name]: value for name, value in found.items()}
            reasons = [f"{name} is missing" for name, value in as_read.items() if not value]
            if reasons:
                rejected.append(QuarantinedRow(loaded.name, line, reasons, as_read))
            else:
                complete.append({"file": loaded.name, "line": line, **found})
                raw.append(as_read)
    table = pd.DataFrame(complete, columns=["file", "line", "task", "worker", "label"])
    notes = [note for loaded in files for note in loaded.notes]
    return _Labels(table, raw, rejected, [*notes, *case_notes(people, secret=key is not None)])


def _columns(loaded: LoadedFile, settings: DataSettings) -> dict[str, str]:
    """Return the file's names of task, worker and label."""
    mapped = {"task" if ours in TASK else ours: theirs for ours, theirs in settings.columns.items()}
    for ours, theirs in settings.columns.items():
        if ours not in OURS:
            raise UserError(f"data.columns: '{ours}' is no column of a crowd table", f"map one of {', '.join(OURS)}")
        if theirs not in loaded.columns:
            problem = f"{loaded.name}: no column '{theirs}' (data.columns.{ours})"
            raise UserError(problem, f"its columns are {names_of(loaded)}")
    wanted = {"task": TASK, "worker": ("worker",), "label": ("label",)}
    return mapped | {
        name: one_column(loaded, candidates, _CROWD) for name, candidates in wanted.items() if name not in mapped
    }


def _two_classes(labels: _Labels) -> tuple[str, str]:
    """Return the two classes, the one that sorts last first."""
    counts = Counter(labels.complete["label"])
    if len(counts) == 2:
        last, other = _sorted(list(counts))[::-1]
        return last, other
    if not counts:
        row = labels.rejected[0]
        raise UserError(f"no row is complete; the first: {row.place}: {'; '.join(row.reasons)}", _CROWD)
    if len(counts) == 1:
        only = next(iter(counts))
        problem = f"every label is {quoted(only)}: where nobody ever says anything else, nothing tells who is right"
        raise UserError(problem, "give labels of two classes")
    named = ", ".join(f"{quoted(name)} ({number:,} times)" for name, number in counts.most_common(_MOST_NAMED))
    more = f" and {len(counts) - _MOST_NAMED:,} more" if len(counts) > _MOST_NAMED else ""
    rarest = labels.complete[labels.complete["label"] == counts.most_common()[-1][0]].iloc[0]
    raise UserError(
        f"the labels name {len(counts):,} classes, not two: {named}{more}\n"
        f"  the rarest, {quoted(rarest['label'])}, stands first at {rarest['file']}, line {rarest['line']}",
        "keep the rows of two classes, or ask one class against the rest: turn the others into one",
    )


def _sorted(names: list[str]) -> list[str]:
    """Sort as numbers where all are numbers: 10 comes after 2."""
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)
