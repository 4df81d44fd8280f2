"""A small server that speaks Kubeflow Pipelines' v2beta1 over HTTP, for the calls that we make.

Each body is parsed with kfp-server-api's own models; an unknown field, an unknown path or a wrong page token is refused
as the real one does. What it cannot show: whether a cluster runs what it took.
"""

import contextlib
import email.parser
import email.policy
import itertools
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
import yaml
from click.testing import Result

API = "/apis/v2beta1"
PAGE = 2
"""Rows a page at most, whatever is asked for: lists must be read to their end."""
Row = dict[str, Any]
Call = Callable[..., Result]
"""Runs `repo-pipeline` with arguments."""


class RefusedError(Exception):
    """An answer that is none of 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Fault:
    """What the server does instead of answering; before doing what it was asked, or after.

    Attributes:
        method, path: of which requests; the path is a regular expression.
        status: to answer with; 0 breaks the connection.
        body, kind: of the answer.
        headers: of the answer.
        done: the request takes effect all the same.
        seconds: to wait before.
        after: how many such requests are answered first.
        times: how often.
    """

    method: str = "GET"
    path: str = ".*"
    status: int = 500
    body: bytes = b'{"error": "broken", "code": 13, "message": "broken on purpose"}'
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    done: bool = False
    seconds: float = 0
    after: int = 0
    times: int = 1_000_000


@dataclass
class Kubeflow:
    """Everything that the server knows, and all that it was asked.

    Attributes:
        token: that requests must bear; '' where anybody may ask.
        multi_user: whether lists and uploads need a namespace.
        states: what each look at a run shows, one after the other; the last stays.
    """

    token: str = ""
    multi_user: bool = False
    states: list[tuple[str, list[Row]]] = field(default_factory=lambda: [("SUCCEEDED", [])])
    faults: list[Fault] = field(default_factory=list)
    pipelines: list[Row] = field(default_factory=list)
    versions: list[Row] = field(default_factory=list)
    experiments: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    recurring: list[Row] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    url: str = ""
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    looks: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def calls(self, method: str, path: str = "") -> list[str]:
        """Return the paths asked for by a method, those that hold `path`."""
        return [asked for verb, asked in self.requests if verb == method and path in asked]

    def enabled(self) -> list[str]:
        """Return the names of the schedules that are enabled."""
        return [row["display_name"] for row in self.recurring if row["mode"] == "ENABLE"]

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> Any:
        """Do what is asked.

        Raises:
            RefusedError: it cannot be done.
        """
        for verb, pattern, act in self._routes():
            found = re.fullmatch(API + pattern, path)
            if verb == method and found:
                return act(query, body, kind, *found.groups())
        raise RefusedError(404, f"{method} {path}: not found")

    def _routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        one = "/([^/:]+)"
        return [
            ("GET", "/healthz", lambda *_: {"multi_user": self.multi_user}),
            ("GET", "/experiments", self._list("experiments")),
            ("POST", "/experiments", self._create_experiment),
            ("GET", "/pipelines", self._list("pipelines")),
            ("POST", "/pipelines", self._create_pipeline),
            ("POST", "/pipelines/upload_version", self._upload_version),
            ("GET", f"/pipelines{one}/versions", self._list_versions),
            ("GET", "/runs", self._list("runs")),
            ("POST", "/runs", self._create_run),
            ("GET", f"/runs{one}", self._get_run),
            ("GET", "/recurringruns", self._list("recurringRuns")),
            ("POST", "/recurringruns", self._create_recurring),
            ("POST", f"/recurringruns{one}:enable", self._mode("ENABLE")),
            ("POST", f"/recurringruns{one}:disable", self._mode("DISABLE")),
            ("DELETE", f"/recurringruns{one}", self._delete_recurring),
        ]

    def _list(self, key: str) -> Callable[..., Any]:
        def listed(query: dict[str, str], *_: Any) -> Any:
            if self.multi_user and not query.get("namespace"):
                raise RefusedError(400, "Invalid input error: a namespace is needed in multi-user mode")
            return _page(self.recurring if key == "recurringRuns" else getattr(self, key), query, key)

        return listed

    def _list_versions(self, query: dict[str, str], _body: bytes, _kind: str, pipeline: str) -> Any:
        return _page([row for row in self.versions if row["pipeline_id"] == pipeline], query, "pipeline_versions")

    def _create_experiment(self, _query: dict[str, str], body: bytes, *_: Any) -> Row:
        row = parsed(body, "V2beta1Experiment")
        _unique(self.experiments, row)
        return _added(self.experiments, row | {"experiment_id": f"experiment-{next(self.ids)}"})

    def _create_pipeline(self, _query: dict[str, str], body: bytes, *_: Any) -> Row:
        row = parsed(body, "V2beta1Pipeline")
        _unique(self.pipelines, row)
        return _added(self.pipelines, row | {"pipeline_id": f"pipeline-{next(self.ids)}"})

    def _upload_version(self, query: dict[str, str], body: bytes, kind: str) -> Row:
        if query["pipelineid"] not in {row["pipeline_id"] for row in self.pipelines}:
            raise RefusedError(404, f"pipeline {query['pipelineid']} not found")
        spec, platform = yaml.safe_load_all(_uploaded(body, kind))
        both = {"pipeline_spec": spec, "platform_spec": platform}
        row = {"display_name": query["name"], "pipeline_id": query["pipelineid"], "pipeline_spec": both}
        _unique([other for other in self.versions if other["pipeline_id"] == row["pipeline_id"]], row)
        return _added(self.versions, row | {"pipeline_version_id": f"version-{next(self.ids)}"})

    def _create_run(self, _query: dict[str, str], body: bytes, *_: Any) -> Row:
        row = parsed(body, "V2beta1Run")
        self._check_pipeline(row)
        return _added(self.runs, row | {"run_id": f"run-{next(self.ids)}", "state": "PENDING", "created_at": _now()})

    def _get_run(self, _query: dict[str, str], _body: bytes, _kind: str, run_id: str) -> Row:
        row = _by_id(self.runs, "run_id", run_id)
        state, tasks = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        return row | {"state": state, "run_details": {"task_details": tasks}}

    def _create_recurring(self, _query: dict[str, str], body: bytes, *_: Any) -> Row:
        row = parsed(body, "V2beta1RecurringRun")
        self._check_pipeline(row)
        if not 1 <= int(row.get("max_concurrency", 0)) <= 10:
            raise RefusedError(400, "max_concurrency must be 1 to 10")
        row |= {"recurring_run_id": f"recurring-{next(self.ids)}", "created_at": _now()}
        return _added(self.recurring, row)

    def _mode(self, mode: str) -> Callable[..., Row]:
        def changed(_query: dict[str, str], _body: bytes, _kind: str, row_id: str) -> Row:
            _by_id(self.recurring, "recurring_run_id", row_id)["mode"] = mode
            return {}

        return changed

    def _delete_recurring(self, _query: dict[str, str], _body: bytes, _kind: str, row_id: str) -> Row:
        self.recurring.remove(_by_id(self.recurring, "recurring_run_id", row_id))
        return {}

    def _check_pipeline(self, row: Row) -> None:
        """Refuse parameters that the version does not declare, or lacks, as the real server does."""
        reference = row["pipeline_version_reference"]
        version = _by_id(self.versions, "pipeline_version_id", reference["pipeline_version_id"])
        _by_id(self.experiments, "experiment_id", row["experiment_id"])
        declared = version["pipeline_spec"]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
        given = row["runtime_config"]["parameters"]
        unknown = set(given) - set(declared)
        missing = {name for name, entry in declared.items() if not entry.get("isOptional")} - set(given)
        if unknown or missing:
            raise RefusedError(400, f"parameters unknown: {sorted(unknown)}, missing: {sorted(missing)}")


def parsed(body: bytes, model: str) -> Row:
    """Parse a body with kfp-server-api's own model; what it does not know is refused."""
    given = json.loads(body)
    if "max_concurrency" in given:
        given["max_concurrency"] = str(given["max_concurrency"])  # int64: a number or a string, as in all of protobuf
    client = kfp_server_api.ApiClient()
    row = client.sanitize_for_serialization(client.deserialize(SimpleNamespace(data=body), model))
    if row != given:
        raise RefusedError(400, f"not a {model}: {given}")
    return dict(row)


