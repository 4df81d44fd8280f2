"""Packed batches: each comparison once as prompt ‖ response a ‖ response b, one after another, and nothing padded.

Everything that works token by token (embeddings, norms, projections, the feed-forward part) then computes each prompt
once and no padding. Attention alone must know who sees whom: it lays the packed tokens out as the 2c conversations
that they are, padded at the right, where plain causal attention needs no mask (see `branch_attention`). The idea of a
shared prompt is prefix sharing (Wang & Hegde 2024, arXiv 2410.20305).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from repo.policy.batches import similar_lengths
from repo.policy.tokenization import EncodedComparisons

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Integers = npt.NDArray[np.int64]
Block = tuple[int, int, int]

ATTENTION = "repo_branches"
"""Name under which `branch_attention` is registered with transformers."""

MOSTLY_PROMPT = 2.5
"""In a conversation with b that is so many times as long as b, b alone asks: the prompt's answers are read off a's.

Then a mask says who sees whom, and what it hides is computed all the same: for longer responses that costs more.
"""


class CannotPackError(Exception):
    """A model attends in a way that packed batches do not know."""


@dataclass(frozen=True)
class _OnDevice:
    """Tensors that move together."""

    def to(self, device: torch.device) -> Any:
        """Move every tensor to a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**{name: v.to(device) if hasattr(v, "to") else v for name, v in values.items()})


@dataclass(frozen=True)
class Branches(_OnDevice):
    """How N packed tokens lie as 2c conversations: blocks of similar lengths, padded to the longest of their block.

    Attributes:
        sources: packed place of each of the S tokens of the blocks, one after another (0 for padding), shape [S].
        places: place in `sources` of each packed token, a prompt's in the conversation with a, shape [N].
        prompt: packed places of all prompts' tokens, shape [P].
        prompt_again: places in `sources` of the same tokens in the conversations with b, shape [P].
        blocks: (conversations B, width T, prompt P) of each block; the first P tokens of its conversations do not ask.
            ΣB · T = S.
    """

    sources: Tensor
    places: Tensor
    prompt: Tensor
    prompt_again: Tensor
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class PackedBatch(_OnDevice):
    """c comparisons as N packed tokens with R response tokens among them.

    Attributes:
        input_ids, position_ids: shape [1, N]; the positions of either response go on from its prompt's.
        branches: who attends to whom.
        predictors: packed place of the token that predicts each response token, shape [R].
        targets: the response tokens, shape [R].
        response: whose they are, 0 … c − 1 for the responses a, c … 2c − 1 for the responses b, shape [R].
    """

    input_ids: Tensor
    position_ids: Tensor
    branches: Branches
    predictors: Tensor
    targets: Tensor
    response: Tensor

    @property
    def comparisons(self) -> int:
        """c."""
        return sum(conversations for conversations, _, _ in self.branches.blocks) // 2


def pack(encoded: EncodedComparisons) -> PackedBatch:
    """Pack comparisons one after another."""
    lengths = encoded.lengths.astype(np.int64)  # [c, 3]
    sizes = lengths.sum(axis=1)  # [c]
    starts = np.cumsum(sizes) - sizes  # [c]; of each comparison among the packed tokens
    prompts, first, second = lengths.T  # [c] each
    within = _ranges(sizes)  # [N]; place within the comparison
    comparison = np.repeat(np.arange(len(encoded)), sizes)  # [N]
    after_prompt = within - prompts[comparison]  # [N]; negative for prompts
    in_second = after_prompt >= first[comparison]  # [N]
    positions = np.where(in_second, within - first[comparison], within)  # [N]
    conversation = comparison + np.where(in_second, len(encoded), 0)  # [N]
    mostly_prompt = (second > 0) & (prompts + second > MOSTLY_PROMPT * second)  # [c]
    silent = np.where(mostly_prompt, prompts, 0)  # [c]; tokens that do not ask again beside b
    blocks, rows = _blocks(np.concatenate([prompts + first, prompts + second]), np.pad(silent, (len(silent), 0)))
    places = rows[conversation] + positions  # [N]
    prompt = np.flatnonzero(after_prompt < 0)  # [P]
    prompt_again = rows[comparison[prompt] + len(encoded)] + positions[prompt]  # [P]
    sources = np.zeros(sum(size * width for size, width, _ in blocks), np.int64)  # [S]
    sources[places] = np.arange(len(places))
    sources[prompt_again] = prompt
    responses = np.flatnonzero(after_prompt >= 0)  # [R]
    before = responses - 1  # [R]
    opening = positions[responses] == prompts[comparison[responses]]  # [R]; predicted from the prompt's last token
    before[opening] = (starts + prompts - 1)[comparison[responses[opening]]]
    tokens = encoded.tokens[np.repeat(encoded.starts, sizes) + within].astype(np.int64)  # [N]
    branches = Branches(
        sources=torch.from_numpy(sources),
        places=torch.from_numpy(places),
        prompt=torch.from_numpy(prompt),
        prompt_again=torch.from_numpy(prompt_again),
        blocks=blocks,
    )
    return PackedBatch(
        input_ids=torch.from_numpy(tokens)[None],
        position_ids=torch.from_numpy(positions)[None],
        branches=branches,
        predictors=torch.from_numpy(before),
        targets=torch.from_numpy(tokens[responses]),
        response=torch.from_numpy(conversation[responses]),
    )


