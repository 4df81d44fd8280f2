"""Reliabilities while a policy trains: the E-step of every batch, and η and the margins' temperature kept up to date.

Tensors in, tensors out, on the device of the margins. Each estimator is a class with the five methods of Estimator; the
final estimates are not made here but by one fit on the recorded margins (see estimate.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from repo.reliability.coins import CoinModel
from repo.reliability.em import BOUNDARY, moving_average, posterior, sums_by_annotator
from repo.reliability.estimator import AnnotatorReliability

Refit = Callable[[Tensor], AnnotatorReliability]
"""Margins of all training comparisons so far (0 where not seen yet), shape [M] → what all the labels say with them."""


@dataclass(frozen=True)
class Votes:
    """The n annotations of a batch (or of a part of it) on its C comparisons.

    Attributes:
        row: place of each annotation in the training data, shape [n].
        comparison: index of its comparison within the batch, shape [n].
        annotator: who gave it, integers in [0, A), shape [n].
        label: +1 (first response is better) or −1, shape [n].
        position: +1 (first response was displayed first) or −1, shape [n]; all +1 where not known.
        weight: how many votes it counts for, shape [n].
        gold: +1, −1 or 0 (unknown) of each comparison, shape [C].
        margin: S of "the first response is better" of each comparison, shape [C].
    """

    row: Tensor
    comparison: Tensor
    annotator: Tensor
    label: Tensor
    position: Tensor
    weight: Tensor
    gold: Tensor
    margin: Tensor

    def to_rows(self, first_is_better: Tensor) -> Tensor:
        """Return P(label is right) by annotation from P(first is better) by comparison."""
        q = first_is_better[self.comparison]
        return torch.where(self.label > 0, q, 1 - q)

    def known(self, w: Tensor) -> Tensor:
        """Return w with the labels of gold comparisons right or wrong for certain."""
        gold = self.gold[self.comparison]
        return torch.where(gold == 0, w, (gold == self.label).to(w.dtype))


class Estimator(Protocol):
    """Holds η while a policy trains.

    Attributes:
        value: η of every annotator, shape [A], float64.
    """

    value: Tensor

    def to(self, device: torch.device) -> None:
        """Move everything to the device the margins live on."""

    def posterior(self, votes: Votes) -> Tensor:
        """E-step: w of each annotation, detached, shape [n]."""

    def observe(self, votes: Votes, w: Tensor) -> None:
        """Take note of a part of a batch."""

    def update(self) -> None:
        """M-step for η, after the batch's last part."""

    def refresh(self, margins: Tensor) -> None:
        """Estimate anew what needs all margins recorded so far, shape [M]."""

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint must keep."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo state()."""


class FullTrust:
    """Plain training: every label is believed (η ≡ 1), nothing is estimated."""

    def __init__(self, annotators: int) -> None:
        self.value = torch.ones(annotators, dtype=torch.float64)

    def to(self, device: torch.device) -> None:
        """Move η."""
        self.value = self.value.to(device)

    def posterior(self, votes: Votes) -> Tensor:
        """Return w = 1."""
        return torch.ones_like(votes.margin[votes.comparison])

    def observe(self, votes: Votes, w: Tensor) -> None:
        """Nothing to note."""

    def update(self) -> None:
        """Nothing to update."""

    def refresh(self, margins: Tensor) -> None:
        """Nothing to refresh."""

    def state(self) -> dict[str, Tensor]:
        """Nothing to keep."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to restore."""


