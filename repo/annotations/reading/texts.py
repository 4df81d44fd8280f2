"""Prompts and responses as people publish them → one prompt, and two replies that hold nothing of the prompt."""

from functools import partial
from itertools import zip_longest
from typing import Any

from repo.annotations.reading.dialogues import dialogue_turns, is_dialogue, is_open_dialogue
from repo.annotations.reading.messages import Message, is_message, read_messages, read_tools
from repo.annotations.reading.rows import Row
from repo.annotations.reading.values import BadRowError, is_blank, is_missing, kind_of, parsed, read_all
from repo.annotations.schema import TOOLS, Text

Messages = list[Message]

CONTENT = ("prompt", "conversations", "system", "input", "history", "context", "tools")
"""The columns that make the prompt, whichever are there."""

_INSTRUCTIONS = ("system", TOOLS)
_NO_REPLY = "a response starts with turns that neither reply to the prompt nor repeat it"


def read_pair(row: Row, first: str, second: str) -> tuple[Text, Text, Text]:
    """Return a row's prompt and its two replies, all three as texts or all three as messages.

    The prompt is everything that both sides share before the last reply. `system`, `tools`, `history` and `context`
    come before the prompt, Alpaca's `input` behind it. Without a prompt the two responses are conversations that begin
    with it (TRL's implicit prompt; HH-RLHF's dialogues in one text). Three lists of as many texts, or JSON of them, are
    a conversation's turns: what was asked, and what each side said to it (Arena 55k).

    Args:
        row: holds some columns of CONTENT.
        first, second: the columns of the two responses.

    Raises:
        BadRowError: with all that cannot be understood.
    """
    row = _with_turns(row, first, second)
    prompt, *responses = read_all(
        partial(_read_prompt, row), *(partial(read_text, row.get(name), name) for name in (first, second))
    )
    if "prompt" not in row and _lacks_prompt(prompt):
        return _replies(prompt, *_conversations(responses, first, second))
    if is_open_dialogue(row.get("prompt")):
        responses = [_spoken(text.strip()) if isinstance(text, str) else text for text in responses]
    elif isinstance(prompt, str):
        responses = _dialogues_with(prompt, responses)
    if all(isinstance(text, str) for text in (prompt, *responses)):
        return prompt, responses[0], responses[1]
    return _replies(prompt, *(_as_messages(text, "assistant") for text in responses))


def are_plain(prompt: Any, first: Any, second: Any) -> bool:
    """Tell whether read_pair returns these three as they are, where no other column makes the prompt: most files."""
    if not (type(prompt) is type(first) is type(second) is str):
        return False
    if prompt.lstrip()[:1] == "[" or first.lstrip()[:6] == "Human:":
        return False
    return not is_open_dialogue(prompt)


def read_text(value: Any, column: str) -> Text:
    """Return a text, or messages (a list or a single one) in one form.

    Raises:
        BadRowError: it is missing, or neither.
    """
    if is_missing(value):
        raise BadRowError(f"{column} is missing")
    if isinstance(value, str):
        return value
    if isinstance(value, list) or is_message(value):
        return read_messages(value, column)
    raise BadRowError(f"{column} is {kind_of(value)}, not a text or a list of messages")


def same_reply(given: Any, reply: Text) -> bool:
    """Tell whether a text or messages as a file gives them are this reply, or the conversation that ends in it."""
    if isinstance(reply, str):
        return bool(given == reply)
    try:
        turns = _as_messages(_spoken(read_text(given, "gold")), "assistant")
    except BadRowError:
        return False
    return bool(reply) and _stripped(turns[-len(reply) :]) == _stripped(reply)


def _with_turns(row: Row, first: str, second: str) -> Row:
    """Return the row with conversations for the lists of texts that prompt and responses may be; else as it is."""
    columns = ("prompt", first, second)
    if not all(_begins_as_list(row.get(column)) for column in columns):
        return row
    lists = [texts for column in columns if (texts := _texts(row[column])) is not None]
    if len(lists) < len(columns):
        return row
    if len({len(texts) for texts in lists}) > 1:
        raise BadRowError(f"prompt, {first} and {second} are lists of texts, but not of as many")
    asked, *sides = lists
    opening, *others = ({"role": "user", "content": text} for text in asked)
    talks = [
        [turn for reply, question in zip_longest(said, others) for turn in (_reply(reply), question) if turn]
        for said in sides
    ]
    return row | {"prompt": [opening], first: talks[0], second: talks[1]}


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _begins_as_list(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))


