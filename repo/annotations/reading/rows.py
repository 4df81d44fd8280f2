"""Rows of a file, held in memory in a tenth of the space that dicts take."""

import pickle
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import pyarrow as pa

Row: TypeAlias = dict[str, Any]
Item = TypeVar("Item")
CHUNK = 2**16
"""Rows unpacked at a time, some hundred megabytes: many small chunks would leave memory in pieces."""


class Rows(Sequence[Row]):
    """A sequence of rows, packed a chunk at a time; reading them in order unpacks every chunk once.

    Rows come out as they went in. They are handed out for reading: a change to one is lost.
    """

    def __init__(self, chunks: Iterable[list[Row]] = ()):
        self._packed: list[tuple[int, bytes]] = []
        self._starts = [0]
        self._last: tuple[int, list[Row]] = -1, []
        for chunk in chunks:
            self.append(chunk)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Rows":
        """Pack rows as they come."""
        return cls(in_chunks(rows))

    def append(self, chunk: list[Row]) -> None:
        """Add a chunk of rows behind the others."""
        if chunk:
            data = pickle.dumps(chunk, protocol=pickle.HIGHEST_PROTOCOL)
            self._packed.append((len(data), pa.compress(data, codec="zstd", asbytes=True)))
            self._starts.append(self._starts[-1] + len(chunk))

    def chunks(self) -> Iterator[list[Row]]:
        """Yield the rows chunk by chunk."""
        for size, data in self._packed:
            yield _unpack(size, data)

    def map(self, change: Callable[[list[Row]], list[Row]]) -> "Rows":
        """Return the rows that `change` makes of each chunk."""
        return Rows(map(change, self.chunks()))

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[Row]:
        for chunk in self.chunks():
            yield from chunk

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        number = bisect_right(self._starts, place) - 1
        if number != self._last[0]:
            self._last = number, _unpack(*self._packed[number])
        return self._last[1][place - self._starts[number]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def in_chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield lists of as many items as are handled at a time."""
    remaining = iter(items)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _unpack(size: int, data: bytes) -> list[Row]:
    rows: list[Row] = pickle.loads(pa.decompress(data, decompressed_size=size, codec="zstd", asbytes=True))
    return rows
