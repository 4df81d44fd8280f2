"""Serve MLflow's pages until somebody stops the command; whatever was started then ends with it."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from pipelines.stopping import StoppedError, ignore_signals, signals_as_errors

_GRACE = 5.0
"""Seconds that the server and its workers may take to end by themselves."""


def serve(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a server and wait for it; SIGINT, SIGTERM and SIGHUP end it with all its workers.

    Args:
        command: the server and its arguments.
        environment: all environment variables of the server.

    Returns:
        The server's exit code, or 128 + the signal's number as a shell has it.
    """
    with signals_as_errors():
        # In a session of its own a terminal's Ctrl-C does not reach it: it is stopped here, once and in order.
        server = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            return server.wait()
        except StoppedError as stopped:
            return 128 + stopped.number
        finally:
            ignore_signals()
            _end_group(server)


def _end_group(server: "subprocess.Popen[bytes]") -> None:
    """End the server and its workers, which share its process group: gently first."""
    deadline = time.monotonic() + _GRACE
    _signal_group(server.pid, signal.SIGTERM)
    while time.monotonic() < deadline:
        server.poll()  # A server that has ended and was not waited for would still count as one of the group.
        if not _signal_group(server.pid, 0):
            return
        time.sleep(0.05)
    _signal_group(server.pid, signal.SIGKILL)
    server.wait()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal, 0 for none; return whether anybody of the group is left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
