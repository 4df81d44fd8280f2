"""The command as a user calls it, an embedded store, and a real MLflow server behind a door of ours."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from doctor_servers import Door, Registry, door_before, registry_of

from pipelines.cli import main
from repo.errors import UserError
from repo.tracking.store import Server, Store

Findings = dict[str, dict[str, str]]
_OTHERS = ("KFP_", "KF_PIPELINES_", "REPO_KFP_", "KUBERNETES_", "MLFLOW_")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path) -> Iterator[None]:
    """What the environment says of other servers does not count, and what the command sets does not stay."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_OTHERS):
            del os.environ[name]
    os.environ["HOME"] = str(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def doctor() -> Callable[..., tuple[int, Findings]]:
    """Runs the command with --json; returns its exit code and the findings by name."""

    def run(*arguments: Any) -> tuple[int, Findings]:
        done = CliRunner().invoke(main, ["doctor", "--json", *(str(argument) for argument in arguments)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        findings = {row["name"]: row for row in json.loads(done.stdout)}
        assert all(row["remedy"] for row in findings.values() if row["state"] in ("failed", "warning"))
        assert done.exit_code == int(any(row["state"] == "failed" for row in findings.values()))
        return done.exit_code, findings

    return run


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An embedded store with the experiment `repo`; tests leave it as it was, which is what they are about."""
    made = Store(tmp_path_factory.mktemp("doctor") / ".repo")
    made.open_experiment("repo")
    return made


@pytest.fixture(scope="session")
def mlflow_server(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a real server of the store; artifacts of its experiment `served` travel through it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    directory = tmp_path_factory.mktemp("server")
    with (directory / "log").open("w") as log:
        environment = os.environ | store.environment()
        process = subprocess.Popen(
            store.ui_command(port), stdout=log, stderr=log, cwd=directory, env=environment, process_group=0
        )
        try:
            _wait_for(Server(f"http://127.0.0.1:{port}"), process)
            yield f"127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    from mlflow import MlflowClient

    for _ in range(300):
        try:
            server.check()
            MlflowClient(server.tracking_uri).create_experiment("served", artifact_location="mlflow-artifacts:/served")
            return
        except UserError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.fixture
def door(mlflow_server: str) -> Iterator[Door]:
    """The user's MLflow server."""
    with door_before(mlflow_server) as made:
        os.environ["MLFLOW_TRACKING_URI"] = made.url
        yield made


@pytest.fixture
def registry() -> Iterator[Registry]:
    with registry_of(Registry()) as made:
        yield made
