"""Small real servers on the loopback interface, for what an address with a password meets."""

import base64
import contextlib
import http.client
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER, PASSWORD = "reader", "pw-of-the-reader"


class _Guarded(BaseHTTPRequestHandler):
    """Refuses whoever does not name user and password; what it answers otherwise is for the subclass to say."""

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.answer()

    do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815

    def answer(self) -> None:
        raise NotImplementedError

    def reply(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve on a free port and return it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def guarded_file(content: bytes, query: str) -> type[BaseHTTPRequestHandler]:
    """One file, for those who know the password and the query that signs the link."""

    class Handler(_Guarded):
        def answer(self) -> None:
            found = self.path == f"/votes.jsonl?{query}"
            self.reply(200 if found else 404, content if found else b"")

    return Handler


def guarded_proxy(port: int) -> type[BaseHTTPRequestHandler]:
    """What stands before somebody's MLflow server: asks for the password, then hands everything on."""

    class Handler(_Guarded):
        def answer(self) -> None:
            behind = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("authorization", "host")
            }
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            self.reply(answer.status, answer.read(), answer.headers.get("Content-Type", "text/plain"))
            behind.close()

    return Handler


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Accept connections and never say anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_it_answers(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.2)
    raise AssertionError("the server did not start")
