"""Steps forked from one process: each is as alone as if it had an interpreter of its own, and ends as one would."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines import forkserver
from pipelines.forkserver import EXECUTOR, PRELOADED, ForkServer, processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kfp starts an interpreter for each step")


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with ForkServer() as running:
        yield running


def command(body: str, folder: Path) -> list[str]:
    """Return kfp's command for a component with this body."""
    code = "from kfp import dsl\n\ndef step():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    outputs = {"inputs": {}, "outputs": {"outputFile": str(folder / "output.json")}}
    executor = ["--executor_input", json.dumps(outputs), "--function_to_execute", "step"]
    return ["sh", "-ec", "the script that starts python3", code, *executor]


def test_what_a_step_prints_is_printed_and_it_sees_folder_environment_and_variables(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SET_HERE", "after the server has started")
    monkeypatch.delenv("HOME")
    body = (
        "import os, sys\n"
        "print(os.getcwd(), os.environ['SET_HERE'], os.environ['MORE'], 'HOME' in os.environ, 'schön')\n"
        "print('to the other stream', file=sys.stderr)\n"
        "os.system('echo a process of the step')"
    )
    assert server.run(command(body, tmp_path), {"MORE": "more"}) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path} after the server has started more False schön" in said
    assert "to the other stream" in said
    assert "a process of the step" in said


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("import sys\nsys.exit(3)", 3),
        ("import sys\nsys.exit('a word')", 1),
        ("raise ValueError('a reason')", 1),
        ("import os\nos._exit(7)", 7),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_a_step_s_end_is_told_and_the_next_step_runs(
    server: ForkServer, tmp_path: Path, body: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.run(command(body, tmp_path)) == code
    assert ("a reason" in capsys.readouterr().out) == ("a reason" in body)
    assert server.run(command("print('the next')", tmp_path)) == 0


def test_what_a_step_registers_for_its_end_is_done(
    server: ForkServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.run(command("import atexit\natexit.register(print, 'done at the end')", tmp_path)) == 0
    assert "done at the end" in capsys.readouterr().out


def test_a_step_leaves_nothing_to_the_next_and_draws_its_own_numbers(
    server: ForkServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = (
        "import random, os, sys, uuid\n"
        "print('left', hasattr(os, 'left'), 'ephemeral_component' in sys.modules)\n"
        "os.left = True\n"
        "print('drawn', random.random(), uuid.uuid4())"
    )
    for _ in range(2):
        assert server.run(command(body, tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("left")] == ["left False True"] * 2
    assert len({line for line in lines if line.startswith("drawn")}) == 2


def test_imports_are_there_kfp_is_not_whole_and_no_other_thread_was_running(
    server: ForkServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = (
        "import sys, threading\n"
        f"print('missing', set({PRELOADED[1:]!r}) - set(sys.modules), 'kfp.client' in sys.modules)\n"
        "print('threads', threading.active_count())"
    )
    assert server.run(command(body, tmp_path)) == 0
    said = capsys.readouterr().out
    assert "missing set() False" in said
    assert "threads 1" in said


def test_what_is_imported_for_all_steps_asks_for_no_gpu() -> None:
    """A process whose parent has asked CUDA for anything cannot use it."""
    script = (
        "import importlib, torch\n"
        "def asked(*_): raise SystemExit('CUDA was asked')\n"
        "for name in ('is_available', 'device_count', '_lazy_init', 'init'): setattr(torch.cuda, name, asked)\n"
        f"for name in {PRELOADED!r}: importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_where_the_server_is_killed_its_step_has_failed_and_the_next_one_gets_another(tmp_path: Path) -> None:
    body = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"
    with ForkServer() as server:
        assert server.run(command(body, tmp_path)) == -signal.SIGKILL
        assert server.run(command("pass", tmp_path)) == 0


def test_where_the_server_is_killed_between_two_steps_the_next_one_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ForkServer() as server:
        assert server.run(command("pass", tmp_path)) == 0
        server.process.kill()
        psutil.Process(server.process.pid).wait()
        assert server.run(command("print('by another server')", tmp_path)) == 0
    assert "by another server" in capsys.readouterr().out


def test_a_server_ends_with_the_process_that_started_it() -> None:
    script = (
        "import os, signal\n"
        "from pipelines.forkserver import ForkServer\n"
        "print(ForkServer().process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    end = time.monotonic() + 5
    while psutil.pid_exists(int(done.stdout)):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_kfps_own_way_stays_where_it_was_and_where_forks_are_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    from kfp.local import subprocess_task_handler

    kfps_own = subprocess_task_handler.run_local_subprocess
    with processes():
        assert subprocess_task_handler.run_local_subprocess is not kfps_own
    assert subprocess_task_handler.run_local_subprocess is kfps_own
    monkeypatch.setattr(forkserver.sys, "platform", "darwin")
    with processes() as runner:
        assert subprocess_task_handler.run_local_subprocess is kfps_own
        assert not runner.use_venv


def test_kfps_command_is_what_the_server_takes_it_for() -> None:
    import yaml

    from pipelines.compiling import COMPILED

    for path in COMPILED.glob("*.yaml"):
        spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        for executor in spec["deploymentSpec"]["executors"].values():
            shell, option, script, code = executor["container"]["command"]
            assert (shell, option) == ("sh", "-ec")
            words = script.split()
            assert words[words.index("python3") :] == [
                *("python3", "-m", EXECUTOR, "--component_module_path"),
                *('"$program_path/ephemeral_component.py"', '"$@"'),
            ]
            assert "def " in code
