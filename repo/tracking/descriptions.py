"""Descriptions that MLflow shows above a run, a model and a version. What a person has written there stays."""

from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from repo.files import text_digest
from repo.tracking.step_run import StepRun

WRITTEN = "repo.description"
"""Tag of a run or a version: digest of the description that was written last, to tell it from a person's."""


def describe_run(run_id: str, text: str) -> None:
    """Describe a run in Markdown, unless a person has."""
    tags = MlflowClient().get_run(run_id).data.tags
    if _is_ours(tags.get(MLFLOW_RUN_NOTE), tags.get(WRITTEN)):
        StepRun(run_id).set_tags({MLFLOW_RUN_NOTE: text, WRITTEN: text_digest(text)})


def head_run(run_id: str, headline: str) -> None:
    """Replace the first line of a run's description, unless a person has changed it."""
    _, _, rest = MlflowClient().get_run(run_id).data.tags.get(MLFLOW_RUN_NOTE, "").partition("\n")
    describe_run(run_id, f"{headline}\n{rest}")


def describe_version(model_name: str, version: str, text: str) -> None:
    """Describe a version in Markdown, unless a person has."""
    client = MlflowClient()
    known = client.get_model_version(model_name, version)
    if _is_ours(known.description, known.tags.get(WRITTEN)):
        # Cut short between the two, the old text passes for a person's, and stays.
        client.set_model_version_tag(model_name, version, WRITTEN, text_digest(text))
        client.update_model_version(model_name, version, text)


def describe_line(model_name: str, text: str) -> None:
    """Describe a registered model in Markdown where it has no description."""
    client = MlflowClient()
    if not client.get_registered_model(model_name).description:
        client.update_registered_model(model_name, description=text)


def _is_ours(description: str | None, written: str | None) -> bool:
    return not description or written == text_digest(description)
