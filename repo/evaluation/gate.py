"""The gate: rules from the configuration against the evaluation's figures. A rejection is a normal outcome."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from repo.evaluation.summary import with_interval
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
    judgements = metrics["judgements"]
    enough = f"{judgements:,} judgements by {target}, at least {settings.min_judgements:,} asked"
    yield Rule("judgements", judgements >= settings.min_judgements, enough)
    broken = _broken(evaluation)
    yield Rule(
        "finite",
        not broken,
        f"not finite: {', '.join(broken)}" if broken else "every figure of the candidate is finite",
    )
    yield _at_least(
        "accuracy", f"held-out accuracy against {target}", metrics["accuracy"], settings.min_accuracy, settings
    )
    for other, bound in (("base", settings.min_gain_over_base), ("champion", settings.min_gain_over_champion)):
        if other in evaluation["gains"]:
            figure = evaluation["gains"][other]
            yield _at_least(f"gain_over_{other}", f"gain in accuracy over the {other}", figure, bound, settings)
    error = metrics["calibration_error"]
    bound = settings.max_calibration_error
    yield Rule(
        "calibration",
        error is not None and error <= bound,
        f"calibration error {_number(error)}, at most {bound:g} allowed",
    )


def _at_least(name: str, words: str, figure: Mapping[str, float | None], bound: float, settings: GateSettings) -> Rule:
    """A bound on the interval's lower end: chance alone seldom passes it. On the figure itself, if that was asked."""
    by_low = settings.decide_by == "lower_end"
    value = figure["low" if by_low else "value"]
    passed = value is not None and math.isfinite(value) and value >= bound
    asked = f"{'a lower end of ' if by_low else ''}at least {bound:g} asked"
    return Rule(name, passed, f"{words} {with_interval(figure)}, {asked}")


def _broken(evaluation: Mapping[str, Any]) -> list[str]:
    """Return the candidate's figures that are not finite. Where nothing was judged, there are none to look at."""
    scored = {
        target: metrics for target, metrics in evaluation["policies"]["candidate"].items() if metrics["judgements"]
    }
    gains = evaluation["gains"] if evaluation["target"] in scored else {}
    return sorted({*_not_finite(scored), *_not_finite(gains, "gain over")})


def _not_finite(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _not_finite(child, f"{name} {key}".strip())
    elif value is None or (isinstance(value, float) and not math.isfinite(value)):
        yield name


def _number(value: float | None) -> str:
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.3f}"
