"""CSV text → rows and the lines they begin on, in one pass; knows nothing of files or encodings."""

import csv
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TextIO

from repo.annotations.reading.chunks import Chunk, Coded
from repo.annotations.reading.json_cells import decode_cells
from repo.annotations.reading.rows import CHUNK, Rows
from repo.annotations.reading.values import quoted
from repo.errors import UserError

SEPARATORS = ",;\t|"
_FEW = 2**8
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_csv(name: str, file: TextIO, usual: str = ",") -> tuple[list[str], Rows, Sequence[int], list[str]]:
    """Return a table's columns, its rows (text, or what decode_cells makes of it), the line of each row, and notes.

    A header of one column that holds another separator tells that separator. Blank lines are no rows. A column
    without a name is called by its place, as pandas does, and left out where it holds nothing.

    Args:
        name: what the file is called in errors.
        file: the text, opened with newline="".
        usual: the separator that is tried first.

    Raises:
        UserError: the quoting is broken, a column name occurs twice, or a row's fields are not the header's; or what
            decode_cells refuses.
    """
    separator = _separator(name, file, usual)
    records = _records(name, file, separator)
    header = _header(records)
    columns = [column or f"Unnamed: {place}" for place, column in enumerate(header)]
    refuse_repeated(name, columns)
    unnamed = {column for column, given in zip(columns, header, strict=True) if not given}
    lines, repeated = array("q"), array("q")
    numbering = _Numbering(len(header))

    def complete() -> Iterator[list[str]]:
        for line, record in records:
            if len(record) == 1 < len(columns) and _is_blank(record):
                continue
            if record == header:
                repeated.append(line)
                continue
            lines.append(line)
            if len(record) == len(header):
                numbering.ends()
                yield record
            else:
                numbering.watch(record)
                yield _fields(f"{name}, line {line}", record, header, separator)

    rows = Rows(_chunks(columns, complete()))
    numbering.refuse(name)
    empty = {column for column in unnamed if not any(cell.strip() for cell, _ in rows.counts(column))}
    if empty:
        columns = [column for column in columns if column not in empty]
        rows = rows.convert(lambda chunk: chunk.only(columns))
    rows, notes = decode_cells(name, rows, lines)
    if repeated:
        notes = [*notes, f"{name}: the header stands again in line {repeated[0]}, and is no row there"]
    return columns, rows, lines, notes


def _chunks(columns: list[str], records: Iterator[list[str]]) -> Iterator[Chunk]:
    """Turn records into columns, a few at a time: the garbage collector looks at every record that is kept."""
    cells: list[list[str]] = [[] for _ in columns]
    size = 0
    while few := list(islice(records, _FEW)):
        for values, more in zip(cells, zip(*few, strict=True), strict=True):
            values.extend(more)
        size += len(few)
        if size >= CHUNK:
            yield _chunk(columns, cells, size)
            cells, size = [[] for _ in columns], 0
    if size:
        yield _chunk(columns, cells, size)


def _chunk(columns: list[str], cells: list[list[str]], size: int) -> Chunk:
    return Chunk.of_columns(size, dict(zip(columns, map(Coded.of, cells), strict=True)))


class _Numbering:
    """Watches whether all rows have one field too many: a number at their beginning, and nothing at their end.

    R and pandas write row numbers under a header without a name for them. Where the last column is empty, such a row
    looks as if it ended in a comma too many.
    """

    def __init__(self, size: int):
        self._size, self._next, self._rows, self._ended = size, 0, 0, False

    def ends(self) -> None:
        self._ended = True

    def watch(self, record: list[str]) -> None:
        if self._rows == 0 and record[0] == "1":
            self._next = 1
        self._ended = self._ended or len(record) != self._size + 1 or record[0] != str(self._next)
        self._rows, self._next = self._rows + 1, self._next + 1

    def refuse(self, name: str) -> None:
        if self._rows > 1 and not self._ended:
            problem = f"{name}: every row has one field more than the header, and begins with its own number"
            remedy = "put a comma before the header's first name; or, if the numbers are that column, delete the comma"
            raise UserError(problem, f"{remedy} at the end of every line")


def refuse_repeated(name: str, columns: Sequence[str]) -> None:
    """Refuse a table two of whose columns have one name.

    Raises:
        UserError: two have; it shows that name alone: where the header is missing, names are whole texts.
    """
    (column, times), *_ = Counter(columns).most_common(1) or [("", 0)]
    if times > 1:
        raise UserError(f"{name}: the column name {quoted(column)} occurs {times} times", "rename all but one")


def _separator(name: str, file: TextIO, usual: str) -> str:
    """Return the separator by which the header has more than one column, the usual one where none is told."""
    header = _header(_records(name, file, usual, strict=False))
    if len(header) != 1:
        return usual
    for other in sorted(SEPARATORS, key=header[0].count, reverse=True):
        if len(_header(_records(name, file, other, strict=False))) > 1:
            return other
    return usual


def _records(name: str, file: TextIO, separator: str, strict: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Yield every record with the line it begins on: a quoted field may span lines."""
    file.seek(0)
    csv.field_size_limit(sys.maxsize)
    reader, start = csv.reader(file, delimiter=separator, strict=strict), 1
    try:
        for record in reader:
            # Excel takes a first line such as sep=; for a word about the separator.
            if record and (start > 1 or separator.join(record) != f"sep={separator}"):
                yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        cut = "unexpected end" in str(error)
        remedy = "a quote is opened there and never closed" if cut else "double the quotes inside quoted fields"
        raise UserError(f"{name}, line {start}: not valid CSV: {error}", remedy) from None


def _header(records: Iterator[tuple[int, list[str]]]) -> list[str]:
    return next((record for _, record in records if not _is_blank(record)), [])


def _is_blank(record: list[str]) -> bool:
    return len(record) == 1 and not record[0].strip()


def _fields(place: str, record: list[str], header: list[str], separator: str) -> list[str]:
    """Return a value for each column; empty fields at the end need no column, columns without a name no field."""
    size = len(header)
    if len(record) == size:
        return record
    if not any(field.strip() for field in record[size:]) and not any(header[len(record) :]):
        return (record + [""] * size)[:size]
    if len(record) > size:
        remedy = f"put double quotes around fields that hold {_NAMES[separator]}"
    else:
        remedy = "complete or delete that line; fields that hold line breaks need double quotes around them"
    raise UserError(f"{place}: {len(record)} fields, the header has {size}", remedy)
