"""A server with workspaces: one model line in each, and every command speaks to the workspace that is named."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from pipeline_runs import Run
from web import free_port, wait_until_it_answers

from repo.tracking.handover import Pointer
from repo.tracking.registry import Tag, register_version

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("workspaces"), free_port()
    uri = f"http://127.0.0.1:{port}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    command = [sys.executable, "-m", "mlflow", "server", "--enable-workspaces", "--host", "127.0.0.1", "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), *places],
            env={**kept, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_it_answers(port, process)
        yield uri
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def register(digest: str) -> None:
    """Register a version that passed and waits, in the workspace that the environment names."""
    client = MlflowClient()
    experiment = client.create_experiment("repo")
    model = client.create_logged_model(experiment, name="policy")
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    run = client.create_run(experiment).info.run_id
    tags = {Tag.VERDICT: "promote", Tag.COMPARED_WITH: "", Tag.RUN_ID: run}
    register_version(Pointer(f"models:/{model.model_id}", digest), "repo-policy", tags)


def test_each_command_speaks_to_the_workspace_that_is_named(
    server: str, repo_pipeline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for name in ("team", "other"):
        mlflow.create_workspace(name)
        monkeypatch.setenv("MLFLOW_WORKSPACE", name)
        register(name[0] * 64)
        monkeypatch.delenv("MLFLOW_WORKSPACE")

    def models(*command: str, workspace: str) -> "subprocess.CompletedProcess[str]":
        named = {"MLFLOW_WORKSPACE": workspace} if workspace else {}
        return repo_pipeline("models", *command, cwd=tmp_path, MLFLOW_TRACKING_URI=server, **named)

    done = models("promote", "--json", workspace="team")
    assert done.returncode == 0, done.stderr
    aliases = {}
    for workspace in ("team", "other", ""):
        listed = json.loads(models("--json", workspace=workspace).stdout)
        aliases[workspace] = [(info["digest"][:1], info["aliases"]) for info in listed]
    assert aliases == {"team": [("t", ["champion"])], "other": [("o", ["challenger"])], "": []}
    done = repo_pipeline("ui", cwd=tmp_path, MLFLOW_TRACKING_URI=server, MLFLOW_WORKSPACE="team")
    assert "workspace=team" in done.stdout, done.stdout + done.stderr


def test_a_workspace_that_is_not_there_is_named(server: str, repo_pipeline: Run, tmp_path: Path) -> None:
    done = repo_pipeline("models", cwd=tmp_path, MLFLOW_TRACKING_URI=server, MLFLOW_WORKSPACE="nowhere")
    assert done.returncode == 1
    assert "(workspace nowhere)" in done.stderr
    assert "correct or unset MLFLOW_TRACKING_URI and MLFLOW_WORKSPACE" in done.stderr
