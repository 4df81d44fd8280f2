"""A step ends with the command that started it, also where that was killed and could tell nobody."""

import os
import signal
import threading
import time

COMMAND = "REPO_COMMAND_PID"
"""The environment variable that names the command's process; not set where steps run in places of their own."""

_SECONDS = 0.2


def end_with_the_command() -> None:
    """Watch, in a thread, for the end of the command; then kill this process."""
    command = os.environ.get(COMMAND)
    if command:
        threading.Thread(target=_watch, args=(int(command),), daemon=True).start()


def _watch(pid: int) -> None:
    import psutil

    try:
        command = psutil.Process(pid)
        while command.is_running() and command.status() != psutil.STATUS_ZOMBIE:
            time.sleep(_SECONDS)
    except psutil.NoSuchProcess:
        pass
    os.kill(os.getpid(), signal.SIGKILL)