def _page(rows: list[Row], query: dict[str, str], key: str) -> Row:
    predicates = json.loads(query["filter"])["predicates"] if query.get("filter") else []
    for predicate in predicates:
        if predicate["operation"] not in ("EQUALS", 1):
            raise RefusedError(400, f"operation {predicate['operation']}")
        rows = [row for row in rows if row.get(predicate["key"]) == predicate["stringValue"]]
    if query.get("sort_by") == "created_at desc":
        rows = rows[::-1]
    token = query.get("page_token", "")
    start = int(token.removeprefix("from-")) if token else 0
    size = min(PAGE, int(query.get("page_size") or PAGE))
    following = f"from-{start + size}" if start + size < len(rows) else ""
    return {key: rows[start : start + size], "total_size": len(rows), "next_page_token": following}


def _unique(rows: list[Row], row: Row) -> None:
    if any(other["display_name"] == row["display_name"] for other in rows):
        raise RefusedError(409, f"Already exist error: {row['display_name']}")


def _added(rows: list[Row], row: Row) -> Row:
    rows.append(row)
    return row


def _by_id(rows: list[Row], key: str, value: str) -> Row:
    for row in rows:
        if row[key] == value:
            return row
    raise RefusedError(404, f"{value} not found")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _uploaded(body: bytes, kind: str) -> bytes:
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    part = next(message.iter_parts())
    if part.get_param("name", header="content-disposition") != "uploadfile":
        raise RefusedError(400, "no uploadfile")
    return bytes(part.get_payload(decode=True))


