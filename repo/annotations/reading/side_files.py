"""Files beside the annotations that say something of each comparison, such as its margin: one column names it."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import pandas as pd

from repo.annotations.reading.ids import ids_in_files
from repo.annotations.reading.loading import LoadedFile, load
from repo.annotations.reading.sources import expand_sources
from repo.annotations.reading.values import is_missing, quoted
from repo.errors import UserError
from repo.ids import id_text

TASK = ("task", "item")
ID = ("comparison_id", *TASK)
"""What the column that names a comparison may be called."""

Value = TypeVar("Value", str, float)


def load_one(source: str, option: str) -> LoadedFile:
    """Load what must be a single file.

    Raises:
        UserError: it is not, or cannot be read.
    """
    names = expand_sources(source)
    if len(names) > 1:
        raise UserError(f"{option} {source}: names {len(names)} files", "give one file")
    return load(names[0])


def one_column(loaded: LoadedFile, candidates: Sequence[str], layout: str) -> str:
    """Return which of several possible names a file's column has.

    Raises:
        UserError: there is none of them, or more than one; `layout` says what columns there should be.
    """
    found = [name for name in candidates if name in loaded.columns]
    if len(found) == 1:
        return found[0]
    if found:
        problem = f"{loaded.name}: has the columns {' and '.join(found)}, which mean the same"
        raise UserError(problem, "leave one of them out")
    shown = ", ".join(repr(name[:80]) for name in loaded.columns[:30])
    raise UserError(f"{loaded.name}: no column {' or '.join(candidates)} among {shown}", layout)


def value_text(value: Any) -> str:
    """Return a label or a known answer as text; '' where it is missing. A whole number is written without '.0'."""
    if is_missing(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def ids_of(loaded: LoadedFile, column: str, table: pd.DataFrame) -> list[str]:
    """Return the comparison of the canonical table that each row names.

    Where the annotation files number their own comparisons, an id says which one together with a column `file`.

    Raises:
        UserError: a row names none, or it names several.
    """
    ids = [id_text(row.get(column)) for row in loaded.rows]
    for line, name in zip(loaded.lines, ids, strict=True):
        if not name:
            raise UserError(f"{loaded.name}, line {line}: {column} is missing", "give every row one, or delete the row")
    known = set(table["comparison_id"])
    several = ids_in_files(table["comparison_id"], table["file"])
    if not several:
        return ids
    files = [id_text(row.get("file")) for row in loaded.rows]
    return [
        name
        if name in known or name not in several
        else _id_in(f"{loaded.name}, line {line}", name, file, several[name])
        for line, name, file in zip(loaded.lines, ids, files, strict=True)
    ]


def _id_in(place: str, name: str, file: str, of_file: dict[str, str]) -> str:
    """Return the id that a file's own number got; the file may be named without its folders."""
    found = {full for known, full in of_file.items() if file and f"/{known}".endswith(f"/{file}")}
    if len(found) == 1:
        return found.pop()
    problem = f"{place}: {quoted(name)} is the id of a different comparison in different annotation files"
    shown = ", ".join(map(quoted, sorted(set(of_file.values()))[:3]))
    raise UserError(problem, f"say which one in a column file, or name it as the annotations do: {shown}")


def single_values(loaded: LoadedFile, keys: Sequence[Any], values: Sequence[Value], what: str) -> dict[Any, Value]:
    """Return key → value; a key may occur again with the same value.

    Raises:
        UserError: it occurs again with another value.
    """
    lines: dict[Any, int] = {}
    single: dict[Any, Value] = {}
    for line, key, value in zip(loaded.lines, keys, values, strict=True):
        if single.setdefault(key, value) != value:
            problem = (
                f"{loaded.name}, line {line}: {what} {quoted(value)} for {quoted(key)}, "
                f"but line {lines[key]} says {quoted(single[key])}"
            )
            raise UserError(problem, "give one value for each")
        lines.setdefault(key, line)
    return single


def unused(loaded: LoadedFile, keys: Sequence[Any], known: Collection[Any] | pd.Index, what: str) -> list[str]:
    """Return a note on rows whose key is not among the annotations, the first of them named; none where all are."""
    unknown = [(line, key) for line, key in zip(loaded.lines, keys, strict=True) if key not in known]
    if not unknown:
        return []
    line, key = unknown[0]
    count = f"{len(unknown):,} of {len(keys):,} rows name no {what}"
    return [f"{loaded.name}: {count}, the first in line {line}: {quoted(key)}; they are not used"]
