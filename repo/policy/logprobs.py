"""Log-probabilities of responses under a policy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from repo.policy.batches import TokenBatch, collate
from repo.policy.losses import PairLogps
from repo.policy.tokenization import EncodedComparisons

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class ResponseLogps:
    """Summed log-probabilities of both responses of c comparisons, shape [c] each, float32."""

    a: Tensor
    b: Tensor


def response_logps(model: "Module", batch: TokenBatch) -> Tensor:
    """Return log π(response | prompt) summed over each sequence's response tokens, shape [B], float32.

    Only the last columns get logits (`logits_to_keep`): sequences are padded on the left, so all responses end there.
    """
    span = batch.span
    logits = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
        logits_to_keep=span,
    ).logits[:, :-1]  # [B, R, V]
    targets = batch.input_ids[:, 1 - span :]  # [B, R]
    column = torch.arange(span - 1, device=targets.device)  # [R]
    in_response = column >= span - 1 - batch.response_length[:, None]  # [B, R]
    chosen = logits.gather(-1, targets[..., None]).squeeze(-1).float()  # [B, R]
    token_logps = chosen - torch.logsumexp(logits.float(), dim=-1)  # [B, R]
    return torch.where(in_response, token_logps, 0.0).sum(dim=-1)


def comparison_logps(model: "Module", batch: TokenBatch) -> ResponseLogps:
    """Return the summed log-probabilities of a batch's comparisons."""
    a, b = response_logps(model, batch).chunk(2)  # [c] each
    return ResponseLogps(a, b)


@torch.no_grad()
def score_comparisons(
    model: "Module", encoded: EncodedComparisons, pad: int, batch_size: int, device: torch.device
) -> ResponseLogps:
    """Return the log-probabilities of all comparisons without gradients, on the CPU, in their given order."""
    # Similar lengths together: padding is computed but never read.
    order = np.argsort(encoded.lengths[:, :2].sum(axis=1), kind="stable")  # [C]
    a, b = torch.zeros(len(encoded)), torch.zeros(len(encoded))  # [C] each
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        logps = comparison_logps(model, collate(encoded[chosen], pad).to(device))
        a[chosen], b[chosen] = logps.a.cpu(), logps.b.cpu()
    return ResponseLogps(a, b)


def pair_logps(policy: ResponseLogps, reference: ResponseLogps | None, encoded: EncodedComparisons) -> PairLogps:
    """Join a policy's log-probabilities with the reference's (zeros where the loss needs none) and the lengths."""
    zeros = torch.zeros_like(policy.a)  # [c]
    lengths = torch.tensor(encoded.lengths[:, 1:]).to(policy.a)  # [c, 2]
    return PairLogps(
        policy.a,
        policy.b,
        zeros if reference is None else reference.a.to(policy.a),
        zeros if reference is None else reference.b.to(policy.a),
        lengths[:, 0],
        lengths[:, 1],
    )