class _Handler(BaseHTTPRequestHandler):
    kubeflow: Kubeflow
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with self.kubeflow.lock:
            self.kubeflow.requests.append((self.command, self.path))
            self.kubeflow.headers.append(dict(self.headers.items()))
            fault = self._fault(parts.path)
        if fault:
            time.sleep(fault.seconds)
        if fault is None or fault.done:
            status, answer = self._done(parts.path, query, body)
            for watcher in self.kubeflow.watchers:
                watcher()
        if fault and not fault.status:
            self.close_connection = True
            return
        if fault:
            self._send(fault.status, fault.body, fault.kind, fault.headers)
        else:
            self._send(status, json.dumps(answer).encode(), "application/json", {})

    def _fault(self, path: str) -> Fault | None:
        for fault in self.kubeflow.faults:
            if not fault.times or fault.method not in (self.command, "*") or not re.search(fault.path, path):
                continue
            if fault.after:
                fault.after -= 1
                continue
            fault.times -= 1
            return fault
        return None

    def _done(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        if self.kubeflow.token and self.headers.get("authorization") != f"Bearer {self.kubeflow.token}":
            return 401, {"error": "who are you", "code": 16, "message": "Request header error: no user identity"}
        try:
            with self.kubeflow.lock:
                kind = self.headers.get("content-type", "")
                return 200, self.kubeflow.answer(self.command, path, query, body, kind)
        except RefusedError as error:
            return error.status, {"error": str(error), "code": 3, "message": str(error)}

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # who asked has given up
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving(kubeflow: Kubeflow, certificate: Path | None = None) -> Iterator[Kubeflow]:
    """Serve on a port of the loopback interface; with TLS where a certificate is given (PEM, with its key)."""
    handler = type("Handler", (_Handler,), {"kubeflow": kubeflow})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    kubeflow.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    try:
        yield kubeflow
    finally:
        server.shutdown()
        server.server_close()
