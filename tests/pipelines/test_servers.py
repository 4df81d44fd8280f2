"""MLflow servers that are down, mute or guarded, as the commands meet them."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interruptions import Command
from mlflow import MlflowClient
from pipeline_runs import SMALL, Run, options
from web import PASSWORD, USER, free_port, guarded_proxy, served, silent, wait_until_it_answers

from repo.tracking.store import Store

COMMANDS = {
    "models": ["models"],
    "run": ["run", "--data", "votes.jsonl"],
    "demo": ["demo"],
    "ui": ["ui"],
    "reliability": ["reliability", "--annotations", "votes.jsonl", "--prior-state", "models:/repo-demo@champion"],
}
PATIENCE = 30
OUTAGE = 20
"""Seconds."""


@contextmanager
def served_store(root: Path, port: int | None = None) -> Iterator[int]:
    """What `repo-pipeline ui` starts on a store, as somebody's tracking server."""
    store, port = Store(root), port or free_port()
    store.open_experiment("repo")
    command = [sys.executable, "-m", "pipelines.cli", "ui", "--store", str(root), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(port, server)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served_store(tmp_path_factory.mktemp("server") / "store") as port:
        yield port


def one_screen(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert len(said.splitlines()) < 10
    assert "→" in done.stderr
    assert not [word for word in words if word not in done.stderr], said


@pytest.mark.parametrize("kind", ["down", "silent"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_does_not_answer_is_told_on_one_screen(
    repo_pipeline: Run, tmp_path: Path, command: str, kind: str
) -> None:
    (tmp_path / "votes.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    with silent() as mute:
        port = mute if kind == "silent" else free_port()
        uri = f"http://{USER}:{PASSWORD}@127.0.0.1:{port}"
        started = time.monotonic()
        done = repo_pipeline(*COMMANDS[command], cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert time.monotonic() - started < PATIENCE
    one_screen(done, f"http://***@127.0.0.1:{port}")
    assert PASSWORD not in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["votes.jsonl"]


@pytest.mark.slow
def test_a_whole_run_goes_to_a_guarded_server_and_its_password_nowhere(
    repo_pipeline: Run, tmp_path: Path, server: int
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with served(guarded_proxy(server)) as port:
        uri = f"http://{USER}:{PASSWORD}@127.0.0.1:{port}"
        own = {"MLFLOW_TRACKING_URI": uri, "TMPDIR": str(temporary)}
        done = repo_pipeline("demo", *options(SMALL), "--verbose", cwd=tmp_path, **own)
        listed = repo_pipeline("models", "--model", "repo-demo", cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(temporary.iterdir())
    assert PASSWORD not in done.stdout + done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert "champion" in listed.stdout, listed.stderr
    client = MlflowClient(tracking_uri=f"http://127.0.0.1:{server}")
    runs = client.search_runs([client.get_experiment_by_name("repo-demo").experiment_id])
    assert not [run for run in runs if PASSWORD in str(run.to_dictionary())]


@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_amid_training_is_waited_for(data: Path, tmp_path: Path) -> None:
    with served_store(tmp_path / "store") as port:
        uri = f"http://127.0.0.1:{port}"
        command = Command(data, None, environment={"MLFLOW_TRACKING_URI": uri})
        command.wait_until(lambda: "%  step " in command.said())
    time.sleep(OUTAGE)
    assert command.process.poll() is None, command.said()
    with served_store(tmp_path / "store", port):
        said = command.finish()
        client = MlflowClient(tracking_uri=uri)
        runs = client.search_runs([client.get_experiment_by_name("repo").experiment_id])
        [train] = [run for run in runs if run.info.run_name == "train"]
        steps = [metric.step for metric in client.get_metric_history(train.info.run_id, "loss")]
    assert "verdict: promote" in said
    assert f"http://127.0.0.1:{port} is away, or not well; it is asked again" in said
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(set(steps)) == list(range(1, max(steps) + 1))


@pytest.mark.parametrize("command", ["models", "demo"])
@pytest.mark.parametrize("user", ["", f"{USER}:wrong@"], ids=["nobody", "wrong password"])
def test_a_guarded_server_asks_for_the_password(
    repo_pipeline: Run, tmp_path: Path, server: int, command: str, user: str
) -> None:
    with served(guarded_proxy(server)) as port:
        done = repo_pipeline(command, cwd=tmp_path, MLFLOW_TRACKING_URI=f"http://{user}127.0.0.1:{port}")
    one_screen(done, "401", "MLFLOW_TRACKING_PASSWORD")


def test_user_and_password_may_stand_in_the_environment(repo_pipeline: Run, tmp_path: Path, server: int) -> None:
    with served(guarded_proxy(server)) as port:
        environment = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        uri = f"http://127.0.0.1:{port}"
        done = repo_pipeline("models", "--model", "none", cwd=tmp_path, MLFLOW_TRACKING_URI=uri, **environment)
    assert (done.returncode, "no version of none yet" in done.stdout) == (0, True), done.stderr


@pytest.mark.slow
def test_the_state_of_a_registered_model_is_found_in_the_server_or_beside_the_command(
    repo_pipeline: Run, tmp_path: Path, server: int
) -> None:
    """Stands after the run on this server, which registered a model there."""
    assert repo_pipeline("simulate", "--output", tmp_path / "votes.jsonl").returncode == 0
    command = COMMANDS["reliability"]
    one_screen(repo_pipeline(*command, cwd=tmp_path), "models:/repo-demo@champion", ".repo")
    uri = f"http://127.0.0.1:{server}"
    done = repo_pipeline(*command, "--json", cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    assert '"prior": {' in done.stdout
    other = [*command[:-1], "models:/nobody@champion"]
    one_screen(repo_pipeline(*other, cwd=tmp_path, MLFLOW_TRACKING_URI=uri), "models:/nobody@champion")


@pytest.mark.parametrize("name", ["a'b", "", "a/b"])
def test_a_model_name_that_cannot_be_is_refused(repo_pipeline: Run, tmp_path: Path, name: str) -> None:
    one_screen(repo_pipeline("models", "--store", tmp_path, "--model", name), "--model", repr(name))
