"""The policy as an MLflow model that carries its annotators' reliabilities."""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus

from repo.files import tree_digest, write_json
from repo.tracking.handover import Pointer, content_digest
from repo.tracking.step_run import StepRun

RELIABILITY_FILE = "reliability.json"
"""Every annotator's reliability, beside the MLmodel file."""

STATE_FILE = "reliability_state.json"
"""The same as the next training's prior; not there after plain training."""

_REQUIREMENTS = ("torch", "transformers", "accelerate", "safetensors")


def log_policy(
    step_run: StepRun,
    policy_dir: Path,
    name: str,
    reliability: Mapping[str, Any],
    details: Mapping[str, str | float],
    state: Path | None = None,
) -> Pointer:
    """Keep a Hugging Face directory as an MLflow model of the step's run.

    The model is staged here rather than through `mlflow.transformers.log_model`: it becomes READY only with
    `reliability.json` in it, and its digest needs no download.

    Args:
        step_run: the run that made the policy.
        policy_dir: a full causal language model with its tokenizer, as save_pretrained writes them.
        name: the model's name in the run.
        reliability: the content of reliability.json.
        details: flat facts about the training (loss, base, …): kept in the MLmodel metadata and as the model's tags.
        state: reliability_state.json, where there is one.

    Returns:
        `models:/MODEL_ID` and the digest of the model.
    """
    client = MlflowClient()
    run = client.get_run(step_run.run_id)
    model = client.create_logged_model(
        run.info.experiment_id,
        name=name,
        source_run_id=step_run.run_id,
        tags={key: str(value) for key, value in details.items()},
        model_type="causal-language-model",
    )
    try:
        with tempfile.TemporaryDirectory() as directory:
            staged = Path(directory, "model")
            reliability_file = Path(directory, RELIABILITY_FILE)
            write_json(reliability_file, reliability)
            summary = {**reliability_summary(reliability), "reliability_digest": tree_digest(reliability_file)}
            _stage(staged, policy_dir, model.model_id, step_run.run_id, {**summary, **details})
            reliability_file.rename(staged / RELIABILITY_FILE)
            if state is not None:
                shutil.copyfile(state, staged / STATE_FILE)
            digest = content_digest(staged)
            client.log_model_artifacts(model.model_id, str(staged))
    except BaseException:
        client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(step_run.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return Pointer(f"models:/{model.model_id}", digest)


def reliability_summary(reliability: Mapping[str, Any]) -> dict[str, str | float]:
    """Return reliability.json in a few flat facts, for MLmodel metadata (names start with `reliability_`).

    `reliability_interval_width_median` is over annotators who were estimated, and absent where none was.
    """
    values = [annotator["reliability"] for annotator in reliability["annotators"]]
    widths = [
        annotator["interval"][1] - annotator["interval"][0]
        for annotator in reliability["annotators"]
        if annotator["interval"] and not annotator["pinned"]
    ]
    quantiles = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
    population = reliability["population"]
    return {
        "reliability_estimator": reliability["estimator"],
        "reliability_calibrated": str(reliability["calibrated"]).lower(),
        "reliability_temperature": reliability["calibration"]["temperature"],
        "reliability_margins": reliability["margins"],
        "reliability_coins": reliability["coins"],
        "reliability_initial": reliability["initial"],
        "reliability_annotators": len(values),
        "reliability_mean": float(np.mean(values)),
        **{f"reliability_{key}": float(np.quantile(values, share)) for key, share in quantiles.items()},
        "reliability_confidence": reliability["confidence"],
        **({"reliability_interval_width_median": float(np.median(widths))} if widths else {}),
        **({f"reliability_population_{name}": population[name] for name in ("mean", "sd")} if population else {}),
        "reliability_warnings": len(reliability["warnings"]),
    }


def _stage(staged: Path, policy_dir: Path, model_id: str, run_id: str, metadata: Mapping[str, str | float]) -> None:
    from mlflow.models import Model

    with _without_warnings(logging.getLogger("mlflow.transformers")):
        mlflow.transformers.save_model(
            # An absolute path is copied without loading the weights, and never taken for a hub id to look up.
            str(policy_dir.resolve()),
            str(staged),
            task="text-generation",
            mlflow_model=Model(model_uuid=model_id, model_id=model_id, run_id=run_id, metadata=dict(metadata)),
            pip_requirements=[f"{package}=={version(package).partition('+')[0]}" for package in _REQUIREMENTS],
        )
    # It sends the reader to a hub page named after the local directory.
    (staged / "LICENSE.txt").unlink(missing_ok=True)


@contextmanager
def _without_warnings(logger: logging.Logger) -> Iterator[None]:
    """MLflow warns that a local directory has no model card and no licence on the hub."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
