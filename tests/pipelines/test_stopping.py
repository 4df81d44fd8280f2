"""Nothing that a command started outlives it, whatever it is just doing."""

import subprocess
import sys
import time
import uuid

import psutil

from pipelines.stopping import end_children

# Three generations; the last starts a process in every moment, as a shell does on its way to a step's program.
_BREEDER = "for n in $(seq 2000); do sleep 60 & done; wait"


def _alive(mark: str) -> list[psutil.Process]:
    marked = []
    for process in psutil.process_iter(["environ", "status"]):
        of_this_test = (process.info["environ"] or {}).get("MARK") == mark
        if of_this_test and process.info["status"] != psutil.STATUS_ZOMBIE:
            marked.append(process)
    return marked


def test_processes_that_are_being_started_end_too() -> None:
    mark = uuid.uuid4().hex
    environment = {"MARK": mark, "PATH": "/usr/bin:/bin"}
    subprocess.Popen(["/bin/sh", "-c", f"/bin/sh -c '{_BREEDER}' & wait"], env=environment)
    try:
        while len(_alive(mark)) < 5:
            time.sleep(0.01)
        end_children()
        assert _alive(mark) == []
    finally:
        for process in _alive(mark):
            process.kill()


def test_a_process_that_will_not_end_is_killed() -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    end_children()
    assert not psutil.pid_exists(child.pid)
