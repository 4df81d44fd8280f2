"""Reliabilities in a training: the estimator that its steps ask, and the final estimates from what they recorded."""

import warnings
from collections.abc import Hashable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from repo.policy.batches import Integers, PreferenceData, epoch_batches
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.estimate import Estimate, estimate, estimator_of, votes_of
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.fitting import prior_counts, start
from repo.reliability.in_training import (
    Estimator,
    FullReliability,
    FullTrust,
    IncrementalReliability,
    PaperReliability,
    Refit,
)
from repo.reliability.state import AnnotatorRecord, ReliabilityState
from repo.reliability.visits import LATE, memorisation
from repo.settings import ReliabilitySettings

if TYPE_CHECKING:
    import pandas as pd

    from repo.policy.trainer import Trainer


def gold_comparisons(data: PreferenceData, settings: ReliabilitySettings) -> Integers:
    """Return +1 (response a is known to be better), −1 or 0 of each comparison; all 0 unless reliability.use_gold."""
    gold = votes_of(data.table, settings.use_gold).get("gold")
    if gold is None:
        return np.zeros(len(data.encoded), np.int64)
    firsts = np.unique(data.comparison, return_index=True)[1]
    return np.asarray(gold[firsts], np.int64)


def make_estimator(
    settings: ReliabilitySettings, data: PreferenceData, gold: Integers, state: ReliabilityState | None
) -> Estimator:
    """Return what holds η while the policy trains.

    Args:
        settings: which one, priors and anchors.
        data: the training annotations.
        gold: see gold_comparisons.
        state: what an earlier training found.
    """
    if settings.estimator == "none":
        return FullTrust(len(data.annotators))
    if settings.estimator == "full":
        return FullReliability(len(data.annotators), _refit(settings, data, gold, state))
    names: list[Hashable] = list(data.annotators)
    one_coin = None if state is None else state.one_coin().faded(settings.forgetting)
    prior = prior_counts(names, 1, settings.initial, settings.prior_strength, one_coin)
    first = start(names, prior, settings.prior_strength, settings.initial, settings.pinned)[:, 0]
    fixed = torch.tensor([name in settings.pinned for name in names])
    if settings.estimator == "paper":
        return PaperReliability(torch.from_numpy(first), fixed, settings.step_size)
    known = torch.where(fixed, torch.from_numpy(first), torch.nan)
    return IncrementalReliability(torch.from_numpy(prior[:, 0]), known, len(data.table))


def _refit(
    settings: ReliabilitySettings, data: PreferenceData, gold: Integers, state: ReliabilityState | None
) -> Refit:
    """Return EM on all training labels with the margins so far; annotators and comparisons go by number, which is fast.

    The margins count as they are: calibrated while the policy is still learning they harden early mistakes, and cost
    clean accuracy (docs/reliability.md). The prior has mean η₀: annotators of whom the data say nothing keep it.
    """
    number = {name: k for k, name in enumerate(data.annotators)}
    known = None
    if state is not None:
        records: dict[Hashable, AnnotatorRecord] = {
            number[str(name)]: record for name, record in state.annotators.items() if str(name) in number
        }
        known = replace(state, annotators=records)
    estimator = estimator_of(
        settings,
        calibrate=False,
        pinned={number[name]: eta for name, eta in settings.pinned.items() if name in number},
        prior_mean=settings.initial,
        tolerance=1e-4,
        max_iterations=100,
    )
    arrays = votes_of(data.table, False) | {"annotator": data.annotator, "comparison": data.comparison}
    if gold.any():
        arrays["gold"] = gold[data.comparison]

    def refit(margins: Tensor) -> AnnotatorReliability:
        arrays["margin"] = margins.double().cpu().numpy()[data.comparison]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)  # half-way results warn of what may pass
            return estimator.fit(**arrays, prior_state=known, forgetting=settings.forgetting)

    return refit


def final_estimate(
    trainer: "Trainer", settings: ReliabilitySettings, state: ReliabilityState | None
) -> "tuple[Estimate, pd.DataFrame]":
    """Estimate the reliabilities anew from all labels and the margins recorded before the policy learnt from them.

    Returns:
        The estimate, and the training annotations with `margin` (of the visit believed, see repo.reliability.visits),
        `first_margin`, `last_margin` (all S of the label as given) and `posterior`.
    """
    data = trainer.data
    own = np.where(data.prefers_a, 1.0, -1.0)
    first, last = (
        own * margins.double().cpu().numpy()[data.comparison]
        for margins in (trainer.first_margins, trainer.last_margins)
    )
    order = np.concatenate(
        list(epoch_batches(len(data.encoded), trainer.settings.batch_size, trainer.settings.seed, 0))
    )
    late = np.zeros(len(order), bool)
    late[order[int(LATE * len(order)) :]] = True
    measured = memorisation(first, last, late[data.comparison])
    visit = measured.visit if settings.margins == "auto" else settings.margins
    margin = first if visit == "first_visit" else last
    given = None
    if settings.estimator == "paper" and not settings.calibrated:
        given = dict(zip(data.annotators, trainer.estimator.value.tolist(), strict=True))
    found = estimate(data.table, settings, own * margin, visit, state, given)
    found.record["memorisation"] = {**asdict(measured), "found": measured.found}
    labels = data.table.assign(margin=margin, first_margin=first, last_margin=last, posterior=found.posterior)
    return found, labels
