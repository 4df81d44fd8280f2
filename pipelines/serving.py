"""Serve MLflow's pages until somebody stops the command; whatever was started then ends with it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE = 5.0
"""Seconds that the server and its workers may take to end by themselves."""


class _StoppedError(Exception):
    """A signal asked the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def serve(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a server and wait for it; SIGINT, SIGTERM and SIGHUP end it with all its workers.

    Args:
        command: the server and its arguments.
        environment: all environment variables of the server.

    Returns:
        The server's exit code, or 128 + the signal's number as a shell has it.
    """
    with _signals_as_errors():
        # In a session of its own a terminal's Ctrl-C does not reach it: it is stopped here, once and in order.
        server = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            return server.wait()
        except _StoppedError as stopped:
            return 128 + stopped.number
        finally:
            _ignore_signals()
            _end_group(server)


@contextmanager
def _signals_as_errors() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _StoppedError(number)

    # Whoever starts a command with nohup wants it to outlive the terminal.
    wanted = [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """Let nobody interrupt the end."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)


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
