"""The evaluation step: candidate, base and champion sit the same exam."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from repo.evaluation.exam import Exam, Judgements, Target
from repo.evaluation.leave_one_out import leave_one_out
from repo.evaluation.metrics import Floats, Judged, correctness, gain, preference_metrics, share
from repo.settings import GateSettings, Settings

if TYPE_CHECKING:
    from repo.policy.losses import PreferenceLoss


@dataclass(frozen=True)
class PolicySource:
    """A policy to evaluate.

    Attributes:
        path: directory or hub id of the policy.
        base: directory or hub id of its reference.
        loss: the loss it was trained with, which turns log-probabilities into p = σ(L_swap − L).
        revision: hub revision of policy and base.
    """

    path: Path | str
    base: Path | str
    loss: "PreferenceLoss"
    revision: str = "main"


@dataclass(frozen=True)
class Margins:
    """One policy's margins on the comparisons, shape [C] each.

    Attributes:
        a_over_b: S of "a is better" under its loss.
        likelihood: mean token log-probability of a minus that of b; defined for every policy.
        usable: whether the responses still differ within the lengths allowed; the margins of the others are NaN.
    """

    a_over_b: Floats
    likelihood: Floats
    usable: npt.NDArray[np.bool_]


def evaluate(exam: Exam, policies: Mapping[str, PolicySource], settings: Settings) -> dict[str, Any]:
    """Score policies on an exam.

    Comparisons that one of the policies cannot read (their responses are equal after truncation) are dropped for all.

    Args:
        exam: held-out comparisons and the answers.
        policies: by name; must hold "candidate" and "base", may hold "champion".
        settings: the sections policy, evaluation and gate (target, min_judgements, min_held_out) are read.

    Returns:
        evaluation.json's content: per policy and target the metrics of repo.evaluation.metrics, and the candidate's
        paired gains in accuracy; unless the target is gold, the gain over the champion (without one, over the base)
        once more without single annotators; how many comparisons were left out, and for whom. Figures that are not
        finite are None.
    """
    margins = margins_of(exam.comparisons, policies, settings)
    usable = np.logical_and.reduce([policy.usable for policy in margins.values()])  # [C]
    judgements = {target: judged.among(usable) for target, judged in exam.judgements.items()}
    target = _target(settings, judgements)
    scored = {name: judged for name, judged in judgements.items() if len(judged.direction) or name == target}
    confidence = settings.evaluation.confidence
    left_out = {} if target == "gold" else {"leave_one_out": _left_out(exam, margins, usable, target)}
    return {
        "comparisons": int(usable.sum()),
        "left_out": int((~usable).sum()),
        "unusable": {name: int((~policy.usable).sum()) for name, policy in margins.items()},
        "prompts": int(exam.comparisons["prompt"][usable].nunique()),
        "annotations": len(judgements["labels"].direction),
        "split_by": exam.by,
        "confidence": confidence,
        "target": target,
        "policies": {name: _score(margins[name], scored, confidence) for name in policies},
        "gains": {
            name: _gain(margins["candidate"], margins[name], judgements[target], confidence)
            for name in policies
            if name != "candidate"
        },
        **left_out,
    }


def margins_of(
    comparisons: pd.DataFrame, policies: Mapping[str, PolicySource], settings: Settings
) -> dict[str, Margins]:
    """Return every policy's margins; a model that several policies need is loaded and scored once, and not kept.

    Scored as training scores its reference: in policy.precision, with linear layers of that type.
    """
    import torch

    from repo.policy.loading import frozen_dtype, load_policy
    from repo.policy.logprobs import ResponseLogps, pair_logps
    from repo.policy.objective import both_orientations
    from repo.policy.scoring import make_scorer, tokens_per_pass
    from repo.policy.tokenization import EncodedComparisons, encode_comparisons

    dtype = frozen_dtype(settings.policy)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scored: dict[str, tuple[ResponseLogps, EncodedComparisons]] = {}

    def score(path: Path | str, revision: str) -> tuple[ResponseLogps, EncodedComparisons]:
        key = f"{path}@{revision}"
        if key not in scored:
            policy = load_policy(path, revision, dtype)
            lengths = settings.policy.max_length, settings.policy.max_prompt_length
            encoded = encode_comparisons(comparisons, policy.tokenizer, *lengths)
            policy.model.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                logps = make_scorer(policy, encoded, device, tokens_per_pass(settings.policy)).score_all(encoded)
            scored[key] = logps, encoded
        return scored[key]

    result = {}
    for name, source in policies.items():
        logps, encoded = score(source.path, source.revision)
        reference = score(source.base, source.revision)[0] if source.loss.needs_reference else None
        pair = pair_logps(logps, reference, encoded)
        likelihood = pair.first / pair.first_length - pair.second / pair.second_length  # [C]
        margin = both_orientations(source.loss, pair).margin  # [C]
        read, better = (np.where(encoded.usable, x.double().numpy(), np.nan) for x in (likelihood, margin))  # [C] each
        result[name] = Margins(better, read, encoded.usable)
    return result


def _target(settings: Settings, judgements: Mapping[Target, Judgements]) -> Target:
    """What accuracy is measured against: what was asked, or the first of which there is enough."""
    asked = settings.gate.target
    if asked != "auto":
        return asked
    order: tuple[Target, ...] = ("gold", "consensus", "labels")
    return next((target for target in order if _enough(judgements[target], settings.gate)), "consensus")


def _enough(judged: Judgements, gate: GateSettings) -> bool:
    draws = len(np.unique(judged.unit))
    return len(judged.direction) >= gate.min_judgements and draws >= gate.min_held_out


def _score(margins: Margins, judgements: Mapping[Target, Judgements], confidence: float) -> dict[str, Any]:
    targets: dict[str, Any] = {}
    for target, judged in judgements.items():
        metrics = asdict(preference_metrics(_judged(margins.a_over_b, judged), confidence))
        likelihood = correctness(judged.direction * margins.likelihood[judged.comparison])  # [J]
        agreement = share(likelihood, judged.weight, judged.unit, confidence)
        targets[target] = {**metrics, "likelihood_accuracy": asdict(agreement)}
    return targets


def _gain(candidate: Margins, other: Margins, judged: Judgements, confidence: float) -> dict[str, float | None]:
    """Return the candidate's paired gain in accuracy."""
    difference = correctness(_judged(candidate.a_over_b, judged).margin) - correctness(
        _judged(other.a_over_b, judged).margin
    )  # [J]
    return asdict(gain(difference, judged.weight, judged.unit, confidence))


def _left_out(
    exam: Exam, margins: Mapping[str, Margins], usable: npt.NDArray[np.bool_], target: Target
) -> dict[str, Any]:
    """Return the gain over whom the candidate would replace, without single annotators."""
    over = "champion" if "champion" in margins else "base"
    difference = correctness(margins["candidate"].a_over_b) - correctness(margins[over].a_over_b)  # [C]
    return {"over": over, **leave_one_out(exam, usable, target, difference)}


def _judged(a_over_b: Floats, judged: Judgements) -> Judged:
    return Judged(judged.direction * a_over_b[judged.comparison], judged.weight, judged.unit)
