"""Files beside the annotations that say something of each comparison, such as its margin: one column names it."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import pandas as pd

from repo.annotations.reading.ids import id_text
from repo.annotations.reading.loading import LoadedFile, load
from repo.annotations.reading.sources import expand_sources
from repo.annotations.reading.texts import scalar_text
from repo.errors import UserError

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
    """Return a label or a known answer as text; '' where it is missing."""
    return scalar_text(value).strip()


def ids_of(loaded: LoadedFile, column: str) -> list[str]:
    """Return the comparison that each row names.

    Raises:
        UserError: a row names none.
    """
    ids = [id_text(row.get(column)) for row in loaded.rows]
    for line, name in zip(loaded.lines, ids, strict=True):
        if not name:
            raise UserError(f"{loaded.name}, line {line}: {column} is missing", "give every row one, or delete the row")
    return ids


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
                f"{loaded.name}, line {line}: {what} {value!r} for {key!r}, but line {lines[key]} says {single[key]!r}"
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
    return [f"{loaded.name}: {count}, the first in line {line}: {key!r}; they are not used"]
