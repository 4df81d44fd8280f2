"""The report of a training run: whom the run believes, which labels it doubts, and how far to trust either."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repo.annotations.schema import VIRTUAL_ANNOTATOR
from repo.annotations.simulation import SOURCE
from repo.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from repo.reporting.figures import Figure, posterior_histogram, reliability_histogram, training_curves
from repo.reporting.page import render
from repo.reporting.summaries import (
    AnnotatorSummary,
    PairwiseAgreement,
    annotator_summaries,
    doubtful_labels,
    mostly_initial,
    pairwise_agreement,
)
from repo.reporting.text import count
from repo.settings import Settings, leaves

HEAT_MAP_ANNOTATORS = 30
"""Annotators in the agreement table; more of them would not be readable."""
FEW_SHARED = 10
"""Pairs with fewer shared comparisons stay uncoloured: their agreement says little."""
_MAIN_SETTINGS = {
    "policy.base",
    "train.loss",
    "train.m_step",
    "train.epochs",
    "train.batch_size",
    "train.seed",
    "reliability.estimator",
    "reliability.initial",
    "reliability.step_size",
}
_END_ROWS, _MIDDLE_ROWS, _OPEN_LABELS = 20, 400, 10


@dataclass(frozen=True)
class ReportInputs:
    """What a report is made of.

    Attributes:
        title: the page's title.
        model_name: the policy that was trained.
        settings: name and value of the settings to print at the foot of the page.
        reliability: contents of reliability.json.
        labels: the canonical annotation table of the training split with `margin` and `posterior` of every label.
        history: logged training metrics, one dictionary a step.
        true_reliability: annotator id → probability of a right label; None unless the data is simulated.
        doubtful: most doubtful labels shown on the page (the file lists all of them).
    """

    title: str
    model_name: str
    settings: list[tuple[str, str]]
    reliability: dict[str, Any]
    labels: pd.DataFrame
    history: list[dict[str, Any]]
    true_reliability: dict[str, float] | None
    doubtful: int


@dataclass(frozen=True)
class Report:
    """The page, every doubtful label (least believed first), and reliability.json with agreements added."""

    html: str
    doubtful: list[dict[str, Any]]
    reliability: dict[str, Any]


@dataclass(frozen=True)
class _Row:
    """An annotator's line in the table: the summary, the truth where it is known, and whether η₀ still dominates."""

    summary: AnnotatorSummary
    truth: float | None
    mostly_initial: bool


def report_inputs(training: Path, settings: Settings, data: str) -> ReportInputs:
    """Collect what a report needs from a training's record.

    Args:
        training: directory with reliability.json, posteriors.parquet and history.jsonl.
        settings: all settings of the run.
        data: where the annotations came from; 'simulated' ones have known reliabilities.
    """
    simulated = data == SOURCE
    return ReportInputs(
        title="Simulated annotations" if simulated else f"Annotations from {data}",
        model_name=settings.policy.base,
        settings=_main_settings(settings),
        reliability=read_json(training / "reliability.json"),
        labels=pd.read_parquet(training / "posteriors.parquet"),
        history=list(read_jsonl(training / "history.jsonl")),
        true_reliability=dict(settings.simulation.reliabilities) if simulated else None,
        doubtful=settings.evaluation.doubtful,
    )


def build_report(inputs: ReportInputs) -> Report:
    """Make the report; the same inputs give the same bytes."""
    assert len(inputs.labels), "a training split has labels"
    assert inputs.labels["posterior"].between(0, 1).all(), "posteriors are probabilities"
    summaries = annotator_summaries(inputs.reliability, inputs.labels)
    doubtful = doubtful_labels(inputs.labels, summaries)
    return Report(_page(inputs, summaries, doubtful), doubtful, _enriched(inputs.reliability, summaries))


def write_report(report: Report, directory: Path) -> None:
    """Write report.html, doubtful_labels.jsonl and reliability.json."""
    write_text(directory / "report.html", report.html)
    write_jsonl(directory / "doubtful_labels.jsonl", report.doubtful)
    write_json(directory / "reliability.json", report.reliability)


def _main_settings(settings: Settings) -> list[tuple[str, str]]:
    """Return the settings that make the result what it is, and all that differ from their default."""
    defaults = dict(leaves(Settings()))
    return [
        (name, str(value))
        for name, value in leaves(settings)
        if name in _MAIN_SETTINGS or name not in defaults or value != defaults[name]
    ]


