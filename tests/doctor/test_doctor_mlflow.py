"""MLflow, embedded and behind a server: what may be written is written and taken away; what is denied is named."""

import importlib.util
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doctor_servers import Door
from mlflow import MlflowClient
from mlflow.entities import ViewType

from repo.tracking.store import Store

Doctor = Callable[..., tuple[int, dict[str, dict[str, str]]]]
SERVED = ("--set", "registry.experiment=served")


def kept(store: Store) -> dict[str, Any]:
    """Return what a user sees in MLflow: live runs and models with their tags."""
    client = MlflowClient(store.tracking_uri)
    experiments = client.search_experiments()
    runs = client.search_runs(
        [experiment.experiment_id for experiment in experiments], run_view_type=ViewType.ACTIVE_ONLY
    )
    return {
        "runs": [run.info.run_id for run in runs],
        "models": {model.name: dict(model.tags) for model in client.search_registered_models()},
        "experiments": sorted(experiment.name for experiment in experiments),
    }


def test_a_store_that_is_not_made_yet_is_not_made(doctor: Doctor, tmp_path: Path) -> None:
    code, found = doctor("--store", tmp_path / "new")
    assert code == 0
    assert (found["MLflow"]["state"], found["MLflow runs"]["state"]) == ("ok", "skipped")
    assert "the first run makes it" in found["MLflow"]["words"]
    assert not (tmp_path / "new").exists()


def test_a_store_is_written_and_nothing_stays_in_it(doctor: Doctor, store: Store) -> None:
    before = kept(store)
    code, found = doctor("--store", store.root)
    assert code == 0
    assert {name: found[name]["state"] for name in ("MLflow", "MLflow runs", "MLflow models")} == {
        "MLflow": "ok",
        "MLflow runs": "ok",
        "MLflow models": "ok",
    }
    assert "mlflow gc --run-ids" in found["MLflow runs"]["words"]
    assert kept(store) == before


def test_a_model_that_is_there_keeps_its_tags_and_no_other(doctor: Doctor, store: Store) -> None:
    client = MlflowClient(store.tracking_uri)
    client.create_registered_model("known", tags={"doctor": "mine", "repo.doctor": "mine too"})
    before = kept(store)
    _, found = doctor("--store", store.root, "--model", "known")
    assert "a tag was set and taken away" in found["MLflow models"]["words"]
    assert kept(store) == before


