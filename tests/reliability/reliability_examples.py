"""Simulated annotations, and plain slow implementations to compare with."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class World:
    """Annotations with their truth; every array has one entry per annotation."""

    annotator: Array
    label: Array
    comparison: Array
    margin: Array
    truth: Array
    eta: Array
    position: Array = field(default_factory=lambda: np.zeros(0))

    def arrays(self, *names: str) -> dict[str, Array]:
        return {name: getattr(self, name) for name in ("annotator", "label", *names)}


def world(
    seed: int = 0,
    annotators: int = 8,
    comparisons: int = 200,
    votes: int = 3,
    scale: float = 2.0,
    eta: Array | None = None,
) -> World:
    """Return votes of random annotators on comparisons whose margins (first is better) are calibrated log-odds."""
    random = np.random.default_rng(seed)
    eta = random.choice([0.95, 0.8, 0.6], annotators) if eta is None else eta
    margin = random.normal(0, scale, comparisons)
    truth = np.where(random.random(comparisons) < 1 / (1 + np.exp(-margin)), 1, -1)
    annotator = np.concatenate([random.permutation(len(eta))[:votes] for _ in range(comparisons)])
    comparison = np.repeat(np.arange(comparisons), votes)
    right = random.random(len(annotator)) < eta[annotator]
    label = np.where(right, truth[comparison], -truth[comparison])
    position = np.where(random.random(len(annotator)) < 0.5, 1, -1)
    return World(annotator, label, comparison, margin[comparison], truth[comparison], eta, position)


def dawid_skene(
    annotator: Array, label: Array, comparison: Array, start: float, iterations: int
) -> tuple[Array, Array]:
    """One-coin Dawid & Skene with equal classes, by loops: (η, P(+1) by comparison)."""
    eta = np.full(annotator.max() + 1, start)
    posterior = np.zeros(comparison.max() + 1)
    for _ in range(iterations):
        for m in range(len(posterior)):
            likelihood = {+1: 1.0, -1: 1.0}
            for k, vote in zip(annotator[comparison == m], label[comparison == m], strict=True):
                for direction in likelihood:
                    likelihood[direction] *= eta[k] if vote == direction else 1 - eta[k]
            posterior[m] = likelihood[+1] / (likelihood[+1] + likelihood[-1])
        w = np.where(label > 0, posterior[comparison], 1 - posterior[comparison])
        eta = np.array([w[annotator == k].mean() for k in range(len(eta))])
    return eta, posterior


def marginal_log_likelihood(
    w: World, logit_eta: torch.Tensor, log_temperature: torch.Tensor, intercept: torch.Tensor
) -> torch.Tensor:
    """log P(labels) by RE-PO's model, differentiable; logit_eta has shape [A, coins], two coins by position."""
    index, label = torch.tensor(w.annotator), torch.tensor(w.label)
    shown = torch.tensor(w.position) if logit_eta.shape[1] == 2 else torch.ones(len(label))
    comparisons = int(w.comparison.max()) + 1
    first_row = np.unique(w.comparison, return_index=True)[1]
    prior = log_temperature.exp() * torch.tensor(w.margin[first_row]) + intercept
    sides = []
    for direction in (+1, -1):
        coin = torch.where(shown * direction > 0, 0, logit_eta.shape[1] - 1)
        vote = torch.nn.functional.logsigmoid(logit_eta[index, coin] * torch.where(label == direction, 1.0, -1.0))
        total = torch.zeros(comparisons, dtype=torch.float64).index_add(0, torch.tensor(w.comparison), vote)
        sides.append(torch.nn.functional.logsigmoid(direction * prior) + total)
    return torch.logaddexp(*sides).sum()
