"""The gate: rules from the configuration against the evaluation's figures. A rejection is a normal outcome."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from repo.settings import GateSettings


@dataclass(frozen=True)
class Rule:
    """One rule's outcome, in words."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Promote when every rule passed."""

    rules: list[Rule]

    @property
    def decision(self) -> Literal["promote", "reject"]:
        """What to do with the candidate."""
        return "promote" if all(rule.passed for rule in self.rules) else "reject"

    @property
    def reasons(self) -> list[str]:
        """Why: the rules that failed, or all of them when none did."""
        return [rule.reason for rule in self.rules if not rule.passed] or [rule.reason for rule in self.rules]

    def as_dict(self) -> dict[str, Any]:
        """Return verdict.json's content."""
        return {"decision": self.decision, "reasons": self.reasons, "rules": [vars(rule) for rule in self.rules]}

    def to_markdown(self) -> str:
        """Return the verdict and every rule's outcome as a table."""
        rows = [f"| {rule.name} | {'passed' if rule.passed else '**failed**'} | {rule.reason} |" for rule in self.rules]
        return "\n".join([f"# Verdict: {self.decision}", "", "| rule | outcome | why |", "|---|---|---|", *rows, ""])


def decide(evaluation: Mapping[str, Any], settings: GateSettings) -> Verdict:
    """Apply the rules to what repo.evaluation.evaluation.evaluate returned."""
    return Verdict(list(_rules(evaluation, settings)))


def _rules(evaluation: Mapping[str, Any], settings: GateSettings) -> Iterator[Rule]:
    target = evaluation["target"]
    metrics = evaluation["policies"]["candidate"][target]
    broken = sorted(set(_not_finite(evaluation["policies"]["candidate"])) | set(_not_finite(evaluation["gains"])))
    yield Rule(
        "finite",
        not broken,
        f"not finite: {', '.join(broken)}" if broken else "every figure of the candidate is finite",
    )
    yield _at_least("accuracy", f"held-out accuracy against {target}", metrics["accuracy"], settings.min_accuracy)
    for other, bound in (("base", settings.min_gain_over_base), ("champion", settings.min_gain_over_champion)):
        if other in evaluation["gains"]:
            gain = evaluation["gains"][other]
            yield _at_least(f"gain_over_{other}", f"gain in accuracy over the {other}", gain, bound)
    error = metrics["calibration_error"]
    bound = settings.max_calibration_error
    yield Rule(
        "calibration",
        error is not None and error <= bound,
        f"calibration error {_number(error)}, at most {bound:g} allowed",
    )


def _at_least(name: str, words: str, figure: Mapping[str, float | None], bound: float) -> Rule:
    value = figure["value"]
    interval = f"({_number(figure['low'])} to {_number(figure['high'])})"
    passed = value is not None and math.isfinite(value) and value >= bound
    return Rule(name, passed, f"{words} {_number(value)} {interval}, at least {bound:g} asked")


def _not_finite(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _not_finite(child, f"{name}.{key}" if name else str(key))
    elif value is None or (isinstance(value, float) and not math.isfinite(value)):
        yield name


def _number(value: float | None) -> str:
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.3f}"
