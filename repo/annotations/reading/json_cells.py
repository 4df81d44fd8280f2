"""Columns of text that hold message lists as JSON, as CSV files must → what JSON would have given."""

from collections.abc import Iterable, Iterator
from typing import Any

from repo.annotations.reading.json_rows import JsonError, parse, without_lone_surrogates
from repo.annotations.reading.rows import Row, Rows

VOTE_LISTS = ("normal_worker_annotations", "expert_worker_annotations")
"""MultiPref's columns of votes."""
_MESSAGE_KEYS = ({"role", "content"}, {"role", "tool_calls"}, {"from", "value"})
_VOTE_KEYS = ({"overall_pref"},)


def pack(name: str, rows: Iterable[Row]) -> tuple[Rows, list[str]]:
    """Pack rows; a column in which every cell is a message or a list of messages, written as JSON, is decoded.

    This is for formats that have no lists (CSV) or are often written without them: a JSON file's texts are texts.
    It is decided over the whole file: a text that happens to be JSON stays text among others. The lists of votes of
    MultiPref's layout are decoded likewise.

    Returns:
        the rows, and notes about them.
    """
    columns = _JsonColumns()
    packed = Rows.of(columns.watch(rows))
    decoded = columns.found()
    if not decoded:
        return packed, []
    replaced = 0

    def decode(row: Row) -> Row:
        nonlocal replaced
        cells: Row
        cells, found = without_lone_surrogates({column: _decoded(row[column]) for column in decoded if column in row})
        replaced += found
        return row | cells

    packed = packed.map(lambda chunk: [decode(row) for row in chunk])
    return packed, [f"{name}: {replaced} halves of surrogate pairs were replaced by U+FFFD"] if replaced else []


class _JsonColumns:
    """Watches rows go by, and knows then which columns hold nothing but JSON."""

    def __init__(self) -> None:
        self._json: set[str] = set()
        self._others: set[str] = set()

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            for column in row.keys() - self._others:
                self._judge(column, row[column])
            yield row

    def found(self) -> set[str]:
        return self._json - self._others

    def _judge(self, column: str, cell: Any) -> None:
        if _is_blank(cell):
            return
        items = _items(cell)
        kinds = _VOTE_KEYS if column in VOTE_LISTS else _MESSAGE_KEYS
        if items is None or not all(_is_one_of(kinds, item) for item in items):
            self._others.add(column)
        elif items or column in VOTE_LISTS:
            # An empty list alone is no sign: texts may be two brackets.
            self._json.add(column)


def _is_one_of(kinds: Iterable[set[str]], item: Any) -> bool:
    return isinstance(item, dict) and any(keys <= item.keys() for keys in kinds)


def _is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _items(cell: Any) -> list[Any] | None:
    """Return what a cell's JSON array holds, its only object, or None where it is no such JSON."""
    if not isinstance(cell, str) or cell.lstrip()[0] not in "[{":
        return None
    try:
        value = parse(cell)
    except JsonError:
        return None
    return value if isinstance(value, list) else [value]


def _decoded(cell: str | None) -> Any:
    return None if cell is None or _is_blank(cell) else parse(cell)
