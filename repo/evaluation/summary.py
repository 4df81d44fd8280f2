"""The evaluation in words: a table for the Kubeflow UI, metrics for MLflow, one line for the terminal."""

from collections.abc import Mapping
from typing import Any

from repo.reporting.text import cell, decimal, short, showable, with_interval

_COLUMNS = ("accuracy", "nll", "margin", "calibration_error", "likelihood_accuracy")


def flat_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return every figure under a flat name such as `candidate/gold/accuracy`; those that are not finite as NaN."""
    figures: dict[str, float] = {}
    for policy, targets in evaluation["policies"].items():
        for target, metrics in targets.items():
            for column in _COLUMNS:
                figures[f"{policy}/{target}/{column}"] = _value(metrics[column])
    for other, gain in evaluation["gains"].items():
        figures[f"gain_over_{other}"] = _value(gain)
    return figures


def one_line(evaluation: Mapping[str, Any]) -> str:
    """Return the accuracies of all policies in one line."""
    target = evaluation["target"]
    accuracies = {name: targets[target]["accuracy"] for name, targets in evaluation["policies"].items()}
    figures = (f"{name} {with_interval(figure)}" for name, figure in accuracies.items())
    missing = evaluation["left_out"]
    left_out = f" ({missing:,} left out: equal after truncation)" if missing else ""
    return (
        f"accuracy against {target} on {evaluation['comparisons']:,} held-out comparisons{left_out}: "
        f"{', '.join(figures)}"
    )


def to_markdown(evaluation: Mapping[str, Any], champion: str) -> str:
    """Return the whole evaluation as tables.

    Args:
        evaluation: what repo.evaluation.evaluation.evaluate returned.
        champion: the champion's version, or ''.
    """
    lines = [
        "# Evaluation",
        "",
        f"{evaluation['comparisons']:,} held-out comparisons of {evaluation['prompts']:,} prompts, "
        f"{evaluation['annotations']:,} annotations; held out by {evaluation['split_by']}. "
        f"Intervals: {evaluation['confidence']:.0%}, each {evaluation['split_by']} one draw. "
        f"The gate looks at **{evaluation['target']}**. "
        + (f"Champion: version {champion}." if champion else "There is no champion yet."),
        "",
        "| against | policy | judgements | accuracy | NLL | margin | calibration error | likelihood accuracy |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines[3:3] = _left_out(evaluation)
    for target in evaluation["policies"]["candidate"]:
        for name, targets in evaluation["policies"].items():
            metrics = targets[target]
            cells = [
                with_interval(metrics[c]) if isinstance(metrics[c], Mapping) else decimal(metrics[c]) for c in _COLUMNS
            ]
            lines.append(f"| {target} | {name} | {metrics['judgements']:,} | {' | '.join(cells)} |")
    lines += ["", *(f"Gain over {other}: {with_interval(gain)}." for other, gain in evaluation["gains"].items())]
    lines += _without_one(evaluation)
    lines += [
        "",
        "A policy's accuracy is that of its own preference probability p = σ(L_swap − L). With a loss that has a "
        "reference, the base is its own reference: p = ½ everywhere, accuracy ½ by definition. Likelihood accuracy "
        "compares mean token log-probabilities instead.",
    ]
    return "\n".join(lines) + "\n"


def person(row: Mapping[str, Any]) -> str:
    """Return an annotator's id, fit for a terminal and a line of a tag."""
    return short(showable(row["annotator_id"]))


def _without_one(evaluation: Mapping[str, Any]) -> list[str]:
    rows = evaluation.get("leave_one_out", {}).get("dearest")
    if not rows:
        return []
    over, annotators = evaluation["leave_one_out"]["over"], evaluation["leave_one_out"]["annotators"]
    return [
        "",
        f"Without one annotator's votes on these comparisons, of {annotators:,} annotators; whose absence costs most:",
        "",
        f"| without | their votes | {evaluation['split_by']}s left | gain over {over} |",
        "|---|--:|--:|--:|",
        *(f"| {cell(person(row))} | {row['votes']:,} | {row['held_out']:,} | {decimal(row['gain'])} |" for row in rows),
    ]


def _left_out(evaluation: Mapping[str, Any]) -> list[str]:
    if not evaluation["left_out"]:
        return []
    counts = ", ".join(f"{name} {count:,}" for name, count in evaluation["unusable"].items())
    words = "comparisons are left out, for all policies: their responses are equal after truncation for"
    return [f"{evaluation['left_out']:,} {words} {counts}.", ""]


def _value(figure: Any) -> float:
    value = figure["value"] if isinstance(figure, Mapping) else figure
    return float("nan") if value is None else float(value)
