"""How comparisons are scored under a policy: packed where that gives what its own forward gives, else padded."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from repo.policy.head import Head, below_adapters, computed_in
from repo.policy.logprobs import ResponseLogps, comparison_logps, packed_logps
from repo.policy.packing import CannotPackError, pack, packed_attention
from repo.policy.tokenization import EncodedComparisons
from repo.settings import PolicySettings

if TYPE_CHECKING:
    from repo.policy.loading import Policy

Integers = npt.NDArray[np.int64]

CHECKED = 6
"""Comparisons that are scored both ways before packing is relied on, the longest and the shortest among them."""

TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 0.1}
"""Largest difference of a response's log-probability, as a multiple of √(its tokens): rounding adds up like that."""


@dataclass(frozen=True)
class Scorer:
    """Scores comparisons under one policy.

    Attributes:
        policy: the policy, on `device`.
        device: where it computes.
        tokens: most tokens of one pass; a comparison of more tokens goes alone.
        unpacked: why conversations are padded and repeat their prompt; "" where they are packed.
        difference: largest difference between packed and plain log-probabilities seen by `make_scorer`; NaN: none was
            seen.
    """

    policy: "Policy"
    device: torch.device
    tokens: int
    unpacked: str = ""
    difference: float = float("nan")

    def __call__(self, encoded: EncodedComparisons) -> ResponseLogps:
        """Return the log-probabilities of one pass's comparisons, with autograd; call it within `attention()`."""
        if self.unpacked:
            return comparison_logps(self.policy.model, encoded, self.policy.pad, self.device)
        return packed_logps(self.policy.model, pack(encoded).to(self.device))

    def attention(self) -> AbstractContextManager[None]:
        """Let the model attend as the passes, forward and backward, need it."""
        return nullcontext() if self.unpacked else packed_attention(self.policy.model)

    def passes(self, encoded: EncodedComparisons) -> list[Integers]:
        """Split comparisons into passes of similar lengths and at most so many tokens: indices, each exactly once."""
        lengths = encoded.lengths.astype(np.int64)  # [c, 3]
        width = lengths[:, 0] + lengths[:, 1:].max(axis=1)  # [c]
        order = np.argsort(width, kind="stable")  # [c]
        prompts = 2 if self.unpacked else 1
        sizes = lengths[order] @ (prompts, 1, 1)  # [c]
        passes, start, tokens = [], 0, 0
        for end in range(len(order)):
            tokens += sizes[end]
            if tokens > self.tokens and end > start:
                passes.append(order[start:end])
                start, tokens = end, sizes[end]
        return [*passes, order[start:]] if len(order) else []

    def without_kernel(self) -> str:
        """Return why Liger's kernel does not compute the head under the present autocast; "" where it does."""
        if self.unpacked:
            return "conversations are padded"
        head = Head.of(below_adapters(self.policy.model))
        return head.without_kernel(self.device, computed_in(self.device, torch.float32))

    @torch.no_grad()
    def score_all(self, encoded: EncodedComparisons) -> ResponseLogps:
        """Return the log-probabilities of all comparisons without gradients, on the CPU, in their given order."""
        a, b = torch.zeros(len(encoded)), torch.zeros(len(encoded))  # [C] each
        with self.attention():
            for chosen in self.passes(encoded):
                logps = self(encoded[chosen])
                a[chosen], b[chosen] = logps.a.cpu(), logps.b.cpu()
        return ResponseLogps(a, b)


def tokens_per_pass(settings: PolicySettings) -> int:
    """Return policy.tokens_per_pass as a number."""
    if settings.tokens_per_pass != "auto":
        return settings.tokens_per_pass
    return 16_384 if torch.cuda.is_available() else 4_096


def make_scorer(policy: "Policy", encoded: EncodedComparisons, device: torch.device, tokens: int) -> Scorer:
    """Return a scorer that packs, if packed log-probabilities are those of the model's own forward, one by one.

    Recurrent layers, positions or attention of a model's own make them differ: then the scorer pads, and says why.
    Call it under the autocast that scoring will run under.
    """
    scorer = Scorer(policy, device, tokens)
    if not len(encoded):
        return scorer
    sample = encoded[evenly_by_length(encoded)]
    exact = replace(scorer, tokens=1, unpacked="one by one").score_all(sample)
    try:
        packed = scorer.score_all(sample)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a model that does not take what packing hands it may say so in any way
        said = str(error) if isinstance(error, CannotPackError) else f"{type(error).__name__}: {error}"
        return replace(scorer, unpacked=said or type(error).__name__)
    difference = torch.stack([packed.a - exact.a, packed.b - exact.b], dim=1).abs()  # [c, 2]
    # Held-out comparisons may have a response without a token: its log-probability is 0 either way.
    per_root = (difference / torch.tensor(sample.lengths[:, 1:]).clamp(min=1).sqrt()).max()
    dtype = computed_in(device, torch.float32)
    largest = float(difference.max())
    if not bool(per_root <= TOLERANCE[dtype]):
        return replace(scorer, unpacked=f"packed log-probabilities differ by {largest:.2g}", difference=largest)
    return replace(scorer, difference=largest)


def evenly_by_length(encoded: EncodedComparisons) -> Integers:
    """Return the numbers of a few comparisons evenly spaced by length, the shortest and the longest included."""
    order: Integers = np.argsort(encoded.lengths.sum(axis=1), kind="stable")  # [C]
    spaced: Integers = np.unique(np.linspace(0, len(order) - 1, CHECKED).round().astype(int))
    return np.asarray(order[spaced])
