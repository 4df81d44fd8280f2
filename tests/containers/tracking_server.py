"""What stands outside the steps' containers: PostgreSQL on loopback, and an MLflow server with passwords on it."""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests
from web import free_port

POSTGRES = Path("/usr/lib/postgresql/15/bin")
ADMIN = "admin"
_IMAGE_USER = (10001, 0)


@dataclass
class Postgres:
    """Debian's PostgreSQL with a database of its own, on the loopback interface."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="postgres-")))
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def uri(self) -> str:
        """What MLflow is told."""
        return f"postgresql+psycopg2://mlflow:{self.password}@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        word = self.folder / "password"
        word.write_text(self.password)
        if os.getuid() == 0:
            for path in (self.folder, word):
                shutil.chown(path, "postgres")
        files = ["--pgdata", self.folder / "data", "--pwfile", word, "--auth", "scram-sha-256"]
        self._do("initdb", *files, "--username", "mlflow", "--encoding", "UTF8", "--locale", "C.UTF-8")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self._do("pg_ctl", "start", "--wait", "--pgdata", self.folder / "data", "--options", options)

    def stop(self) -> None:
        self._do("pg_ctl", "stop", "--wait", "--mode", "fast", "--pgdata", self.folder / "data")

    def _do(self, program: str, *arguments: object) -> None:
        # PostgreSQL refuses to be root's.
        other = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*other, str(POSTGRES / program), *map(str, arguments)]
        # pg_ctl leaves the server its own output: a pipe would be held open.
        with (self.folder / "log").open("a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd="/", timeout=120)


@dataclass
class MlflowServer:
    """MLflow's server with passwords, in the image that the steps have, on this machine's loopback interface.

    Attributes:
        image: the image.
        database: where it keeps runs, models and users.
        room: size of its store of artifacts, as Docker writes it.
    """

    image: str
    database: Postgres
    room: str = "300m"
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mlflow-")))

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return self.folder.name

    def environment(self) -> dict[str, str]:
        """Return what a user of the server sets."""
        who = {"MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": self.password}
        return {"MLFLOW_TRACKING_URI": self.uri, **who}

    def make(self) -> None:
        config = self.folder / "auth.ini"
        config.write_text(
            f"[mlflow]\ndatabase_uri = {self.database.uri}\nadmin_username = {ADMIN}\n"
            "default_permission = NO_PERMISSIONS\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        artifacts = self.folder / "artifacts"
        artifacts.mkdir()
        for path in (self.folder, config, artifacts):
            os.chown(path, *_IMAGE_USER)
        # A small disk of its own: what fills it fills nothing else.
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.room},mode=777", "none", artifacts], check=True)
        kept = {
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(12),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": self.database.uri,
        }
        confined = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        given = [word for name in kept for word in ("--env", name)]
        folder = ["--mount", f"type=bind,source={self.folder},target={self.folder}"]
        command = ["mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--port", str(self.port)]
        store = ["--workers", "1", "--artifacts-destination", str(artifacts)]
        started = ["docker", "run", "--detach", "--name", self.name, "--network", "host", *confined, *given, *folder]
        subprocess.run(
            [*started, self.image, *command, *store],
            env=os.environ | kept,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(240):
            try:
                if requests.get(f"{self.uri}/health", timeout=5).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.5)
        raise AssertionError(self.log())

    def restart(self, pause: float) -> None:
        """Stop it, wait, and start it again."""
        self._docker("stop", "--time", "5", self.name)
        time.sleep(pause)
        self._docker("start", self.name)
        self.wait()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room in the store of artifacts until the end of the body."""
        filler = self.folder / "artifacts" / "filler"
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        yield
        filler.unlink()

    def log(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def remove(self) -> None:
        self._docker("rm", "--force", self.name)
        subprocess.run(["umount", self.folder / "artifacts"], check=True)
        shutil.rmtree(self.folder)

    def _docker(self, *arguments: str) -> None:
        subprocess.run(["docker", *arguments], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def tracking(image: str, room: str = "300m") -> Iterator[MlflowServer]:
    """Run both until the end of the body."""
    database = Postgres()
    database.make()
    server = MlflowServer(image, database, room)
    try:
        server.make()
        try:
            yield server
        finally:
            server.remove()
    finally:
        database.stop()
        shutil.rmtree(database.folder)
