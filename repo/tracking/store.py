"""Where MLflow keeps runs and models: the embedded store of one directory, or a server the user already has.

Importing this module does not import MLflow, so that the command line starts at once.
"""

import logging
import os
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from repo.errors import UserError

DEFAULT_ROOT = Path(".repo")
HOST = "127.0.0.1"

_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's job executor starts worker processes that nothing here uses.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


@dataclass(frozen=True)
class Store:
    """The embedded store: MLflow's database and artifacts in one directory.

    MLflow records artifact locations as absolute paths, so a store stays where it was made.

    Args:
        root: the directory, `.repo` by default; made absolute here.
    """

    root: Path = DEFAULT_ROOT

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.expanduser().absolute())

    @property
    def database(self) -> Path:
        """The sqlite file."""
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """The directory of everything that runs and models keep."""
        return self.root / "artifacts"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address of the store."""
        return f"sqlite:///{self.database}"

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept here; tells without importing MLflow."""
        return self.database.is_file()

    def open_experiment(self, experiment: str) -> None:
        """Create the store and the experiment where they are missing.

        Raises:
            UserError: the directory cannot be written, was moved, or belongs to another version of MLflow.
        """
        self._check_writable()
        location = Path(_ensure_experiment(self.tracking_uri, experiment, _ANOTHER_STORE, str(self.artifacts)))
        if location != self.artifacts:
            raise UserError(
                f"{self.root}: experiment '{experiment}' keeps its artifacts in {location}, outside this store",
                f"if the store was moved, move it back to {location.parent}; else {_ANOTHER_STORE}",
            )

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make a child process use this store."""
        return {"MLFLOW_TRACKING_URI": self.tracking_uri, **_QUIET}

    def ui_command(self, port: int) -> list[str]:
        """Return the command that serves MLflow's user interface on the loopback interface.

        Raises:
            UserError: there is no store yet, or the port is taken.
        """
        if not self.exists:
            raise UserError(
                f"{self.root}: no store there yet", "repo-pipeline run makes one; --store DIR names another"
            )
        _check_port(port)
        command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
        artifacts = ["--default-artifact-root", str(self.artifacts), "--artifacts-destination", str(self.artifacts)]
        return [*command, "--backend-store-uri", self.tracking_uri, *artifacts]

    def _check_writable(self) -> None:
        """Really write: permission bits say nothing about read-only mounts, or to the superuser."""
        try:
            self.artifacts.mkdir(parents=True, exist_ok=True)
            for directory in (self.root, self.artifacts):
                with tempfile.TemporaryFile(dir=directory):
                    pass
            self.database.open("ab").close()
        except OSError as error:
            raise UserError(f"{self.root}: cannot be written: {error.strerror}", _ANOTHER_STORE) from None


@dataclass(frozen=True)
class Server:
    """An MLflow server, or any other tracking URI, that the user named in MLFLOW_TRACKING_URI."""

    tracking_uri: str

    @property
    def exists(self) -> bool:
        """True: the server is somebody's already."""
        return True

    def open_experiment(self, experiment: str) -> None:
        """Create the experiment where it is missing.

        Raises:
            UserError: nothing answers there, or MLflow cannot work with it.
        """
        if self.tracking_uri.startswith(("http://", "https://")):
            self._check_answers()
        _ensure_experiment(self.tracking_uri, experiment, _ANOTHER_SERVER)

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make a child process use this server."""
        return {"MLFLOW_TRACKING_URI": self.tracking_uri, **_QUIET}

    def ui_command(self, port: int) -> list[str]:
        """Raise UserError: a server shows itself."""
        raise UserError(
            f"MLFLOW_TRACKING_URI={self.tracking_uri}: not a store of this command",
            "open that server's own page, or name a directory with --store DIR",
        )

    def _check_answers(self) -> None:
        """Ask once: MLflow's own retries take minutes to find out."""
        try:
            urllib.request.urlopen(f"{self.tracking_uri.rstrip('/')}/health", timeout=10).close()
        except urllib.error.HTTPError:
            pass  # An answer, if only a refusal; MLflow itself says more about that.
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            problem = f"MLFLOW_TRACKING_URI={self.tracking_uri}: no answer from there: {reason}"
            raise UserError(problem, _ANOTHER_SERVER) from None


def choose_store(root: Path | None = None) -> Store | Server:
    """Return the store to use: the directory given, else MLFLOW_TRACKING_URI, else `.repo`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return Server(uri) if root is None and uri else Store(root or DEFAULT_ROOT)


_ANOTHER_STORE = "make that directory usable, or choose another with --store DIR"
_ANOTHER_SERVER = "start that server, correct or unset MLFLOW_TRACKING_URI, or name a directory with --store DIR"


def _ensure_experiment(tracking_uri: str, experiment: str, remedy: str, artifact_location: str | None = None) -> str:
    """Return the experiment's artifact location."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from repo.tracking.runs import ensure_experiment

    # It would announce that it creates tables, on the terminal of somebody who never asked for a database.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    try:
        client = MlflowClient(tracking_uri=tracking_uri)
        experiment_id = ensure_experiment(client, experiment, artifact_location)
        return str(client.get_experiment(experiment_id).artifact_location)
    except (MlflowException, SQLAlchemyError) as error:
        raise UserError(f"{tracking_uri}: {str(error).splitlines()[0]}", remedy) from error


def _check_port(port: int) -> None:
    if not _is_free(port):
        free = next((p for p in range(port + 1, 65536) if _is_free(p)), None)
        raise UserError(
            f"port {port} of {HOST} is in use",
            f"use another: repo-pipeline ui --port {free}" if free else "stop what listens there",
        )


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As the server itself does: a port that a stopped server has just left counts as free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True