def _texts(value: Any) -> list[str] | None:
    """Return a list of texts, nulls as empty ones; None for anything else."""
    texts = parsed(value)
    if not (isinstance(texts, list) and texts and all(text is None or isinstance(text, str) for text in texts)):
        return None
    return [text or "" for text in texts]


def _read_prompt(row: Row) -> Text:
    """Return what the columns say before the replies; [] or instructions alone where none holds a prompt."""
    readers = {
        "conversations": read_messages,
        "context": read_text,
        "history": _read_history,
        "input": _read_plain,
        "system": _read_plain,
        "tools": read_tools,
    }
    conversations, context, history, more, system, tools = read_all(
        *(partial(_optional, reader, row, column) for column, reader in readers.items())
    )
    sources = (conversations, context, history, more)
    given = row.get("prompt")
    absent = "prompt" not in row or (is_blank(given) and any(source is not None for source in sources))
    prompt: Text | None = None if absent else read_text(given, "prompt")
    if isinstance(prompt, str) and is_open_dialogue(prompt):
        prompt = dialogue_turns(prompt)[:-1]
    prompt = _within(conversations, prompt)
    prompt = _behind(context, prompt, "context")
    prompt = _behind(history, prompt, "history")
    prompt = _extended(prompt, more)
    if system is not None:
        prompt = _with_system(_as_messages(prompt, "user"), {"role": "system", "content": system})
    if tools is not None:
        prompt = [{"role": TOOLS, "content": tools}, *_as_messages(prompt, "user")]
    return [] if prompt is None else prompt


def _optional(reader: Any, row: Row, column: str) -> Any:
    value = row.get(column)
    return None if is_blank(value) else reader(value, column)


