"""Chat messages in the spellings that are published → one form: role, content, and what else a message holds."""

from typing import Any

from repo.annotations.reading.values import BadRowError, is_blank, is_missing, kind_of, parsed

Message = dict[str, Any]

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",  # ShareGPT
    "prompter": "user",  # OASST
    "assistant": "assistant",
    "gpt": "assistant",  # ShareGPT
    "chatgpt": "assistant",  # ShareGPT, of other models
    "bing": "assistant",
    "bard": "assistant",
    "ai": "assistant",  # LangChain
    "model": "assistant",  # PRISM
    "function_call": "assistant",  # ShareGPT, as LLaMA-Factory writes it
    "tool": "tool",
    "observation": "tool",  # ShareGPT, as LLaMA-Factory writes it
}

_DEEPEST = 100
_BOOKKEEPING = ("id", "message_id", "uuid", "created_at", "updated_at", "timestamp")
"""Keys by which stores find a message: they say nothing, and differ where the same text stands twice."""


def read_messages(value: Any, column: str) -> list[Message]:
    """Return a list of messages, or one message, in one form.

    Nothing of a message is lost but nulls, empty lists, and ids and times by which a store finds it. Spellings are
    role and content (a text, or parts that are all text) or ShareGPT's from and value. Arguments of tool calls become
    objects, as chat templates want them, where they are JSON text; function_call, as such calls were once written, is
    one of them. A message with tool calls and without text has no content.

    Raises:
        BadRowError: something is no message.
    """
    return [_read_message(message, column) for message in (value if isinstance(value, list) else [value])]


def is_message(value: Any) -> bool:
    """Tell whether a value is an object that names who speaks."""
    return isinstance(value, dict) and not (is_missing(value.get("role")) and is_missing(value.get("from")))


def read_tools(value: Any, column: str) -> list[Message]:
    """Return a list of tools from a list or from JSON text of one; each is an object or its JSON text.

    Raises:
        BadRowError: it is something else.
    """
    tools = parsed(value)
    if not isinstance(tools, list):
        raise BadRowError(f"{column} is {kind_of(tools)}, not a list of tools or JSON text of one")
    return _objects(tools, column, "a tool's description")


def _read_message(message: Any, column: str) -> Message:
    if not isinstance(message, dict):
        raise BadRowError(f"{column} holds {kind_of(message)} where a message with role and content is expected")
    speaker, content = ("from", "value") if is_missing(message.get("role")) and "from" in message else _KEYS
    role = message.get(speaker)
    if not isinstance(role, str):
        raise BadRowError(f"{column} holds a message whose {speaker} is missing or no text")
    others = {key: value for key, value in message.items() if key not in (speaker, content)}
    if role == "function_call":
        others["tool_calls"] = _function_calls(message.get(content), f"{column} holds a function_call that")
        said = None
    else:
        said = _read_content(message.get(content), column)
    return _assembled(_role(role, speaker, column), said, others, f"{column} holds a message whose", content)


_KEYS = ("role", "content")


def _role(role: str, speaker: str, column: str) -> str:
    known = _ROLES.get(role.strip().lower())
    if known is None and speaker == "from":
        raise BadRowError(f"{column} holds a message from '{role}'; known are {', '.join(_ROLES)}")
    # Templates know roles that we do not.
    return known or role


def _read_content(value: Any, column: str) -> str | None:
    if isinstance(value, list):
        return "".join(_read_part(part, column) for part in value) if value else None
    return None if is_missing(value) else value


def _read_part(part: Any, column: str) -> str:
    if not isinstance(part, dict):
        raise BadRowError(f"{column} holds {kind_of(part)} where a part of a message's content is expected")
    kind, text = part.get("type"), part.get("text")
    if kind == "text" and isinstance(text, str):
        return text
    name = f"{'an' if str(kind)[:1] in 'aeiou' else 'a'} {kind} part" if kind != "text" else "a text part without text"
    raise BadRowError(f"{column} holds {name}: only text can be trained on")


def _assembled(role: str, content: Any, others: Message, whose: str, key: str) -> Message:
    """Return the message, without what Parquet adds to every message of a column."""
    said = {key: value for key, value in others.items() if key not in _BOOKKEEPING}
    extras = {key: _plain(value) for key, value in said.items() if not (is_missing(value) or value == [])}
    if "function_call" in extras and "tool_calls" not in extras:
        extras["tool_calls"] = _function_calls(extras.pop("function_call"), f"{whose} function_call")
    if "tool_calls" in extras:
        extras["tool_calls"] = _read_tool_calls(extras["tool_calls"], whose)
        if is_blank(content):
            return {"role": role, **extras}
    if not isinstance(content, str):
        raise BadRowError(f"{whose} {key} is missing or no text")
    return {"role": role, "content": content, **extras}


def _read_tool_calls(value: Any, whose: str) -> list[Message]:
    calls = parsed(value)
    if not isinstance(calls, list):
        raise BadRowError(f"{whose} tool_calls are {kind_of(calls)}, not a list")
    return [_with_object_arguments(call) for call in _objects(calls, "tool_calls", "a call")]


def _with_object_arguments(call: Message) -> Message:
    """Return the call with its arguments as an object: templates write JSON text a second time in quotes."""
    if isinstance(call.get("function"), dict):
        return call | {"function": _with_object_arguments(call["function"])}
    arguments = parsed(call.get("arguments"))
    return call | {"arguments": _plain(arguments)} if isinstance(arguments, dict) else call


def _function_calls(value: Any, what: str) -> list[Message]:
    calls = parsed(value)
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise BadRowError(f"{what} is no JSON object with a name and arguments")
    return [{"type": "function", "function": call} for call in calls]


def _objects(values: list[Any], where: str, what: str) -> list[Message]:
    objects = [_plain(parsed(value)) for value in values]
    for value in objects:
        if not isinstance(value, dict):
            raise BadRowError(f"{where} holds {kind_of(value)} where {what} is expected, an object")
    return objects


def _plain(value: Any, room: int = _DEEPEST) -> Any:
    """Return a value as JSON can hold it, without the keys whose value is missing: Parquet adds those."""
    if room < 0:
        raise BadRowError(f"a message or tool holds more than {_DEEPEST} levels of lists and objects")
    if isinstance(value, dict):
        return {str(key): _plain(item, room - 1) for key, item in value.items() if not is_missing(item)}
    if isinstance(value, list):
        return [_plain(item, room - 1) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)
