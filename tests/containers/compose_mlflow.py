"""A deployment of infra/compose of its own: a copy of the folder, another project name, a free port."""

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow.server import get_app_client
from mlflow.tracking import MlflowClient

COMPOSE = Path(__file__).resolve().parents[2] / "infra" / "compose"
STAND_IN = Path(__file__).resolve().parent / "postgres"
MODEL, WEIGHTS = "policy", bytes(range(256)) * 4096
READER = "reader"


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=600).stdout.strip()


def build_postgres() -> str:
    """Build Debian's PostgreSQL in the place of the official image."""
    tag = "repo-pipeline-test-postgres:15"
    docker("build", "--network", "host", "--tag", tag, str(STAND_IN))
    return tag


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Deployment:
    """What `infra/compose/mlflow` is called with, and what it leaves behind."""

    folder: Path
    environment: dict[str, str]

    @property
    def project(self) -> str:
        return self.environment["COMPOSE_PROJECT_NAME"]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.environment['MLFLOW_PORT']}"

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(self.folder / "mlflow"), *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**self.environment, **environment}, cwd=self.folder.parent,
        )  # fmt: skip

    def call(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        running = self.start(*words, **environment)
        out, err = running.communicate(timeout=400)
        return subprocess.CompletedProcess(words, running.returncode, out, err)

    def does(self, *words: str) -> str:
        done = self.call(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refuses(self, *words: str, **environment: str) -> str:
        """Return what it says: one line, with the problem and the remedy."""
        done = self.call(*words, **environment)
        assert done.returncode == 1, done.stdout + done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("mlflow: ")
        assert "; " in done.stderr
        return done.stderr

    def container(self, service: str) -> str:
        labels = (f"project={self.project}", f"service={service}")
        return docker("ps", "-a", "-q", *(f"--filter=label=com.docker.compose.{label}" for label in labels))

    def inspect(self, service: str, what: str) -> str:
        return docker("inspect", "--format", what, self.container(service))

    def running_since(self) -> dict[str, str]:
        return {each: self.inspect(each, "{{.Id}} {{.State.StartedAt}}") for each in ("postgres", "mlflow")}

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text()

    def get(self, user: tuple[str, str] | None = None, host: str | None = None) -> int:
        """Return the status of a look at the registered models."""
        where = f"{self.uri}/api/2.0/mlflow/registered-models/get?name={MODEL}"
        return requests.get(where, auth=user, headers={"Host": host} if host else {}, timeout=30).status_code

    def as_admin(self, do: Callable[[MlflowClient], Any]) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("MLFLOW_TRACKING_USERNAME", "admin")
            patched.setenv("MLFLOW_TRACKING_PASSWORD", self.secret("admin_password"))
            return do(MlflowClient(tracking_uri=self.uri))

    def destroy(self) -> None:
        """Remove everything of this project, volumes too."""
        self.call("down")
        volumes = docker("volume", "ls", "-q", f"--filter=label=com.docker.compose.project={self.project}").split()
        if volumes:
            docker("volume", "rm", *volumes)


def deploy(folder: Path, postgres_image: str) -> Deployment:
    """Copy the folder as a checkout has it: without passwords and settings."""
    shutil.copytree(COMPOSE, folder, ignore=shutil.ignore_patterns("secrets*", ".env"))
    own = {
        "COMPOSE_PROJECT_NAME": f"test-{uuid.uuid4().hex[:12]}",
        "MLFLOW_PORT": str(free_port()),
        "POSTGRES_IMAGE": postgres_image,
    }
    return Deployment(folder, {**os.environ, **own})


def register(client: MlflowClient, files: Path) -> None:
    """Register a version, with an alias, tags, and weights on the server."""
    run = client.create_run("0")
    (files / "weights.bin").write_bytes(WEIGHTS)
    client.log_artifact(run.info.run_id, str(files / "weights.bin"), "model")
    client.log_metric(run.info.run_id, "accuracy", 0.75)
    client.create_registered_model(MODEL)
    source = f"{run.info.artifact_uri}/model"
    client.create_model_version(MODEL, source, run.info.run_id, tags={"approval": "none"})
    client.set_registered_model_alias(MODEL, "champion", "1")


def register_another(client: MlflowClient) -> None:
    """Register the same weights as one more version."""
    first = client.get_model_version(MODEL, "1")
    client.create_model_version(MODEL, first.source, first.run_id)


def add_reader(deployment: Deployment) -> None:
    def add(_: MlflowClient) -> None:
        get_app_client("basic-auth", tracking_uri=deployment.uri).create_user(READER, READER * 3)

    deployment.as_admin(add)


def registered(client: MlflowClient, files: Path) -> dict[str, Any]:
    """Read back what `register` wrote."""
    version = client.get_model_version_by_alias(MODEL, "champion")
    files.mkdir(exist_ok=True)
    weights = client.download_artifacts(version.run_id, "model/weights.bin", str(files))
    return {
        "versions": [each.version for each in client.search_model_versions(f"name = '{MODEL}'")],
        "champion": version.version,
        "tags": version.tags,
        "accuracy": client.get_run(version.run_id).data.metrics["accuracy"],
        "weights": Path(weights).read_bytes() == WEIGHTS,
    }


EXPECTED = {
    "versions": ["1"],
    "champion": "1",
    "tags": {"approval": "none"},
    "accuracy": 0.75,
    "weights": True,
}
