"""Columns of text that hold message lists as JSON, as CSV files must → what JSON would have given."""

import ast
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from repo.annotations.reading.chunks import ABSENT, Coded, first_rows
from repo.annotations.reading.json_rows import JsonError, parse, without_lone_surrogates
from repo.annotations.reading.rows import Row, Rows
from repo.errors import UserError
from repo.ids import MISSING

VOTE_LISTS = ("normal_worker_annotations", "expert_worker_annotations")
"""MultiPref's columns of votes."""
_MESSAGE_KEYS = ({"role", "content"}, {"role", "tool_calls"}, {"from", "value"})
_VOTE_KEYS = ({"overall_pref"},)
_LIKE_MESSAGES = re.compile(r"""\s*\[\s*\{(?:\s*["'](?:content|value)|.{0,300}?["'](?:role|from))["']\s*:""", re.DOTALL)
"""Who speaks may be named behind other keys, such as an id."""
_PYTHON = re.compile(r"\s*\[?\s*\{\s*'")
"""How a list or object begins where Python printed it, as pandas' to_csv does."""


def decode_cells(name: str, rows: Rows, lines: Sequence[int]) -> tuple[Rows, list[str]]:
    """Decode columns in which every cell is a message or a list of messages, written as JSON.

    This is for formats that have no lists (CSV) or are often written without them: a JSON file's texts are texts.
    It is decided over the whole file: a text that happens to be JSON stays text among others. The lists of votes of
    MultiPref's layout are decoded likewise, and lists as Python prints them.

    Args:
        name: what the file is called in errors.
        rows: its rows.
        lines: where they stand.

    Returns:
        the rows, and notes about them.

    Raises:
        UserError: every cell of a column begins like a list of messages, and one is none.
    """
    columns = _JsonColumns()
    columns.watch(rows)
    for column, number in columns.broken():
        problem = f"{name}, line {lines[number]}: {column} begins like a list of messages"
        raise UserError(f"{problem} and cannot be read as one", "write such lists as JSON, for example by json.dumps")
    decoded = columns.found()
    if not decoded:
        return rows, []
    replaced = 0

    def decode(row: Row) -> Row:
        nonlocal replaced
        cells: Row
        cells, found = without_lone_surrogates({column: _decoded(row[column]) for column in decoded if column in row})
        replaced += found
        return row | cells

    decoded_rows = rows.map(lambda chunk: [decode(row) for row in chunk])
    return decoded_rows, [f"{name}: {replaced} halves of surrogate pairs were replaced by U+FFFD"] if replaced else []


class _JsonColumns:
    """Looks at rows, and knows then which columns hold nothing but JSON."""

    def __init__(self) -> None:
        self._json: set[str] = set()
        self._broken: dict[str, int] = {}
        self._others: set[str] = set()

    def watch(self, rows: Rows) -> None:
        """Look at all cells that occur."""
        start = 0
        for chunk in rows.packed:
            for name in chunk.columns.keys() - self._others:
                self._watch(name, chunk.columns[name].unpack(), start)
            start += chunk.size

    def _watch(self, name: str, cells: Coded, start: int) -> None:
        for cell, row in zip(cells.distinct, first_rows(cells.places), strict=True):
            if name in self._others:
                return
            if not _is_blank(cell):
                self._judge(name, cell, start + row)

    def found(self) -> set[str]:
        """Return the columns to decode."""
        return self._json - self._others

    def broken(self) -> list[tuple[str, int]]:
        """Return the columns whose cells all begin like messages, and the row that holds none, the first one first."""
        rows = [(column, number) for column, number in self._broken.items() if column not in self._others]
        return sorted(rows, key=lambda row: row[1])

    def _judge(self, column: str, cell: Any, number: int) -> None:
        items = _items(cell)
        kinds = _VOTE_KEYS if column in VOTE_LISTS else _MESSAGE_KEYS
        if items is not None and all(_is_one_of(kinds, item) for item in items):
            # An empty list alone is no sign: texts may be two brackets.
            if items or column in VOTE_LISTS:
                self._json.add(column)
        elif isinstance(cell, str) and _LIKE_MESSAGES.match(cell):
            self._broken.setdefault(column, number)
        else:
            self._others.add(column)


def _is_one_of(kinds: Iterable[set[str]], item: Any) -> bool:
    return isinstance(item, dict) and any(keys <= item.keys() for keys in kinds)


def _is_blank(cell: Any) -> bool:
    """Tell whether nothing stands there, also in the words that programs write for it."""
    if cell is None or cell is ABSENT:
        return True
    return isinstance(cell, str) and (not cell.strip() or cell.strip() in MISSING)


def _items(cell: Any) -> list[Any] | None:
    """Return what a cell's JSON array holds, its only object, or None where it is no such JSON."""
    if not isinstance(cell, str) or cell.lstrip()[0] not in "[{":
        return None
    try:
        value = _parse(cell)
    except JsonError:
        return None
    return value if isinstance(value, list) else [value]


def _decoded(cell: str | None) -> Any:
    return None if cell is None or _is_blank(cell) else _parse(cell)


def _parse(cell: str) -> Any:
    if not _PYTHON.match(cell):
        return parse(cell)
    try:
        # Python warns of a backslash that escapes nothing, and reads it as it stands.
        with warnings.catch_warnings(action="ignore"):
            as_json = json.dumps(ast.literal_eval(cell.strip()))
    except (TypeError, ValueError, SyntaxError, MemoryError, RecursionError):
        raise JsonError("neither JSON nor a list as Python prints it, or of things that JSON cannot hold") from None
    return parse(as_json)
