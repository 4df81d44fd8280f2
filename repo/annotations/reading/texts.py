"""Prompts and responses as people publish them → one prompt, and two replies that hold nothing of the prompt."""

import math
from typing import Any

from repo.annotations.schema import Text

Messages = list[dict[str, str]]


class BadRowError(ValueError):
    """A row that cannot be understood; its arguments are the reasons."""

    @property
    def reasons(self) -> list[str]:
        """What is wrong, in words."""
        return [str(reason) for reason in self.args]


def read_text(value: Any, column: str) -> Text:
    """Return a text: a string, or messages stripped to their role and content.

    Raises:
        BadRowError: it is missing, or neither.
    """
    if is_missing(value):
        raise BadRowError(f"{column} is missing")
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return [_read_message(message, column) for message in value]
    raise BadRowError(f"{column} is {kind_of(value)}, not a text or a list of messages")


def scalar_text(value: Any) -> str:
    """Return an id or a date as text; '' where it is missing. A whole number loses its '.0'."""
    if is_missing(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text if text.strip() else ""


def is_missing(value: Any) -> bool:
    """Tell whether a value is null or not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def kind_of(value: Any) -> str:
    """Return a value's kind in words."""
    kinds = {str: "text", bool: "true/false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def same_form(prompt: Text, first: Text, second: Text) -> tuple[Text, Text, Text]:
    """Turn all three into messages where one of them is, and strip the leading turns that repeat the prompt.

    UltraFeedback in SimPO's preparation has a prompt string and responses that start with the user's turn.

    Raises:
        BadRowError: a response holds other turns before the first reply.
    """
    if isinstance(prompt, str) and isinstance(first, str) and isinstance(second, str):
        return prompt, first, second
    turns = _as_messages(prompt, "user")
    return turns, _reply(turns, first), _reply(turns, second)


def split_common_prefix(first: Text, second: Text) -> tuple[Text, Text, Text]:
    """Return the prompt that two conversations share, and their different ends (TRL's implicit prompt).

    Raises:
        BadRowError: they are no message lists, or share no turn.
    """
    if isinstance(first, str) or isinstance(second, str):
        raise BadRowError(
            "there is no prompt column, and chosen and rejected are no message lists that hold the prompt"
        )
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    if not shared:
        raise BadRowError("there is no prompt column, and chosen and rejected share no leading turn")
    return same_form(first[:shared], first[shared:], second[shared:])


def _read_message(message: Any, column: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise BadRowError(f"{column} holds {kind_of(message)} where a message with role and content is expected")
    for key in ("role", "content"):
        if not isinstance(message.get(key), str):
            raise BadRowError(f"{column} holds a message whose {key} is missing or no text")
    return {"role": message["role"], "content": message["content"]}


def _as_messages(text: Text, role: str) -> Messages:
    return [{"role": role, "content": text}] if isinstance(text, str) else text


def _reply(prompt: Messages, response: Text) -> Messages:
    turns = _as_messages(response, "assistant")
    if _stripped(turns[: len(prompt)]) == _stripped(prompt):
        turns = turns[len(prompt) :]
    if turns and turns[0]["role"] in ("user", "system"):
        raise BadRowError("a response starts with turns that neither reply to the prompt nor repeat it")
    return turns


def _stripped(turns: Messages) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"].strip()) for turn in turns]
