"""What the command line prints when a run has ended."""

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repo.annotations.simulation import is_simulated
from repo.files import read_json
from repo.reporting.text import interval, short, signed
from repo.settings import RegistrySettings, Settings

if TYPE_CHECKING:
    from pipelines.local import LocalRun

_MOST_ANNOTATORS = 20
_MOST_ID_CHARACTERS = 40
_WIDTH = 100


def summarise(finished: "LocalRun", data: str, settings: Settings, store: Path | None) -> str:
    """Return a short account of a finished run: steps, reliabilities, evaluation, verdict, and where to look."""
    from repo.evaluation.summary import one_line
    from repo.tracking.runs import artifact_of, steps_of

    folder = finished.log.parent.parent / "reports" / finished.log.stem
    report = artifact_of(finished.run_id, "report", "report/report.html", folder)
    reliability = read_json(report.parent / "reliability.json")
    evaluation = read_json(artifact_of(finished.run_id, "evaluate", "evaluation/evaluation.json", folder))
    verdict = read_json(artifact_of(finished.run_id, "gate", "verdict/verdict.json", folder))
    truth = settings.simulation.reliabilities if is_simulated(data) else {}
    steps = [(s.name, s.status.lower(), f"{s.seconds:.1f} s" if s.seconds else "") for s in steps_of(finished.run_id)]
    option = f" --store {shlex.quote(str(store))}" if store else ""
    model = settings.registry.model
    named = option if model == RegistrySettings().model else f"{option} --model {model}"
    return "\n".join(
        [
            "",
            *aligned(("step", "outcome", "time"), steps),
            "",
            *reliability_lines(reliability, truth),
            *warning_lines(reliability["warnings"]),
            "",
            one_line(evaluation),
            f"verdict: {verdict['decision']}",
            *(f"  - {reason}" for reason in verdict["reasons"]),
            *_standing(model, finished.run_id),
            "",
            f"report: {report}",
            f"runs and models: repo-pipeline ui{option}    repo-pipeline models{named}",
            f"log: {finished.log}",
        ]
    )


def _standing(model: str, run_id: str) -> list[str]:
    """Say what became of the version, and what a person can do about it."""
    from repo.tracking.promotion import approval_command
    from repo.tracking.registry import WAITING, list_models

    info = next((info for info in list_models(model) if info.run_id == run_id), None)
    if info is None:
        return []
    if info.approval == WAITING:
        return [f"{model} version {info.version} waits for approval: {approval_command(model, info.version)}"]
    return [f"{model} version {info.version}" + (f" is {', '.join(info.aliases)}" if info.aliases else "")]


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """Return the estimator's warnings, wrapped, and with nothing in them that could break the terminal."""
    return [
        line
        for warning in warnings
        for line in textwrap.wrap(f"warning: {printable(warning)}", _WIDTH, subsequent_indent="  ")
    ]


def reliability_lines(reliability: dict[str, Any], truth: dict[str, float], everybody: bool = False) -> list[str]:
    """Return estimated reliabilities, beside the true ones if known; of many annotators only both ends, if not asked
    for everybody.
    """
    annotators = reliability["annotators"]
    two = reliability["coins"] == 2
    judged = any("agreement_with_majority" in row for row in annotators)  # the report adds it
    head = (
        "annotator",
        "reliability",
        f"{100 * reliability['confidence']:g}% interval",
        *(("true",) if truth else ()),
        *(("agrees with majority",) if judged else ()),
        "labels",
        *(("prefers first",) if two else ()),
    )
    rows = [
        (
            shortened(row["annotator_id"]),
            f"{row['reliability']:.3f}",
            _interval(row),
            *((number(truth.get(row["annotator_id"])),) if truth else ()),
            *((number(row["agreement_with_majority"]),) if judged else ()),
            f"{row['annotations']:,}",
            *((signed(row["first_preference"]),) if two else ()),
        )
        for row in annotators
    ]
    if len(rows) > _MOST_ANNOTATORS and not everybody:
        half = _MOST_ANNOTATORS // 2
        rows = [*rows[:half], (f"… {len(rows) - 2 * half} more …", *[""] * (len(head) - 1)), *rows[-half:]]
    population = _population_lines(reliability["population"]) if len(annotators) > 1 else []
    lines = [*aligned(head, rows), *population]
    errors = [
        abs(row["reliability"] - truth[row["annotator_id"]]) for row in annotators if row["annotator_id"] in truth
    ]
    return [*lines, f"mean absolute error: {sum(errors) / len(errors):.3f}"] if errors else lines


def _population_lines(population: dict[str, Any] | None) -> list[str]:
    if population is None:
        return []
    if not population["told_apart"]:
        return [f"the labels do not tell annotators apart: everybody gets the common value {population['mean']:.3f}"]
    return [f"annotators in general: {population['mean']:.3f}, standard deviation {population['sd']:.3f}"]


def _interval(row: dict[str, Any]) -> str:
    if row["pinned"]:
        return "pinned"
    return interval(row["interval"]) if row["interval"] else ""


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as aligned lines."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]


def shortened(annotator_id: str) -> str:
    """Return an id that cannot break the terminal: no control characters, no newlines, not too long."""
    return short(printable(annotator_id), _MOST_ID_CHARACTERS)


def printable(text: str) -> str:
    """Return text with nothing in it that could break the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def number(value: float | None) -> str:
    """Return '0.912', or nothing where there is no such number."""
    return "" if value is None else f"{value:.3f}"
