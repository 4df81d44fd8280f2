import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

import components
from repo.console import user_errors
from repo.errors import UserError
from repo.tracking.registry import Tag
from repo.tracking.runs import (
    ERROR,
    HOLDER_VARIABLE,
    REMEDY,
    close_abandoned,
    close_parent,
    open_parent,
    step_run,
    steps_of,
    take_lease,
)


def run_of(run_id: str) -> mlflow.entities.Run:
    return MlflowClient().get_run(run_id)


def test_the_parent_run_is_found_again_by_a_retry(store, parent):
    again = open_parent("repo", "training", "job-1", settings={"train.loss": "dpo"}, tags={})
    other = open_parent("repo", "training", "job-2", settings={}, tags={})
    assert again == parent != other
    assert run_of(parent).data.params == {"train.loss": "dpo"}
    assert run_of(parent).data.tags["purpose"] == "test"


def test_a_missing_experiment_is_made_and_a_deleted_one_is_explained(store):
    run_id = open_parent("new", "training", "job-1", settings={}, tags={})
    experiment_id = run_of(run_id).info.experiment_id
    MlflowClient().delete_experiment(experiment_id)
    with pytest.raises(UserError, match="'new' was deleted") as caught:
        open_parent("new", "training", "job-2", settings={}, tags={})
    assert f"restore -x {experiment_id}" in caught.value.remedy


def test_a_step_is_a_child_run_that_ends_finished_with_its_wall_time(store, parent):
    with step_run(parent, "validate") as run:
        mlflow.log_metric("through/mlflow", 1.0)
        time.sleep(0.02)
    child = run_of(run.run_id)
    assert child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent
    assert child.data.metrics["through/mlflow"] == 1.0
    assert child.data.metrics["seconds"] >= 0.02
    [outcome] = steps_of(parent)
    assert (outcome.name, outcome.status, outcome.error, outcome.remedy) == ("validate", "FINISHED", "", "")
    assert outcome.seconds is not None
    assert outcome.seconds >= 0.02


def test_a_step_runs_under_its_own_parent_whatever_run_is_active(store, parent):
    with mlflow.start_run() as active, step_run(parent, "train") as run:
        pass
    assert run_of(run.run_id).data.tags["mlflow.parentRunId"] == parent != active.info.run_id
    assert run_of(active.info.run_id).info.status == "FINISHED"


def test_a_users_mistake_is_told_once_and_ends_the_process_with_code_1(store, parent, capsys):
    with pytest.raises(SystemExit) as caught, step_run(parent, "validate") as run:
        raise UserError("a.jsonl, line 3: no prompt", "add one")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: a.jsonl, line 3: no prompt\n  → add one\n"
    child = run_of(run.run_id)
    assert child.info.status == "FAILED"
    assert (child.data.tags[ERROR], child.data.tags[REMEDY]) == ("a.jsonl, line 3: no prompt", "add one")


