"""Rows and bytes → odd ones: a value swapped for one that nobody expects, rows dropped, keys changed, bytes flipped."""

import copy
import json
import math
from random import Random
from typing import Any

from repo.annotations.schema import COLUMNS
from tests.fuzzing.corpus import ENCODINGS, PACKERS, SEPARATORS, Row, as_csv, as_lines, as_parquet
from tests.packing import zipped

_DEEP: Any = "bottom"
for _ in range(90):
    _DEEP = [_DEEP]
ODD: list[Any] = [
    None, "", " ", "\0", "\n", "\r", "\u2028", "\x1b[31m", "\ud83d", "\udc00 \ud800", "\ufeff", "e\u0301\u202e", "ß",
    True, False, 0, -0.0, 1, 2**63, 2**64, -(10**400), 1e308, 1e-320, math.nan, math.inf, -math.inf, 7.0, 1e16,
    "nan", "NaN", "inf", "1e999", "1_000", "--5", "+-1", "-", ".", "1.", ".0", "٣", "²", "9" * 5000, "-" + "9" * 5000,
    "1" * 400 + ".0", "007", "7.0", " 7.0 ", "x" * 300, "word " * 5000, "<|im_end|>", "=cmd()", "a\tb;c|d,e\"f'g",
    "2024-01-01", "2024-01-01T00:00:00Z", "0000-00-00", "9999-12-31T23:59:59+23:59", "2024-02-30", "1700000000",
    "12:00",
    [], {}, [[]], [{}], [None], [[], []], ["a", ["b"]], {"": None}, {"role": None}, {"role": "user"}, {"content": "x"},
    {"role": "assistant", "content": [{"type": "text"}]}, {"role": "assistant", "content": [{"type": "image"}]},
    {"role": "assistant", "content": {}, "tool_calls": "[[]]"}, {"role": "", "content": ""}, {"from": "x", "value": 1},
    [{"role": "user", "content": "a"}, "b"], {"from": "function_call", "value": "[{\"name\": 1}]"}, {"from": "gpt"},
    [["a", "b"], ["c"]], [["a", None]], _DEEP, {"a": _DEEP}, "[" * 500, "[" * 100_000, '{"a":' * 300, "{'a': " * 300,
    "[{'role': 'user', 'content': '\\d'}]", "[{'role': 'user', 'content': 'x'",
    '[{"role": "user", "content": "\\ud83d"}]',
    '[{"role": "user", "content": "x"}]',
    '[{"role": 1, "role": 2}]', "[{'role': 1e999, 'content': 1}]", "(" * 300,
    "[{'role': " + "-" * 5000 + "1}]", "{'role'}",
    "[{'role': 'user', 'content': 'x', 1: {2, 3}}]", "[{'role': 'user', 'content': b'x'}]",
    "[{'role': ..., 'content': 1j}]",
    "[{'role': 'user', 'content': 'x', None: (1,), (2, 3): 4}]", "[" + "9" * 5000 + "]", "\n\nHuman:\n\nAssistant:",
    "Human: \n\nAssistant:", "\n\nHuman: a\n\nAssistant: b\n\nHuman: c",
    "a", "b", "A", "tie", "chosen", "rejected", "skip", "response_a", "c1",
]  # fmt: skip
"""Values that files have held, or that a parser may stumble over."""
KEYS = [
    *COLUMNS, "chosen", "rejected", "system", "input", "history", "context", "conversations", "tools", "worker", "task",
    "item", "label", "text", "completion_a", "completion_b", "normal_worker_annotations", "expert_worker_annotations",
    "margin", "truth", "gold", "line", "file", "winner", "", " ", ".", "info.post", "0", "Unnamed: 0", "\ud83d",
    "x" * 300,
]  # fmt: skip
_NAMES = ("votes", "ünïcode votes", "a'b", "[x]", "50%", "vötes.v2", "votes\n2", "votes?x=1")
_PLAIN = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".ndjson")


def changed_rows(rows: list[Row], random: Random) -> list[Row]:
    """Return the rows with one to four odd changes."""
    rows = json.loads(json.dumps(rows))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        rows = random.choice((_odd_value, _odd_value, _odd_inside, _odd_column, _other_key, _other_rows))(rows, random)
    return rows


