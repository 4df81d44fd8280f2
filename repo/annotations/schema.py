"""What an annotation is once it is read: the canonical columns that every later step works on."""

import json
from typing import Any, TypeAlias

import pandas as pd

from repo.files import text_digest

Text: TypeAlias = str | list[dict[str, Any]]
"""A prompt or response: plain text, or a list of messages with a role, and content or tool calls or both."""

TOOLS = "tools"
"""The role of a prompt's first turn whose content is the list of tools that the assistant may call."""

COLUMNS = {
    "comparison_id": "the comparison judged: the same prompt and the same unordered pair of responses",
    "prompt": "text, or messages as JSON where `messages` is true",
    "response_a": "one response; the same one for every annotation of the comparison",
    "response_b": "the other response",
    "messages": "bool: prompt and responses are JSON lists of messages",
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

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Keys of a message under which models' thoughts are published; templates render them."""

VIRTUAL_ANNOTATOR = "everyone"
"""The one annotator of data without annotator ids (RE-PO section 4: a single reliability)."""


def empty_table() -> pd.DataFrame:
    """Return a canonical table without rows."""
    return pd.DataFrame({name: pd.Series(dtype=_dtype(name)) for name in COLUMNS})


def encode_text(text: Text) -> str:
    """Return text as it stands in the canonical table; the order of keys in messages makes no difference."""
    return text if isinstance(text, str) else _json(text)


def decode_text(text: str, messages: bool) -> Text:
    """Undo encode_text."""
    decoded: Text = json.loads(text) if messages else text
    return decoded


def display_text(text: str, messages: bool) -> str:
    """Return text for a person to read: messages become 'role: content' lines, tool calls 'name(arguments)'."""
    value = decode_text(text, messages)
    return value if isinstance(value, str) else "\n".join(f"{m.get('role', '')}: {message_text(m)}" for m in value)


def message_text(message: dict[str, Any]) -> str:
    """Return what a message says, without who says it: its thoughts, text and tool calls, or which tools there are."""
    content = message.get("content", "")
    if isinstance(content, list):
        return ", ".join(str(_function(tool).get("name", _json(tool))) for tool in content)
    thoughts = [str(message[key]) for key in _THOUGHTS if message.get(key)]
    calls = [_call_text(_function(call)) for call in message.get("tool_calls", [])]
    return "\n".join([*thoughts, *([str(content)] if content else []), *calls])


def pair_digest(prompt: str, response_a: str, response_b: str) -> str:
    """Return the comparison id of data that has none: the same for both orders of the responses."""
    return text_digest(prompt, *sorted((response_a, response_b)))[:20]


def flip(side: Any) -> str:
    """Exchange 'a' and 'b'; anything else stays."""
    return {"a": "b", "b": "a"}.get(str(side), str(side))


# The order that templates and documentation write keys in; all others follow by name.
_KEY_ORDER = {
    key: place
    for place, key in enumerate(
        ("role", "content", "id", "type", "function", "name", "description", "arguments", "parameters", "properties")
    )
}


def _json(value: Any) -> str:
    return json.dumps(_ordered(value), ensure_ascii=False)


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (_KEY_ORDER.get(key, len(_KEY_ORDER)), key))
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    """Return the function of a tool or of a call, which some write without the object around it."""
    function = tool.get("function")
    return function if isinstance(function, dict) else tool


def _call_text(function: dict[str, Any]) -> str:
    return f"{function.get('name', '')}({_json(function.get('arguments', {}))})"


def _dtype(column: str) -> str:
    return {"messages": "bool", "weight": "float64", "line": "int64"}.get(column, "str")
