"""From texts to tokens: one prompt and two responses a comparison, with the boundary where their tokens part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jinja2 import TemplateError

from repo.annotations.schema import Text, decode_text
from repo.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EncodedComparison:
    """Tokens of one comparison; a response's first token is predicted from the prompt's last.

    Attributes:
        prompt: at least one token.
        response_a, response_b: at least one token each, the end-of-text token included where nothing was cut.
        truncated: whether anything was cut to fit the lengths allowed.
    """

    prompt: Tokens
    response_a: Tokens
    response_b: Tokens
    truncated: bool

    @property
    def usable(self) -> bool:
        """Whether neither response is empty and they still differ, after truncation."""
        both = min(len(self.response_a), len(self.response_b)) > 0
        return both and not np.array_equal(self.response_a, self.response_b)


def encode_comparisons(
    comparisons: pd.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int, max_prompt_length: int
) -> list[EncodedComparison]:
    """Encode every row's prompt, response_a and response_b.

    The boundary is the longest common prefix of the tokenized prompt and of both tokenized conversations, so that
    tokens that merge across it count as response. Plain texts become a user's and an assistant's message when the
    tokenizer has a chat template. Long prompts keep their end, long responses their beginning.

    Args:
        comparisons: canonical columns prompt, response_a, response_b, messages; one row a comparison.
        tokenizer: any Hugging Face tokenizer.
        max_length: most tokens of prompt and response together.
        max_prompt_length: most tokens of the prompt.

    Raises:
        UserError: the texts are messages and the tokenizer has no chat template, or its template refuses one of them.
    """
    if bool(comparisons["messages"].any()) and not tokenizer.chat_template:
        raise UserError(
            "the annotations hold chat messages, but the policy's tokenizer has no chat template",
            "use a policy with a chat template (an instruct model, or 'tiny'), or annotations of plain texts",
        )
    texts = [_conversations(row, tokenizer) for row in comparisons.itertuples(index=False)]
    if not texts:
        return []
    prompts, with_a, with_b = (_tokenize(part, tokenizer) for part in zip(*texts, strict=True))
    return [
        _encode(prompt, a, b, tokenizer, max_length, max_prompt_length)
        for prompt, a, b in zip(prompts, with_a, with_b, strict=True)
    ]


def common_prefix(*sequences: Sequence[int]) -> int:
    """Return how many leading tokens all sequences share."""
    shortest = min(map(len, sequences))
    return next(
        (i for i in range(shortest) if any(s[i] != sequences[0][i] for s in sequences[1:])),
        shortest,
    )


def _conversations(row: Any, tokenizer: "PreTrainedTokenizerBase") -> tuple[str, str, str]:
    """Return (prompt, prompt with response a, prompt with response b) as the policy is to read them."""
    prompt = decode_text(row.prompt, row.messages)
    responses = [decode_text(text, row.messages) for text in (row.response_a, row.response_b)]
    if not tokenizer.chat_template:
        return str(prompt), f"{prompt}{responses[0]}", f"{prompt}{responses[1]}"
    turns = _messages(prompt, "user")
    conversations = [turns + _messages(response, "assistant") for response in responses]
    try:
        rendered = [str(tokenizer.apply_chat_template(c, tokenize=False)) for c in conversations]
        opening = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        raise _refused(row, conversations[0], error) from None
    return opening, rendered[0], rendered[1]


def _refused(row: Any, conversation: list[dict[str, str]], error: TemplateError) -> UserError:
    """Say which annotation the chat template does not take; templates refuse with words of their own."""
    place = f"{row.file}, line {row.line}: " if hasattr(row, "file") else ""
    roles = [message.get("role", "") for message in conversation]
    what = "leave out the system turn, or put its text into the first user turn," if "system" in roles else "change it,"
    return UserError(
        f"{place}the policy's chat template refuses the conversation {', '.join(roles)}: {error}",
        f"{what} in all annotations, or use a policy.base whose template takes such turns",
    )


def _messages(text: Text, role: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}] if isinstance(text, str) else text


def _tokenize(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> list[list[int]]:
    # A chat template writes its own special tokens.
    encoded = tokenizer(list(texts), add_special_tokens=not tokenizer.chat_template, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _encode(
    prompt: list[int],
    with_a: list[int],
    with_b: list[int],
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    max_prompt_length: int,
) -> EncodedComparison:
    full = [_ended(ids, tokenizer.eos_token_id) for ids in (with_a, with_b)]
    boundary = common_prefix(prompt, *full)
    context = full[0][:boundary] or [_context_token(tokenizer)]
    kept = context[-max_prompt_length:]
    room = max_length - len(kept)
    responses = [ids[boundary : boundary + room] for ids in full]
    truncated = len(kept) < len(context) or any(len(ids) - boundary > room for ids in full)
    arrays = [np.asarray(ids, dtype=np.int64) for ids in (kept, *responses)]
    return EncodedComparison(arrays[0], arrays[1], arrays[2], truncated)


def _ended(ids: list[int], end: int | None) -> list[int]:
    """Append the end-of-text token unless the template already wrote it near the end."""
    return ids if end is None or end in ids[-2:] else [*ids, end]


def _context_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return a token to predict the first response token from when the prompt leaves none."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        if token is not None:
            return int(token)
    raise UserError("the policy's tokenizer has neither a begin nor an end token", "use a tokenizer with an eos_token")
