"""What the command starts ends with it: signals as errors, children ended, one run a model line at a time."""

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from repo.files import text_digest

if TYPE_CHECKING:
    import psutil

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE = 3.0
"""Seconds that children may take to end by themselves."""


class StoppedError(KeyboardInterrupt):
    """A signal asked the command to stop. No library between here and there takes it for an error of its own.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def signals_as_errors(before: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise StoppedError for SIGINT, SIGTERM and SIGHUP, after calling `before`."""

    def stop(number: int, frame: FrameType | None) -> None:
        ignore_signals()
        before()
        raise StoppedError(number)

    # Whoever starts a command with nohup wants it to outlive the terminal.
    wanted = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Let nobody interrupt the end."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def end_children() -> None:
    """End every process that this one started, and those that they started: gently first."""
    import psutil

    children = _stopped_children()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
            child.resume()
    stubborn = psutil.wait_procs(children, timeout=_GRACE)[1]
    for child in stubborn:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(stubborn, timeout=_GRACE)


def _stopped_children() -> "list[psutil.Process]":
    """Return all descendants, none of them running: one that runs could start another that nobody would find."""
    import psutil

    stopped: list[psutil.Process] = []
    while new := [child for child in psutil.Process().children(recursive=True) if child not in stopped]:
        for child in new:
            with suppress(psutil.NoSuchProcess):
                child.suspend()
                _wait_until_stopped(child)
        stopped += new
    return stopped


def _wait_until_stopped(process: "psutil.Process") -> None:
    """Wait until a process heeds that it was stopped: one that is forking does so when its fork is there."""
    import psutil

    end = time.monotonic() + _GRACE
    while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE) and time.monotonic() < end:
        time.sleep(0.001)


@contextmanager
def alone(lock: Path, say: Callable[[str], None]) -> Iterator[str]:
    """Hold a lock until the end of the body, or of this process; wait for whoever holds it.

    Args:
        lock: the file that stands for what must not be done twice at a time.
        say: receives why nothing happens yet.

    Yields:
        A name of the lock, the same for all its holders one after another and for nobody else.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=1)
    except Timeout:
        say(f"another run is at work on {lock.stem}; this one waits until it has ended")
        held.acquire()
    try:
        yield text_digest(socket.gethostname(), str(lock))[:16]
    finally:
        held.release()


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Make and remove the folder in which this process and those it starts put temporary files.

    What a killed run left there goes too: the folder belongs to whoever holds the model line.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    earlier, tempfile.tempdir = (os.environ.get("TMPDIR"), tempfile.tempdir), str(folder)
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = earlier[1]
        if earlier[0] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = earlier[0]
        shutil.rmtree(folder, ignore_errors=True)
