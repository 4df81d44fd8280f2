"""`repo-pipeline … --runner docker` as a user calls it, and what its containers were."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound
from mlflow import MlflowClient
from pipeline_runs import SMALL, options
from tracking_server import MlflowServer

from pipelines.containers.engine import LEFT_BY

RUN = ("run", "--runner", "docker", "--data", "votes.jsonl")
PATIENCE = 240.0
"""Seconds until a run is taken for stuck."""
KEPT = ("PATH", "HOME", "LANG", "DOCKER_HOST")


@dataclass
class Desk:
    """A folder somebody works in, with the server's address and password in the environment.

    Attributes:
        folder: the working directory, with the command's own files in .repo.
        server: where runs and models are kept.
        line: the registered model.
    """

    folder: Path
    server: MlflowServer
    line: str

    def command(self, *arguments: str | Path) -> list[str]:
        line = ("registry.experiment=" + self.line, "registry.model=" + self.line)
        return [sys.executable, "-m", "pipelines.cli", *map(str, arguments), *options((*SMALL, *line))]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return kept | self.server.environment() | more

    def start(self, *arguments: str | Path, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(**environment),
            cwd=self.folder,
        )

    def run(self, *arguments: str | Path, **environment: str) -> tuple[int, str]:
        """Return the exit code, and what was printed."""
        process = self.start(*arguments, **environment)
        said, _ = process.communicate(timeout=600)
        return process.returncode, said

    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.server.uri)

    def versions(self) -> dict[str, dict[str, str]]:
        """Return the line's versions with their tags; the alias champion stands among these."""
        client = self.client()
        found = client.search_model_versions(f"name = '{self.line}'")
        champion = client.get_registered_model(self.line).aliases.get("champion") if found else None
        return {
            version.version: dict(version.tags) | ({"champion": "yes"} if version.version == champion else {})
            for version in found
        }

    def statuses(self) -> set[str]:
        """Return the states in which the line's runs are."""
        client = self.client()
        experiment = client.get_experiment_by_name(self.line)
        return {run.info.status for run in client.search_runs([experiment.experiment_id])} if experiment else set()

    @contextmanager
    def watched(self) -> Iterator[list[dict[str, Any]]]:
        """Collect what the engine says of each container of the desk's commands, as it starts."""
        client, found = docker.from_env(), []  # type: ignore[var-annotated]
        events = client.events(decode=True, filters={"event": "start", "label": LEFT_BY})

        def look() -> None:
            for event in events:
                try:
                    container = client.containers.get(event["id"]).attrs
                except NotFound:
                    # Whose it was, nobody can say any more: no test may take it for looked at.
                    found.append({"Name": "gone before it was looked at"})
                    continue
                if self._started(container):
                    found.append(container)

        threading.Thread(target=look, daemon=True).start()
        try:
            yield found
        finally:
            events.close()

    def left(self) -> list[str]:
        """Return the containers of the desk's commands that are still there."""
        there = docker.from_env().containers.list(all=True, filters={"label": LEFT_BY}, ignore_removed=True)
        return [container.name for container in there if self._started(container.attrs)]

    def log(self) -> str:
        """Return what the newest run has printed so far."""
        logs = sorted((self.folder / ".repo" / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
        return logs[-1].read_text() if logs else ""

    def _started(self, container: dict[str, Any]) -> bool:
        """Say whether a container is of this desk: other tests run others at the same time."""
        return any(mount["Source"].startswith(f"{self.folder}/") for mount in container["Mounts"])


def made_once(desk: Desk) -> None:
    """Check that one version was made, is champion, and that nothing is still at work."""
    versions = desk.versions()
    assert list(versions) == ["1"], versions
    assert "champion" in versions["1"]
    assert "RUNNING" not in desk.statuses()
    assert desk.left() == []


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def trains(desk: Desk) -> bool:
    return "%  step " in desk.log()
