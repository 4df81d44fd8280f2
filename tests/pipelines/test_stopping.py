"""Nothing that a command started outlives it, whatever it is just doing."""

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import psutil
import pytest

# Three generations; the last starts a process in every moment, as a shell does on its way to a step's program.
_BREEDER = "for n in $(seq 2000); do sleep 60 & done; wait"
_COMMAND = """
import subprocess, sys, time
from pipelines.stopping import end_children
subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE).stdout.readline()
end_children()
"""
"""A command of its own: it ends all its children, and those of a test are others' fixtures."""


@pytest.fixture
def mark() -> Iterator[str]:
    name = uuid.uuid4().hex
    yield name
    for process in alive(name):
        process.kill()


def alive(mark: str) -> list[psutil.Process]:
    marked = []
    for process in psutil.process_iter(["environ", "status"]):
        of_this_test = (process.info["environ"] or {}).get("MARK") == mark
        if of_this_test and process.info["status"] != psutil.STATUS_ZOMBIE:
            marked.append(process)
    return marked


def ended(mark: str, *child: str) -> None:
    """Let a command start a child, which says when it is at work, and end it."""
    environment = {"MARK": mark, "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", _COMMAND, *child], env=environment, check=True, timeout=60)
    deadline = time.monotonic() + 5
    while (left := alive(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def test_processes_that_are_being_started_end_too(mark: str) -> None:
    ended(mark, "/bin/sh", "-c", f"/bin/sh -c '{_BREEDER}' & sleep 0.1; echo; wait")


def test_a_process_that_will_not_end_is_killed(mark: str) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    ended(mark, sys.executable, "-c", stubborn)
