"""From canonical texts to the text that the policy is to read, and on to its tokens: people's text stays text."""

import copy
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from repo.annotations.schema import TOOLS, Text, decode_text
from repo.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = list[dict[str, Any]]

_ESCAPE = "\U000f0000"
"""A private-use character: with the one behind it, it stands for a control token's string in somebody's text."""

_ALIASES = 0x100000
"""Where the other private-use characters begin: one that a text does not hold marks what the template wrote."""


class Renderer:
    """Renders conversations with a tokenizer's chat template, or as they stand where it has none."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        self._tokenizer = tokenizer
        self._controls = _Controls.of(tokenizer)
        self._aliased: dict[str, tuple[PreTrainedTokenizerBase, dict[int, int]]] = {}

    def conversations(self, row: Any) -> tuple[str, str, str]:
        """Return (prompt, prompt with response a, prompt with response b) as the policy is to read them.

        Args:
            row: canonical prompt, response_a, response_b, messages, and file and line where they are known.

        Raises:
            UserError: the template refuses the conversation, or leaves out its tools or tool calls.
        """
        prompt, *responses = (
            decode_text(self._controls.hidden(text), row.messages)
            for text in (row.prompt, row.response_a, row.response_b)
        )
        if not self._tokenizer.chat_template:
            first, second = (self._controls.without_end(str(response)) for response in responses)
            return str(prompt), f"{prompt}{first}", f"{prompt}{second}"
        tools, turns = _without_tools(self._turns(prompt, "user"))
        conversations = [turns + self._turns(response, "assistant") for response in responses]
        try:
            first, second = (self._render(conversation, tools) for conversation in conversations)
            opening = self._render(turns, tools, add_generation_prompt=True)
        except (TemplateError, TypeError, ValueError) as error:  # templates stumble over null content with a TypeError
            raise _refused(row, conversations[0], error) from None
        for conversation, rendered in zip(conversations, (first, second), strict=True):
            self._check_whole(row, conversation, tools, rendered)
        return opening, first, second

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts that `conversations` returned."""
        encoded = self._tokenizer(
            list(texts),
            # A chat template writes its own special tokens.
            add_special_tokens=not self._tokenizer.chat_template,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return [
            self._tokens_beside_text(text) if _ESCAPE in text else tokens
            for text, tokens in zip(texts, ids, strict=True)
        ]

    def _turns(self, text: Text, role: str) -> Messages:
        """Return messages, none of the assistant's with the end token that some published texts have at their end."""
        turns = [{"role": role, "content": text}] if isinstance(text, str) else text
        return [
            turn | {"content": self._controls.without_end(turn["content"])}
            if turn.get("role") == "assistant" and "content" in turn
            else turn
            for turn in turns
        ]

    def _render(self, turns: Messages, tools: Messages | None, **options: Any) -> str:
        return str(self._tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, **options))

    def _check_whole(self, row: Any, conversation: Messages, tools: Messages | None, rendered: str) -> None:
        """Refuse a template that renders the same with and without the tools or a message's tool calls."""
        if tools is not None and self._unchanged(rendered, lambda: self._render(conversation, None)):
            raise _left_out(row, "the tools that the prompt offers")
        for place, turn in enumerate(conversation):
            if "tool_calls" in turn:
                silent = {key: value for key, value in turn.items() if key != "tool_calls"}
                turns = [*conversation[:place], silent, *conversation[place + 1 :]]
                if self._unchanged(rendered, lambda turns=turns: self._render(turns, tools)):  # type: ignore[misc]
                    raise _left_out(row, "the tool calls of a message")

    @staticmethod
    def _unchanged(rendered: str, render: Callable[[], str]) -> bool:
        try:
            return render() == rendered
        except (TemplateError, TypeError, ValueError):
            return False

    def _tokens_beside_text(self, rendered: str) -> list[int]:
        """Return tokens where control tokens' strings in somebody's text are as ordinary as the text around them."""
        said = self._controls.shown(rendered)
        start = next(chr(code) for code in range(_ALIASES, sys.maxunicode) if chr(code) not in said)
        tokenizer, meant = self._with_aliases(start)
        encoded = tokenizer(
            self._controls.aliased(rendered, start),
            split_special_tokens=True,
            add_special_tokens=not self._tokenizer.chat_template,
            verbose=False,
        )
        return [meant.get(token, token) for token in encoded["input_ids"]]

    def _with_aliases(self, start: str) -> tuple["PreTrainedTokenizerBase", dict[int, int]]:
        """Return a tokenizer that knows each control token by an alias too, and the alias tokens' meanings.

        No control token is split off from text that is tokenized with split_special_tokens, aliases are; what stands
        between them is tokenized as it always is.
        """
        if start not in self._aliased:
            from tokenizers import AddedToken

            tokenizer, meant = copy.deepcopy(self._tokenizer), {}
            for token, control in self._tokenizer.added_tokens_decoder.items():
                if control.special:
                    alias = self._controls.alias(start, control.content)
                    flags = {"single_word": control.single_word, "lstrip": control.lstrip, "rstrip": control.rstrip}
                    tokenizer.add_tokens([AddedToken(alias, normalized=False, special=False, **flags)])
                    meant[tokenizer.convert_tokens_to_ids(alias)] = token
            self._aliased[start] = tokenizer, meant
        return self._aliased[start]


