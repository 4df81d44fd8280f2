"""What a server that asks who one is refuses, in words: which right is missing, and who can give it.

MLflow's own rights are READ, EDIT and MANAGE on an experiment or a registered model; a server with other rules
(Kubernetes' own, a proxy's) refuses with the same two errors.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from repo.errors import UserError

_REQUEST = re.compile(r"/mlflow(?:-artifacts)?/([\w-]+)(?:/([\w-]+))?")
_THINGS = {"registered-models": "registered model", "model-versions": "registered model"}
"""First part of a request's path → what it is about; everything else belongs to an experiment."""


def missing_right(error: BaseException) -> UserError | None:
    """Return what to tell the user where MLflow refused a request; None where something else is wrong."""
    code = getattr(error, "error_code", "")
    if code == "UNAUTHENTICATED":
        return UserError(
            f"MLflow does not let {_user()} in: user and password, or the token, are missing or wrong",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    if code != "PERMISSION_DENIED":
        return None
    if "Invalid Host header" in str(error):
        return UserError(
            "the MLflow server does not serve under this name (403, Invalid Host header)",
            "start it with --allowed-hosts that holds this name, beside those it has",
        )
    thing, right = _refused(str(error))
    return UserError(
        f"MLflow refuses this to {_user()}: the right {right} on the {thing} is missing",
        f"ask who administers MLflow to grant {right} on it, or set MLFLOW_TRACKING_USERNAME to somebody who has it",
    )


@contextmanager
def refusals_told() -> Iterator[None]:
    """Raise what MLflow refuses as a UserError."""
    try:
        yield
    except MlflowException as error:
        told = missing_right(error)
        if told is None:
            raise
        raise told from error


def _refused(text: str) -> tuple[str, str]:
    """Return what a refused request was about, and the right that it takes."""
    match = _REQUEST.search(text)
    path, action = (match[1], match[2] or "") if match else ("", "")
    thing = _THINGS.get(path, "experiment")
    if action.startswith(("get", "search", "list")):
        return thing, "READ"
    if action == "delete":
        return thing, "MANAGE"
    return thing, "EDIT"


def _user() -> str:
    name = os.environ.get("MLFLOW_TRACKING_USERNAME")
    return f"user {name}" if name else "whoever sends no name"
