"""Receive MLflow's webhooks on one registered model: its champion moved, or a version waits for approval.

    python receiver.py --model repo-policy --port 8080 --command "sh -c 'cat >> events.jsonl'"

Needs Python, and REPO_WEBHOOK_SECRET in its environment. Each event is printed as one line of JSON and given to the
command, if there is one, on its standard input. A request is believed only where its signature fits that secret, and
acted upon once.

MLflow waits 30 seconds for an answer and asks again after 429, 500, 502, 503 and 504. So an event is answered (202) as
soon as it is queued, and 503 is said only where the same request may be welcome later.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "REPO_WEBHOOK_SECRET"
LARGEST = 1_000_000
"""Bytes of a body."""
WINDOW = 300
"""Seconds that the sender's clock may differ; a request is not repeated by MLflow for longer than that."""
MOST_REMEMBERED = 10_000
MOST_WAITING = 100

Event = dict[str, str]


class Refused(Exception):  # noqa: N818 - an answer, not a failure of this program
    """A request that is not acted upon, with the answer that it gets."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def check_signature(secret: bytes, delivery: str, timestamp: str, signature: str, body: bytes) -> None:
    """Check that who sent this knows the secret; raises Refused."""
    signed = f"{delivery}.{timestamp}.".encode("latin-1") + body  # header values are latin-1 as http.server reads them
    expected = b"v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256))
    if not hmac.compare_digest(expected, signature.encode("latin-1")):
        raise Refused(HTTPStatus.UNAUTHORIZED, "the signature is missing or does not fit the secret")


def check_time(timestamp: str, now: float) -> int:
    """Return the time of sending; raises Refused where it is long ago or far ahead."""
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise Refused(HTTPStatus.BAD_REQUEST, "the timestamp is not a number of seconds")
    if abs(now - int(timestamp)) > WINDOW:
        raise Refused(HTTPStatus.BAD_REQUEST, f"the timestamp is more than {WINDOW} seconds off this machine's clock")
    return int(timestamp)


def event_in(body: bytes, model: str) -> Event | None:
    """Return the event in a body, or None where it is on another model or of no interest; raises Refused."""
    try:
        message = json.loads(body)
        data, kind = message["data"], f"{message['entity']}.{message['action']}"
        if data["name"] != model:
            return None
        about = {"model": model, "version": str(data["version"]), "timestamp": str(message["timestamp"])}
        if kind == "model_version_alias.created" and data["alias"] == "champion":
            return {"event": "champion_moved", **about}
        if approval_in(kind, data) == "waiting":
            return {"event": "approval_waiting", **about}
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Refused(HTTPStatus.BAD_REQUEST, "the body is not an event of MLflow's") from None
    return None


def approval_in(kind: str, data: dict[str, Any]) -> Any:
    """Return the tag `approval`; of those that a version is registered with MLflow tells no event of their own."""
    if kind == "model_version.created":
        return data["tags"].get("approval")
    return data["value"] if kind == "model_version_tag.set" and data["key"] == "approval" else None


@dataclass
class Inbox:
    """What was received: each delivery once, in the order of arrival."""

    waiting: "queue.Queue[Event | None]" = field(default_factory=lambda: queue.Queue(MOST_WAITING))
    _seen: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, delivery: str, sent: int, event: Event, now: float) -> bool:
        """Print and queue an event; False where this delivery was taken before. Raises Refused where there is no room.

        A delivery is forgotten well after its timestamp alone refuses it, never sooner.
        """
        with self._lock:
            if delivery in self._seen:
                return False
            self._seen = {known: at for known, at in self._seen.items() if at >= now - 2 * WINDOW}
            if len(self._seen) >= MOST_REMEMBERED:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many events in a short time")
            try:
                self.waiting.put_nowait(event)
            except queue.Full:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many events wait for the command") from None
            self._seen[delivery] = sent
            print(json.dumps(event), flush=True)
            return True


class Handler(BaseHTTPRequestHandler):
    """One request; a subclass says for which model, where, and with which secret."""

    timeout = 10  # seconds of silence in the middle of a request
    server_version = "receiver"
    path_served: str
    model: str
    secret: bytes
    inbox: Inbox

    def do_POST(self) -> None:
        """Answer MLflow."""
        try:
            self._answer(*self._received(self._body(), time.time()))
        except Refused as refused:
            self.log_message("refused: %s", refused)
            self._answer(refused.status, str(refused))

    def do_GET(self) -> None:
        """Refuse every other method."""
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "only POST")

    do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def _received(self, body: bytes, now: float) -> tuple[HTTPStatus, str]:
        if self.path != self.path_served:
            raise Refused(HTTPStatus.NOT_FOUND, "nothing is received at this path")
        delivery, timestamp, signature = (
            self.headers.get(f"X-MLflow-{name}", "") for name in ("Delivery-Id", "Timestamp", "Signature")
        )
        check_signature(self.secret, delivery, timestamp, signature, body)
        sent = check_time(timestamp, now)
        event = event_in(body, self.model)
        if event is None:
            return HTTPStatus.OK, "of no interest here"
        taken = self.inbox.take(delivery, sent, {**event, "delivery": delivery}, now)
        return (HTTPStatus.ACCEPTED, "taken") if taken else (HTTPStatus.OK, "taken before")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", length):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "the length of the body is missing")
        if int(length) > LARGEST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {LARGEST:,} bytes")
        return self.rfile.read(int(length))

    def _answer(self, status: HTTPStatus, words: str) -> None:
        content = f"{words}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "POST")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class Server(ThreadingHTTPServer):
    """A thread for each request."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log in one line that somebody hung up, or whatever else went wrong with one request."""
        log(f"{client_address[0]}: {sys.exc_info()[1]!r}")


