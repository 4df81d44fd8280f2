"""What registering reads of a model that lies behind an MLflow server, in a process of its own.

The server runs on the loopback interface and hands out the artifacts itself, so that whatever is read is downloaded. A
small policy is logged through it; its weights then grow to size where the server keeps them, as a file with a hole.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import child
from benchmarks.memory import peak_bytes
from benchmarks.table import Row
from repo.tracking.store import Server

BYTES = 5 * 10**9
SHARE, SECONDS = 0.01, 5.0
_RELIABILITY = {
    "estimator": "full",
    "calibrated": True,
    "coins": 1,
    "initial": 0.9,
    "confidence": 0.9,
    "margins": "first_visit",
    "calibration": {"temperature": 1.0, "intercept": 0.0},
    "population": None,
    "warnings": [],
    "annotators": [{"reliability": 0.9, "interval": [0.8, 0.95], "pinned": False}],
}
_TRAINING = {"loss": "dpo", "loss_options": {}, "m_step": "weighted", "base": "tiny", "base_revision": "main"}


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Run an MLflow server that keeps everything in the directory; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    command += ["--artifacts-destination", str(directory / "kept")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _wait(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.2)
    raise AssertionError("the server did not start")


def register(size: int) -> dict[str, Any]:
    """Log a policy of so many bytes to a server and return what registering it took from there."""
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory, "scratch")
        scratch.mkdir()
        with served(Path(directory)) as address:
            os.environ |= {**Server(address).environment(), "TMPDIR": str(scratch)}
            tempfile.tempdir = None  # the name of the new one is looked up again
            pointer = _logged(Path(directory, "policy"))
            (weights,) = Path(directory, "kept").rglob("model.safetensors")
            os.truncate(weights, size)
            return _registered(pointer, scratch)


def _logged(directory: Path) -> Any:
    from repo.policy.loading import Policy
    from repo.policy.tiny import make_model, make_tokenizer
    from repo.settings import TinySettings
    from repo.tracking.handover import Pointer
    from repo.tracking.models import log_policy
    from repo.tracking.policies import policy_details
    from repo.tracking.runs import open_parent, step_run

    tokenizer = make_tokenizer(["some words"], TinySettings())
    Policy(make_model(len(tokenizer), 64, TinySettings(), seed=0), tokenizer).save(directory)
    Server(os.environ["MLFLOW_TRACKING_URI"]).open_experiment("repo")
    parent = open_parent("repo", "training", "benchmark", settings={}, tags={})
    details = policy_details(_TRAINING, Pointer("runs:/none/training", ""), "repo-policy", "")
    with step_run(parent, "train") as run:
        return log_policy(run, directory, "policy", _RELIABILITY, details)


def _registered(pointer: Any, scratch: Path) -> dict[str, Any]:
    """Do what the step register does with the model; the rest of its work is small files."""
    from repo.tracking.policies import registered_metadata
    from repo.tracking.registry import register_version

    known, before, began = _files(scratch), peak_bytes(), time.perf_counter()
    with _received() as counted:
        metadata = registered_metadata(pointer)
        register_version(pointer, "repo-policy", {"loss": metadata["loss"]})
    new = {name: size for name, size in _files(scratch).items() if name not in known}
    return {
        "seconds": time.perf_counter() - began,
        "received_bytes": counted[0],
        "written_bytes": sum(new.values()),
        "files": sorted({Path(name).name for name in new}),
        "peak_growth_bytes": peak_bytes() - before,
    }


def _files(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in directory.rglob("*") if path.is_file()}


@contextmanager
def _received() -> Iterator[list[int]]:
    """Count the bytes that Python's HTTP clients receive in this process."""
    counted, readinto = [0], socket.SocketIO.readinto

    def counting(self: socket.SocketIO, buffer: Any) -> int | None:
        number = readinto(self, buffer)
        counted[0] += number or 0
        return number

    socket.SocketIO.readinto = counting  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        socket.SocketIO.readinto = readinto  # type: ignore[method-assign]


def measure(rows: int | None = None) -> list[Row]:
    """Return what registering reads of a model of the promised size, whatever the number of rows."""
    values = child.in_its_own_process("scale.register", BYTES)
    name = f"a model of {BYTES / 1e9:g} GB behind a server, registered"
    read = max(values["received_bytes"], values["written_bytes"]) / BYTES
    return [
        Row(f"{name}: kB received", "", values["received_bytes"] / 1e3, None),
        Row(f"{name}: kB written", "", values["written_bytes"] / 1e3, None),
        Row(f"{name}: MB that peak memory grew", "", values["peak_growth_bytes"] / 1e6, None),
        Row(f"{name}: share of it read", f"< {SHARE:g}", read, read < SHARE),
        Row(f"{name}: seconds", f"< {SECONDS:g}", values["seconds"], values["seconds"] < SECONDS),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bytes", type=int)
    print(json.dumps(register(parser.parse_args().bytes)))
