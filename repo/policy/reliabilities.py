"""Reliabilities in a training: the estimator that its steps ask, and the final estimates from what they recorded."""

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from repo.policy.batches import Integers, PreferenceData, epoch_batches
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.drift import Drift, drifts
from repo.reliability.em.empirical_bayes import WEAK
from repo.reliability.eras import is_former, set_apart
from repo.reliability.estimate import Estimate, estimate, estimator_of, votes_of
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.online.estimators import Estimator, FullTrust, IncrementalReliability, MovingReliability
from repo.reliability.online.visits import LATE, Memorisation, Visit, memorisation
from repo.reliability.start import before_any_vote, known_before
from repo.reliability.state import ReliabilityState
from repo.settings import ReliabilitySettings

if TYPE_CHECKING:
    import numpy.typing as npt
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


@dataclass(frozen=True)
class Past:
    """What must be known of the votes that a training goes through once more.

    Attributes:
        known: stand-in for an annotator → reliability, of the votes that are counted in the state.
        version: the model version that the state belongs to.
        drift_odds: see RetrainSettings.
    """

    known: Mapping[str, float]
    version: str
    drift_odds: float


@dataclass(frozen=True)
class Final:
    """What a training found out in the end.

    Attributes:
        estimate: the reliabilities of everybody who gave new votes.
        labels: the new annotations with `margin` (of the visit believed, see online/visits.py), `first_margin`,
            `last_margin` (all S of the label as given) and `posterior`.
        drift: everybody with new votes whom an earlier training knew.
    """

    estimate: Estimate
    labels: "pd.DataFrame"
    drift: list[Drift]


def final_estimate(
    trainer: "Trainer", settings: ReliabilitySettings, state: ReliabilityState | None, past: Past | None = None
) -> Final:
    """Estimate the reliabilities anew from all labels and the margins recorded before the policy learnt from them.

    Args:
        trainer: a training that has ended.
        settings: estimator, priors, anchors.
        state: what an earlier training found.
        past: which of the votes are counted in that state, and how to tell who has changed since.
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
    counted = data.table["annotator_id"].isin(list(past.known) if past else []).to_numpy()  # [N]
    judged, learnt = (_on_comparisons(data, rows) for rows in (~counted, counted))  # [N] each
    measured = memorisation(first[~learnt], last[~learnt], late[data.comparison][~learnt])
    visit = measured.visit if settings.margins == "auto" else settings.margins
    # A policy that has learnt a comparison's earlier votes repeats them; they themselves speak for it.
    margin = np.where(learnt, 0.0, first if visit == "first_visit" else last)  # [N]
    table, towards_a = data.table[judged], (own * margin)[judged]
    drift: list[Drift] = []
    if past:
        present = set(table["annotator_id"])
        known = {name: eta for name, eta in past.known.items() if name in present}
        settings = settings.model_copy(update={"pinned": {**settings.pinned, **known}})
        if state is not None and settings.estimator != "none":
            drift = _drift(table, settings, towards_a, state, past.drift_odds)
            state = set_apart(state, [one.annotator for one in drift if one.changed], past.version)
    given = None
    if settings.estimator == "paper" and not settings.calibrated:
        trained = dict(zip(data.annotators, trainer.estimator.value.tolist(), strict=True))
        given = {name: trained[name] for name in table["annotator_id"].unique()}
    found = estimate(table, settings, towards_a, visit, state, given)
    note_memorisation(found, measured, visit)
    if past:
        _forget_stand_ins(found.record, past.known)
    labels = table.assign(
        margin=margin[judged], first_margin=first[judged], last_margin=last[judged], posterior=found.posterior
    )
    return Final(found, labels[~counted[judged]].reset_index(drop=True), drift)


def note_memorisation(found: Estimate, measured: Memorisation, visit: Visit) -> None:
    """Write into an estimate's record what two visits' margins say, and which of them the estimate stands on."""
    found.record["memorisation"] = {**asdict(measured), "found": measured.found}
    if measured.found:
        found.record["warnings"].append(measured.words(visit))


def drift_record(final: Final, state: ReliabilityState | None, past: Past) -> dict[str, Any]:
    """Return the content of DRIFT_FILE: who has changed since the earlier version, who is new, who gave no vote."""
    voted = set(final.labels["annotator_id"])
    known = {name for name in state.annotators if not is_former(name)} if state else set()
    return {
        "version": past.version,
        "least_odds": past.drift_odds,
        "annotators": [{**asdict(one), "annotator": str(one.annotator), "beyond": one.beyond} for one in final.drift],
        "new": sorted(voted - known),
        "gone": sorted(str(name) for name in known - voted),
    }


def _on_comparisons(data: PreferenceData, rows: "npt.NDArray[np.bool_]") -> "npt.NDArray[np.bool_]":
    """Return which annotations are on a comparison of one of these rows, shape [N]."""
    touched = np.zeros(len(data.encoded), bool)  # [C]
    touched[data.comparison[rows]] = True
    return touched[data.comparison]


def _drift(
    table: "pd.DataFrame",
    settings: ReliabilitySettings,
    towards_a: "npt.NDArray[np.float64]",
    state: ReliabilityState,
    least: float,
) -> list[Drift]:
    plain = "full" if settings.estimator == "paper" else settings.estimator
    estimator = estimator_of(settings, estimator=plain, coins=1, prevalence=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)  # the final estimates warn
        arrays = votes_of(table, settings.use_gold, towards_a)
        fitted = estimator.fit(**arrays, prior_state=state.with_coins(1), forgetting=settings.forgetting)
    return drifts(fitted, state.faded(settings.forgetting), least)


def _forget_stand_ins(record: dict[str, Any], stand_ins: Mapping[str, float]) -> None:
    """Take out of reliability.json those who only stood for votes that are counted already."""
    record["annotators"] = [row for row in record["annotators"] if row["annotator_id"] not in stand_ins]
    pinned = record["anchors"]["pinned"]
    record["anchors"]["pinned"] = {name: eta for name, eta in pinned.items() if name not in stand_ins}
