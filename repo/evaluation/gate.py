"""The gate: rules from the configuration against the evaluation's figures. A rejection is a normal outcome."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from repo.evaluation.summary import person
from repo.reporting.text import cell, count, decimal, percent, with_interval
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
        rows = [
            f"| {rule.name} | {'passed' if rule.passed else '**failed**'} | {cell(rule.reason)} |"
            for rule in self.rules
        ]
        return "\n".join([f"# Verdict: {self.decision}", "", "| rule | outcome | why |", "|---|---|---|", *rows, ""])


def decide(evaluation: Mapping[str, Any], settings: GateSettings) -> Verdict:
    """Apply the rules to what repo.evaluation.evaluation.evaluate returned.

    Where there is a champion, `large_annotators` stands there too: see repo.evaluation.collapse.
    """
    return Verdict(list(_rules(evaluation, settings)))


def _rules(evaluation: Mapping[str, Any], settings: GateSettings) -> Iterator[Rule]:
    target = evaluation["target"]
    metrics = evaluation["policies"]["candidate"][target]
    judgements = metrics["judgements"]
    enough = f"{judgements:,} judgements by {target}, at least {settings.min_judgements:,} asked"
    yield Rule("judgements", judgements >= settings.min_judgements, enough)
    held_out, unit = metrics["held_out"], evaluation["split_by"]
    draws = f"they are on {count(held_out, f'held-out {unit}')}, at least {settings.min_held_out:,} asked"
    yield Rule("held_out", held_out >= settings.min_held_out, draws)
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
        f"calibration error {decimal(error)}, at most {bound:g} allowed",
    )
    if settings.leave_one_out and "leave_one_out" in evaluation:
        yield _leave_one_out(evaluation["leave_one_out"], held_out, unit, settings)
    if "large_annotators" in evaluation:
        yield _large_annotators(evaluation["large_annotators"], settings)


def _leave_one_out(found: Mapping[str, Any], held_out: int, unit: str, settings: GateSettings) -> Rule:
    """Bounds on the gain itself: with fewer votes any interval is wider, whoever gave them.

    Enough draws must stay enough, or the gain without somebody is luck.
    """
    name = "leave_one_out"
    if found["annotators"] < 2:
        return Rule(
            name, True, "does not apply: there is no second annotator whose votes could stand without the first's"
        )
    if not found["dearest"]:
        return Rule(name, True, _OLD_EXAM)
    [fewest], dearest = found["fewest"], found["dearest"][0]
    if fewest["held_out"] < settings.min_held_out <= held_out:
        left = f"{count(fewest['held_out'], f'held-out {unit}')} would be left"
        return Rule(name, False, f"without annotator {person(fewest)} {left}, at least {settings.min_held_out:,} asked")
    over = found["over"]
    bound = settings.min_gain_over_champion if over == "champion" else settings.min_gain_over_base
    gain = dearest["gain"]
    passed = gain is not None and math.isfinite(gain) and gain >= bound
    words = f"without annotator {person(dearest)} the gain over the {over} would be {decimal(gain)}"
    return Rule(name, passed, f"{words}, at least {bound:g} asked; nobody's absence costs more")


_OLD_EXAM = (
    "cannot be told: this model line's evaluation set does not say what single votes add to the consensus; one made "
    "with evaluation.exam=renew does"
)


def _large_annotators(large: list[Mapping[str, Any]], settings: GateSettings) -> Rule:
    collapsed = [row for row in large if not _steady(row["champion"], row["candidate"], settings.max_fall)]
    if not collapsed:
        who = f"nobody with at least {settings.large_share:.0%} of the votes ({len(large):,} could be compared)"
        return Rule("large_annotators", True, f"{who} fell by more than {settings.max_fall:g} in reliability")
    falls = "; ".join(
        f"the reliability of annotator {person(row)}, who gave {percent(row['share'])} of the votes, fell from "
        f"{with_interval(row['champion'])} at the champion to {with_interval(row['candidate'])}"
        for row in collapsed
    )
    return Rule("large_annotators", False, f"{falls}, a fall of at most {settings.max_fall:g} allowed")


def _steady(before: Mapping[str, float], now: Mapping[str, float], most: float) -> bool:
    """Tell whether somebody can be believed as before; who was wrong more often than right never could."""
    fall = round(before["value"] - now["value"], 9)
    return before["value"] <= _COIN or now["high"] >= before["low"] or fall <= most


_COIN = 0.5


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
