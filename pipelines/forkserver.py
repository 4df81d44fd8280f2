"""Steps as processes of this environment, forked from one that has imported what takes steps their time to import.

kfp's own SubprocessRunner starts an interpreter for each step: more than half of a small run is imports. Here a server
imports once and forks itself for each step, which then does what kfp's command says: the component's code goes to a
file, and `kfp.dsl.executor_main` executes it. Where processes are not safely forked once such libraries are loaded
(macOS), or not at all (Windows), the runner stays as kfp has it.
"""

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

EXECUTOR = "kfp.dsl.executor_main"
PRELOADED = (
    EXECUTOR,
    "mlflow.tracking._tracking_service.utils",
    "mlflow.store.tracking.sqlalchemy_store",
    "scipy.stats",
    "transformers.modeling_utils",
)
"""What several steps import and takes long. None of it starts a thread of Python's, which would be missing in a fork,
or asks for a GPU, which a fork could not use any more."""

_AS_COMPONENTS_SEE_KFP = {"_KFP_RUNTIME": "true"}
_LEAVE_GPUS_ALONE = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def processes() -> Iterator[Any]:
    """Give kfp's runner of steps as processes."""
    from kfp import local
    from kfp.local import subprocess_task_handler

    if sys.platform != "linux":
        yield local.SubprocessRunner(use_venv=False)
        return
    kfps_own = subprocess_task_handler.run_local_subprocess
    with ForkServer() as server:
        subprocess_task_handler.run_local_subprocess = server.run
        try:
            yield local.SubprocessRunner(use_venv=False)
        finally:
            subprocess_task_handler.run_local_subprocess = kfps_own


class ForkServer:
    """A process that forks itself for each step it is asked for; it ends with the one that started it."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.forkserver", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=os.environ | _AS_COMPONENTS_SEE_KFP | _LEAVE_GPUS_ALONE,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()
        self.process.wait()

    def run(self, full_command: Sequence[str], env_vars: Mapping[str, str] | None = None) -> int:
        """Run a step to its end, print what it prints, and return its exit code; kfp's function of the same purpose.

        Args:
            full_command: kfp's: a shell, its option and script, the component's code, and the executor's arguments.
            env_vars: variables besides those of this process.
        """
        _, _, _, code, *arguments = full_command
        environment = {**os.environ, **(env_vars or {})}
        step = {"code": code, "arguments": arguments, "environment": environment, "folder": os.getcwd()}
        with os.fdopen(self._output_of(step), encoding="utf-8", errors="replace") as output:
            for line in output:
                print(line, end="")
        print("\n")
        # A server that was killed answers nothing, and nobody knows how its step ended.
        with contextlib.suppress(ConnectionError), self.channel.makefile() as answers:
            return int(answers.readline() or -signal.SIGKILL)
        return -signal.SIGKILL

    def _output_of(self, step: Mapping[str, Any]) -> int:
        """Have a step started and return where its output is read; where the server was killed, by another one."""
        while True:
            reading, writing = os.pipe()
            try:
                _send(self.channel, step, writing)
            except ConnectionError:
                os.close(reading)
                self.channel.close()
                self.process.wait()
                self._start()
            else:
                return reading


def _send(channel: socket.socket, step: Mapping[str, Any], output: int) -> None:
    """Send a step and where it prints to, which is closed here."""
    text = json.dumps(step).encode() + b"\n"
    try:
        sent = socket.send_fds(channel, [text], [output])
        channel.sendall(text[sent:])
    finally:
        os.close(output)


def _received(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Return the next step and where it prints to; None where the other end has closed."""
    text, files, _, _ = socket.recv_fds(channel, 1 << 20, 1)
    if not text:
        return None
    while not text.endswith(b"\n"):
        text += channel.recv(1 << 20)
    return json.loads(text), files[0]


def main() -> None:
    """Import, then fork for each step that is asked for, until the other end closes."""
    channel, parent = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    _end_with(parent)
    # At a terminal Ctrl-C reaches everybody; who started this process ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in PRELOADED:
        # What cannot be imported, the step that needs it says, where it is heard.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    while request := _received(channel):
        step, output = request
        if not (pid := os.fork()):
            channel.close()
            _become(step, output)
        os.close(output)
        _, status = os.waitpid(pid, 0)
        channel.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def _become(step: Mapping[str, Any], output: int) -> NoReturn:
    """Execute the component as `python -m kfp.dsl.executor_main` would, and end."""
    exit_code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        os.environ.clear()
        os.environ.update(step["environment"], **_AS_COMPONENTS_SEE_KFP)
        os.chdir(step["folder"])
        tempfile.tempdir = None
        module = Path(tempfile.mkdtemp(), "ephemeral_component.py")
        module.write_text(step["code"], encoding="utf-8")
        sys.argv = [EXECUTOR, "--component_module_path", str(module), *step["arguments"]]
        sys.modules.pop(EXECUTOR, None)
        runpy.run_module(EXECUTOR, run_name="__main__", alter_sys=True)
        exit_code = 0
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        # As multiprocessing ends its processes: taking apart every module would cost each step two seconds.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


if __name__ == "__main__":
    main()
