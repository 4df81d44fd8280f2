"""Servers for the doctor's tests: an OCI registry, and an MLflow whose administrator denies some things."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DIGEST = f"sha256:{'a' * 64}"


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Registry:
    """An OCI registry: which images it has, and whom it tells.

    Attributes:
        images: path → references, tags and digests, that are there.
        tokens: whether it asks for a token, and whether it gives one to strangers.
        host: name and port.
        asked: method, path and Authorization header of every request.
    """

    images: dict[str, list[str]] = field(default_factory=dict)
    tokens: tuple[bool, bool] = (False, True)
    host: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)


@contextmanager
def registry_of(registry: Registry) -> Iterator[Registry]:
    """Serve a registry on the loopback interface."""

    class Handler(_Quiet):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            bearer = self.headers.get("authorization", "")
            registry.asked.append((self.command, parts.path, bearer))
            asks, gives = registry.tokens
            if parts.path == "/token":
                scope = parse_qs(parts.query)["scope"][0]
                return self.send(200, f'{{"token": "for {scope}"}}'.encode()) if gives else self.send(403)
            found = re.fullmatch("/v2/(.+)/manifests/([^/]+)", parts.path)
            assert found
            path, reference = found.groups()
            if asks and bearer != f"Bearer for repository:{path}:pull":
                challenge = f'Bearer realm="http://{registry.host}/token",service="test",scope="repository:{path}:pull"'
                return self.send(401, headers={"WWW-Authenticate": challenge})
            if "application/vnd.oci.image.index.v1+json" not in self.headers["accept"]:
                return self.send(404)
            there = reference in registry.images.get(path, [])
            return self.send(200, headers={"Docker-Content-Digest": DIGEST}) if there else self.send(404)

        do_GET = do_HEAD = answer  # noqa: N815

    with _serving(Handler) as host:
        registry.host = host
        yield registry


@dataclass
class Door:
    """What stands before an MLflow server.

    Attributes:
        denied: regular expression of method and path → the HTTP status that answers instead.
        slow: regular expression of method and path of requests that wait until `go` is set; each sets `waiting`.
        version: what /version says, '' for the server's own.
        host: the Host header that the server sees, '' for its own.
        url: its address.
    """

    denied: dict[str, int] = field(default_factory=dict)
    slow: str = ""
    waiting: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    version: str = ""
    host: str = ""
    url: str = ""


@contextmanager
def door_before(upstream: str) -> Iterator[Door]:
    """Pass requests on to a server, but for those that are denied."""
    door = Door()

    class Handler(_Quiet):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = f"{self.command} {urlsplit(self.path).path}"
            if door.slow and re.search(door.slow, asked):
                door.waiting.set()
                door.go.wait(30)
            status = next((status for pattern, status in door.denied.items() if re.search(pattern, asked)), 0)
            if status:
                return self.send(status, b"Permission denied")
            if asked == "GET /version" and door.version:
                return self.send(200, door.version.encode())
            passed = http.client.HTTPConnection(upstream, timeout=20)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            headers |= {"host": door.host} if door.host else {}
            passed.request(self.command, self.path, body, headers)
            answer = passed.getresponse()
            kind = {"content-type": answer.getheader("content-type", "application/json")}
            return self.send(answer.status, answer.read(), kind)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    with _serving(Handler) as host:
        door.url = f"http://{host}"
        yield door
