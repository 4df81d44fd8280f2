"""RE-PO's E-step and its M-step for the annotators, as in the paper (Cao et al., ICLR 2026, arXiv 2509.24159).

Tensors in, tensors out: nothing here knows a model, a file or a log.
"""

import torch
from torch import Tensor

TRAINING_BOUNDARY = 1e-4
"""Reliabilities keep this far from 0 and 1, which are absorbing: no later batch could move them."""


def posterior(margin: Tensor, reliability: Tensor) -> Tensor:
    """Return w = P(the label is right), RE-PO Eq. 4 in its stable form σ(S + log η − log(1 − η)).

    Args:
        margin: S = L_swap − L of each annotation as given, any shape; p = σ(S).
        reliability: η of each annotation's annotator, in (0, 1), broadcastable to `margin`.

    Returns:
        w in [0, 1], detached: the M-step treats it as a constant.
    """
    with torch.no_grad():
        return torch.sigmoid(margin + torch.logit(reliability))


def sums_by_annotator(
    posteriors: Tensor, annotator: Tensor, annotators: int, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return (weighted sum of w, sum of weights) per annotator, float64, each of shape [A]; they add up over ranks.

    Args:
        posteriors: w of a batch's annotations, shape [n].
        annotator: whose annotation each is, integers in [0, A), shape [n].
        annotators: A.
        weight: weight of each annotation, shape [n]; default 1.
    """
    weight = torch.ones_like(posteriors) if weight is None else weight  # [n]
    zeros = torch.zeros(annotators, dtype=torch.float64, device=posteriors.device)  # [A]
    total = zeros.index_add(0, annotator, (weight * posteriors).double())
    count = zeros.index_add(0, annotator, weight.double())
    return total, count


def moving_average(reliability: Tensor, total: Tensor, count: Tensor, step_size: float) -> Tensor:
    """Return η after one mini-batch, RE-PO Eq. 7: η ← (1 − α) η + α · total / count, kept inside (0, 1).

    Args:
        reliability: η of every annotator, shape [A].
        total, count: what sums_by_annotator returned for the batch, added up over ranks; shape [A].
        step_size: α in (0, 1].

    Returns:
        New η, shape [A]; annotators without rows in the batch keep theirs.
    """
    seen = count > 0  # [A]
    mean = total / torch.where(seen, count, 1.0)  # [A]
    updated = ((1 - step_size) * reliability + step_size * mean).clamp(TRAINING_BOUNDARY, 1 - TRAINING_BOUNDARY)
    return torch.where(seen, updated, reliability)
