"""Rows of a file, held in memory in a tenth of the space that dicts take."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from repo.annotations.reading.chunks import Chunk, Coded, Row

__all__ = ["CHUNK", "Row", "Rows", "in_chunks"]

Item = TypeVar("Item")
CHUNK = 2**16
"""Rows unpacked at a time, some hundred megabytes: many small chunks would leave memory in pieces."""


class Rows(Sequence[Row]):
    """A sequence of rows, packed a chunk at a time; reading them in order unpacks every chunk once.

    Rows come out as they went in. They are handed out for reading: a change to one is lost.
    """

    def __init__(self, chunks: Iterable[Chunk] = ()):
        self.packed: list[Chunk] = []
        self._starts = [0]
        self._last: tuple[int, list[Row]] = -1, []
        for chunk in chunks:
            self.append(chunk)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Rows":
        """Pack rows as they come."""
        return cls(map(Chunk.of, in_chunks(rows)))

    def append(self, chunk: Chunk) -> None:
        """Add a chunk of rows behind the others."""
        if chunk.size:
            self.packed.append(chunk)
            self._starts.append(self._starts[-1] + chunk.size)

    def chunks(self) -> Iterator[list[Row]]:
        """Yield the rows chunk by chunk."""
        for chunk in self.packed:
            yield chunk.rows()

    def map(self, change: Callable[[list[Row]], list[Row]]) -> "Rows":
        """Return the rows that `change` makes of each chunk."""
        return Rows(Chunk.of(changed) for rows in self.chunks() if (changed := change(rows)))

    def convert(self, change: Callable[[Chunk], Chunk]) -> "Rows":
        """Return the rows with columns changed a chunk at a time."""
        return Rows(map(change, self.packed))

    def column(self, name: str) -> Iterator[Coded]:
        """Yield a column's values chunk by chunk; what does not name it has None."""
        for chunk in self.packed:
            yield chunk.only([name]).columns[name].unpack()

    def counts(self, name: str) -> Iterator[tuple[Any, int]]:
        """Yield a column's values and how often each stands there, chunk by chunk."""
        for coded in self.column(name):
            yield from zip(coded.distinct, coded.counts(), strict=True)

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
            self._last = number, self.packed[number].rows()
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
