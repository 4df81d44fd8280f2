"""Dialogues written as one text, as HH-RLHF and Nectar publish them: '\\n\\nHuman: …\\n\\nAssistant: …'."""

import re
from typing import Any

from repo.annotations.reading.messages import Message

_MARKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def is_dialogue(text: Any) -> bool:
    """Tell whether a text begins as a person's turn and holds an assistant's."""
    return isinstance(text, str) and text.lstrip().startswith("Human:") and "\n\nAssistant:" in text


def is_open_dialogue(text: Any) -> bool:
    """Tell whether a dialogue ends where the assistant is to reply."""
    return is_dialogue(text) and text.rstrip().endswith("\n\nAssistant:")


def dialogue_turns(text: str) -> list[Message]:
    """Return a dialogue's turns as messages, their texts without the white space around them."""
    _, *parts = _MARKER.split("\n\n" + text.strip())
    return [
        {"role": _ROLES[speaker], "content": said.strip()}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]
