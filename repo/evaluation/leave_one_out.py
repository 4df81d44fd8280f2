"""Does the gain rest on one annotator: the candidate's gain once more without the votes of each.

Left out are an annotator's votes on the exam. The reliabilities that weigh the others' votes stay those that the exam
was made with, and no policy is trained anew. Only the comparisons that somebody voted on change when they leave, so all
annotators together cost no more than one pass over the votes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repo.evaluation.exam import Exam, Target, Votes
from repo.evaluation.metrics import Floats, Integers
from repo.reliability.estimate import exact

SHOWN = 5
"""Annotators kept in evaluation.json: those whose absence costs most."""


@dataclass(frozen=True)
class Remains:
    """What is left without each annotator, shape [A] each.

    Attributes:
        held_out: prompts or comparisons held out that are still judged.
        gain: the candidate's gain in accuracy against them; NaN where there are none.
    """

    held_out: Integers
    gain: Floats


def leave_one_out(exam: Exam, usable: npt.NDArray[np.bool_], target: Target, difference: Floats) -> dict[str, Any]:
    """Return evaluation.json's leave_one_out, without the name of the policy compared with.

    Args:
        exam: votes and consensus.
        usable: comparisons that every policy can read, shape [C].
        target: labels or consensus; gold rests on no annotator.
        difference: how much more the candidate is right than the other where a is the better response, shape [C].

    Returns:
        How many annotators voted on usable comparisons; what is left without those whose absence costs most
        (`dearest`), and without the one who leaves fewest held out (`fewest`). Both lists are empty where that cannot
        be told: there is nobody else, or the exam was made before it kept single votes' log-odds.
    """
    votes = exam.votes.among(usable)
    found: dict[str, Any] = {"annotators": len(votes.names), "dearest": [], "fewest": []}
    if len(votes.names) < 2 or (target == "consensus" and votes.log_odds is None):
        return found
    consensus, difference = (np.where(usable, values, 0.0) for values in (exam.consensus, difference))  # [C] each
    remains = without_each(votes, exam.units, consensus, target, difference)
    number = np.bincount(votes.annotator, minlength=len(votes.names))  # [A]

    def row(k: int) -> dict[str, Any]:
        gain = float(remains.gain[k])
        return {
            "annotator_id": votes.names[k],
            "votes": int(number[k]),
            "held_out": int(remains.held_out[k]),
            "gain": gain if np.isfinite(gain) else None,
        }

    # Whoever leaves nothing to judge by costs most of all.
    dearest = np.argsort(np.nan_to_num(remains.gain, nan=-np.inf), kind="stable")[:SHOWN]
    fewest = np.argsort(remains.held_out, kind="stable")[:1]
    return found | {"dearest": [row(k) for k in dearest], "fewest": [row(k) for k in fewest]}


def without_each(votes: Votes, unit: Integers, consensus: Floats, target: Target, difference: Floats) -> Remains:
    """Return what is left without each annotator.

    Args:
        votes: at least one by every annotator.
        unit: number of the prompt or comparison held out, shape [C].
        consensus: 1, −1, or 0 for even, by all votes, shape [C].
        target: labels or consensus; for the consensus the votes' log-odds must be known.
        difference: how much more the candidate is right than the other where a is better, shape [C]. Where b is, it is
            the negative of that.
    """
    if target == "labels":
        gain = votes.direction * votes.weight * difference[votes.comparison]  # [N]
        every = _Entries(unit[votes.comparison], gain, votes.weight)
        return _left(every, every, votes.annotator)
    assert votes.log_odds is not None
    annotator, comparison, odds = _sums(votes.annotator, votes.comparison, votes.log_odds)  # [P] each
    total = np.bincount(votes.comparison, votes.log_odds, len(consensus))  # [C]
    before, after = consensus[comparison], np.sign(exact(total[comparison] - odds))  # [P] each
    gone = (before - after) * difference[comparison]  # [P]
    lost = _Entries(unit[comparison], gone, np.abs(before) - np.abs(after))
    return _left(_Entries(unit, consensus * difference, np.abs(consensus)), lost, annotator)


@dataclass(frozen=True)
class _Entries:
    """Judgements, or what is lost of them: numerator and denominator of a gain by entry, with its unit."""

    unit: Integers
    gain: Floats
    weight: Floats

    @property
    def number(self) -> Floats:
        """Judgements that an entry stands for."""
        return np.sign(self.weight)


def _left(judged: _Entries, lost: _Entries, annotator: Integers) -> Remains:
    """Return what is left of all judgements without each annotator, given whose each entry of `lost` is."""
    annotators = int(annotator.max()) + 1
    gain, weight = (
        whole.sum() - np.bincount(annotator, part, annotators)
        for whole, part in ((judged.gain, lost.gain), (judged.weight, lost.weight))
    )  # [A] each
    judgements = np.bincount(judged.unit, judged.number)  # [U]
    who, unit, fewer = _sums(annotator, lost.unit, lost.number)
    vanished = (judgements[unit] > 0).astype(np.int64) - (judgements[unit] > fewer)
    held_out = np.count_nonzero(judgements) - np.rint(np.bincount(who, vanished, annotators)).astype(np.int64)  # [A]
    # Rounded, as a gain of nothing must not fail for the last digit of a sum.
    value = np.divide(gain, weight, out=np.full(annotators, np.nan), where=held_out > 0).round(12) + 0.0
    return Remains(held_out, value)


def _sums(first: Integers, second: Integers, values: Floats) -> tuple[Integers, Integers, Floats]:
    """Return the pairs of two numbers that occur, and the sum of the values of each."""
    size = int(second.max()) + 1
    pair, place = np.unique(first * size + second, return_inverse=True)
    return pair // size, pair % size, np.bincount(place, values, len(pair)).astype(np.float64)