def _page(inputs: ReportInputs, summaries: list[AnnotatorSummary], doubtful: list[dict[str, Any]]) -> str:
    rows = _rows(inputs, summaries)
    values = [summary.reliability for summary in summaries]
    return render(
        "report.html",
        title=inputs.title,
        model_name=inputs.model_name,
        settings=inputs.settings,
        annotators=summaries,
        judged=[row.summary for row in rows if not row.mostly_initial],
        labels=len(inputs.labels),
        estimator=inputs.reliability["estimator"],
        initial=inputs.reliability["initial"],
        step_size=inputs.reliability["step_size"],
        tiles=_tiles(inputs.labels, summaries, len(doubtful)),
        virtual=_is_virtual(summaries),
        mirrored=float(np.mean(values)) < 0.5,
        mean_reliability=float(np.mean(values)),
        tables=_tables(rows),
        left_out=max(0, len(rows) - 2 * _END_ROWS - _MIDDLE_ROWS),
        any_gold=any(summary.gold_comparisons for summary in summaries),
        simulated=inputs.true_reliability is not None,
        true_error=_true_error(rows),
        any_initial=any(row.mostly_initial for row in rows),
        figures=_distributions(inputs, values),
        curves=training_curves(inputs.history),
        doubtful=doubtful[: inputs.doubtful],
        open_labels=_OPEN_LABELS,
        doubtful_total=len(doubtful),
        pairs=_pairs(inputs.labels, summaries),
        few_shared=FEW_SHARED,
    )


def _tiles(labels: pd.DataFrame, summaries: list[AnnotatorSummary], doubtful: int) -> list[tuple[str, str]]:
    comparisons = labels["comparison_id"].nunique()
    return [
        (f"{len(summaries):,}", "annotator" if len(summaries) == 1 else "annotators"),
        (f"{len(labels):,}", "labels"),
        (f"{comparisons:,}", "comparisons judged"),
        (f"{len(labels) / comparisons:.1f}", "labels a comparison"),
        (f"{doubtful:,}", "doubtful labels"),
    ]


def _is_virtual(summaries: list[AnnotatorSummary]) -> bool:
    return [summary.annotator_id for summary in summaries] == [VIRTUAL_ANNOTATOR]


def _rows(inputs: ReportInputs, summaries: list[AnnotatorSummary]) -> list[_Row]:
    truth = inputs.true_reliability or {}
    learnt = inputs.reliability["estimator"] != "none"
    epochs = inputs.history[-1]["epoch"] if inputs.history else 1.0
    step_size = inputs.reliability["step_size"]
    return [
        _Row(
            summary, truth.get(summary.annotator_id), learnt and mostly_initial(summary.annotations, epochs, step_size)
        )
        for summary in summaries
    ]


def _true_error(rows: list[_Row]) -> float | None:
    """Mean absolute error of the reliabilities whose truth is known."""
    errors = [abs(row.summary.reliability - row.truth) for row in rows if row.truth is not None]
    return float(np.mean(errors)) if errors else None


def _tables(rows: list[_Row]) -> list[tuple[str, bool, list[_Row]]]:
    """Split the annotators into (caption, folded, rows): one table, or both ends and a bounded middle."""
    if len(rows) <= 2 * _END_ROWS:
        return [("Annotators, most reliable first", False, rows)]
    middle = rows[_END_ROWS:-_END_ROWS]
    return [
        (f"The {_END_ROWS} most reliable annotators", False, rows[:_END_ROWS]),
        (f"{count(min(len(middle), _MIDDLE_ROWS), 'annotator')} in between", True, middle[:_MIDDLE_ROWS]),
        (f"The {_END_ROWS} least reliable annotators", False, rows[-_END_ROWS:]),
    ]


def _distributions(inputs: ReportInputs, values: list[float]) -> list[Figure]:
    initial = None if inputs.reliability["estimator"] == "none" else inputs.reliability["initial"]
    return [reliability_histogram(values, initial), posterior_histogram(inputs.labels["posterior"].to_numpy())]


def _pairs(labels: pd.DataFrame, summaries: list[AnnotatorSummary]) -> PairwiseAgreement | None:
    """Agreement between the annotators with most labels; None when no comparison is shared."""
    busiest = sorted(summaries, key=lambda summary: -summary.annotations)[:HEAT_MAP_ANNOTATORS]
    chosen = {summary.annotator_id for summary in busiest}
    pairs = pairwise_agreement(labels, [s.annotator_id for s in summaries if s.annotator_id in chosen])
    return pairs if pairs.shared.any() else None


def _enriched(reliability: dict[str, Any], summaries: list[AnnotatorSummary]) -> dict[str, Any]:
    """Add what was counted to every annotator's entry, keeping the entry's own fields."""
    counted = {summary.annotator_id: asdict(summary) for summary in summaries}
    annotators = [{**counted[entry["annotator_id"]], **entry} for entry in reliability["annotators"]]
    return {**reliability, "annotators": annotators}
