"""The evaluation step: candidate, base and champion on the same frozen held-out comparisons."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from repo.evaluation.metrics import Floats, Judged, clustered_mean, correctness, preference_metrics
from repo.settings import Settings

if TYPE_CHECKING:
    from repo.policy.losses import PreferenceLoss

Target = Literal["gold", "consensus", "labels"]


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
    """One policy's margins on the held-out comparisons, shape [C] each.

    Attributes:
        a_over_b: S of "a is better" under its loss.
        likelihood: mean token log-probability of a minus that of b; defined for every policy.
    """

    a_over_b: Floats
    likelihood: Floats


def evaluate(
    held_out: pd.DataFrame, policies: Mapping[str, PolicySource], settings: Settings, split_by: str
) -> dict[str, Any]:
    """Score policies on held-out annotations.

    Args:
        held_out: canonical annotation table without ties, at least one row.
        policies: by name; must hold "candidate" and "base", may hold "champion".
        settings: the sections policy, evaluation and gate (its target) are read.
        split_by: what was held out, "prompt" or "comparison": the unit that the bootstrap draws.

    Returns:
        evaluation.json's content: per policy and target the metrics of repo.evaluation.metrics, and the candidate's
        paired gains in accuracy. Figures that are not finite are None.
    """
    comparisons = held_out.drop_duplicates("comparison_id").reset_index(drop=True)
    margins = margins_of(comparisons, policies, settings)
    judgements = _judgements(held_out, comparisons, "prompt" if split_by == "prompt" else "comparison_id")
    target = _target(settings.gate.target, judgements)
    interval = {"bootstrap": settings.evaluation.bootstrap, "confidence": settings.evaluation.confidence}
    return {
        "comparisons": len(comparisons),
        "prompts": int(comparisons["prompt"].nunique()),
        "annotations": len(held_out),
        "split_by": split_by,
        "confidence": settings.evaluation.confidence,
        "target": target,
        "policies": {name: _score(margins[name], judgements, interval) for name in policies},
        "gains": {
            name: _gain(margins["candidate"], margins[name], judgements[target], interval)
            for name in policies
            if name != "candidate"
        },
    }


@dataclass(frozen=True)
class Judgements:
    """Which response is right: one entry a judgement; `direction` is 1 for a, −1 for b; `unit` is what was held out."""

    comparison: npt.NDArray[np.int64]
    direction: Floats
    weight: Floats
    unit: npt.NDArray[np.int64]


def margins_of(
    comparisons: pd.DataFrame, policies: Mapping[str, PolicySource], settings: Settings
) -> dict[str, Margins]:
    """Return every policy's margins; a model that several policies need is loaded and scored once."""
    import torch

    from repo.policy.loading import load_policy
    from repo.policy.logprobs import ResponseLogps, pair_logps, score_comparisons
    from repo.policy.objective import both_orientations
    from repo.policy.tokenization import EncodedComparison, encode_comparisons

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scored: dict[str, tuple[ResponseLogps, list[EncodedComparison]]] = {}

    def score(path: Path | str, revision: str) -> tuple[ResponseLogps, list[EncodedComparison]]:
        key = f"{path}@{revision}"
        if key not in scored:
            policy = load_policy(path, revision)
            lengths = settings.policy.max_length, settings.policy.max_prompt_length
            encoded = encode_comparisons(comparisons, policy.tokenizer, *lengths)
            model = policy.model.to(device)
            logps = score_comparisons(model, encoded, policy.pad, settings.evaluation.batch_size, device)
            scored[key] = logps, encoded
        return scored[key]

    result = {}
    for name, source in policies.items():
        logps, encoded = score(source.path, source.revision)
        reference = score(source.base, source.revision)[0] if source.loss.needs_reference else None
        pair = pair_logps(logps, reference, encoded)
        likelihood = pair.first / pair.first_length - pair.second / pair.second_length  # [C]
        margin = both_orientations(source.loss, pair).margin  # [C]
        result[name] = Margins(margin.double().numpy(), likelihood.double().numpy())
    return result


def _judgements(held_out: pd.DataFrame, comparisons: pd.DataFrame, unit: str) -> dict[Target, Judgements]:
    """Return raw labels, each comparison's majority (even splits say nothing), and gold where it is known."""
    number = pd.Series(np.arange(len(comparisons)), index=comparisons["comparison_id"])
    units = pd.factorize(comparisons[unit])[0].astype(np.int64)  # [C]
    comparison = number.loc[held_out["comparison_id"]].to_numpy()  # [N]
    direction = np.where(held_out["preference"] == "a", 1.0, -1.0)  # [N]
    weight = held_out["weight"].to_numpy(dtype=np.float64)  # [N]
    balance = np.bincount(comparison, weight * direction, len(comparisons))  # [C]
    gold: Floats = np.asarray(comparisons["gold"].map({"a": 1.0, "b": -1.0}).fillna(0.0), dtype=np.float64)
    found: dict[Target, Judgements] = {"labels": Judgements(comparison, direction, weight, units[comparison])}
    per_comparison: dict[Target, Floats] = {"consensus": np.sign(balance), "gold": gold}
    for target, sign in per_comparison.items():
        known = np.flatnonzero(sign)  # [J]
        if known.size:
            found[target] = Judgements(known, sign[known], np.ones(len(known)), units[known])
    return found


def _target(asked: str, judgements: Mapping[Target, Judgements]) -> Target:
    from repo.errors import UserError

    order: tuple[Target, ...] = ("gold", "consensus", "labels")
    if asked == "auto":
        return next(target for target in order if target in judgements)
    for target in judgements:
        if target == asked:
            return target
    raise UserError(
        f"gate.target: no {asked} judgement among the held-out annotations", "set gate.target to auto or labels"
    )


def _score(margins: Margins, judgements: Mapping[Target, Judgements], interval: dict[str, Any]) -> dict[str, Any]:
    targets: dict[str, Any] = {}
    for target, judged in judgements.items():
        metrics = asdict(preference_metrics(_judged(margins.a_over_b, judged), **interval))
        likelihood = correctness(judged.direction * margins.likelihood[judged.comparison])  # [J]
        agreement = clustered_mean(likelihood, judged.weight, judged.unit, **interval)
        targets[target] = {**metrics, "likelihood_accuracy": asdict(agreement)}
    return targets


def _gain(candidate: Margins, other: Margins, judged: Judgements, interval: dict[str, Any]) -> dict[str, float | None]:
    """Return the candidate's paired gain in accuracy."""
    difference = correctness(_judged(candidate.a_over_b, judged).margin) - correctness(
        _judged(other.a_over_b, judged).margin
    )  # [J]
    return asdict(clustered_mean(difference, judged.weight, judged.unit, **interval))


def _judged(a_over_b: Floats, judged: Judgements) -> Judged:
    return Judged(judged.direction * a_over_b[judged.comparison], judged.weight, judged.unit)
