"""What MLflow shows of a candidate: the descriptions of its run, of its version and of the model line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from repo.files import read_json
from repo.reliability.drift import DRIFT_FILE
from repo.reporting.notes import Places, left_to_a_person, line_note, promoted, run_note, version_note
from repo.tracking.descriptions import describe_line, describe_run, describe_version, head_run
from repo.tracking.handover import Pointer
from repo.tracking.ledger import ledger_of
from repo.tracking.pages import report_page, run_page, version_page
from repo.tracking.registry import CHAMPION, WAITING, Tag, list_models
from repo.tracking.runs import PIPELINE_RUN


@dataclass(frozen=True)
class Outcome:
    """What a pipeline run has made.

    Attributes:
        run_id: parent MLflow run.
        report: where its report lies.
        model: registered model.
        version: the candidate's version.
    """

    run_id: str
    report: Pointer
    model: str
    version: str


def describe(outcome: Outcome, evaluation: Mapping[str, Any], verdict: Mapping[str, Any], record: Path) -> None:
    """Describe run, version and model line, each unless a person has.

    Args:
        outcome: what the run has made.
        evaluation: content of evaluation.json.
        verdict: content of verdict.json.
        record: directory with the training's record.
    """
    client = MlflowClient()
    run = client.get_run(outcome.run_id)
    places = _places(outcome, run.info.experiment_id)
    reliability = read_json(record / "reliability.json")
    drift = read_json(record / DRIFT_FILE) if (record / DRIFT_FILE).exists() else None
    pipeline_run = run.data.tags.get(PIPELINE_RUN, "")
    describe_run(outcome.run_id, run_note(evaluation, verdict, reliability, drift, places, pipeline_run))
    loss = client.get_model_version(outcome.model, outcome.version).tags[Tag.LOSS]
    batches = [
        taken.name for taken in ledger_of(outcome.model, outcome.version).batches if taken.version == outcome.version
    ]
    note = version_note(evaluation, verdict, reliability, loss, batches, places)
    describe_version(outcome.model, outcome.version, note)
    describe_line(outcome.model, line_note(outcome.model))


def head_promoted(run_id: str, model_name: str, version: str) -> None:
    """Say at the head of a run's description what became of the version that passed the gate."""
    info = next(info for info in list_models(model_name) if info.version == version)
    if CHAMPION in info.aliases:
        head_run(run_id, promoted(model_name, version, info.promoted_from))
    elif info.approval == WAITING:
        head_run(run_id, left_to_a_person(model_name, version))


def _places(outcome: Outcome, experiment_id: str) -> Places:
    report_run = outcome.report.mlflow_uri.split("/")[1]
    return Places(
        run_page(experiment_id, outcome.run_id),
        report_page(experiment_id, report_run),
        version_page(outcome.model, outcome.version),
    )
