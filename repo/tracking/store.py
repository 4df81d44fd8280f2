"""Where MLflow keeps runs and models: the embedded store of one directory, or a server the user already has.

Importing this module does not import MLflow, so that the command line starts at once.
"""

import logging
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from repo.errors import UserError
from repo.lifeline import COMMAND
from repo.uris import on_the_web, public_name, without_secrets

DEFAULT_ROOT = Path(".repo")
HOST = "127.0.0.1"

QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's job executor starts worker processes that nothing here uses.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}

_HURRY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


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
        return self._uri_of(self.database)

    def _uri_of(self, database: Path) -> str:
        if not self._special:
            return f"sqlite:///{database}"
        # The driver is named because of plain sqlite:/// MLflow makes the unquoted directories too, outside the store.
        return f"sqlite+pysqlite:///{quote(str(database))}"

    @property
    def name(self) -> str:
        """The address as it may be shown."""
        return self.tracking_uri

    @property
    def artifact_location(self) -> str:
        """MLflow's address of the artifacts."""
        return self.artifacts.as_uri() if self._special else str(self.artifacts)

    @property
    def _special(self) -> bool:
        """Whether the path has characters that mean something in a URI; others are kept plain, as in older stores."""
        return any(character in "%?#" for character in str(self.root))

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept here; tells without importing MLflow."""
        return self.database.is_file()

    def check(self) -> None:
        """Check, without making anything, that the database would lie in the directory.

        Raises:
            UserError: the database's library understands the path in another way.
        """
        from sqlalchemy.engine import make_url

        if make_url(self.tracking_uri).database != str(self.database):
            raise UserError(f"{self.root}: MLflow's database cannot lie in a directory of this name", _PLAIN_NAME)

    def open_experiment(self, experiment: str) -> None:
        """Create the store and the experiment where they are missing.

        Raises:
            UserError: the directory cannot be written, was moved, or belongs to another version of MLflow.
        """
        from filelock import FileLock

        self.check()
        self._check_writable()
        # Two commands at once on a fresh store would both make its tables.
        with FileLock(self.root / "locks" / "store.lock"):
            self._make_database()
            location = _path(_ensure_experiment(self.tracking_uri, experiment, _ANOTHER_STORE, self.artifact_location))
        if location != self.artifacts:
            raise UserError(
                f"{self.root}: experiment '{experiment}' keeps its artifacts in {location}, outside this store",
                f"if the store was moved, move it back to {location.parent}; else {_ANOTHER_STORE}",
            )

    def opened(self) -> AbstractContextManager[None]:
        """Look something up here: MLflow uses this store, and what goes wrong with it is a UserError."""
        self.check()
        return _opened(self, _ANOTHER_STORE)

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make a child process use this store."""
        return {"MLFLOW_TRACKING_URI": self.tracking_uri, **QUIET}

    def address(self, port: int) -> str:
        """Return where `ui_command` serves MLflow's pages."""
        return f"http://{HOST}:{port}"

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
        location = self.artifact_location
        artifacts = ["--default-artifact-root", location, "--artifacts-destination", location]
        return [*command, "--backend-store-uri", self.tracking_uri, *artifacts]

    def _make_database(self) -> None:
        """Make the tables in a file that gets its name when it is whole: MLflow cannot go on with half of them."""
        if self.database.stat().st_size:
            return
        partial = self.database.with_suffix(".partial")
        for left in self.root.glob(f"{partial.name}*"):  # a journal of it too
            left.unlink()
        _ensure_experiment(self._uri_of(partial), "Default", _ANOTHER_STORE)
        os.replace(partial, self.database)

    def _check_writable(self) -> None:
        """Really write: permission bits say nothing about read-only mounts, or to the superuser."""
        try:
            self.artifacts.mkdir(parents=True, exist_ok=True)
            (self.root / "locks").mkdir(exist_ok=True)
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

    @property
    def name(self) -> str:
        """The address as it may be shown, and the workspace there if one is named."""
        workspace = os.environ.get("MLFLOW_WORKSPACE")
        return public_name(self.tracking_uri) + (f" (workspace {workspace})" if workspace else "")

    def check(self) -> None:
        """Ask a server once, with a short time limit, whether it is well: MLflow's own retries take minutes.

        Raises:
            UserError: nothing answers there, or it says that it is not well.
        """
        if not on_the_web(self.tracking_uri):
            return
        from mlflow.exceptions import MlflowException
        from mlflow.tracking._tracking_service.utils import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        try:
            credentials = get_default_host_creds(self.tracking_uri)
            answer = http_request(
                credentials, "/health", "GET", timeout=_PATIENCE, max_retries=0, raise_on_status=False
            )
        except MlflowException as error:
            problem = f"no answer from there: {_reason(error, self.tracking_uri)}"
        else:
            problem = _complaint(answer.status_code)
        if problem:
            raise UserError(f"MLFLOW_TRACKING_URI={self.name}: {problem}", _ANOTHER_SERVER)

    def open_experiment(self, experiment: str) -> None:
        """Create the experiment where it is missing.

        Raises:
            UserError: nothing answers there, or MLflow cannot work with it.
        """
        self.check()
        _ensure_experiment(self.tracking_uri, experiment, _ANOTHER_SERVER)

    def opened(self) -> AbstractContextManager[None]:
        """Look something up here: MLflow uses this server, and what goes wrong with it is a UserError."""
        self.check()
        return _opened(self, _ANOTHER_SERVER)

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make a child process use this server.

        User and password leave the address: MLflow prints that, and keeps it.
        """
        user, password = self._credentials
        if not user or not password:
            return {"MLFLOW_TRACKING_URI": self.tracking_uri, **QUIET}
        address = urlsplit(self.tracking_uri)
        host = address.netloc.rpartition("@")[2]
        return {
            "MLFLOW_TRACKING_URI": address._replace(netloc=host).geturl(),
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
            **QUIET,
        }

    @property
    def _credentials(self) -> tuple[str, str]:
        """User and password in a web address; of others (databases) MLflow needs them where they stand."""
        if not on_the_web(self.tracking_uri):
            return "", ""
        user, _, password = urlsplit(self.tracking_uri).netloc.rpartition("@")[0].partition(":")
        return unquote(user), unquote(password)

    def address(self, port: int) -> str:
        """Return where the server shows MLflow's pages itself, without user, password and query; the port is its own.

        Raises:
            UserError: what is named is no server but, say, a database.
        """
        if not on_the_web(self.tracking_uri):
            raise UserError(
                f"MLFLOW_TRACKING_URI={self.name}: not a server with pages of its own",
                "name the address of an MLflow server (http or https), or a directory with --store DIR",
            )
        given = urlsplit(self.tracking_uri)
        return f"{given.scheme}://{given.netloc.rpartition('@')[2]}{given.path.rstrip('/')}"

    def ui_command(self, port: int) -> None:
        """Return None: nothing needs to be started."""


def choose_store(root: Path | None = None) -> Store | Server:
    """Return the store to use: the directory given, else MLFLOW_TRACKING_URI, else `.repo`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return Server(uri) if root is None and uri else Store(root or DEFAULT_ROOT)


