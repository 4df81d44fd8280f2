"""RE-PO's objective for any preference loss: the link, the two M-steps for the policy.

Terms stand per comparison, in the comparison's own orientation (response a first); an annotation picks its side. Pure:
tensors in, tensors out.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from repo.policy.losses import PairLogps, PreferenceLoss

MStep = Literal["likelihood", "weighted"]


@dataclass(frozen=True)
class Orientations:
    """A loss in both orientations, with autograd; shape [comparisons] each.

    Attributes:
        a_over_b, b_over_a: L(a ≻ b) and L(b ≻ a), the terms that decide p.
        anchor_a, anchor_b: regularisers outside the link for either winner, or None.
    """

    a_over_b: Tensor
    b_over_a: Tensor
    anchor_a: Tensor | None
    anchor_b: Tensor | None

    @property
    def margin(self) -> Tensor:
        """S of the label "a is better": L(b ≻ a) − L(a ≻ b), RE-PO Eq. 2; σ(S) is the policy's P(a ≻ b)."""
        return self.b_over_a - self.a_over_b


def both_orientations(loss: PreferenceLoss, pair: PairLogps) -> Orientations:
    """Evaluate the loss for "first is better" and for "second is better"."""
    swapped = pair.swapped()
    return Orientations(loss(pair), loss(swapped), loss.anchor(pair), loss.anchor(swapped))


def label_margin(orientations: Orientations, comparison: Tensor, prefers_a: Tensor) -> Tensor:
    """Return S of each annotation as given, shape [annotations].

    Args:
        orientations: terms of the batch's comparisons.
        comparison: index of each annotation's comparison, integers, shape [annotations].
        prefers_a: whether the annotation says a ≻ b, bool, shape [annotations].
    """
    margin = orientations.margin[comparison]  # [n]
    return torch.where(prefers_a, margin, -margin)


def annotation_losses(
    orientations: Orientations, comparison: Tensor, prefers_a: Tensor, w: Tensor, m_step: MStep
) -> Tensor:
    """Return the M-step's loss of each annotation, shape [annotations]; w is a constant.

    "likelihood" is RE-PO Eq. 5, −[w log σ(S) + (1 − w) log σ(−S)]; "weighted" is w·L + (1 − w)·L_swap. They are equal
    for losses with e^−L + e^−L_swap = 1 (DPO, SimPO with γ = 0) and differ otherwise: likelihood drops IPO's target
    margin and CPO's NLL anchor. An anchor outside the link is added as w·anchor(winner) + (1 − w)·anchor(loser).
    """
    if m_step == "likelihood":
        margin = label_margin(orientations, comparison, prefers_a)  # [n]
        terms = -(w * logsigmoid(margin) + (1 - w) * logsigmoid(-margin))  # [n]
    else:
        terms = _mix(orientations.a_over_b, orientations.b_over_a, comparison, prefers_a, w)  # [n]
    if orientations.anchor_a is not None and orientations.anchor_b is not None:
        terms = terms + _mix(orientations.anchor_a, orientations.anchor_b, comparison, prefers_a, w)
    return terms


def _mix(for_a: Tensor, for_b: Tensor, comparison: Tensor, prefers_a: Tensor, w: Tensor) -> Tensor:
    """Return w · (the term of the label as given) + (1 − w) · (the term of the label turned round)."""
    weight_a = torch.where(prefers_a, w, 1 - w)  # [n]
    return weight_a * for_a[comparison] + (1 - weight_a) * for_b[comparison]
