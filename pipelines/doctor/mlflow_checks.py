"""MLflow: reachable, the same version, runs and artifacts written and read back, models registered; nothing stays."""

import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.doctor.finding import Outcome, ok, skipped, warning
from repo.errors import UserError
from repo.tracking.store import Server, Store
from repo.uris import on_the_web, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

_NAME = "doctor"
_BYTES = 1024
"""Size of the artifact that makes the round trip."""
_WHO = "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
_NO_STORE = "no store there yet; the first run makes it"
_ARTIFACTS = "make the artifact store writable for the server, or for you where clients write to it themselves"


def reach(store: Store | Server) -> Outcome:
    """Ask a server for its health; of the embedded store, whether it is there and can be written."""
    if isinstance(store, Server):
        store.check()
        if not on_the_web(store.tracking_uri):
            return ok(f"{store.name}: no server, MLflow opens it itself")
        return ok(f"{store.name}: answers")
    store.check()
    folder = next(path for path in (store.root, *store.root.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}", "choose another with --store DIR") from None
    return ok(f"{store.name}: {'can be written' if store.exists else _NO_STORE}")


def same_version(store: Store | Server) -> Outcome:
    """Compare the server's version with the client's: they are made for each other up to the minor number."""
    here = version("mlflow")
    if not on_the_web(store.tracking_uri):
        return skipped("no server between")
    from mlflow.tracking._tracking_service.utils import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    credentials = get_default_host_creds(store.tracking_uri)
    answer = http_request(credentials, "/version", "GET", timeout=10, max_retries=0, raise_on_status=False)
    there = answer.text.strip()
    if answer.status_code != 200 or not there[:1].isdigit():
        return warning("the server does not say its version", f"ask its administrator whether it is {here}")
    if there.split(".")[:2] != here.split(".")[:2]:
        return warning(f"server {there}, client {here}", f"a server of {here} is what this release is tested with")
    return ok(f"server {there}, client {here}")


def write_run(store: Store | Server, experiment: str) -> Outcome:
    """Make a run in the experiment, with a parameter and an artifact that comes back the same, and delete it.

    Raises:
        UserError: one of these is refused or fails.
    """
    if not store.exists:
        return skipped(_NO_STORE)
    with _opened(store) as client:
        with _refusals(f"reading or making the experiment '{experiment}'", "READ on it, or the right to create it"):
            experiment_id = _experiment(client, store, experiment)
        with _refusals(f"writing a run in the experiment '{experiment}'", "EDIT on that experiment"):
            run_id = client.create_run(experiment_id, run_name=_NAME).info.run_id
        try:
            with _refusals(f"writing a run in the experiment '{experiment}'", "EDIT on that experiment"):
                client.log_param(run_id, _NAME, "1")
            _round_trip(client, run_id, store.tracking_uri)
        except UserError as error:
            left = _delete_run(client, run_id)
            raise UserError(f"{error.problem}{f'; {left}' if left else ''}", error.remedy) from error
        left = _delete_run(client, run_id)
    done = f"experiment '{experiment}': a run, its parameter and its artifact were written and read"
    if left:
        return warning(f"{done}; {left}", "ask for MANAGE on the experiment, or for somebody who deletes that run")
    return ok(f"{done}, then deleted, for good with `mlflow gc --run-ids {run_id}`")


def write_model(store: Store | Server, model: str) -> Outcome:
    """Tag the registered model and take the tag away; of a new name, register another and delete it.

    The name itself is not registered: between a look and the deletion a run could register its version under it.

    Raises:
        UserError: one of these is refused or fails.
    """
    if not store.exists:
        return skipped(_NO_STORE)
    with _opened(store) as client:
        from repo.tracking.registry import registered_model

        mark = uuid.uuid4().hex[:8]
        with _refusals(f"reading the registered model '{model}'", "READ on that model"):
            known = registered_model(client, model) is not None
        if known:
            return _tag_and_untag(client, model, f"repo.{_NAME}.{mark}")
        return _register_and_delete(client, model, f"{model}-{_NAME}-{mark}")


@contextmanager
def _opened(store: Store | Server) -> Iterator["MlflowClient"]:
    """Yield a client; a missing driver of a database is the user's to install."""
    # It would announce that it creates tables.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    try:
        with store.opened():
            from mlflow import MlflowClient

            yield MlflowClient()
    except ImportError as error:
        problem = f"{store.name}: the driver {error.name} is not installed"
        raise UserError(problem, f"pip install {error.name}") from error


def _tag_and_untag(client: "MlflowClient", model: str, key: str) -> Outcome:
    with _refusals(f"changing the registered model '{model}'", "EDIT on that model"):
        client.set_registered_model_tag(model, key, "1")
        client.delete_registered_model_tag(model, key)
    return ok(f"model '{model}': a tag was set and taken away")


def _register_and_delete(client: "MlflowClient", model: str, name: str) -> Outcome:
    from mlflow.exceptions import MlflowException

    with _refusals(f"registering a model such as '{model}'", "the right to create registered models"):
        client.create_registered_model(name)
    try:
        client.delete_registered_model(name)
    except MlflowException as error:
        words = f"model '{model}' can be registered; '{name}' stays, as it may not be deleted"
        return warning(words, f"delete that one in MLflow's pages: {_first_line(error)}")
    return ok(f"model '{model}': not there yet; another was registered and deleted")


def _experiment(client: "MlflowClient", store: Store | Server, name: str) -> str:
    from repo.tracking.runs import ensure_experiment

    if isinstance(store, Store):
        store.open_experiment(name)  # made here, its artifacts lie in the store; made by a client, in this directory
    return ensure_experiment(client, name)


def _round_trip(client: "MlflowClient", run_id: str, uri: str) -> None:
    sent = os.urandom(_BYTES)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, f"{_NAME}.bin")
        file.write_bytes(sent)
        try:
            client.log_artifact(run_id, str(file))
            (Path(directory) / "back").mkdir()
            back = Path(client.download_artifacts(run_id, file.name, f"{directory}/back")).read_bytes()
        except Exception as error:  # every storage service raises its own kinds
            problem = without_secrets(_first_line(error), uri)
            raise UserError(f"an artifact cannot be written and read back: {problem}", _ARTIFACTS) from error
    if back != sent:
        raise UserError("an artifact came back changed", "check what lies between: a proxy, or the artifact store")


def _delete_run(client: "MlflowClient", run_id: str) -> str:
    """End and delete the run; return what stays and why, or ''. To delete, one needs more rights than to write."""
    from mlflow.exceptions import MlflowException

    try:
        client.update_run(run_id, status="FINISHED")  # set_terminated would print
        client.delete_run(run_id)
    except MlflowException as error:
        return f"run {run_id} stays, it could not be deleted: {_first_line(error)}"
    return ""


@contextmanager
def _refusals(doing: str, right: str) -> Iterator[None]:
    """Name what MLflow does not let the user do, and the right that is missing; other failures pass through."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        refused = _refused(error, doing, right)
        if refused is None:
            raise
        raise refused from error


def _refused(error: "MlflowException", doing: str, right: str) -> UserError | None:
    from repo.tracking.rights import missing_right

    status = error.get_http_status_code()
    if "Invalid Host header" in str(error):
        return missing_right(error)
    if status == 401:
        return UserError(f"{doing}: MLflow does not know who asks (401)", _WHO)
    if status == 403:
        return UserError(f"{doing}: not allowed (403)", f"ask MLflow's administrator for {right}")
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
