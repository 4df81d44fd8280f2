"""Valid files of every layout and format, as the fuzzing starts from them; nothing here is anybody's data."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tests.packing import COMPRESSIONS, zipped

Row = dict[str, Any]
COMPARISONS = 12
SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
PACKERS = {**COMPRESSIONS, ".zip": lambda data: zipped({"votes.jsonl": data})}


def layouts() -> dict[str, list[Row]]:
    """Return a few rows of each layout that is read, by name."""
    return {
        "paired": [_vote(n, worker) for n in range(COMPARISONS) for worker in ("ann", "bob")],
        "trl": [_pair(n) for n in range(COMPARISONS)],
        "messages": [_spoken(_pair(n), _turn("user", f"question {n}")) for n in range(COMPARISONS)],
        "implicit": [_implicit(n) for n in range(COMPARISONS)],
        "sharegpt": [_sharegpt(n) for n in range(COMPARISONS)],
        "dialogue": [_dialogue(n) for n in range(COMPARISONS)],
        "tools": [_with_tools(n) for n in range(COMPARISONS)],
        "content": [_with_content(n) for n in range(COMPARISONS)],
        "multipref": [_multipref(n) for n in range(COMPARISONS)],
        "codes": [_vote(n, "ann") | {"preference": n % 2 + 1, "shown": 1} for n in range(COMPARISONS)],
        "nested": [_nested(n) for n in range(COMPARISONS)],
        "crowd": [_crowd(n, worker) for n in range(COMPARISONS) for worker in (7, 8.0, "nan")],
    }


def side_files() -> dict[str, list[Row]]:
    """Return rows of files of known answers and of margins, as they may stand beside the layout `paired`."""
    ids = [f"c{n}" for n in range(COMPARISONS)]
    return {
        "gold": [{"comparison_id": name, "gold": "response_a"} for name in ids],
        "margins": [{"comparison_id": name, "margin": n / 3 - 1} for n, name in enumerate(ids)],
        "line-margins": [{"line": n + 1, "margin": f"{n / 3 - 1}"} for n in range(2 * COMPARISONS)],
    }


def files(rows: list[Row]) -> Iterator[tuple[str, bytes]]:
    """Yield file names and contents that hold these rows, in every format that can."""
    lines = as_lines(rows)
    yield "votes.jsonl", lines
    yield "votes.json", json.dumps(rows, indent=1).encode()
    for ending, pack in PACKERS.items():
        yield f"votes.jsonl{ending}", pack(lines)
    for separator in SEPARATORS:
        yield ("votes.tsv" if separator == "\t" else "votes.csv"), as_csv(rows, separator).encode()
    for encoding in ENCODINGS:
        yield "votes.csv", as_csv(rows).encode(encoding)
    yield "python.csv", as_csv(rows, lists=str).encode()
    if table := as_parquet(rows):
        yield "votes.parquet", table


def as_lines(rows: list[Row]) -> bytes:
    """Write rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows: list[Row], separator: str = ",", lists: Callable[[Any], str] = json.dumps) -> str:
    """Write rows as CSV; lists and objects as `lists` writes them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), delimiter=separator)
    writer.writeheader()
    writer.writerows(
        {key: lists(value) if isinstance(value, list | dict) else value for key, value in row.items()} for row in rows
    )
    return text.getvalue()


def as_parquet(rows: list[Row]) -> bytes:
    """Write rows as Parquet; nothing where a column holds several kinds of values."""
    target = io.BytesIO()
    try:
        parquet.write_table(pa.Table.from_pylist(rows), target)
    except (pa.ArrowException, UnicodeError, OverflowError):
        return b""
    return target.getvalue()


def _turn(role: str, content: Any, **others: Any) -> Row:
    return {"role": role, "content": content, **others}


def _vote(number: int, worker: str) -> Row:
    return {
        "comparison_id": f"c{number}",
        "prompt": f"question {number}",
        "response_a": f"yes, naïvely {number}",
        "response_b": f"no {number}",
        "preference": "ab"[number % 2] if number % 5 else "tie",
        "annotator_id": worker,
        "created_at": f"2024-05-{number + 1:02}T10:00:00Z",
        "gold": "a" if number % 3 == 0 else None,
    }


def _pair(number: int) -> Row:
    return {"prompt": f"question {number}", "chosen": f"good {number}", "rejected": f"bad {number}"}


def _spoken(pair: Row, *prompt: Row) -> Row:
    return {
        "prompt": list(prompt),
        "chosen": [_turn("assistant", pair["chosen"])],
        "rejected": [_turn("assistant", [{"type": "text", "text": pair["rejected"]}])],
        "annotator_id": 7,
    }


def _implicit(number: int) -> Row:
    pair, asked = _pair(number), _turn("user", f"question {number}")
    return {side: [asked, _turn("assistant", pair[side])] for side in ("chosen", "rejected")}


def _sharegpt(number: int) -> Row:
    return {
        "system": "be brief",
        "conversations": [{"from": "human", "value": f"question {number}"}],
        "chosen": {"from": "gpt", "value": f"good {number}"},
        "rejected": {"from": "gpt", "value": f"bad {number}"},
    }


def _dialogue(number: int) -> Row:
    asked = f"\n\nHuman: question {number}\n\nAssistant:"
    return {"chosen": f"{asked} good {number}", "rejected": f"{asked} bad {number}"}


def _with_tools(number: int) -> Row:
    call = {"type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
    return {
        "tools": [{"type": "function", "function": {"name": "add", "parameters": {"x": {"type": "number"}}}}],
        "prompt": [_turn("user", f"question {number}")],
        "chosen": [_turn("assistant", None, tool_calls=[call]), _turn("tool", "2"), _turn("assistant", f"2 {number}")],
        "rejected": [_turn("assistant", f"bad {number}")],
    }


def _with_content(number: int) -> Row:
    return _pair(number) | {
        "system": "be brief",
        "input": f"given {number}",
        "history": [["before", f"answer {number}"]],
        "context": "a document",
    }


def _multipref(number: int) -> Row:
    def votes(*preferences: str) -> list[Row]:
        return [{"evaluator": f"w{n}", "overall_pref": preference} for n, preference in enumerate(preferences)]

    return {
        "comparison_id": f"c{number}",
        "text": f"question {number}",
        "completion_a": f"yes {number}",
        "completion_b": f"no {number}",
        "normal_worker_annotations": votes("A-is-clearly-better", "Tie"),
        "expert_worker_annotations": votes("B-is-slightly-better"),
    }


def _nested(number: int) -> Row:
    return {
        "info": {"post": f"question {number}"},
        "summaries": [{"text": f"yes {number}"}, {"text": f"no {number}"}],
        "choice": number % 2,
        "worker": f"w{number % 3}",
    }


def _crowd(number: int, worker: Any) -> Row:
    return {"task": number, "worker": worker, "label": ("cat", "dog")[number % 2]}
