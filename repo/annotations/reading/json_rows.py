"""JSON text → rows and where they stand; opens no file."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from repo.annotations.reading.rows import Row
from repo.errors import UserError

Numbered: TypeAlias = Iterator[tuple[int, Row]]
_SURROGATE = re.compile("[\ud800-\udfff]")
_REMEDY = "write one JSON object a line (JSONL), or one array of objects"


def parse_lines(name: str, texts: Iterable[str]) -> Numbered:
    """Parse a file's lines as they come, blank ones left out; yields their 1-based numbers and their objects.

    Raises:
        UserError: a line is not valid JSON or no object, or the whole file is one JSON value over several lines.
    """
    remaining, first = iter(texts), True
    for number, text in enumerate(remaining, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            if first and _is_json("\n".join([text, *remaining])):
                raise UserError(f"{name}: neither JSON lines nor a JSON array", _REMEDY) from None
            raise UserError(f"{name}, line {number}: {_describe(error)}", "repair or delete that line") from None
        yield number, _object(row, f"{name}, line {number}")
        first = False


def parse_array(name: str, text: str) -> Numbered:
    """Parse one array of objects; yields their 1-based record numbers and the objects.

    Raises:
        UserError: it is not valid JSON, or holds something that is no object.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        remedy = "repair the array at that place; is the file complete?"
        raise UserError(f"{name}, line {error.lineno}: {_describe(error)}", remedy) from None
    for number, value in enumerate(values, start=1):
        yield number, _object(value, f"{name}, record {number}")


def without_lone_surrogates(row: Row) -> tuple[Row, int]:
    """Replace what no UTF-8 file can hold (JSON can, as an escape); returns the row and how many were replaced."""
    replaced = 0

    def clean(value: Any) -> Any:
        nonlocal replaced
        if isinstance(value, str) and not value.isascii():
            value, count = _SURROGATE.subn("\ufffd", value)
            replaced += count
        elif isinstance(value, list):
            return [clean(item) for item in value]
        elif isinstance(value, dict):
            return {clean(key): clean(item) for key, item in value.items()}
        return value

    return clean(row), replaced


def _object(value: Any, place: str) -> Row:
    if not isinstance(value, dict):
        raise UserError(f"{place}: a JSON object is expected, found {type(value).__name__}", _REMEDY)
    return value


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _describe(error: json.JSONDecodeError) -> str:
    cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
    problem = f"not valid JSON ({error.msg.removesuffix(' starting at')} at character {error.colno})"
    return f"{problem}; it looks cut off" if cut else problem
