"""`repo-pipeline hooks example` against an MLflow server that really fires; what is printed is done to the letter."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from receivers import MODEL, SECRET, Receiver, receiving, wait_until
from web import free_port, served, wait_until_it_answers

from pipelines.cli import main
from repo.tracking.handover import Pointer
from repo.tracking.promotion import Wish, promote_by_hand
from repo.tracking.registry import champion, list_models, register_version, version_tags
from repo.tracking.store import Server, Store

ROOT = Path(__file__).resolve().parents[2]


def example(*options: str) -> str:
    done = CliRunner().invoke(main, ["hooks", "example", *options])
    assert done.exit_code == 0, done.output
    return done.output


def printed_commands(script: str) -> list[str]:
    """What a reader of the script types in before."""
    return re.findall(r"^#      (.*)$", script, flags=re.MULTILINE)


def settings_of_the_server(script: str) -> dict[str, str]:
    [key_maker] = [line for line in printed_commands(script) if line.startswith("python -c")]
    key = subprocess.check_output([sys.executable, *shlex.split(key_maker)[1:]], text=True).strip()
    named = dict(re.findall(r"(MLFLOW_WEBHOOK_\w+)=(\S+)", "\n".join(printed_commands(script))))
    assert named["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] == "..."
    return named | {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": key}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's server with the settings that are printed, and without the minute in which it knows no new webhook."""
    root, port = tmp_path_factory.mktemp("mlflow"), free_port()
    own = Store(root).environment() | settings_of_the_server(example()) | {"MLFLOW_WEBHOOK_CACHE_TTL": "0"}
    del own["MLFLOW_TRACKING_URI"]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", f"sqlite:///{root}/mlflow.db", "--artifacts-destination", root / "a"],
            env=os.environ | own, stdout=log, stderr=log, cwd=root, process_group=0,
        )  # fmt: skip
    try:
        wait_until_it_answers(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(60)


@pytest.fixture
def tracked(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A client of that server, which forgets its webhooks after the test."""
    for name, value in Server(server).environment().items():
        monkeypatch.setenv(name, value)
    client = MlflowClient()
    yield client
    for hook in client.list_webhooks():
        client.delete_webhook(hook.webhook_id)


def subscribe(url: str, server: str, secret: str = SECRET) -> "subprocess.CompletedProcess[str]":
    """Run what is printed, to the letter."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": server, "REPO_WEBHOOK_SECRET": secret}
    done = subprocess.run(
        [sys.executable, "-"], input=example("--url", url), env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert secret not in done.stdout + done.stderr
    return done


def url_of(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.port}/mlflow"


def candidate(model: str, compared_with: str = "") -> str:
    """Register what passed the gate and waits for a person."""
    client = MlflowClient()
    run = client.create_run("0")
    logged = client.create_logged_model("0", name="policy", source_run_id=run.info.run_id)
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    tags = version_tags(
        loss="dpo", accuracy=0.8, annotators=3, mean_reliability=0.7, data_digest="d", config_digest="c",
        verdict="promote", reasons=["it is better"], run_id=run.info.run_id, exam=Pointer("runs:/r/exam", "e"),
        simulated=False, compared_with=compared_with, manual=True,
    )  # fmt: skip
    return register_version(Pointer(f"models:/{logged.model_id}", "0" * 64), model, tags)


def test_a_candidate_that_waits_and_its_promotion_by_hand_arrive(
    server: str, tracked: MlflowClient, tmp_path: Path
) -> None:
    with receiving(tmp_path) as receiver:
        done = subscribe(url_of(receiver), server)
        assert (done.returncode, "answers 200" in done.stdout) == (0, True), done.stdout + done.stderr
        version = candidate(MODEL)
        wait_until(lambda: receiver.events() == [("approval_waiting", version)])
        candidate("another-policy")
        promote_by_hand("another-policy", "1", Wish("Ann", approve=True), settle=0)
        promote_by_hand(MODEL, version, Wish("Ann", approve=True), settle=0)
        assert champion(MODEL) == list_models(MODEL)[0]
        wait_until(lambda: ("champion_moved", version) in receiver.events())
        tracked.set_model_version_tag(MODEL, version, "approval", "waiting")
        wait_until(lambda: len(receiver.events()) == 3)
        assert receiver.events() == [
            ("approval_waiting", version), ("champion_moved", version), ("approval_waiting", version),
        ]  # fmt: skip


def test_running_the_script_again_changes_the_webhook_and_makes_no_second_one(
    server: str, tracked: MlflowClient, tmp_path: Path
) -> None:
    with receiving(tmp_path / "first", secret="first-secret") as receiver:
        assert subscribe(url_of(receiver), server, "first-secret").returncode == 0
        port, [before] = receiver.port, tracked.list_webhooks()
        receiver.stop()
    tracked.update_webhook(before.webhook_id, status="DISABLED")
    with receiving(tmp_path / "second", "--port", str(port), secret="second-secret") as receiver:
        assert subscribe(url_of(receiver), server, "second-secret").returncode == 0
        [after] = tracked.list_webhooks()
        assert (after.webhook_id, after.status) == (before.webhook_id, "ACTIVE")
        version = candidate(MODEL)
        wait_until(lambda: receiver.events() == [("approval_waiting", version)])


def test_a_receiver_with_another_secret_refuses_the_test_and_every_event(
    server: str, tracked: MlflowClient, tmp_path: Path
) -> None:
    with receiving(tmp_path, secret="another-secret") as receiver:
        done = subscribe(url_of(receiver), server)
        assert done.returncode == 1
        assert "HTTP 401 the signature is missing or does not fit the secret" in done.stderr
        assert "Traceback" not in done.stderr
        candidate(MODEL)
        wait_until(lambda: receiver.log().count("refused: the signature") >= 3)
        assert receiver.printed() == ""


@dataclass
class Recorder:
    """Keeps requests as MLflow sent them."""

    requests: list[tuple[dict[str, str], bytes]]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append((dict(self.headers), body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        return Handler


def test_a_request_of_mlflow_s_that_is_sent_again_is_acted_upon_once_and_one_that_was_changed_never(
    server: str, tracked: MlflowClient, tmp_path: Path
) -> None:
    recorder = Recorder([])
    with served(recorder.handler()) as port:
        assert subscribe(f"http://127.0.0.1:{port}/mlflow", server).returncode == 0
        recorder.requests.clear()
        version = candidate(MODEL)
        wait_until(lambda: len(recorder.requests) == 1 + 1)  # created, and the alias challenger
    [(headers, body)] = [request for request in recorder.requests if b'"waiting"' in request[1]]
    changed = body.replace(b'"version": "', b'"version": "1')
    with receiving(tmp_path) as receiver:
        assert receiver.ask(headers | {"Content-Length": str(len(changed))}, changed) == 401
        assert [receiver.ask(headers, body) for _ in range(3)] == [202, 200, 200]
        assert receiver.events() == [("approval_waiting", version)]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, "names no server"),
        ({}, "names no server"),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "REPO_WEBHOOK_SECRET": ""}, "REPO_WEBHOOK_SECRET is not set"),
    ],
)
def test_the_script_says_what_is_missing_and_makes_nothing(
    tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "REPO_"))}
    done = subprocess.run(
        [sys.executable, "-c", example()], env=kept | {"REPO_WEBHOOK_SECRET": SECRET} | environment, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_receiver_that_is_printed_starts_and_listens_where_the_url_says(tmp_path: Path) -> None:
    port = free_port()
    [line] = [
        line
        for line in printed_commands(example("--url", f"http://127.0.0.1:{port}/a;b", "--model", "mine"))
        if "receiver.py" in line
    ]
    log = tmp_path / "log"
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, *shlex.split(line)[1:]], cwd=ROOT, stderr=words,
            env=os.environ | {"REPO_WEBHOOK_SECRET": SECRET},
        )  # fmt: skip
    wait_until(lambda: log.read_text() or process.poll() is not None)
    process.terminate()
    assert process.wait(60) == 0
    assert log.read_text() == f"listening on http://127.0.0.1:{port}/a;b for events of mine\n"