class PaperReliability:
    """The paper's rule: every annotation on its own, η a moving average (RE-PO Eq. 4 and 7).

    Args:
        start: η₀ of every annotator, shape [A].
        fixed: which annotators are pinned, bool, shape [A].
        step_size: α.
    """

    def __init__(self, start: Tensor, fixed: Tensor, step_size: float) -> None:
        self.value, self.fixed, self.step_size = start.double(), fixed, step_size
        self._clear()

    def _clear(self) -> None:
        self.total, self.count = torch.zeros_like(self.value), torch.zeros_like(self.value)

    def to(self, device: torch.device) -> None:
        """Move η and the sums."""
        self.value, self.fixed = self.value.to(device), self.fixed.to(device)
        self._clear()

    def posterior(self, votes: Votes) -> Tensor:
        """E-step by annotation, RE-PO Eq. 4."""
        margin = votes.margin.detach().double()[votes.comparison] * votes.label
        return votes.known(posterior(margin, self.value[votes.annotator])).to(votes.margin.dtype)

    def observe(self, votes: Votes, w: Tensor) -> None:
        """Add to the batch's sums."""
        total, count = sums_by_annotator(w, votes.annotator, len(self.value), votes.weight)
        self.total += total
        self.count += count

    def update(self) -> None:
        """M-step for η, RE-PO Eq. 7."""
        moved = moving_average(self.value, self.total, self.count, self.step_size)
        self.value = torch.where(self.fixed, self.value, moved)
        self._clear()

    def refresh(self, margins: Tensor) -> None:
        """Nothing: η moves with every batch."""

    def state(self) -> dict[str, Tensor]:
        """Return η."""
        return {"value": self.value}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo state()."""
        self.value = state["value"].to(self.value.device)


class _ByComparison:
    """The E-step that the annotations of one comparison share: P(first is better | margin, all its labels).

    Attributes:
        value: η of every annotator, shape [A].
        evidence: log-odds for "first is better" of a vote by annotator and kind (see repo.reliability.votes), [A, 4].
    """

    value: Tensor
    evidence: Tensor

    def posterior(self, votes: Votes) -> Tensor:
        """E-step by comparison; RE-PO Eq. 4 where there is one label."""
        kind = (votes.label > 0).long() + 2 * (votes.position < 0).long()
        evidence = votes.weight * self.evidence[votes.annotator, kind]
        q = torch.sigmoid(votes.margin.detach().double().index_add(0, votes.comparison, evidence))
        return votes.known(votes.to_rows(q)).to(votes.margin.dtype)


class FullReliability(_ByComparison):
    """RE-PO Eq. 6: at every refresh, EM on all labels and the margins so far.

    Args:
        annotators: A.
        refit: runs EM.
    """

    def __init__(self, annotators: int, refit: Refit) -> None:
        self.refit = refit
        self.value = torch.full((annotators,), 0.5, dtype=torch.float64)
        self.evidence = torch.zeros(annotators, 4, dtype=torch.float64)

    def to(self, device: torch.device) -> None:
        """Move η and the evidence."""
        self.value, self.evidence = self.value.to(device), self.evidence.to(device)

    def observe(self, votes: Votes, w: Tensor) -> None:
        """Nothing: the trainer records the margins."""

    def update(self) -> None:
        """Nothing: η moves at a refresh."""

    def refresh(self, margins: Tensor) -> None:
        """Run EM on all labels with the margins so far."""
        fitted = self.refit(margins)
        evidence = CoinModel(fitted.coins_, kinds=4).evidence(fitted.eta_)[0]
        self.evidence = torch.from_numpy(evidence).to(self.evidence)
        self.value = torch.from_numpy(fitted.reliability_).to(self.value)

    def state(self) -> dict[str, Tensor]:
        """Return η and the evidence."""
        return {"value": self.value, "evidence": self.evidence}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo state()."""
        self.value, self.evidence = state["value"].to(self.value), state["evidence"].to(self.evidence)


class IncrementalReliability(_ByComparison):
    """Incremental EM (Neal & Hinton 1998): a visit replaces an annotation's share of its annotator's running sums.

    η is at any time the mean of the last w of all of an annotator's annotations visited, with a Beta prior. One coin.

    Args:
        prior: pseudo-counts (right, wrong) of every annotator, shape [A, 2].
        pinned: η of pinned annotators, NaN for the others, shape [A].
        rows: N, the annotations in the training data.
    """

    def __init__(self, prior: Tensor, pinned: Tensor, rows: int) -> None:
        self.prior, self.pinned = prior.double(), pinned.double()
        self.right = torch.zeros(len(prior), dtype=torch.float64)
        self.number = torch.zeros(len(prior), dtype=torch.float64)
        self.last = torch.full((rows,), -1.0, dtype=torch.float64)
        self.update()

    def to(self, device: torch.device) -> None:
        """Move prior and sums."""
        for name in ("prior", "pinned", "right", "number", "last"):
            setattr(self, name, getattr(self, name).to(device))
        self.update()

    def observe(self, votes: Votes, w: Tensor) -> None:
        """Replace these annotations' share of the sums."""
        before = self.last[votes.row]
        new = before < 0
        change = votes.weight * (w.double() - torch.where(new, 0.0, before))
        self.right.index_add_(0, votes.annotator, change.double())
        self.number.index_add_(0, votes.annotator, torch.where(new, votes.weight.double(), 0.0))
        self.last[votes.row] = w.double()

    def update(self) -> None:
        """M-step for η: the mean over sums and prior."""
        total = self.number + self.prior.sum(1)
        mean = (self.right + self.prior[:, 0]) / torch.where(total > 0, total, 1.0)
        mean = torch.where(total > 0, mean, 0.5).clamp(BOUNDARY, 1 - BOUNDARY)
        self.value = torch.where(self.pinned.isnan(), mean, self.pinned)
        logit = torch.logit(self.value)
        self.evidence = torch.stack([-logit, logit, -logit, logit], 1)

    def refresh(self, margins: Tensor) -> None:
        """Nothing: η moves with every batch."""

    def state(self) -> dict[str, Tensor]:
        """Return the sums."""
        return {"right": self.right, "number": self.number, "last": self.last}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo state()."""
        self.right, self.number, self.last = (state[name].to(self.right) for name in ("right", "number", "last"))
        self.update()
