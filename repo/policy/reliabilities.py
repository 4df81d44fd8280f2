"""Reliabilities in a training: the estimator that its steps ask, and the final estimates from what they recorded."""

import warnings
from collections.abc import Hashable
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from repo.policy.batches import Integers, PreferenceData, epoch_batches
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.em.empirical_bayes import WEAK
from repo.reliability.estimate import Estimate, estimate, estimator_of, votes_of
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.online.estimators import Estimator, FullTrust, IncrementalReliability, MovingReliability
from repo.reliability.online.visits import LATE, memorisation
from repo.reliability.start import before_any_vote, known_before
from repo.reliability.state import ReliabilityState
from repo.settings import ReliabilitySettings

if TYPE_CHECKING:
    import pandas as pd

    from repo.policy.trainer import Trainer


def gold_comparisons(data: PreferenceData, settings: ReliabilitySettings) -> Integers:
    """Return +1 (response a is known to be better), −1 or 0 of each comparison; all 0 unless reliability.use_gold."""
    gold = votes_of(data.table, settings.use_gold).get("gold")  # [N], or None
    if gold is None:
        return np.zeros(len(data.encoded), np.int64)
    firsts = np.unique(data.comparison, return_index=True)[1]  # [C]
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
    fixed = torch.tensor([name in settings.pinned for name in data.annotators])  # [A]
    names: list[Hashable] = list(data.annotators)
    one_coin = None if state is None else state.with_coins(1).faded(settings.forgetting)
    known = known_before(names, 1, settings.pinned, settings.initial, one_coin)
    if settings.estimator == "paper":
        return MovingReliability(torch.tensor(before_any_vote(known)), fixed, settings.step_size, shared=False)
    votes = _votes_alone(settings, data, gold, one_coin)
    eta = torch.tensor(votes.reliability_)  # [A]
    if settings.estimator == "full":
        return MovingReliability(eta, fixed, settings.step_size, shared=True)
    weak = WEAK * np.array([settings.initial, 1 - settings.initial])
    return IncrementalReliability(
        annotator=torch.tensor(data.annotator),
        weight=torch.tensor(data.weight),
        w=torch.tensor(votes.posterior()),
        prior=torch.tensor(known.evidence[:, 0] + weak),  # [A, 2]
        pinned=torch.where(fixed, eta, torch.nan),
    )


def _votes_alone(
    settings: ReliabilitySettings, data: PreferenceData, gold: Integers, state: ReliabilityState | None
) -> AnnotatorReliability:
    """Return what votes, anchors and an earlier training say before any model: where several people judged the same
    comparison, or some are known, that is much. Where nothing speaks for or against any vote, everybody keeps η₀.
    """
    estimator = estimator_of(settings, estimator="full", calibrate=False, coins=1)
    arrays = votes_of(data.table, False, np.zeros(len(data.table)))
    if gold.any():
        arrays["gold"] = gold[data.comparison]  # [N]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)  # the final estimates warn
        return estimator.fit(**arrays, prior_state=state)


def final_estimate(
    trainer: "Trainer", settings: ReliabilitySettings, state: ReliabilityState | None
) -> "tuple[Estimate, pd.DataFrame]":
    """Estimate the reliabilities anew from all labels and the margins recorded before the policy learnt from them.

    Returns:
        The estimate, and the training annotations with `margin` (of the visit believed, see online/visits.py),
        `first_margin`, `last_margin` (all S of the label as given) and `posterior`.
    """
    data = trainer.data
    own = np.where(data.prefers_a, 1.0, -1.0)  # [N]
    first, last = (
        own * margins.double().cpu().numpy()[data.comparison]
        for margins in (trainer.first_margins, trainer.last_margins)
    )  # [N] each
    order = np.concatenate(
        list(epoch_batches(len(data.encoded), trainer.settings.batch_size, trainer.settings.seed, 0))
    )  # [C]
    late = np.zeros(len(order), bool)  # [C]
    late[order[int(LATE * len(order)) :]] = True
    measured = memorisation(first, last, late[data.comparison])
    visit = measured.visit if settings.margins == "auto" else settings.margins
    margin = first if visit == "first_visit" else last  # [N]
    given = None
    if settings.estimator == "paper" and not settings.calibrated:
        given = dict(zip(data.annotators, trainer.estimator.value.tolist(), strict=True))
    found = estimate(data.table, settings, own * margin, visit, state, given)
    found.record["memorisation"] = {**asdict(measured), "found": measured.found}
    if measured.found:
        found.record["warnings"].append(measured.words(visit))
    labels = data.table.assign(margin=margin, first_margin=first, last_margin=last, posterior=found.posterior)
    return found, labels
