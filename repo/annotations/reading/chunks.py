"""Some rows of a file, held column by column: what stands in a column once, and where.

Most values of an annotation file stand in many rows: a pair's texts once a vote, an annotator's id once a vote of
theirs. What depends on some columns alone is computed once for each combination of values that occurs (`once`).
"""

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

Row: TypeAlias = dict[str, Any]
Places: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"


class _Absent(Enum):
    """Stands where a row does not name a column that others name."""

    ABSENT = "absent"


ABSENT = _Absent.ABSENT
_NOTHING = {NoneType, _Absent}
_COMPARABLE = ({str}, {int}, {bool})
"""Kinds whose equal values are the same; across kinds they are not (1, 1.0 and True are equal)."""


@dataclass(frozen=True)
class Coded:
    """Values by what occurs, and each row's place in it."""

    distinct: Sequence[Any]
    places: Places

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Coded":
        """Code values in the order of first occurrence; such as equality cannot tell apart all count as different."""
        kinds = set(map(type, values)) - _NOTHING
        if kinds and kinds not in _COMPARABLE:
            return cls(values, np.arange(len(values)))
        found = {value: place for place, value in enumerate(dict.fromkeys(values))}
        return cls(list(found), np.fromiter(map(found.__getitem__, values), np.int64, len(values)))

    @classmethod
    def repeated(cls, value: Any, size: int) -> "Coded":
        """Return one value in every row."""
        return cls([value], np.zeros(size, np.int64))

    @classmethod
    def of_arrow(cls, array: pa.Array | pa.ChunkedArray) -> "Coded":
        """Code an Arrow array; texts never become Python's own before they are distinct."""
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            return cls.of(array.to_pylist())
        coded = array.dictionary_encode(null_encoding="encode")
        return cls(coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64))

    def texts(self) -> Any:
        """Return a column of the canonical table; all values are texts."""
        distinct = pa.array(self.distinct, pa.large_string())
        return pd.array(pa.chunked_array([distinct.take(pa.array(self.places))]), dtype="str")

    def values(self, rows: Any = slice(None)) -> list[Any]:
        """Return the value of every row, or of some."""
        distinct = self.distinct
        return [distinct[place] for place in self.places[rows].tolist()]

    def map(self, change: Callable[[Any], Any]) -> "Coded":
        """Return other values for what occurs."""
        changed = Coded.of([change(value) for value in self.distinct])
        return Coded(changed.distinct, changed.places[self.places])

    def counts(self) -> list[int]:
        """Return in how many rows each stands."""
        counts: list[int] = np.bincount(self.places, minlength=len(self.distinct)).tolist()
        return counts

    def take(self, rows: Places) -> "Coded":
        """Return some rows' values."""
        occurring, places = np.unique(self.places[rows], return_inverse=True)
        return Coded([self.distinct[place] for place in occurring.tolist()], places)


class Column:
    """A column's values, packed."""

    def __init__(self, coded: Coded) -> None:
        self.kinds = frozenset(map(type, coded.distinct))
        places = coded.places.astype(np.uint32).tobytes()
        data = pickle.dumps((coded.distinct, places), protocol=pickle.HIGHEST_PROTOCOL)
        self._size = len(data)
        self._data = pa.compress(data, codec="zstd", asbytes=True)

    @property
    def gaps(self) -> bool:
        """Whether some rows do not name the column."""
        return _Absent in self.kinds

    def unpack(self) -> Coded:
        """Return the values."""
        data = pa.decompress(self._data, decompressed_size=self._size, codec="zstd", asbytes=True)
        distinct, places = pickle.loads(data)
        return Coded(distinct, np.frombuffer(places, np.uint32).astype(np.int64))


class Chunk:
    """Rows that are handled at a time."""

    def __init__(self, size: int, columns: Mapping[str, Column]) -> None:
        self.size = size
        self.columns = columns

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Chunk":
        """Pack rows, which may name different columns."""
        names = rows[0].keys()
        if all(row.keys() == names for row in rows):
            return cls.of_columns(len(rows), {name: Coded.of([row[name] for row in rows]) for name in names})
        names = dict.fromkeys(name for row in rows for name in row).keys()
        return cls.of_columns(len(rows), {name: Coded.of([row.get(name, ABSENT) for row in rows]) for name in names})

    @classmethod
    def of_columns(cls, size: int, columns: Mapping[str, Coded]) -> "Chunk":
        """Pack columns."""
        return cls(size, {name: Column(coded) for name, coded in columns.items()})

    def rows(self) -> list[Row]:
        """Return the rows as they came, but for the order of their keys."""
        if not self.columns:
            return [{} for _ in range(self.size)]
        rows = zip(*(column.unpack().values() for column in self.columns.values()), strict=True)
        if not any(column.gaps for column in self.columns.values()):
            return [dict(zip(self.columns, row, strict=True)) for row in rows]
        return [
            {name: value for name, value in zip(self.columns, row, strict=True) if value is not ABSENT} for row in rows
        ]

    def only(self, names: Iterable[str]) -> "Chunk":
        """Return these columns; None stands where a row does not name one."""
        return Chunk(self.size, {name: self._without_gaps(name) for name in names})

    def replace(self, name: str, values: Coded) -> "Chunk":
        """Return the rows with other values in a column."""
        return Chunk(self.size, {**self.columns, name: Column(values)})

    def take(self, rows: Places) -> "Chunk":
        """Return some of the rows."""
        taken = {name: column.unpack().take(rows) for name, column in self.columns.items()}
        return Chunk.of_columns(len(rows), taken)

    def _without_gaps(self, name: str) -> Column:
        column = self.columns.get(name)
        if column is None:
            return Column(Coded.repeated(None, self.size))
        return Column(column.unpack().map(_none_for_absent)) if column.gaps else column


def _none_for_absent(value: Any) -> Any:
    return None if value is ABSENT else value


def once(columns: Mapping[str, Coded], compute: Callable[[Row], Any]) -> Coded:
    """Return what is computed of each row of these columns: once for each combination of values that occurs.

    Args:
        columns: at least one.
        compute: takes the values of one row.
    """
    places: Places = np.zeros(len(next(iter(columns.values())).places), np.int64)
    for coded in columns.values():
        places = pd.factorize(places * len(coded.distinct) + coded.places)[0]
    first = first_rows(places)
    rows = zip(*(coded.values(first) for coded in columns.values()), strict=True)
    return Coded([compute(dict(zip(columns, row, strict=True))) for row in rows], places)


def first_rows(places: Places) -> list[int]:
    """Return for each place that occurs, in their order, the first row that has it."""
    rows: list[int] = np.unique(places, return_index=True)[1].tolist()
    return rows