def work(waiting: "queue.Queue[Event | None]", command: list[str], limit: float) -> None:
    """Give one event after the other to the command, until None comes."""
    while (event := waiting.get()) is not None:
        if command:
            run(command, event, limit)


def run(command: list[str], event: Event, limit: float) -> None:
    """Run the command on an event; what goes wrong is logged, and the next event is not kept waiting for ever.

    It stands in a group of its own, so that past its time all that it started ends; and it never sees the secret.
    """
    about = f"command on {event['event']} of version {event['version']}"
    environment = {name: value for name, value in os.environ.items() if name != SECRET}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=sys.stderr, env=environment, start_new_session=True
        )
    except OSError as error:
        return log(f"{about}: could not be started: {error.strerror}")
    try:
        process.communicate(json.dumps(event).encode() + b"\n", timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return log(f"{about}: ended after {limit:g} seconds")
    if process.returncode:
        log(f"{about}: failed with exit code {process.returncode}")


def log(words: str) -> None:
    """Say something to whoever runs this; standard output is for events alone."""
    print(words, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """Return what this program was called with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="registered model; events of others are left alone")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; in a container 0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--path", default="/mlflow", help="path of the webhook's URL")
    parser.add_argument("--command", default="", help="gets each event as JSON on its standard input; no shell")
    parser.add_argument("--limit", type=float, default=60, metavar="SECONDS", help="that the command may take")
    given = parser.parse_args()
    try:
        given.command = shlex.split(given.command)
    except ValueError as error:
        parser.error(f"--command: {error}")
    return given


def stop(*_: Any) -> None:
    """End well, also as the first process of a container, which no signal ends by itself."""
    sys.exit(0)


def main() -> None:
    """Serve until a signal comes; then finish what was taken."""
    given = arguments()
    secret = os.environ.get(SECRET, "")
    if not secret:
        sys.exit(f"error: {SECRET} is not set; it must be the secret that the webhook was made with")
    if given.command and shutil.which(given.command[0]) is None:
        sys.exit(f"error: --command: {given.command[0]}: no such program")
    inbox = Inbox()
    own = {"path_served": given.path, "model": given.model, "secret": secret.encode(), "inbox": inbox}
    try:
        server = Server((given.host, given.port), type("ModelHandler", (Handler,), own))
    except (OSError, OverflowError) as error:
        sys.exit(f"error: {given.host} port {given.port}: {error}")
    worker = threading.Thread(target=work, args=(inbox.waiting, given.command, given.limit), daemon=True)
    worker.start()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log(f"listening on http://{given.host}:{server.server_port}{given.path} for events of {given.model}")
    try:
        with server:
            server.serve_forever()
    finally:
        inbox.waiting.put(None)
        worker.join()


if __name__ == "__main__":
    main()