def _blocks(lengths: Integers, silent: Integers) -> tuple[tuple[Block, ...], Integers]:
    """Return blocks of conversations of similar lengths, and where each conversation begins, shape [2c].

    Args:
        lengths: of the conversations, shape [2c].
        silent: how many of a conversation's first tokens do not ask, shape [2c]; if any, it has a block of its own.
    """
    asking = np.flatnonzero(silent == 0)
    groups = [asking[group] for group in similar_lengths(lengths[asking])]
    groups += [np.array([conversation]) for conversation in np.flatnonzero(silent)]
    blocks = tuple((len(group), int(lengths[group[0]]), int(silent[group[0]])) for group in groups)
    sizes = np.concatenate([np.full(size, width) for size, width, _ in blocks])  # [2c]; in the order of the groups
    rows = np.zeros(len(lengths), np.int64)  # [2c]
    rows[np.concatenate(groups)] = np.cumsum(sizes) - sizes
    return blocks, rows


def _ranges(sizes: Integers) -> Integers:
    """Return 0 … size − 1 for each size, one after another."""
    starts: Integers = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) - np.repeat(starts, sizes)


class _Spread(torch.autograd.Function):
    """Packed tokens → blocks of conversations. No place is written twice: the same to the bit on every device."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, branches: Branches) -> Tensor:
        """Return shape [S, …] of shape [N, …]."""
        ctx.branches = branches
        return packed.index_select(0, branches.sources)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """A prompt's tokens stand in two conversations, all others in one; padding is nobody's."""
        branches: Branches = ctx.branches
        packed = gradient.index_select(0, branches.places)  # [N, …]
        packed.index_add_(0, branches.prompt, gradient.index_select(0, branches.prompt_again))
        return packed, None


class _Gather(torch.autograd.Function):
    """Blocks of conversations → packed tokens; a prompt's are read off the conversation with a."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, branches: Branches) -> Tensor:
        """Return shape [N, …] of shape [S, …]."""
        ctx.branches = branches
        return padded.index_select(0, branches.places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Nothing flows to padding, nor to the prompts beside b."""
        padded = gradient.new_zeros(len(ctx.branches.sources), *gradient.shape[1:])  # [S, …]
        padded.index_copy_(0, ctx.branches.places, gradient)
        return padded, None


def branch_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    branches: Branches | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend within each conversation of a packed batch; transformers calls this in every layer.

    Args:
        module: the layer's attention.
        query, key, value: shapes [1, H, N, D], [1, K, N, D] and [1, K, N, D'], H a multiple of K.
        attention_mask: None.
        branches: the batch's layout, as the model's forward was given it.
        scaling: factor of the scores; None: 1/√D.
        sliding_window: how many tokens back (itself included) a token sees; None: all.

    Returns:
        The attended values, shape [1, N, H, D'], and no weights.

    Raises:
        CannotPackError: the layer asks for something else: biases, caps, sinks.
    """
    asked = [name for name, given in others.items() if name in _UNKNOWN and given is not None]
    if branches is None or attention_mask is not None or asked:
        raise CannotPackError(f"its attention takes {', '.join(asked) or 'a mask of its own'}")
    spread = [_Spread.apply(x[0].transpose(0, 1), branches) for x in (query, key, value)]  # [S, H or K, D] each
    areas = [conversations * width for conversations, width, _ in branches.blocks]
    attended = [
        _attend(q, k, v, block, scaling, sliding_window)
        for q, k, v, block in zip(*(x.split(areas) for x in spread), branches.blocks, strict=True)
    ]
    return _Gather.apply(torch.cat(attended), branches)[None], None


_UNKNOWN = ("softcap", "s_aux", "position_bias", "head_mask")


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    block: Block,
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    """Return causal attention within a block's conversations, shape [B · T, H, D']; 0 where a token does not ask.

    Args:
        query, key, value: shapes [B · T, H, D], [B · T, K, D] and [B · T, K, D'].
        block: B, T and P.
        scaling, sliding_window: see `branch_attention`.
    """
    size, width, prompt = block
    query, key, value = (x.view(size, width, *x.shape[1:]).transpose(1, 2) for x in (query, key, value))
    groups = query.shape[1] // key.shape[1]  # of [B, H or K, T, D]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    mask = None
    if prompt or (sliding_window is not None and sliding_window < width):
        mask = _seen(width, prompt, sliding_window or width, query.device)  # [T − P, T]
    asked = query[:, :, prompt:]  # [B, H, T − P, D]
    attended = scaled_dot_product_attention(asked, key, value, mask, is_causal=mask is None, scale=scaling)
    attended = attended.transpose(1, 2)  # [B, T − P, H, D']
    return (pad(attended, (0, 0, 0, 0, prompt, 0)) if prompt else attended).flatten(0, 1)


def _seen(width: int, prompt: int, window: int, device: torch.device) -> Tensor:
    """Return which of T tokens (columns) each of those behind the prompt sees (rows), bool, shape [T − P, T]."""
    before = torch.ones(width - prompt, width, dtype=torch.bool, device=device).tril_(prompt)
    return before if window >= width else before.triu_(prompt - window + 1)


@contextmanager
def packed_attention(model: "PreTrainedModel") -> Iterator[None]:
    """Let the model attend by `branch_attention`, forward and backward, until the block ends."""
    from transformers import AttentionInterface

    # Into how many blocks it splits differs from pass to pass: compiled layers call it as it is.
    AttentionInterface.register(ATTENTION, torch.compiler.disable(branch_attention))
    configs = [model.config, *(part.config for part in model.modules() if hasattr(part, "config"))]
    unique = {id(config): config for config in configs}.values()
    before = [config._attn_implementation for config in unique]
    try:
        for config in unique:
            config._attn_implementation = ATTENTION
        yield
    finally:
        for config, name in zip(unique, before, strict=True):
            config._attn_implementation = name
