"""From a registered policy back to something that can be scored: its weights, its reference and its loss."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import yaml
from mlflow.exceptions import MlflowException

from repo.errors import UserError
from repo.reliability.state import load_state
from repo.settings import Settings
from repo.tracking.handover import Pointer, fetch, location
from repo.tracking.models import STATE_FILE
from repo.tracking.registry import ModelInfo, champion

if TYPE_CHECKING:
    import pandas as pd

    from repo.evaluation.evaluation import PolicySource
    from repo.policy.earlier import Earlier
    from repo.policy.losses import PreferenceLoss
    from repo.reliability.state import ReliabilityState

_TINY = "tiny"


def policy_details(
    training: dict[str, Any], record: Pointer, model: str, data_digest: str, ledger: Pointer | None = None
) -> dict[str, str]:
    """Return the facts about a training that its MLflow model carries, enough to score the policy later.

    Args:
        training: content of training.json.
        record: where the training's record lies; it holds the base of a tiny policy.
        model: registered model name.
        data_digest: digest of the annotations.
        ledger: where the ledger lies of the batches that it has seen, if it was made of batches.
    """
    seen = {"ledger_uri": ledger.mlflow_uri, "ledger_digest": ledger.digest} if ledger else {}
    return {
        "loss": training["loss"],
        "loss_options": json.dumps(training["loss_options"]),
        "m_step": training["m_step"],
        "base": training["base"],
        "base_revision": training["base_revision"],
        "record_uri": record.mlflow_uri,
        "record_digest": record.digest,
        "registered_name": model,
        "data_digest": data_digest,
        **seen,
    }


def earlier_of(info: ModelInfo, votes: "pd.DataFrame", settings: Settings) -> "Earlier":
    """Fetch what a retraining goes on from.

    Args:
        info: the champion.
        votes: annotations to train on once more; see repo.policy.earlier.Earlier.
        settings: must fit the champion; see check_continues.

    Raises:
        UserError: it is gone or was changed, or the settings do not fit it.
    """
    from repo.policy.earlier import Earlier

    check_continues(info, settings)
    source = champion_source(info)
    state = Path(source.path).parent / STATE_FILE
    return Earlier(
        version=info.version,
        policy=Path(source.path) if settings.retrain.warm_start else None,
        base=source.base,
        revision=source.revision,
        state=load_state(str(state)) if state.exists() else None,
        votes=votes,
    )


def check_continues(info: ModelInfo, settings: Settings) -> None:
    """Check that a training with these settings can go on from a version; its weights stay where they are.

    Raises:
        UserError: the version has another base, knows nothing of annotators, or is gone; or there is a prior besides.
    """
    details = registered_metadata(info.pointer)
    line = "or start a new line of models with registry.model"
    base = settings.policy.base
    if base != _TINY and Path(base).expanduser().is_dir():
        base = str(Path(base).expanduser().resolve())
    if base != details["base"]:
        problem = f"policy.base = {base}, but version {info.version}, to go on from, was trained from {details['base']}"
        raise UserError(problem, f"set policy.base={details['base']}, {line}")
    plain = details["reliability_estimator"] == "none"
    if plain != (settings.reliability.estimator == "none"):
        problem = (
            f"reliability.estimator = {settings.reliability.estimator}, but version {info.version}, to go on from, was "
            f"trained with {details['reliability_estimator']}: "
            + ("it knows nothing of annotators" if plain else "what it knows of annotators would be lost")
        )
        raise UserError(problem, f"set reliability.estimator={details['reliability_estimator']}, {line}")
    if settings.reliability.prior_state:
        problem = "reliability.prior_state: a retraining takes what the champion knows of annotators"
        raise UserError(problem, f"leave it out, {line}")


def prior_state_of(uri: str) -> "ReliabilityState":
    """Fetch what a training found about its annotators: from a registered model, or from a file.

    Args:
        uri: models:/NAME@ALIAS, models:/NAME/VERSION, or the path of a reliability_state.json.

    Raises:
        UserError: there is no such model or file, or it is not what it should be.
    """
    if not uri.startswith("models:/"):
        return load_state(uri)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = mlflow.artifacts.download_artifacts(f"{uri}/{STATE_FILE}", dst_path=folder)
        except (MlflowException, OSError) as error:
            raise UserError(
                f"reliability.prior_state: {uri} holds no {STATE_FILE}: {error}",
                "name a version that was trained with an estimator, for example models:/repo-policy@champion; "
                "`repo-pipeline models` lists them",
            ) from None
        return load_state(path)


def policy_source(pointer: Pointer) -> "PolicySource":
    """Fetch a policy that log_policy kept, and what is needed to score it as it was trained.

    Raises:
        UserError: the policy or the record of its training is gone or was changed, or its loss cannot be made again.
    """
    from repo.evaluation.evaluation import PolicySource

    directory = fetch(pointer)
    details = model_metadata(directory)
    base: Path | str = details["base"]
    if base == _TINY:
        base = fetch(Pointer(details["record_uri"], details["record_digest"])) / "base"
    return PolicySource(directory / "model", base, _loss_of(details), details["base_revision"])


def _loss_of(details: dict[str, Any]) -> "PreferenceLoss":
    from repo.policy.losses import make_loss

    try:
        return make_loss(details["loss"], json.loads(details["loss_options"]))
    except UserError as error:
        raise UserError(
            f"the loss that the policy was trained with cannot be made again: {error.problem}", error.remedy
        ) from None


def check_champion(model_name: str) -> None:
    """Tell before a training that what it will be compared with cannot be had.

    Raises:
        UserError: the champion was not registered by us, or its files are gone.
    """
    info = champion(model_name)
    if info is None:
        return
    other = "move the alias champion to a version of ours, or start a new line of models with registry.model"
    if not info.digest:
        problem = (
            f"{model_name}: the champion (version {info.version}) has no tag model_digest: it was registered by hand"
        )
        raise UserError(problem, other)
    try:
        registered_metadata(info.pointer)
    except UserError as error:
        problem = f"{model_name}: the champion (version {info.version}) cannot be evaluated: {error.problem}"
        raise UserError(problem, f"restore it; or {other}") from None


def champion_source(info: ModelInfo) -> "PolicySource":
    """Fetch the champion, saying that it is the champion when that fails."""
    try:
        return policy_source(info.pointer)
    except UserError as error:
        raise UserError(
            f"the champion (version {info.version}) cannot be evaluated: {error.problem}",
            f"{error.remedy}; or start a new line of models with registry.model",
        ) from None


def registered_metadata(pointer: Pointer) -> dict[str, Any]:
    """Return the metadata of a policy in MLflow; its weights stay where they are.

    Raises:
        UserError: it is gone.
    """
    try:
        file = Path(mlflow.artifacts.download_artifacts(f"{location(pointer.mlflow_uri)}/MLmodel"))
    except (MlflowException, OSError) as error:
        raise UserError(f"{pointer.mlflow_uri}: its MLmodel file cannot be read: {error}", "run again") from error
    return model_metadata(file.parent)


def model_metadata(directory: Path) -> dict[str, Any]:
    """Return the metadata in a model directory's MLmodel file."""
    metadata: dict[str, Any] = yaml.safe_load((directory / "MLmodel").read_text(encoding="utf-8"))["metadata"]
    return metadata