def check_shared() -> None:
    """Check, in a step, that the steps after it will see the store that this one sees.

    Steps that one command starts on this machine share its files; those in containers and pods share none.

    Raises:
        UserError: they would not.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    scheme, address, _ = uri.partition("://")
    elsewhere = uri.startswith("databricks") or (address and scheme.partition("+")[0] not in ("file", "sqlite"))
    if os.environ.get(COMMAND) or elsewhere:
        return
    problem = f"MLFLOW_TRACKING_URI={public_name(uri)}: in this container alone" if uri else _NO_SERVER
    raise UserError(problem, _ONE_FOR_ALL)


def store_option() -> str:
    """Return ` --store DIR` where the embedded store in use is another than the default one, else "".

    Without it, a command that is told to the user would act on another store.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    root = Path(unquote(uri.partition(":///")[2])).parent
    known = Store(root).tracking_uri == uri and root != Store().root
    return f" --store {shlex.quote(str(root))}" if known else ""


_ANOTHER_STORE = "make that directory usable, or choose another with --store DIR"
_PLAIN_NAME = "choose a directory without %, ? and # in its path with --store DIR"
_NO_SERVER = (
    "MLFLOW_TRACKING_URI is not set: each step would keep its runs in its own container, where no other sees them"
)
_ONE_FOR_ALL = (
    "name an MLflow server that every step reaches: on a cluster in the Secret that `repo-pipeline compile --secret` "
    "names, for --runner docker in the environment"
)
_PATIENCE = 10
"""Seconds that a server may take to say that it is well."""
_ANOTHER_SERVER = (
    "start that server, correct or unset MLFLOW_TRACKING_URI and MLFLOW_WORKSPACE, or name a directory with --store DIR"
)


@contextmanager
def _opened(store: Store | Server, remedy: str) -> Iterator[None]:
    """Nobody waits minutes for a list: unlike a run, a look-up does not outlast a server's restart."""
    os.environ.update(store.environment())
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from repo.tracking.rights import refusals_told

    try:
        with _in_a_hurry(), refusals_told():
            yield
    except (MlflowException, SQLAlchemyError) as error:
        problem = without_secrets(str(error).splitlines()[0], store.tracking_uri)
        raise UserError(f"{store.name}: {problem}", remedy) from error


@contextmanager
def _in_a_hurry() -> Iterator[None]:
    """Let MLflow give up soon; afterwards it, and the steps that are started then, have the user's patience again."""
    earlier = {name: os.environ.get(name) for name in _HURRY}
    os.environ.update(_HURRY)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _ensure_experiment(tracking_uri: str, experiment: str, remedy: str, artifact_location: str | None = None) -> str:
    """Return the experiment's artifact location."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from repo.tracking.rights import refusals_told
    from repo.tracking.runs import ensure_experiment

    # It would announce that it creates tables, on the terminal of somebody who never asked for a database.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    try:
        client = MlflowClient(tracking_uri=tracking_uri)
        with refusals_told():
            experiment_id = ensure_experiment(client, experiment, artifact_location)
            return str(client.get_experiment(experiment_id).artifact_location)
    except (MlflowException, SQLAlchemyError) as error:
        problem = without_secrets(str(error).splitlines()[0], tracking_uri)
        raise UserError(f"{public_name(tracking_uri)}: {problem}", remedy) from error


def _path(location: str) -> Path:
    """Return the directory of a local artifact location, which MLflow keeps as a path or as a URI."""
    return Path(unquote(urlsplit(location).path) if location.startswith("file:") else location)


def _reason(error: Exception, uri: str) -> str:
    """Return why a request failed, from the innermost of the exceptions that MLflow and its libraries wrapped."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return without_secrets(str(getattr(inner, "strerror", None) or inner), uri)


def _complaint(status: int) -> str:
    """Return what is wrong with a server that answers with this HTTP status, '' where nothing is."""
    if status in (401, 403):
        return (
            f"it answers with HTTP {status}: user and password, or the token, are missing or wrong "
            "(MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)"
        )
    # Anything else below 500 is an answer, if only that this server has no such page.
    return f"it answers with HTTP {status}" if status >= 500 else ""


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
