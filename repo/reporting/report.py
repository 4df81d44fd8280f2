"""The report of a training run or of a stand-alone estimate: whom it believes, which labels it doubts, how far to trust
either.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from repo.annotations.schema import VIRTUAL_ANNOTATOR
from repo.annotations.simulation import is_simulated
from repo.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from repo.reliability.drift import DRIFT_FILE
from repo.reporting.annotators import (
    END_ROWS,
    MIDDLE_ROWS,
    MOST_NAMED,
    WIDE,
    Row,
    changes,
    extremes,
    leaning,
    standing,
    tables,
    true_error,
)
from repo.reporting.figures import (
    Figure,
    interval_plot,
    posterior_histogram,
    reliability_histogram,
    training_curves,
)
from repo.reporting.page import render
from repo.reporting.summaries import (
    AnnotatorSummary,
    PairwiseAgreement,
    annotator_summaries,
    doubtful_labels,
    mostly_initial,
    pairwise_agreement,
)
from repo.settings import Settings, leaves
from repo.uris import public_name

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
    "reliability.calibrate",
    "reliability.coins",
    "reliability.initial",
    "reliability.confidence",
}
_OPEN_LABELS = 10


@dataclass(frozen=True)
class ReportInputs:
    """What a report is made of.

    Attributes:
        title: the page's title.
        model_name: the policy that was trained; None for an estimate without a training.
        settings: name and value of the settings to print at the foot of the page.
        reliability: contents of reliability.json.
        labels: the canonical annotation table with `margin` (NaN where there is none) and `posterior` of every label;
            texts may be empty throughout.
        history: logged training metrics, one dictionary a step.
        true_reliability: annotator id → probability of a right label; None unless the data is simulated.
        doubtful: most doubtful labels shown on the page (the file lists all of them).
        classes: names of the classes that 'a' and 'b' stand for, where labels are not choices between two responses.
        drift: content of drift.json, after a retraining.
    """

    title: str
    model_name: str | None
    settings: list[tuple[str, str]]
    reliability: dict[str, Any]
    labels: pd.DataFrame
    history: list[dict[str, Any]]
    true_reliability: dict[str, float] | None
    doubtful: int
    classes: tuple[str, str] | None = None
    drift: dict[str, Any] | None = None


@dataclass(frozen=True)
class Report:
    """The page, every doubtful label (least believed first), and reliability.json with agreements added."""

    html: str
    doubtful: list[dict[str, Any]]
    reliability: dict[str, Any]


def report_inputs(training: Path, settings: Settings, data: str) -> ReportInputs:
    """Collect what a report needs from a training's record.

    Args:
        training: directory with reliability.json, posteriors.parquet and history.jsonl.
        settings: all settings of the run.
        data: where the annotations came from; 'simulated' ones have known reliabilities.
    """
    simulated = is_simulated(data)
    drift = training / DRIFT_FILE
    return ReportInputs(
        title="Simulated annotations" if simulated else f"Annotations from {public_name(data)}",
        model_name=settings.policy.base,
        settings=_main_settings(settings),
        reliability=read_json(training / "reliability.json"),
        labels=pd.read_parquet(training / "posteriors.parquet"),
        history=list(read_jsonl(training / "history.jsonl")),
        true_reliability=dict(settings.simulation.reliabilities) if simulated else None,
        doubtful=settings.evaluation.doubtful,
        drift=read_json(drift) if drift.exists() else None,
    )


def build_report(inputs: ReportInputs) -> Report:
    """Make the report; the same inputs give the same bytes."""
    assert len(inputs.labels), "a training split has labels"
    assert inputs.labels["posterior"].between(0, 1).all(), "posteriors are probabilities"
    summaries = annotator_summaries(inputs.reliability, inputs.labels)
    doubtful = doubtful_labels(inputs.labels, summaries, inputs.classes)
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
    found = inputs.reliability
    rows = _rows(inputs, summaries)
    return render(
        "report.html",
        title=inputs.title,
        model_name=inputs.model_name,
        settings=inputs.settings,
        found=found,
        confidence=f"{100 * found['confidence']:g}%",
        classes=inputs.classes,
        thing=_thing(inputs),
        texts=bool((inputs.labels[["prompt", "response_a", "response_b"]] != "").any(axis=None)),
        annotators=summaries,
        labels=len(inputs.labels),
        tiles=_tiles(inputs, rows, len(doubtful)),
        virtual=_is_virtual(summaries),
        extremes=extremes([row.summary for row in rows if not row.mostly_initial]),
        standings=[row.standing for row in rows],
        wide=WIDE,
        tables=tables(rows),
        left_out=max(0, len(rows) - 2 * END_ROWS - MIDDLE_ROWS),
        any_gold=any(summary.gold_comparisons for summary in summaries),
        known_before=sum(summary.known_before for summary in summaries),
        simulated=inputs.true_reliability is not None,
        true_error=true_error(rows),
        any_initial=any(row.mostly_initial for row in rows),
        by_population=sum(row.mostly_population for row in rows),
        leaning=leaning(summaries) if found["coins"] == 2 else None,
        drift=inputs.drift,
        drift_rows=changes(inputs.drift),
        most_named=MOST_NAMED,
        figures=_figures(inputs, summaries),
        curves=training_curves(inputs.history),
        doubtful=doubtful[: inputs.doubtful],
        open_labels=_OPEN_LABELS,
        doubtful_total=len(doubtful),
        pairs=_pairs(inputs.labels, summaries),
        few_shared=FEW_SHARED,
    )


def _tiles(inputs: ReportInputs, rows: list[Row], doubtful: int) -> list[tuple[str, str]]:
    labels = inputs.labels
    comparisons = labels["comparison_id"].nunique()
    thing = _thing(inputs)
    coins = sum(row.standing == "coin" for row in rows)
    return [
        (f"{len(rows):,}", "annotator" if len(rows) == 1 else "annotators"),
        *([] if inputs.reliability["estimator"] == "none" else [(f"{coins:,}", "not told from a coin")]),
        (f"{len(labels):,}", "labels"),
        (f"{comparisons:,}", f"{thing}s judged"),
        (f"{len(labels) / comparisons:.1f}", f"labels a {thing}"),
        (f"{doubtful:,}", "doubtful labels"),
    ]


def _thing(inputs: ReportInputs) -> str:
    """Return what is judged: two responses are compared, classes are given to tasks."""
    return "task" if inputs.classes else "comparison"


def _is_virtual(summaries: list[AnnotatorSummary]) -> bool:
    return [summary.annotator_id for summary in summaries] == [VIRTUAL_ANNOTATOR]


def _rows(inputs: ReportInputs, summaries: list[AnnotatorSummary]) -> list[Row]:
    """Return the lines of the table; only the paper's rule on raw margins may leave a reliability where it started."""
    truth = inputs.true_reliability or {}
    found = inputs.reliability
    lingers = found["estimator"] == "paper" and not found["calibrated"]
    epochs = inputs.history[-1]["epoch"] if inputs.history else 1.0
    return [
        Row(
            summary,
            truth.get(summary.annotator_id),
            lingers and not summary.pinned and mostly_initial(summary.annotations, epochs, found["step_size"]),
            not summary.pinned and (summary.population_share or 0.0) > 0.5,
            standing(summary),
        )
        for summary in summaries
    ]


def _figures(inputs: ReportInputs, summaries: list[AnnotatorSummary]) -> list[Figure]:
    """Return the distributions; every interval at a glance where the table shows only some."""
    initial = inputs.reliability["initial"] if inputs.reliability["estimator"] == "paper" else None
    intervals = [(s.reliability, s.interval) for s in summaries if s.interval]
    return [
        *([interval_plot(intervals)] if len(summaries) > 2 * END_ROWS and intervals else []),
        reliability_histogram([summary.reliability for summary in summaries], initial),
        posterior_histogram(inputs.labels["posterior"].to_numpy()),
    ]


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