@dataclass(frozen=True)
class _Controls:
    """A tokenizer's control tokens as they are written, and how they are hidden where they stand in a text.

    Attributes:
        names: the escape character itself, so that texts may hold it, then every control token.
        end: the end token, hidden; "" where there is none.
    """

    names: tuple[str, ...]
    end: str
    named: re.Pattern[str]
    written: re.Pattern[str]

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase") -> "_Controls":
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        controls = sorted(added, key=lambda name: (-len(name), name))  # of two that match the longer one counts
        names = (_ESCAPE, *controls)
        end = tokenizer.eos_token
        return cls(
            names,
            _pair(_ESCAPE, names.index(end)) if end in names else "",
            re.compile("|".join(map(re.escape, names))),
            re.compile("|".join(map(re.escape, controls)) or "(?!)"),
        )

    def hidden(self, text: str) -> str:
        """Return text with a pair of private-use characters for each control token's string."""
        return self.named.sub(lambda match: self.alias(_ESCAPE, match[0]), text)

    def shown(self, text: str) -> str:
        """Undo `hidden`."""
        return re.sub(f"{_ESCAPE}(.)", lambda match: self.names[ord(match[1]) - ord(_ESCAPE)], text, flags=re.DOTALL)

    def without_end(self, text: str) -> str:
        """Return hidden text without end tokens at its end: the end token comes by itself."""
        while self.end and text.rstrip().endswith(self.end):
            text = text.rstrip().removesuffix(self.end)
        return text

    def aliased(self, rendered: str, start: str) -> str:
        """Undo `hidden`, with aliases for the control tokens that the template wrote."""
        return self.shown(self.written.sub(lambda match: self.alias(start, match[0]), rendered))

    def alias(self, start: str, name: str) -> str:
        """Return a pair of private-use characters that begins so and stands for a control token."""
        return _pair(start, self.names.index(name))


def _pair(start: str, number: int) -> str:
    return start + chr(ord(_ESCAPE) + number)


def _without_tools(turns: Messages) -> tuple[Messages | None, Messages]:
    """Take out the first turn that holds the tools, if there is one."""
    if turns and turns[0].get("role") == TOOLS and isinstance(turns[0].get("content"), list):
        return turns[0]["content"], turns[1:]
    return None, turns


def _refused(row: Any, conversation: Messages, error: Exception) -> UserError:
    """Say which annotation the chat template does not take; templates refuse with words of their own."""
    roles = [str(message.get("role", "")) for message in conversation]
    what = "leave out the system turn, or put its text into the first user turn," if "system" in roles else "change it,"
    if any("content" not in message for message in conversation):
        what = "give messages with tool calls a text,"
    return UserError(
        f"{_place(row)}the policy's chat template refuses the conversation {', '.join(roles)}: {error}",
        f"{what} in all annotations, or use a policy.base whose template takes such turns",
    )


def _left_out(row: Any, what: str) -> UserError:
    return UserError(
        f"{_place(row)}the policy's chat template leaves out {what}",
        "use a policy.base whose template renders tools and tool calls, or leave such comparisons out",
    )


def _place(row: Any) -> str:
    return f"{row.file}, line {row.line}: " if hasattr(row, "file") else ""
