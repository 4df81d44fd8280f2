"""`repo-pipeline ui`: a real server, and nothing of it left when the command ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pipeline_runs import as_a_terminal_does
from web import free_port, wait_until_it_answers

from repo.tracking.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ui") / "v2?draft%2F#1"
    Store(root).open_experiment("of-this-store")
    return root


@contextmanager
def ui(store: Path, port: int, *before: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [*before, sys.executable, "-m", "pipelines.cli", "ui", "--store", str(store), "--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=as_a_terminal_does, **quiet)  # noqa: PLW1509
    try:
        wait_until_it_answers(port, process)
        yield process
    finally:
        process.terminate()  # killed, it could not end its server
        process.wait(20)


def listens(port: int) -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", port)) == 0


def with_word(word: str) -> list[str]:
    """Command lines of running processes that hold a word."""
    lines = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        lines += [line] if word in line else []
    return lines


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_what_the_command_started_ends_with_it(store: Path, number: signal.Signals, code: int) -> None:
    port = free_port()
    with ui(store, port) as process:
        assert listens(port)
        process.send_signal(number)
        assert process.wait(10) == code
        assert not listens(port)
        assert not with_word(f"--port {port}")


def test_a_second_ctrl_c_leaves_nothing_either(store: Path) -> None:
    port = free_port()
    with ui(store, port) as process:
        for _ in range(3):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        assert process.wait(10) == 130
        assert not listens(port)


def test_under_nohup_it_outlives_the_terminal(store: Path) -> None:
    port = free_port()
    with ui(store, port, "nohup") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert listens(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
        assert not listens(port)


def test_it_shows_the_store_whatever_its_name(store: Path) -> None:
    port = free_port()
    with ui(store, port):
        asked = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=of-this-store"
        with urllib.request.urlopen(asked) as answer:
            assert b"of-this-store" in answer.read()
    assert sorted(path.name for path in store.parent.iterdir()) == [store.name]
