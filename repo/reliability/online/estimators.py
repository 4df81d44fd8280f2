"""Reliabilities while a policy trains: the E-step of every batch, and η and the margins' temperature kept up to date.

Tensors in, tensors out, on the device of the margins. Each estimator is a class with the methods of Estimator; the
final estimates are not made here but by one fit on the recorded margins (see estimate.py).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from repo.reliability.online.equations import TRAINING_BOUNDARY, moving_average, posterior, sums_by_annotator


@dataclass(frozen=True)
class BatchVotes:
    """The n annotations of a batch (or of a part of it) on its c comparisons.

    Attributes:
        row: place of each annotation in the training data, shape [n].
        comparison: index of its comparison within the batch, shape [n].
        annotator: who gave it, integers in [0, A), shape [n].
        label: +1 (first response is better) or −1, shape [n].
        weight: how many votes it counts for, shape [n].
        gold: +1, −1 or 0 (unknown) of each comparison, shape [c].
        margin: S of "the first response is better" of each comparison, shape [c].
    """

    row: Tensor
    comparison: Tensor
    annotator: Tensor
    label: Tensor
    weight: Tensor
    gold: Tensor
    margin: Tensor

    def to_rows(self, first_is_better: Tensor) -> Tensor:
        """Return P(label is right) by annotation from P(first is better) by comparison."""
        q = first_is_better[self.comparison]  # [n]
        return torch.where(self.label > 0, q, 1 - q)

    def known(self, w: Tensor) -> Tensor:
        """Return w with the labels of gold comparisons right or wrong for certain."""
        gold = self.gold[self.comparison]  # [n]
        return torch.where(gold == 0, w, (gold == self.label).to(w.dtype))


def shared_posterior(votes: BatchVotes, reliability: Tensor) -> Tensor:
    """Return w where all annotations of a comparison share its direction; with one annotation it is RE-PO Eq. 4.

    P(first is better | margin, labels) = σ(S + Σ weight · label · logit η).
    """
    evidence = votes.weight * votes.label * torch.logit(reliability)[votes.annotator]  # [n]
    q = torch.sigmoid(votes.margin.detach().double().index_add(0, votes.comparison, evidence.double()))  # [c]
    return votes.known(votes.to_rows(q)).to(votes.margin.dtype)


class Estimator(Protocol):
    """Holds η while a policy trains.

    Attributes:
        value: η of every annotator, shape [A], float64.
    """

    value: Tensor

    def to(self, device: torch.device) -> None:
        """Move everything to the device the margins live on."""

    def posterior(self, votes: BatchVotes) -> Tensor:
        """E-step: w of each annotation, detached, shape [n]."""

    def observe(self, votes: BatchVotes, w: Tensor) -> None:
        """Take note of a part of a batch."""

    def update(self) -> None:
        """M-step for η, after the batch's last part."""

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint must keep."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo state()."""


class FullTrust:
    """Plain training: every label is believed (η ≡ 1), nothing is estimated."""

    def __init__(self, annotators: int) -> None:
        self.value = torch.ones(annotators, dtype=torch.float64)  # [A]

    def to(self, device: torch.device) -> None:
        """Move η."""
        self.value = self.value.to(device)

    def posterior(self, votes: BatchVotes) -> Tensor:
        """Return w = 1."""
        return torch.ones_like(votes.margin[votes.comparison])

    def observe(self, votes: BatchVotes, w: Tensor) -> None:
        """Nothing to note."""

    def update(self) -> None:
        """Nothing to update."""

    def state(self) -> dict[str, Tensor]:
        """Nothing to keep."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to restore."""


class MovingReliability:
    """η as a moving average over batches (RE-PO Eq. 7).

    Args:
        start: η of every annotator to start from, shape [A].
        fixed: which annotators are pinned, bool, shape [A].
        step_size: α.
        shared: whether the annotations of one comparison share its direction; the paper takes each on its own.
    """

    def __init__(self, start: Tensor, fixed: Tensor, step_size: float, shared: bool) -> None:
        self.value, self.fixed = start.double().clamp(TRAINING_BOUNDARY, 1 - TRAINING_BOUNDARY), fixed
        self.step_size, self.shared = step_size, shared
        self._clear()

    def _clear(self) -> None:
        self.total, self.count = torch.zeros_like(self.value), torch.zeros_like(self.value)  # [A] each

    def to(self, device: torch.device) -> None:
        """Move η and the sums."""
        self.value, self.fixed = self.value.to(device), self.fixed.to(device)
        self._clear()

    def posterior(self, votes: BatchVotes) -> Tensor:
        """E-step, RE-PO Eq. 4, by comparison or by annotation."""
        if self.shared:
            return shared_posterior(votes, self.value)
        margin = votes.margin.detach().double()[votes.comparison] * votes.label  # [n]
        return votes.known(posterior(margin, self.value[votes.annotator])).to(votes.margin.dtype)

    def observe(self, votes: BatchVotes, w: Tensor) -> None:
        """Add to the batch's sums."""
        total, count = sums_by_annotator(w, votes.annotator, len(self.value), votes.weight)  # [A] each
        self.total += total
        self.count += count

    def update(self) -> None:
        """M-step for η."""
        moved = moving_average(self.value, self.total, self.count, self.step_size)  # [A]
        self.value = torch.where(self.fixed, self.value, moved)
        self._clear()

    def state(self) -> dict[str, Tensor]:
        """Return η."""
        return {"value": self.value}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo state()."""
        self.value = state["value"].to(self.value.device)


class IncrementalReliability:
    """Incremental EM (Neal & Hinton 1998): a visit replaces an annotation's share of its annotator's running sums.

    η is at any time the mean of the last w of all of an annotator's annotations and its Beta prior: no step size.

    Args:
        annotator: who gave each annotation, integers in [0, A), shape [N].
        weight: how many votes each counts for, shape [N].
        w: posteriors to start from, shape [N].
        prior: pseudo-counts (right, wrong) of every annotator, shape [A, 2].
        pinned: η of pinned annotators, NaN for the others, shape [A].
    """

    def __init__(self, annotator: Tensor, weight: Tensor, w: Tensor, prior: Tensor, pinned: Tensor) -> None:
        self.prior, self.pinned, self.last = prior.double(), pinned.double(), w.double()  # [A, 2], [A], [N]
        self.right, self.number = sums_by_annotator(self.last, annotator, len(prior), weight)  # [A] each
        self.update()

    def to(self, device: torch.device) -> None:
        """Move prior and sums."""
        for name in ("prior", "pinned", "right", "number", "last"):
            setattr(self, name, getattr(self, name).to(device))
        self.update()

    def posterior(self, votes: BatchVotes) -> Tensor:
        """E-step by comparison."""
        return shared_posterior(votes, self.value)

    def observe(self, votes: BatchVotes, w: Tensor) -> None:
        """Replace these annotations' share of the sums."""
        change = votes.weight * (w.double() - self.last[votes.row])  # [n]
        self.right.index_add_(0, votes.annotator, change.double())
        self.last[votes.row] = w.double()

    def update(self) -> None:
        """M-step for η, RE-PO Eq. 6 with prior."""
        mean = (self.right + self.prior[:, 0]) / (self.number + self.prior.sum(1))  # [A]
        self.value = torch.where(self.pinned.isnan(), mean.clamp(TRAINING_BOUNDARY, 1 - TRAINING_BOUNDARY), self.pinned)

    def state(self) -> dict[str, Tensor]:
        """Return the sums and what they are made of."""
        return {"right": self.right, "last": self.last}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo state()."""
        self.right, self.last = (state[name].to(self.right) for name in ("right", "last"))
        self.update()