def test_a_users_mistake_leaves_no_traceback_in_a_real_process(store, parent):
    code = (
        "from repo.errors import UserError; from repo.tracking.runs import step_run\n"
        f"with step_run('{parent}', 'validate'): raise UserError('empty file', 'add annotations')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert (done.returncode, done.stderr) == (1, "error: empty file\n  → add annotations\n")


def test_a_users_mistake_before_any_run_is_told_the_same_way(capsys):
    with pytest.raises(SystemExit) as caught, user_errors():
        raise UserError("unknown loss 'dop'", "did you mean dpo?")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: unknown loss 'dop'\n  → did you mean dpo?\n"


def test_an_unexpected_error_is_kept_with_the_run_and_raised_again(store, parent):
    with pytest.raises(ZeroDivisionError), step_run(parent, "train"):
        _ = 1 / 0
    [outcome] = steps_of(parent)
    assert (outcome.status, outcome.error) == ("FAILED", "ZeroDivisionError: division by zero")


def test_a_step_stopped_from_the_keyboard_is_killed(store, parent):
    with pytest.raises(KeyboardInterrupt), step_run(parent, "train"):
        raise KeyboardInterrupt
    [outcome] = steps_of(parent)
    assert (outcome.status, outcome.error) == ("KILLED", "stopped by the user")


def test_a_retried_step_is_a_second_child_and_the_first_stays_failed(store, parent):
    with pytest.raises(RuntimeError), step_run(parent, "train"):
        raise RuntimeError("node lost")
    with step_run(parent, "train"):
        pass
    assert [(s.name, s.status) for s in steps_of(parent)] == [("train", "FAILED"), ("train", "FINISHED")]


@pytest.mark.parametrize("text", ["x" * 10_000, "<b>'\"\n\x00", "lone \ud800 surrogate"])
def test_an_error_of_any_text_is_stored(store, parent, text):
    with pytest.raises(SystemExit), step_run(parent, "validate"):
        raise UserError(text, text)
    [outcome] = steps_of(parent)
    assert outcome.error[:4] == text[:4]
    assert len(outcome.error) <= 8000


@pytest.mark.parametrize(
    ("state", "status", "child_status"),
    [
        ("SUCCEEDED", "FINISHED", "FAILED"),
        ("FAILED", "FAILED", "FAILED"),
        ("CANCELLED", "KILLED", "KILLED"),
        ("CANCELED", "KILLED", "KILLED"),
    ],
)
def test_closing_ends_the_parent_as_the_pipeline_and_children_left_running(store, parent, state, status, child_status):
    with step_run(parent, "validate"):
        pass
    client = MlflowClient()
    client.create_run(run_of(parent).info.experiment_id, run_name="train", tags={"mlflow.parentRunId": parent})
    close_parent("job-1", state)
    assert run_of(parent).info.status == status
    done, lost = steps_of(parent)
    assert (done.status, done.error) == ("FINISHED", "")
    assert (lost.status, lost.error) == (child_status, "the step's process ended without a word")


def test_closing_a_pipeline_that_opened_no_run_does_nothing(store, parent):
    close_parent("job-that-failed-at-once", "FAILED")
    assert run_of(parent).info.status == "RUNNING"


def test_a_running_step_has_no_time_yet(store, parent):
    with step_run(parent, "train"):
        [outcome] = steps_of(parent)
    assert (outcome.status, outcome.seconds) == ("RUNNING", None)


def test_kubeflows_own_runs_are_used_where_its_plugin_is_on_and_nothing_is_logged_twice(store, monkeypatch):
    """What the plugin does, as its source says: after a step's code it logs the task's inputs and the finite scalars of
    its Metrics artifacts to the task's run and ends that; the API server ends the pipeline's.
    """
    client = MlflowClient()
    experiment_id = client.create_experiment("kubeflow's")
    pipeline = client.create_run(experiment_id, run_name="pipeline").info.run_id
    client.log_param(pipeline, "data", "s3://user:secret@bucket/votes")
    tasks = {
        name: client.create_run(experiment_id, run_name=name, tags={"mlflow.parentRunId": pipeline}).info.run_id
        for name in ("open-run", "train", "report", "close-run")
    }

    def launched(name, handed):
        run_id = tasks[name]
        assert run_of(run_id).info.status == "RUNNING", "we end no run that we did not open"
        client.log_param(run_id, "run_id", pipeline)
        for key, value in handed.items():
            if isinstance(value, float):
                client.log_metric(run_id, key, value, step=0)
        client.set_terminated(run_id, "FINISHED")

    monkeypatch.setenv("MLFLOW_RUN_ID", tasks["open-run"])
    parent = open_parent("repo", "training", "job-1", {"train.loss": "ipo", "data": "s3://***@bucket/votes"}, tags={})
    assert parent == pipeline
    assert run_of(pipeline).data.params == {"train.loss": "ipo", "data": "s3://user:secret@bucket/votes"}
    assert run_of(pipeline).info.experiment_id == experiment_id
    launched("open-run", {})

    monkeypatch.setenv("MLFLOW_RUN_ID", tasks["report"])
    with step_run(parent, "report") as run:
        handed = run.hand_on({"accuracy": 0.5, "nll": float("nan")})
    assert run.run_id == tasks["report"]
    assert handed == {"accuracy": 0.5, "nll": "not finite"}
    launched("report", handed)
    logged = run_of(tasks["report"]).data.metrics
    assert logged.keys() == {"accuracy", "nll", "seconds"}
    assert [len(client.get_metric_history(tasks["report"], name)) for name in logged] == [1, 1, 1]

    monkeypatch.setenv("MLFLOW_RUN_ID", tasks["train"])
    with pytest.raises(SystemExit), step_run(parent, "train"):
        raise UserError("no room", "make some")
    assert run_of(tasks["train"]).data.tags["repo.error"] == "no room"
    launched("train", {})

    monkeypatch.setenv("MLFLOW_RUN_ID", tasks["close-run"])
    close_parent("job-1", "SUCCEEDED")
    assert run_of(pipeline).info.status == "RUNNING", "the API server ends it"
    assert run_of(tasks["close-run"]).info.status == "RUNNING"


def test_without_the_plugin_figures_are_logged_by_us_and_handed_on(store, parent):
    with step_run(parent, "report") as run:
        assert run.hand_on({"accuracy": 0.5, "nll": float("nan")}) == {"accuracy": 0.5, "nll": "not finite"}
    logged = run_of(run.run_id).data.metrics
    assert logged.keys() == {"accuracy", "nll", "seconds"}
    assert run_of(run.run_id).info.status == "FINISHED"


def test_no_step_logs_what_it_hands_to_kubeflow_by_another_way():
    """Figures go through hand_on: logged beside it, they would stand in the plugin's run twice."""
    folder = Path(components.__file__).parent
    both = [
        file.name
        for file in folder.glob("*.py")
        if "metrics.metadata.update(" in file.read_text() and "run.log_metrics(" in file.read_text()
    ]
    assert both == []


def test_a_run_named_for_the_whole_pipeline_is_its_parent(store, monkeypatch):
    client = MlflowClient()
    experiment = client.get_experiment_by_name("repo")
    mine = client.create_run(experiment.experiment_id, run_name="mine").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", mine)
    parent = open_parent("repo", "training", "job-1", settings={}, tags={})
    with step_run(parent, "train") as run:
        pass
    assert parent == mine != run.run_id
    assert run_of(run.run_id).data.tags["mlflow.parentRunId"] == mine


def test_a_pass_killed_while_it_takes_the_lease_gives_it_back_when_it_is_closed(store, monkeypatch):
    """The lease is written, and the pass has not heard yet that it holds it."""
    monkeypatch.setenv(HOLDER_VARIABLE, "a-command")
    parent = open_parent("repo", "retraining", "job-1", settings={}, tags={})
    monkeypatch.setattr("repo.tracking.lease.time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take_lease(parent, "repo-policy")
    assert Tag.LEASE in MlflowClient().get_registered_model("repo-policy").tags
    assert close_abandoned("a-command") == 1
    assert Tag.LEASE not in MlflowClient().get_registered_model("repo-policy").tags
    assert run_of(parent).info.status == "KILLED"


def test_a_full_disk_is_told_with_a_remedy(store, parent):
    with pytest.raises(OSError, match="No space"), step_run(parent, "train") as run:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")
    assert run_of(run.run_id).data.tags[REMEDY].startswith("make room")


def interrupted(*arguments):
    raise KeyboardInterrupt