def test_a_directory_that_cannot_be_written_is_told_and_what_needs_it_skipped(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    code, found = doctor("--store", tmp_path / "file" / "store")
    assert code == 1
    assert found["MLflow"]["state"] == "failed"
    assert "--store DIR" in found["MLflow"]["remedy"]
    assert (found["MLflow runs"]["state"], found["MLflow runs"]["words"]) == ("skipped", "needs: MLflow")


def test_a_store_whose_artifacts_cannot_be_written_fails(doctor: Doctor, tmp_path: Path) -> None:
    own = Store(tmp_path / "own")
    own.open_experiment("repo")
    own.artifacts.rmdir()
    own.artifacts.write_text("a file where the directory should be")
    code, found = doctor("--store", own.root)
    assert code == 1
    assert "cannot be written" in found["MLflow runs"]["words"]
    assert found["MLflow models"]["state"] == "ok"
    assert kept(own)["runs"] == []


def test_a_server_whose_artifacts_cannot_be_written_fails_and_the_run_is_deleted(
    doctor: Doctor, door: Door, store: Store
) -> None:
    MlflowClient(door.url).create_experiment("broken", artifact_location="mlflow-artifacts:/broken")
    (store.artifacts / "broken").write_text("a file where the directory should be")
    before = kept(store)
    code, found = doctor("--set", "registry.experiment=broken")
    assert code == 1
    assert "an artifact cannot be written and read back" in found["MLflow runs"]["words"]
    assert "artifact store" in found["MLflow runs"]["remedy"]
    assert found["MLflow models"]["state"] == "ok"
    assert kept(store) == before


def test_an_experiment_that_was_deleted_is_told(doctor: Doctor, tmp_path: Path) -> None:
    own = Store(tmp_path / "own")
    own.open_experiment("repo")
    client = MlflowClient(own.tracking_uri)
    client.delete_experiment(client.get_experiment_by_name("repo").experiment_id)
    code, found = doctor("--store", own.root)
    assert code == 1
    assert "mlflow experiments restore" in found["MLflow runs"]["remedy"]


def test_an_experiment_that_is_new_keeps_its_artifacts_in_the_store(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Store(tmp_path / "own")
    own.open_experiment("repo")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _ = doctor("--store", own.root, "--set", "registry.experiment=new")
    assert code == 0
    own.open_experiment("new")  # it would refuse artifacts that lie outside
    assert not list(Path.cwd().iterdir())


def test_artifacts_that_fail_and_a_run_that_stays_are_both_told(doctor: Doctor, door: Door, store: Store) -> None:
    door.denied = {"mlflow-artifacts": 500, "runs/delete": 403}
    code, found = doctor(*SERVED)
    client = MlflowClient(store.tracking_uri)
    (left,) = kept(store)["runs"]
    assert client.get_run(left).info.status == "FINISHED"
    client.delete_run(left)
    assert code == 1
    assert f"run {left} stays" in found["MLflow runs"]["words"]


def test_a_server_that_nobody_listens_at_is_told(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:s3cr3t@127.0.0.1:{port}")
    code, found = doctor()
    assert code == 1
    assert "no answer from there" in found["MLflow"]["words"]
    assert "s3cr3t" not in str(found)
    assert found["MLflow models"]["state"] == "skipped"


def test_a_missing_driver_of_a_database_is_named(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("psycopg"):
        pytest.skip("the driver is installed here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:s3cr3t@127.0.0.1:9/mlflow")
    code, found = doctor()
    assert code == 1
    assert "answers" not in found["MLflow"]["words"]
    assert found["MLflow runs"]["remedy"] == "pip install psycopg"
    assert "s3cr3t" not in str(found) + "".join(capfd.readouterr())


def test_a_server_is_written_through_and_nothing_stays(doctor: Doctor, door: Door, store: Store) -> None:
    before = kept(store)
    code, found = doctor(*SERVED)
    assert code == 0
    assert {row["state"] for name, row in found.items() if name.startswith("MLflow")} == {"ok"}
    assert kept(store) == before


def test_a_missing_experiment_is_made_as_a_run_would(doctor: Doctor, door: Door, store: Store) -> None:
    code, _ = doctor("--set", "registry.experiment=made-by-doctor")
    assert code == 0
    assert "made-by-doctor" in kept(store)["experiments"]


def test_a_server_of_another_minor_version_is_a_warning(doctor: Doctor, door: Door) -> None:
    door.version = "2.9.1"
    code, found = doctor(*SERVED)
    assert code == 0
    assert (found["MLflow version"]["state"], "2.9.1" in found["MLflow version"]["words"]) == ("warning", True)


DENIALS = [
    (r"GET /health", 401, "MLflow", "user and password, or the token, are missing or wrong"),
    (r"experiments/get-by-name", 401, "MLflow runs", "does not know who asks"),
    (r"experiments/get-by-name", 403, "MLflow runs", "READ on it"),
    (r"runs/create", 403, "MLflow runs", "EDIT on that experiment"),
    (r"runs/log-parameter", 403, "MLflow runs", "EDIT on that experiment"),
    (r"PUT .*mlflow-artifacts", 403, "MLflow runs", "artifact store writable"),
    (r"registered-models/get", 403, "MLflow models", "READ on that model"),
    (r"registered-models/create", 403, "MLflow models", "the right to create registered models"),
]


@pytest.mark.parametrize(("denied", "status", "name", "words"), DENIALS)
def test_what_is_denied_is_named_with_the_right_that_is_missing(
    doctor: Doctor, door: Door, store: Store, denied: str, status: int, name: str, words: str
) -> None:
    before = kept(store)
    door.denied = {denied: status}
    code, found = doctor(*SERVED)
    assert code == 1
    assert found[name]["state"] == "failed"
    assert words in found[name]["words"] + found[name]["remedy"]
    assert kept(store) == before


def test_a_known_model_that_may_not_be_changed_is_named(doctor: Doctor, door: Door, store: Store) -> None:
    MlflowClient(store.tracking_uri).create_registered_model("read-only")
    door.denied = {"registered-models/set-tag": 403}
    _, found = doctor(*SERVED, "--model", "read-only")
    assert found["MLflow models"]["state"] == "failed"
    assert "EDIT on that model" in found["MLflow models"]["remedy"]


def test_who_may_write_and_not_delete_is_warned_of_what_stays(doctor: Doctor, door: Door, store: Store) -> None:
    door.denied = {"runs/delete": 403}
    code, found = doctor(*SERVED)
    (left,) = kept(store)["runs"]
    MlflowClient(store.tracking_uri).delete_run(left)
    assert code == 0
    assert found["MLflow runs"]["state"] == "warning"
    assert left in found["MLflow runs"]["words"]


def test_an_interrupted_doctor_takes_its_run_away(door: Door, store: Store) -> None:
    before = kept(store)
    door.slow = "PUT .*mlflow-artifacts"
    process = subprocess.Popen([sys.executable, "-m", "pipelines.cli", "doctor", *SERVED], stdout=subprocess.DEVNULL)
    try:
        assert door.waiting.wait(60)
        assert len(kept(store)["runs"]) == len(before["runs"]) + 1
        process.send_signal(signal.SIGINT)
        door.go.set()
        assert process.wait(60) == 1
    finally:
        process.kill()
    assert kept(store) == before


def test_a_host_name_that_the_server_refuses_is_explained(doctor: Doctor, door: Door) -> None:
    door.host = "mlflow.team.svc.cluster.local"
    code, found = doctor(*SERVED)
    assert code == 1
    assert found["MLflow"]["state"] == "ok", "MLflow's own middleware exempts the health page"
    assert "--allowed-hosts" in found["MLflow runs"]["remedy"]
    assert "--allowed-hosts" in found["MLflow models"]["remedy"]
