"""Runs: every pipeline step is one MLflow child run under the pipeline's parent run.

Runs are always named by id. MLflow's active run is set inside a step, for code that logs through it, and nowhere else.
Where Kubeflow's own MLflow plugin is switched on, it has opened a run for the pipeline and one for each task, and names
the task's in MLFLOW_RUN_ID; those are used, and no others are made.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, PERMISSION_DENIED, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from repo.console import user_errors
from repo.errors import MAKE_ROOM, UserError, no_room
from repo.lifeline import end_with_the_command
from repo.tracking.handover import lies_here, location
from repo.tracking.lease import SECONDS, Claim, release, renew, take
from repo.tracking.outages import tell_outages
from repo.tracking.rights import refusals_told
from repo.tracking.step_run import StepRun
from repo.uris import public_name

PIPELINE_RUN = "repo.pipeline_run"
"""Tag of a parent run: the Kubeflow job it stands for."""
HOLDER = "repo.holder"
"""Tag of a parent run: who sees to its end, in REPO_RUN_HOLDER; only one such run can be at work at a time."""
ERROR = "repo.error"
"""Tag of a failed run: what went wrong."""
LEASE = "repo.lease"
"""Tag of a parent run: the model line whose lease it has asked for."""
REMEDY = "repo.remedy"
"""Tag of a failed run: what the user can do, where that is known."""


HOLDER_VARIABLE = "REPO_RUN_HOLDER"

KIND = "mlflow.experimentKind"
"""Tag of an experiment by which MLflow chooses what to show of it; it has no name in MLflow's Python code."""
TRAINING = "custom_model_development"


WITHOUT_A_WORD = "the step's process ended without a word"
"""What is said of a step that was killed."""


@dataclass(frozen=True)
class StepOutcome:
    """How one step ended; a step that was retried has one outcome an attempt.

    Args:
        run_id: its MLflow run.
        name: the step's name.
        status: MLflow's run status: RUNNING, FINISHED, FAILED or KILLED.
        seconds: wall time, None while it is running.
        error: what went wrong, or "".
        remedy: what the user can do about it, or "".
    """

    run_id: str
    name: str
    status: str
    seconds: float | None
    error: str
    remedy: str