def _read_plain(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise BadRowError(f"{column} is {kind_of(value)}, not a text")
    return value


def _read_history(value: Any, column: str) -> Text:
    """Return earlier turns: messages, or pairs of what was asked and answered (LLaMA-Factory)."""
    if not (isinstance(value, list) and all(isinstance(pair, list) for pair in value)):
        return read_text(value, column)
    if not all(len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in value):
        raise BadRowError(f"{column} holds a list that is no pair of two texts, a question and its answer")
    return [
        {"role": role, "content": text}
        for pair in value
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _within(conversations: Messages | None, prompt: Text | None) -> Text | None:
    """Return the conversation that the prompt ends."""
    if conversations is None or prompt is None:
        return prompt if conversations is None else conversations
    if not _ends_in(conversations, _as_messages(prompt, "user")):
        raise BadRowError("conversations do not end in the prompt: one of the two columns is not read")
    return conversations


def _behind(earlier: Text | None, prompt: Text | None, column: str) -> Text | None:
    """Return the prompt with what came before it; what stands in both is not doubled."""
    if earlier is None or prompt is None or earlier == prompt:
        return prompt if earlier is None else earlier
    if not isinstance(earlier, str):
        turns = _as_messages(prompt, "user")
        if _ends_in(earlier, turns):
            return earlier
        return turns if turns[: len(earlier)] == earlier else [*earlier, *turns]
    if column == "history":
        raise BadRowError("history is text beside a prompt, not a list of messages or of pairs")
    return _changed_text(prompt, lambda text: f"{earlier}\n\n{text}")


def _extended(prompt: Text | None, more: str | None) -> Text | None:
    """Return the prompt with Alpaca's input behind it."""
    if more is None or prompt is None:
        return prompt if more is None else more
    return prompt if prompt == more else _changed_text(prompt, lambda text: f"{text}\n{more}")


def _changed_text(prompt: Text, change: Any) -> Text:
    """Change a prompt's text: of messages the last one's, which is what is asked."""
    if isinstance(prompt, str):
        return str(change(prompt))
    if not prompt or "content" not in prompt[-1]:
        raise BadRowError("the prompt ends in no text that context or input could be put to")
    return [*prompt[:-1], prompt[-1] | {"content": change(prompt[-1]["content"])}]


def _with_system(turns: Messages, system: Message) -> Messages:
    """Put a system turn first, unless it is there already."""
    there = next((turn for turn in turns if turn["role"] == "system"), None)
    if there is None:
        tools = [turn for turn in turns[:1] if turn["role"] == TOOLS]
        return [*tools, system, *turns[len(tools) :]]
    if _stripped([there]) != _stripped([system]):
        raise BadRowError("the system text differs from the system turn of the conversation")
    return turns


def _lacks_prompt(prompt: Text) -> bool:
    return not isinstance(prompt, str) and all(turn["role"] in _INSTRUCTIONS for turn in prompt)


def _conversations(responses: list[Text], first: str, second: str) -> list[Messages]:
    """Return the responses of a row without a prompt as the conversations that they have to be."""
    turns = [_spoken(response) for response in responses]
    if any(isinstance(side, str) for side in turns):
        raise BadRowError(
            f"there is no prompt column, and {first} and {second} are no message lists that hold the prompt"
        )
    if not (turns[0] and turns[1]) or turns[0][0] != turns[1][0]:
        raise BadRowError(f"there is no prompt column, and {first} and {second} share no leading turn")
    return [side for side in turns if not isinstance(side, str)]


def _dialogues_with(prompt: str, responses: list[Text]) -> list[Text]:
    """Return the responses as conversations where both are dialogues in one text that hold the prompt as a turn."""
    turns = [_spoken(response) for response in responses]
    asked = {"role": "user", "content": prompt.strip()}
    held = all(isinstance(side, list) and asked in side for side in turns)
    return turns if held and all(isinstance(text, str) for text in responses) else responses


def _replies(prompt: Text, first: Messages, second: Messages) -> tuple[Messages, Messages, Messages]:
    """Move what both sides share before the last reply into the prompt.

    Raises:
        BadRowError: a response holds other turns before the first reply, or stands in the prompt already.
    """
    turns, sides = _as_messages(prompt, "user"), [first, second]
    if first and second and first[0]["role"] == "system" and first[0] == second[0]:
        turns, sides = _with_system(turns, first[0]), [first[1:], second[1:]]
    turns = _with_beginning(turns, sides[0][: _shared(*sides)])
    sides = [_without_repetition(turns, side) for side in sides]
    if any(side and _ends_in(turns, side) for side in sides):
        raise BadRowError("the prompt ends in one of the responses")
    shared = _shared(*sides)
    if shared and _asked(turns) and not (_is_reply(turns[-1]) or _is_reply(sides[0][0])):
        raise BadRowError(_NO_REPLY)
    turns, sides = [*turns, *sides[0][:shared]], [side[shared:] for side in sides]
    if any(side and not _is_reply(side[0]) for side in sides):
        raise BadRowError(_NO_REPLY)
    return turns, sides[0], sides[1]


def _with_beginning(prompt: Messages, opening: Messages) -> Messages:
    """Return the whole conversation where the prompt is only what was asked last in it.

    Args:
        prompt: as the columns give it.
        opening: the turns that both sides share.
    """
    asked = _asked(prompt)
    whole = opening and not _is_reply(opening[0]) and asked and _ends_in(opening, asked)
    return [*prompt[: len(prompt) - len(asked)], *opening] if whole else prompt


def _without_repetition(prompt: Messages, side: Messages) -> Messages:
    """Strip leading turns that repeat the prompt, with or without its instructions.

    UltraFeedback in SimPO's preparation has a prompt string and responses that start with the user's turn.
    """
    for opening in (prompt, _asked(prompt)):
        if _stripped(side[: len(opening)]) == _stripped(opening):
            return side[len(opening) :]
    return side


def _asked(prompt: Messages) -> Messages:
    return [turn for turn in prompt if turn["role"] not in _INSTRUCTIONS]


def _shared(first: Messages, second: Messages) -> int:
    """Return how many leading turns both sides share before the replies that tell them apart."""
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    while shared and not all(side[shared:] and _is_reply(side[shared]) for side in (first, second)):
        shared -= 1
    return shared


def _is_reply(turn: Message) -> bool:
    return turn["role"] not in ("user", "system")


def _spoken(text: Text) -> Text:
    return dialogue_turns(text) if isinstance(text, str) and is_dialogue(text) else text


def _as_messages(text: Text | None, role: str) -> Messages:
    if text is None:
        return []
    return [{"role": role, "content": text}] if isinstance(text, str) else text


def _ends_in(turns: Messages, last: Messages) -> bool:
    return _stripped(turns[-len(last) :]) == _stripped(last)


def _stripped(turns: Messages) -> Messages:
    return [
        turn | {"content": turn["content"].strip()} if isinstance(turn.get("content"), str) else turn for turn in turns
    ]