def test_the_secret_that_is_made_is_long_and_none_is_ever_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPO_WEBHOOK_SECRET", SECRET)
    script = example()
    assert SECRET not in script
    made = [subprocess.check_output(["sh", "-c", f"{_secret_maker(script)}; echo $REPO_WEBHOOK_SECRET"]) for _ in "12"]
    assert len(set(made)) == 2
    assert min(map(len, made)) > 40


def _secret_maker(script: str) -> str:
    [line] = [line for line in printed_commands(script) if line.startswith("export REPO_WEBHOOK_SECRET")]
    return line.replace("python", shlex.quote(sys.executable))


def test_a_store_that_fires_nothing_is_told_of_and_a_server_s_password_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "is no server" in example("--store", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:pw-of-ann@db/mlflow")
    assert "is no server" in example()
    assert "pw-of-ann" not in example()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:pw-of-ann@mlflow.example")
    assert "is no server" not in example()
    assert "pw-of-ann" not in example()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hooks.example/mlflow", "not an address of the web"),
        ("ftp://hooks.example/", "not an address of the web"),
        ("http://", "not an address of the web"),
        ("http://h:port/", "not an address of the web"),
        ("http://[::1/", "not an address of the web"),
        ("http://h/a\nimport os", "not an address of the web"),
        ("http://h/a b", "not an address of the web"),
        ("https://ann:pw-of-ann@h/", "more than host, port and path"),
        ("https://h/?token=pw-of-ann", "more than host, port and path"),
    ],
)
def test_a_url_that_cannot_be_or_holds_a_secret_is_refused(url: str, words: str) -> None:
    done = CliRunner().invoke(main, ["hooks", "example", "--url", url])
    assert done.exit_code == 1
    assert words in done.output
    assert "pw-of-ann" not in done.output


@pytest.mark.parametrize(
    "url", ["http://h/'+__import__('os').getcwd()+'", 'https://h/"""', "http://h/$(id)", "https://h"]
)
def test_whatever_the_url_the_script_has_it_as_it_was_given(url: str) -> None:
    script = example("--url", url)
    names: dict[str, Any] = {}
    exec(re.search(r"^URL = .*$", script, flags=re.MULTILINE)[0], names)  # type: ignore[index]
    assert names["URL"] == url
    compile(script, "subscribe.py", "exec")
