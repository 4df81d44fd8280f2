"""From texts to tokens: one prompt and two responses a comparison, with the boundary where their tokens part."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from repo.errors import UserError
from repo.policy.rendering import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = npt.NDArray[np.int32]
Booleans = npt.NDArray[np.bool_]

CHUNK = 1_000
"""Comparisons whose texts and lists of tokens are in memory at once; more do not make the tokenizer faster."""


@dataclass(frozen=True, eq=False)
class EncodedComparison:
    """Tokens of one comparison; a response's first token is predicted from the prompt's last.

    Attributes:
        prompt: at least one token.
        response_a, response_b: the end-of-text token included where nothing was cut.
        truncated: whether anything was cut to fit the lengths allowed.
        usable: whether neither response is empty and they still differ, after truncation.
    """

    prompt: Tokens
    response_a: Tokens
    response_b: Tokens
    truncated: bool
    usable: bool


@dataclass(frozen=True, eq=False)
class EncodedComparisons:
    """Tokens of C comparisons in one array: four bytes a token, whatever their number.

    Attributes:
        tokens: prompt, response_a and response_b of one comparison after another, shape [T].
        starts: where each comparison's prompt begins, shape [C].
        lengths: tokens of prompt, response_a and response_b, shape [C, 3].
        truncated, usable: as in EncodedComparison, shape [C].
    """

    tokens: Tokens
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int32]
    truncated: Booleans
    usable: Booleans

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[EncodedComparison]:
        return map(self._one, range(len(self)))

    @overload
    def __getitem__(self, chosen: int) -> EncodedComparison: ...
    @overload
    def __getitem__(self, chosen: "slice | npt.NDArray[Any]") -> "EncodedComparisons": ...
    def __getitem__(self, chosen: "int | slice | npt.NDArray[Any]") -> "EncodedComparison | EncodedComparisons":
        """Return one comparison, or those that a slice, numbers or booleans choose; the tokens are not copied.

        Raises:
            IndexError: there is no comparison of that number.
        """
        if isinstance(chosen, int | np.integer):
            return self._one(int(chosen))
        return EncodedComparisons(
            self.tokens, self.starts[chosen], self.lengths[chosen], self.truncated[chosen], self.usable[chosen]
        )

    def _one(self, number: int) -> EncodedComparison:
        start = int(self.starts[number])
        prompt, first, second = self.lengths[number].tolist()
        a, b = start + prompt, start + prompt + first
        return EncodedComparison(
            self.tokens[start:a],
            self.tokens[a:b],
            self.tokens[b : b + second],
            bool(self.truncated[number]),
            bool(self.usable[number]),
        )


def encode_comparisons(
    comparisons: pd.DataFrame, tokenizer: "PreTrainedTokenizerBase", max_length: int, max_prompt_length: int
) -> EncodedComparisons:
    """Encode every row's prompt, response_a and response_b.

    The boundary is the longest common prefix of the tokenized prompt and of both tokenized conversations, so that
    tokens that merge across it count as response. Plain texts become a user's and an assistant's message when the
    tokenizer has a chat template. Long prompts keep their end, long responses their beginning. A response ends in one
    end token, also where its text has one at its end; other control tokens' strings in a text stay ordinary text.

    Args:
        comparisons: canonical columns prompt, response_a, response_b, messages, and file and line where they are known;
            one row a comparison.
        tokenizer: any Hugging Face tokenizer.
        max_length: most tokens of prompt and response together.
        max_prompt_length: most tokens of the prompt.

    Raises:
        UserError: the texts are messages and the tokenizer has no chat template, or its template refuses one of them,
            or leaves out tools or tool calls.
    """
    if bool(comparisons["messages"].any()) and not tokenizer.chat_template:
        raise UserError(
            "the annotations hold chat messages, but the policy's tokenizer has no chat template",
            "use a policy with a chat template (an instruct model, or 'tiny'), or annotations of plain texts",
        )
    packed, renderer = _Packed(), Renderer(tokenizer)
    columns = [name for name in _COLUMNS if name in comparisons]
    for start in range(0, len(comparisons), CHUNK):
        rows = comparisons[columns].iloc[start : start + CHUNK].itertuples(index=False)
        texts = zip(*(renderer.conversations(row) for row in rows), strict=True)
        for prompt, a, b in zip(*(renderer.tokenize(part) for part in texts), strict=True):
            packed.add(*_encode(prompt, a, b, tokenizer, max_length, max_prompt_length))
    return packed.encoded()


_COLUMNS = ("prompt", "response_a", "response_b", "messages", "file", "line")


class _Packed:
    """Grows by one comparison at a time; arrays of machine numbers grow in place."""

    def __init__(self) -> None:
        self._tokens, self._lengths = array("i"), array("i")
        self._truncated, self._usable = bytearray(), bytearray()

    def add(self, prompt: list[int], response_a: list[int], response_b: list[int], truncated: bool) -> None:
        for part in (prompt, response_a, response_b):
            self._tokens.fromlist(part)
            self._lengths.append(len(part))
        self._truncated.append(truncated)
        self._usable.append(bool(response_a and response_b and response_a != response_b))

    def encoded(self) -> EncodedComparisons:
        lengths = np.frombuffer(self._lengths, np.int32).reshape(-1, 3)  # [C, 3]
        sizes = lengths.sum(axis=1, dtype=np.int64)  # [C]
        return EncodedComparisons(
            tokens=np.frombuffer(self._tokens, np.int32),
            starts=np.cumsum(sizes) - sizes,
            lengths=lengths,
            truncated=np.frombuffer(self._truncated, np.bool_),
            usable=np.frombuffer(self._usable, np.bool_),
        )


def common_prefix(*sequences: list[int]) -> int:
    """Return how many leading tokens all sequences share."""
    shortest = min(map(len, sequences))
    # Nearly always the whole prompt; lists are compared much faster than their elements one by one.
    if all(s[:shortest] == sequences[0][:shortest] for s in sequences[1:]):
        return shortest
    return next(
        (i for i in range(shortest) if any(s[i] != sequences[0][i] for s in sequences[1:])),
        shortest,
    )


def _encode(
    prompt: list[int],
    with_a: list[int],
    with_b: list[int],
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    max_prompt_length: int,
) -> tuple[list[int], list[int], list[int], bool]:
    """Return the tokens kept of prompt and both responses, and whether anything was cut."""
    full = [_ended(ids, tokenizer.eos_token_id) for ids in (with_a, with_b)]
    boundary = common_prefix(prompt, *full)
    context = full[0][:boundary] or [_context_token(tokenizer)]
    kept = context[-max_prompt_length:]
    room = max_length - len(kept)
    responses = [ids[boundary : boundary + room] for ids in full]
    truncated = len(kept) < len(context) or any(len(ids) - boundary > room for ids in full)
    return kept, responses[0], responses[1], truncated


def _ended(ids: list[int], end: int | None) -> list[int]:
    """Append the end-of-text token unless the template already wrote it near the end."""
    return ids if end is None or end in ids[-2:] else [*ids, end]


def _context_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return a token to predict the first response token from when the prompt leaves none."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        if token is not None:
            return int(token)
    raise UserError("the policy's tokenizer has neither a begin nor an end token", "use a tokenizer with an eos_token")