def ensure_experiment(client: MlflowClient, name: str, artifact_location: str | None = None) -> str:
    """Return the id of the experiment, made if it is missing; one of no kind yet gets that of trainings.

    Raises:
        UserError: the experiment was deleted (MLflow keeps its name taken).
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        experiment_id: str = client.create_experiment(name, artifact_location, tags={KIND: TRAINING})
        return experiment_id
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        raise UserError(
            f"MLflow experiment '{name}' was deleted",
            f"restore it (mlflow experiments restore -x {experiment.experiment_id}) or set registry.experiment",
        )
    if not experiment.tags.get(KIND):
        # Whoever may log runs there need not be allowed to change the experiment; it is only a matter of looks.
        # Of two that set it in the same instant one is refused too.
        try:
            client.set_experiment_tag(experiment.experiment_id, KIND, TRAINING)
        except MlflowException as error:
            if error.error_code not in (ErrorCode.Name(PERMISSION_DENIED), ErrorCode.Name(BAD_REQUEST)):
                raise
    return str(experiment.experiment_id)


def open_parent(
    experiment: str, name: str, pipeline_run: str, settings: Mapping[str, str], tags: Mapping[str, str]
) -> str:
    """Return the id of the pipeline's parent run; the same one whenever it is asked for again.

    Args:
        experiment: MLflow experiment, made if it is missing.
        name: shown name of the run.
        pipeline_run: Kubeflow's job id, by which the run is found again.
        settings: logged as the run's parameters.
        tags: set on the run.

    Raises:
        UserError: the experiment was deleted.
    """
    client = MlflowClient()
    run_id = _injected_parent(client)
    tags = {PIPELINE_RUN: pipeline_run, HOLDER: os.environ.get(HOLDER_VARIABLE, ""), **tags}
    if run_id is None:
        known = _find_parent(pipeline_run)
        # Made with its tags in one call: whoever looks for it finds it, however short its life was.
        run_id = known.info.run_id if known else _create_run(client, ensure_experiment(client, experiment), name, tags)
        client.update_run(run_id, status="RUNNING")
    parent = StepRun(run_id)
    parent.set_tags(tags)
    # The plugin may have logged parameters of the same name, and MLflow lets nobody change one.
    there = client.get_run(run_id).data.params
    parent.log_params({name: value for name, value in settings.items() if name not in there})
    return run_id


@contextmanager
def step_run(parent_run_id: str, name: str) -> Iterator[StepRun]:
    """Run the body as one step: a child run that ends FINISHED, or FAILED with the reason in its tags.

    A UserError is shown on stderr and ends the process with code 1 (SystemExit); anything else is raised again.
    A retried step is a new child run; the earlier one stays as it ended.
    """
    end_with_the_command()
    tell_outages()
    started = time.monotonic()
    with user_errors(), refusals_told():
        run = _open_step_run(parent_run_id, name)
    with user_errors(), _active(run):
        try:
            with refusals_told(), _lease_kept(parent_run_id):
                yield run
        except KeyboardInterrupt:
            run.set_tags({ERROR: "stopped by the user"})
            mlflow.end_run("KILLED")
            raise
        except UserError as error:
            run.set_tags({ERROR: error.problem, REMEDY: error.remedy})
            raise
        except Exception as error:
            remedy = {REMEDY: MAKE_ROOM} if no_room(error) else {}
            run.set_tags({ERROR: public_name(f"{type(error).__name__}: {error}"), **remedy})
            raise
        finally:
            run.log_metrics({"seconds": time.monotonic() - started})


def take_lease(parent_run_id: str, model_name: str) -> Claim:
    """Take a model line's lease for a pass; every later step of it renews the lease, and its end gives it back.

    Where it is not to be had, no further step may run in the pass.
    """
    # Tagged first: killed while it takes the lease, the pass gives it back all the same when it is closed.
    StepRun(parent_run_id).set_tags({LEASE: model_name})
    return take(model_name, parent_run_id)


@contextmanager
def _lease_kept(parent_run_id: str) -> Iterator[None]:
    """Renew the pass's lease, if it holds one, at the beginning of a step and as long as it lasts.

    Raises:
        UserError: another pass holds it by now.
    """
    line = MlflowClient().get_run(parent_run_id).data.tags.get(LEASE)
    if line is None:
        yield
        return
    renew(line, parent_run_id)
    ended = threading.Event()
    keeper = threading.Thread(target=_keep_lease, args=(line, parent_run_id, ended), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()


def _keep_lease(line: str, owner: str, ended: threading.Event) -> None:
    while not ended.wait(SECONDS / 3):
        # What is wrong with it, the next step finds as well, and can say.
        with suppress(UserError, MlflowException):
            renew(line, owner)


def close_parent(pipeline_run: str, status: str) -> None:
    """End the parent run as the pipeline ended, and any child run that was left running (its process was killed).

    Args:
        pipeline_run: Kubeflow's job id; nothing happens where no parent run was opened for it.
        status: Kubeflow's state, such as SUCCEEDED, FAILED or CANCELLED.
    """
    parent = _find_parent(pipeline_run)
    if parent is not None:
        _close(parent, status)


def close_if_running(experiment: str, name: str, status: str) -> Run | None:
    """End a parent run, found by its name, that is still running; return it, or None where none was ever opened."""
    parent = find_run(experiment, name)
    if parent is not None and parent.info.status == "RUNNING":
        _close(parent, status)
        parent = MlflowClient().get_run(parent.info.run_id)
    return parent


def close_abandoned(holder: str) -> int:
    """End every run of a holder that was killed; return how many there were.

    Args:
        holder: value of the tag HOLDER. The caller holds what it stands for, so that nobody else is at work.
    """
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{HOLDER}` = '{holder}' and attributes.status = 'RUNNING'",
        output_format="list",
    )
    for run in runs:
        StepRun(run.info.run_id).set_tags({ERROR: "the command was killed"})
        _close(run, "CANCELLED")
    return len(runs)


def _close(parent: Run, status: str) -> None:
    client = MlflowClient()
    ended = _ended(status)
    for child in _children(client, parent):
        # The plugin's run of the exit handler itself is still at work.
        if child.info.status == "RUNNING" and child.info.run_id != os.environ.get("MLFLOW_RUN_ID"):
            StepRun(child.info.run_id).set_tags({ERROR: WITHOUT_A_WORD, REMEDY: _GO_ON})
            client.set_terminated(child.info.run_id, "KILLED" if ended == "KILLED" else "FAILED")
    try:
        # Before the run's end: killed in between, the run is still found and closed once more.
        line = parent.data.tags.get(LEASE)
        if line:
            release(line, parent.info.run_id)
    finally:
        if _injected_parent(client) != parent.info.run_id:
            client.set_terminated(parent.info.run_id, ended)


_GO_ON = "run the same command again: a training goes on from its last checkpoint (killed for memory? see dmesg)"


def steps_of(parent_run_id: str) -> list[StepOutcome]:
    """Return how the steps went, in the order they started."""
    client = MlflowClient()
    return [_outcome(child) for child in _children(client, client.get_run(parent_run_id))]


def find_run(experiment: str, name: str) -> Run | None:
    """Return the run of this name in an experiment, or None."""
    runs = mlflow.search_runs(
        experiment_names=[experiment],
        filter_string=f"attributes.run_name = '{name}'",
        max_results=1,
        output_format="list",
    )
    return runs[0] if runs else None


def artifact_of(parent_run_id: str, step_name: str, path: str, folder: Path) -> Path:
    """Return a file that a finished step published: where it lies on this machine, or downloaded.

    Args:
        parent_run_id: the pipeline's run.
        step_name: the step; of several attempts the last counts.
        path: name of the published directory, a slash, and the file in it.
        folder: where to download to.
    """
    run_id = [outcome.run_id for outcome in steps_of(parent_run_id) if outcome.name == step_name][-1]
    directory, _, file = path.partition("/")
    found_at = location(f"runs:/{run_id}/{directory}")
    here = lies_here(found_at)
    if not here:
        folder.mkdir(parents=True, exist_ok=True)
    return Path(mlflow.artifacts.download_artifacts(found_at, dst_path=None if here else str(folder))) / file


def _outcome(run: Run) -> StepOutcome:
    running = run.info.status == "RUNNING"
    seconds = None if running else (run.info.end_time - run.info.start_time) / 1000
    tags = run.data.tags
    return StepOutcome(
        run.info.run_id, run.info.run_name, run.info.status, seconds, tags.get(ERROR, ""), tags.get(REMEDY, "")
    )


def _ended(status: str) -> str:
    if status.startswith("CANCEL"):
        return "KILLED"
    return "FINISHED" if status == "SUCCEEDED" else "FAILED"


def _create_run(client: MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str] | None = None) -> str:
    return str(client.create_run(experiment_id, run_name=name, tags=tags).info.run_id)


def _open_step_run(parent_run_id: str, name: str) -> StepRun:
    injected = os.environ.get("MLFLOW_RUN_ID")
    if injected and injected != parent_run_id:
        return StepRun(injected, plugged=True)
    client = MlflowClient()
    experiment_id = client.get_run(parent_run_id).info.experiment_id
    return StepRun(_create_run(client, experiment_id, name, {MLFLOW_PARENT_RUN_ID: parent_run_id}))


@contextmanager
def _active(run: StepRun) -> Iterator[None]:
    """Make it MLflow's active run, and end it with the body: a run of the plugin is left to the plugin to end."""
    try:
        with mlflow.start_run(run_id=run.run_id, nested=True):
            yield
    finally:
        if run.plugged:
            MlflowClient().update_run(run.run_id, status="RUNNING")


def _injected_parent(client: MlflowClient) -> str | None:
    """The plugin names the task's run; the pipeline's is that one's parent."""
    injected = os.environ.get("MLFLOW_RUN_ID")
    return client.get_run(injected).data.tags.get(MLFLOW_PARENT_RUN_ID, injected) if injected else None


def _find_parent(pipeline_run: str) -> Run | None:
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{PIPELINE_RUN}` = '{pipeline_run}'",
        max_results=1,
        output_format="list",
    )
    return runs[0] if runs else None


def _children(client: MlflowClient, parent: Run) -> list[Run]:
    query = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
    runs = client.search_runs([parent.info.experiment_id], query, order_by=["attributes.start_time ASC"])
    return list(runs)
