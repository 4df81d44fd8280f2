"""JSON text → rows and where they stand; opens no file."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from repo.annotations.reading.rows import Row
from repo.errors import UserError

Numbered: TypeAlias = Iterator[tuple[int, Row, bool]]
"""Where an object stands, the object, and whether it may hold escapes of what no text can hold."""
DEEPEST = 100
"""Lists and objects inside one another that are read; no table needs more, and every step handles as many."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = "\\u"
_BLANK = re.compile(r"[ \t\n\r]*")
_REMEDY = "write one JSON object a line (JSONL), or one array of objects"
_TOO_DEEP = f"nested more than {DEEPEST} deep"


class JsonError(ValueError):
    """A JSON value that cannot be read; its message says why, `place` where in the text, if that is known."""

    def __init__(self, problem: str, place: int | None = None) -> None:
        self.place = place
        super().__init__(problem)


def parse(text: str) -> Any:
    """Parse one JSON value.

    Raises:
        JsonError: it is not valid, names a key twice, or holds a number or nesting that nothing else could handle.
    """
    value, end = _value(text, 0)
    if end < len(text):
        raise _invalid(json.JSONDecodeError("Extra data", text, end))
    return value


def parse_lines(name: str, texts: Iterable[str], before: int = 0) -> Numbered:
    """Parse a file's lines as they come, blank ones left out; yields their 1-based numbers and their objects.

    Args:
        name: what the file is called in errors.
        texts: its lines.
        before: how many lines stand before these; they hold objects.

    Raises:
        UserError: a line cannot be read or is no object, or the whole file is one JSON value over several lines.
    """
    remaining, first = iter(texts), not before
    for number, text in enumerate(remaining, start=before + 1):
        if not text.strip():
            continue
        try:
            row = parse(text)
        except JsonError as error:
            if first and _is_json("".join([text, *remaining])):
                raise UserError(f"{name}: neither JSON lines nor a JSON array", _REMEDY) from None
            raise UserError(f"{name}, line {number}: {error}", "repair or delete that line") from None
        yield number, _object(row, f"{name}, line {number}"), _ESCAPE in text
        first = False


def parse_array(name: str, text: str) -> Numbered:
    """Parse one array of objects; yields their 1-based record numbers and the objects.

    Raises:
        UserError: it cannot be read, holds something that is no object, or is followed by something.
    """
    place = _after_blanks(text, _after_blanks(text, 0) + 1)
    number, escapes = 0, _ESCAPE in text
    try:
        while number or text[place : place + 1] != "]":
            value, end = _value(text, place)
            number += 1
            yield number, _object(value, f"{name}, record {number}"), escapes
            if text[end : end + 1] == "]":
                place = end
                break
            if text[end : end + 1] != ",":
                raise _invalid(json.JSONDecodeError("Expecting ',' delimiter", text, end))
            place = _after_blanks(text, end + 1)
    except JsonError as error:
        remedy = "repair the array at that place; is the file complete?"
        line = _line(text, place if error.place is None else error.place)
        raise UserError(f"{name}, line {line}: {error}", remedy) from None
    rest = _after_blanks(text, place + 1)
    if rest < len(text):
        raise UserError(f"{name}, line {_line(text, rest)}: something follows the array", _REMEDY)


def without_lone_surrogates(row: Any) -> tuple[Any, int]:
    """Replace what no UTF-8 file can hold (JSON can, as an escape); returns the row and how many were replaced."""
    if isinstance(row, dict) and all(map(_is_clean, row)) and all(map(_is_clean, row.values())):
        return row, 0
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


def _is_clean(value: Any) -> bool:
    """Tell whether there is nothing to replace in a value, as far as that is told at a glance."""
    if isinstance(value, str):
        return value.isascii() or not _SURROGATE.search(value)
    return not isinstance(value, (list, dict))


def _object(value: Any, place: str) -> Row:
    if not isinstance(value, dict):
        raise UserError(f"{place}: a JSON object is expected, found {type(value).__name__}", _REMEDY)
    return value


def _value(text: str, place: int) -> tuple[Any, int]:
    """Parse the value that begins at a place or behind its blanks; returns it and where the next thing begins."""
    try:
        value, end = _DECODER.raw_decode(text, _after_blanks(text, place))
    except json.JSONDecodeError as error:
        raise _invalid(error) from None
    except RecursionError:
        raise JsonError(_TOO_DEEP) from None
    except JsonError:
        raise
    except ValueError:  # int's own limit: more digits take quadratic time
        raise JsonError("holds a number of thousands of digits") from None
    if text.count("{", place, end) + text.count("[", place, end) > DEEPEST and _is_deeper(value, DEEPEST):
        raise JsonError(_TOO_DEEP)
    return value, _after_blanks(text, end)


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise JsonError(f"the key {twice[:80]!r} occurs twice in one object")
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, (list, dict)):
        return False
    items = value if isinstance(value, list) else value.values()
    return not levels or any(isinstance(item, (list, dict)) and _is_deeper(item, levels - 1) for item in items)


def _after_blanks(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    return found.end() if found else place


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _is_json(text: str) -> bool:
    try:
        parse(text)
    except JsonError:
        return False
    return True


def _invalid(error: json.JSONDecodeError) -> JsonError:
    cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
    problem = f"not valid JSON ({error.msg.removesuffix(' at').removesuffix(' starting')} at character {error.colno})"
    return JsonError(f"{problem}; it looks cut off" if cut else problem, error.pos)
