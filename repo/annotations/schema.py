"""What an annotation is once it is read: the canonical columns that every later step works on."""

import json
from typing import Any, TypeAlias

import pandas as pd

from repo.files import text_digest

Text: TypeAlias = str | list[dict[str, str]]
"""A prompt or response: plain text, or a list of {role, content} messages."""

COLUMNS = {
    "comparison_id": "the comparison judged: the same prompt and the same unordered pair of responses",
    "prompt": "text, or messages as JSON where `messages` is true",
    "response_a": "one response; the same one for every annotation of the comparison",
    "response_b": "the other response",
    "messages": "bool: prompt and responses are JSON lists of {role, content}",
    "preference": "'a', 'b' or 'tie', in the comparison's own orientation",
    "annotator_id": "who judged",
    "gold": "'a', 'b' or '' (unknown): the response known to be better",
    "shown_first": "'a', 'b' or '' (unknown): which response was displayed first",
    "listed_first": "'a' or 'b': the response that its row calls response_a; '' where the row says chosen and rejected",
    "weight": "1, or ½ for each half of a split tie",
    "created_at": "as given, or ''",
    "file": "where the annotation was read",
    "line": "its 1-based line (JSONL, CSV) or record number (other formats) there",
}
"""Column → meaning of the canonical annotation table (all text columns are str without nulls)."""

VIRTUAL_ANNOTATOR = "everyone"
"""The one annotator of data without annotator ids (RE-PO section 4: a single reliability)."""


def empty_table() -> pd.DataFrame:
    """Return a canonical table without rows."""
    return pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in COLUMNS})


def encode_text(text: Text) -> str:
    """Return text as it stands in the canonical table."""
    return text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)


def decode_text(text: str, messages: bool) -> Text:
    """Undo encode_text."""
    decoded: Text = json.loads(text) if messages else text
    return decoded


def display_text(text: str, messages: bool) -> str:
    """Return text for a person to read: messages become 'role: content' lines."""
    value = decode_text(text, messages)
    return value if isinstance(value, str) else "\n".join(f"{m.get('role', '')}: {m.get('content', '')}" for m in value)


def pair_digest(prompt: str, response_a: str, response_b: str) -> str:
    """Return the comparison id of data that has none: the same for both orders of the responses."""
    return text_digest(prompt, *sorted((response_a, response_b)))[:20]


def flip(side: Any) -> str:
    """Exchange 'a' and 'b'; anything else stays."""
    return {"a": "b", "b": "a"}.get(str(side), str(side))


def _dtype(column: str) -> str:
    return {"messages": "bool", "weight": "float64", "line": "int64"}.get(column, "str")
