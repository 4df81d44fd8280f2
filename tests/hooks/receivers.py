"""The receiver as a process, and requests as MLflow signs them."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().parents[2] / "infra" / "webhook" / "receiver.py"
SECRET = "secret-of-the-webhook"
MODEL = "repo-policy"
PATIENCE = 60
"""Seconds; nothing here takes that long."""


@dataclass
class Receiver:
    """One that runs."""

    process: "subprocess.Popen[bytes]"
    root: Path

    @property
    def port(self) -> int:
        return int(self.log().partition("listening on http://127.0.0.1:")[2].partition("/")[0])

    def log(self) -> str:
        return (self.root / "log").read_text()

    def printed(self) -> str:
        return (self.root / "printed").read_text()

    def events(self) -> list[tuple[str, str]]:
        """What happened, to which version."""
        return [(event["event"], event["version"]) for event in map(json.loads, self.printed().splitlines())]

    def ask(self, headers: dict[str, str], body: bytes = b"", method: str = "POST", path: str = "/mlflow") -> int:
        """Send what is given and nothing else; return the status of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.putrequest(method, path)
            for name, value in headers.items():
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body)
            return connection.getresponse().status

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def receiving(root: Path, *options: str, model: str = MODEL, secret: str = SECRET) -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(PROGRAM), "--model", model, "--port", "0", *options]
    with (root / "printed").open("wb") as printed, (root / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=printed, stderr=log, cwd=root, env=os.environ | {"REPO_WEBHOOK_SECRET": secret}
        )
    receiver = Receiver(process, root)
    try:
        wait_until(lambda: "listening on" in receiver.log() or process.poll() is not None)
        assert process.poll() is None, receiver.log()
        yield receiver
        assert process.poll() is None or process.returncode == 0, receiver.log()
        assert "Traceback" not in receiver.log()
        assert secret not in receiver.log() + receiver.printed()
    finally:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "this did not come about"
        time.sleep(0.02)


def message(entity: str, action: str, **data: Any) -> bytes:
    told = {"name": MODEL, "version": "3"} | data
    return json.dumps(
        {"entity": entity, "action": action, "timestamp": "2026-11-26T08:00:00+00:00", "data": told}
    ).encode()


def champion_moved(**data: Any) -> bytes:
    return message("model_version_alias", "created", **{"alias": "champion", **data})


def signed(
    body: bytes, delivery: str = "1", timestamp: str | None = None, secret: str = SECRET, late: float = 0
) -> dict[str, str]:
    """Headers as MLflow makes them, `late` seconds ago."""
    timestamp = str(int(time.time() - late)) if timestamp is None else timestamp
    digest = hmac.digest(secret.encode(), f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "Content-Length": str(len(body)),
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": timestamp,
        "X-MLflow-Signature": "v1," + base64.b64encode(digest).decode(),
    }
