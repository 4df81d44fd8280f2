"""The training unit: a comparison with all its annotations, tokenized once, batched in a seeded order."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from repo.errors import UserError
from repo.policy.tokenization import EncodedComparisons, encode_comparisons

Integers = npt.NDArray[np.int64]

SIMILAR = 0.95
"""What is padded together has at least this share of the longest one's length."""


@dataclass(frozen=True)
class TokenCounts:
    """What tokenization did to the annotations of one annotator."""

    annotations: int
    truncated: int
    dropped: int


@dataclass(frozen=True)
class PreferenceData:
    """Tokenized comparisons and the annotations on them, sorted by comparison.

    Attributes:
        encoded: tokens, one entry a comparison.
        table: the annotations kept, one row each, in the order of the arrays below.
        comparison: index into `encoded`, ascending, shape [N].
        annotator: index into `annotators`, shape [N].
        annotators: annotator ids.
        prefers_a: the vote, bool, shape [N].
        weight: ½ for half of a split tie, else 1, shape [N].
        counts: annotator id → what was truncated and dropped.
    """

    encoded: EncodedComparisons
    table: pd.DataFrame
    comparison: Integers
    annotator: Integers
    annotators: list[str]
    prefers_a: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]
    counts: dict[str, TokenCounts]

    def annotations_of(self, comparisons: Integers) -> tuple[Integers, Integers]:
        """Return (annotation rows, position of each row's comparison within `comparisons`)."""
        starts = np.searchsorted(self.comparison, comparisons)  # [c]
        sizes = np.searchsorted(self.comparison, comparisons, side="right") - starts  # [c]
        position = np.repeat(np.arange(len(comparisons)), sizes)  # [n]
        rows = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts, sizes)  # [n]
        return rows, position


def tokenize_annotations(
    annotations: pd.DataFrame, tokenizer: Any, max_length: int, max_prompt_length: int
) -> PreferenceData:
    """Tokenize the comparisons of a canonical annotation table (no ties left in it).

    Raises:
        UserError: no comparison is left whose responses differ within the lengths allowed.
    """
    firsts = annotations.drop_duplicates("comparison_id").reset_index(drop=True)
    encoded = encode_comparisons(firsts, tokenizer, max_length, max_prompt_length)
    if not encoded.usable.any():
        raise UserError(
            "no comparison is left whose responses still differ after truncation",
            f"raise policy.max_length (now {max_length} tokens)",
        )
    comparison = pd.factorize(annotations["comparison_id"])[0]  # [annotations]; numbered as in `firsts`
    order = np.argsort(comparison, kind="stable")  # [annotations]
    order = order[encoded.usable[comparison[order]]]  # [N]
    table = annotations.iloc[order].reset_index(drop=True)
    annotator, annotators = pd.factorize(table["annotator_id"], sort=True)  # [N], [A]
    return PreferenceData(
        encoded=encoded[encoded.usable],
        table=table,
        comparison=(np.cumsum(encoded.usable) - 1)[comparison[order]],
        annotator=annotator.astype(np.int64),
        annotators=[str(a) for a in annotators],
        prefers_a=(table["preference"] == "a").to_numpy(dtype=bool),
        weight=table["weight"].to_numpy(dtype=np.float64),
        counts=_count(annotations, comparison, encoded),
    )


def _count(annotations: pd.DataFrame, comparison: Integers, encoded: EncodedComparisons) -> dict[str, TokenCounts]:
    table = pd.DataFrame(
        {
            "annotator_id": annotations["annotator_id"].array,
            "truncated": (encoded.truncated & encoded.usable)[comparison],
            "dropped": ~encoded.usable[comparison],
        }
    )
    grouped = table.groupby("annotator_id", sort=True).agg(["size", "sum"])
    return {
        str(name): TokenCounts(int(row[0]), int(row[1]), int(row[3]))
        for name, row in zip(grouped.index, grouped.to_numpy(), strict=True)
    }


def epoch_batches(comparisons: int, batch_size: int, seed: int, epoch: int) -> Iterator[Integers]:
    """Yield comparison indices batch by batch, in an order that only (seed, epoch) decide."""
    order = np.random.default_rng([seed, epoch]).permutation(comparisons)  # [C]
    for start in range(0, comparisons, batch_size):
        yield order[start : start + batch_size]


def similar_lengths(lengths: Integers) -> list[Integers]:
    """Group what differs in length, shape [n], so that padding each group to its longest adds a twentieth at most.

    Returns:
        Indices, the longest first; each exactly once.
    """
    order = np.argsort(-lengths, kind="stable")  # [n]
    starts: list[int] = []
    for place, one in enumerate(order):
        if not starts or lengths[one] < SIMILAR * lengths[order[starts[-1]]]:
            starts.append(place)
    return np.split(order, starts[1:]) if starts else []


@dataclass(frozen=True)
class TokenBatch:
    """B conversations (a prompt and one of its responses), padded on the left.

    Attributes:
        input_ids, attention_mask, position_ids: shape [B, T].
        response_length: response tokens at each sequence's end, shape [B].
        span: last columns whose logits are needed: the longest response and the token before it, R + 1.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    response_length: Tensor
    span: int

    def to(self, device: torch.device) -> "TokenBatch":
        """Move to a device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            position_ids=self.position_ids.to(device),
            response_length=self.response_length.to(device),
        )


def collate(encoded: EncodedComparisons, pad: int) -> tuple[list[TokenBatch], Integers]:
    """Lay c comparisons out as 2c conversations, in batches of similar lengths.

    Padding stands on the left: every response ends in the last column, and only the last columns need logits.

    Returns:
        The batches, and the conversations in them, one after another: 0 … c − 1 with the responses a, c … 2c − 1 with
        the responses b, shape [2c].
    """
    prompts, first, second = encoded.lengths.T.astype(np.int64)  # [c] each
    groups = similar_lengths(np.concatenate([prompts + first, prompts + second]))
    return [_padded(encoded, group, pad) for group in groups], np.concatenate(groups)


def _padded(encoded: EncodedComparisons, conversations: Integers, pad: int) -> TokenBatch:
    prompts, responses = [], []
    for number in conversations:
        second, comparison = divmod(int(number), len(encoded))
        one = encoded[comparison]
        prompts.append(one.prompt)
        responses.append(one.response_b if second else one.response_a)
    lengths = np.array([len(response) for response in responses])  # [B]
    width = max(len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True))
    input_ids = np.full((len(conversations), width), pad, dtype=np.int64)  # [B, T]
    mask = np.zeros((len(conversations), width), dtype=np.int64)  # [B, T]
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        begin = width - len(prompt) - len(response)
        input_ids[row, begin:] = np.concatenate([prompt, response])
        mask[row, begin:] = 1
    positions = np.maximum(mask.cumsum(axis=1) - 1, 0)  # [B, T]
    tensors = [torch.from_numpy(x) for x in (input_ids, mask, positions, lengths)]  # three [B, T], one [B]
    return TokenBatch(tensors[0], tensors[1], tensors[2], tensors[3], span=int(lengths.max()) + 1)
