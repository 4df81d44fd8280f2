"""Log-probabilities of responses under a policy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from repo.policy.batches import TokenBatch, collate
from repo.policy.head import Head, below_adapters
from repo.policy.losses import PairLogps
from repo.policy.packing import PackedBatch
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
    targets = batch.input_ids[:, batch.input_ids.shape[1] - span + 1 :]  # [B, R]; R may be 0
    column = torch.arange(span - 1, device=targets.device)  # [R]
    in_response = column >= span - 1 - batch.response_length[:, None]  # [B, R]
    chosen = logits.gather(-1, targets[..., None]).squeeze(-1).float()  # [B, R]
    token_logps = chosen - torch.logsumexp(logits.float(), dim=-1)  # [B, R]
    return torch.where(in_response, token_logps, 0.0).sum(dim=-1)


def comparison_logps(model: "Module", encoded: EncodedComparisons, pad: int, device: torch.device) -> ResponseLogps:
    """Return comparisons' summed log-probabilities by the model's own forward, conversations padded with `pad`."""
    batches, conversations = collate(encoded, pad)
    logps = torch.cat([response_logps(model, batch.to(device)) for batch in batches])  # [2c]
    a, b = logps[torch.from_numpy(np.argsort(conversations)).to(device)].chunk(2)  # [c] each
    return ResponseLogps(a, b)


def packed_logps(model: "Module", batch: PackedBatch) -> ResponseLogps:
    """Return the summed log-probabilities of a packed batch's comparisons; call it within `packed_attention`.

    Raises:
        CannotPackError: the model has no plain output layer, or attends in a way of its own.
    """
    causal_lm = below_adapters(model)
    head = Head.of(causal_lm)
    hidden = causal_lm.get_decoder()(
        input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, branches=batch.branches
    ).last_hidden_state[0]  # [N, D]
    token_logps = head.token_logps(hidden[batch.predictors], batch.targets)  # [R]
    # Thousands of terms: added up in float32 their rounding would be larger than that of everything before.
    zeros = token_logps.new_zeros(2 * batch.comparisons, dtype=torch.float64)  # [2c]
    a, b = zeros.index_add(0, batch.response, token_logps.double()).float().chunk(2)  # [c] each
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