def written(rows: list[Row], random: Random) -> tuple[str, bytes]:
    """Return a file's name and content: the rows in any format, encoding and compression, seldom under a wrong name."""
    suffix = random.choice(_PLAIN)
    data = _encoded(rows, suffix, random)
    name = random.choice(_NAMES[:1] * 8 + _NAMES)
    if random.random() < 0.15:
        packed = random.choice(list(PACKERS))
        data = zipped(_members(data, suffix, random)) if packed == ".zip" else PACKERS[packed](data)
        suffix += packed
    if random.random() < 0.03:
        suffix = random.choice((*_PLAIN, *PACKERS, ".txt", ""))
    return name + suffix, data


def changed_bytes(data: bytes, random: Random) -> bytes:
    """Return the content with one to eight places overwritten, cut out, doubled, or moved."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        start = random.randrange(len(changed) + 1)
        end = min(len(changed), start + random.choice((0, 1, 1, 2, 8, 100)))
        piece = bytes(changed[start:end])
        replacements = (b"", bytes([random.randrange(256)]), piece * 2, random.choice(_PIECES), b"\0" * len(piece))
        changed[start:end] = random.choice(replacements)
    return bytes(changed)


_PIECES = (
    b'"', b'""', b"'", b",", b";", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"{", b"}", b"[", b"]", b"[" * 2000, b"\\ud83d",
    b"\\u0000", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"PAR1", b"\x1f\x8b", b"PK\x03\x04", b"NaN",
    b"1e999", b"-Infinity", b"9" * 5000, b"sep=;\n", b"null", b"true", b"{}", b"[]", b"\xc2\x85", b"\xe2\x80\xa8",
    b"\x1c", b"\x0b",
)  # fmt: skip


def _odd(random: Random) -> Any:
    """Return an odd value of its own: one that others hold too could come to hold itself."""
    return copy.deepcopy(random.choice(ODD))


def _odd_value(rows: list[Row], random: Random) -> list[Row]:
    if rows and (row := random.choice(rows)):
        row[random.choice(list(row))] = _odd(random)
    return rows


def _odd_inside(rows: list[Row], random: Random) -> list[Row]:
    """Swap a value at any depth."""
    place: Any = rows
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return rows
        key = random.choice(keys)
        inside = place[key]
        if place is not rows and (not isinstance(inside, list | dict) or random.random() < 0.3):
            place[key] = _odd(random)
            return rows
        if not isinstance(inside, list | dict):
            return rows
        place = inside


def _odd_column(rows: list[Row], random: Random) -> list[Row]:
    """Give a whole column one odd value, or two by turns."""
    own = list(rows[0]) if rows else []
    key = random.choice(own if own and random.random() < 0.7 else KEYS)
    values = random.choices(ODD, k=random.choice((1, 2)))
    return [{**row, key: values[number % len(values)]} for number, row in enumerate(rows)]


def _other_key(rows: list[Row], random: Random) -> list[Row]:
    """Rename a column, or drop it from all rows or one."""
    if not rows or not rows[0]:
        return rows
    old, new = random.choice(list(rows[0])), random.choice([*KEYS, None])
    of = [random.choice(rows)] if random.random() < 0.3 else rows
    for row in of:
        value = row.pop(old, None)
        if new is not None:
            row[new] = value
    return rows


def _other_rows(rows: list[Row], random: Random) -> list[Row]:
    """Drop rows, repeat them, shuffle them, or empty one."""
    if not rows:
        return rows
    place = random.randrange(len(rows))
    return random.choice(
        (rows[:place], [*rows, rows[place]], random.sample(rows, len(rows)), [*rows[:place], {}, *rows[place:]])
    )


def _encoded(rows: list[Row], suffix: str, random: Random) -> bytes:
    if suffix == ".parquet":
        return as_parquet(rows) or as_lines(rows)
    if suffix == ".json":
        return json.dumps(rows, indent=random.choice((None, 1))).encode()
    if suffix in (".csv", ".tsv"):
        separator = "\t" if suffix == ".tsv" else random.choice(SEPARATORS)
        text = as_csv(rows, separator, random.choice((json.dumps, json.dumps, str)))
        return text.encode(random.choice(ENCODINGS[:1] * 5 + ENCODINGS), "replace")
    return as_lines(rows)


def _members(data: bytes, suffix: str, random: Random) -> dict[str, bytes]:
    members = {random.choice(("votes", "ünï", "../up", "a/b", "")) + suffix: data}
    if random.random() < 0.2:
        members[random.choice(("readme.txt", "__MACOSX/._votes.csv", "second.csv", "xl/sheet.xml"))] = b"x"
    return members
