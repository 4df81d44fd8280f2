"""The registry's commands on a real MLflow server with users and rights: who may not is told which right is missing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.server import get_app_client
from pipeline_runs import SMALL, Run, options
from web import free_port, wait_until_it_answers

pytestmark = pytest.mark.slow

ADMIN, READER, EDITOR, NOBODY = "admin", "reader", "editor", "nobody"
PASSWORD = "correct-horse-battery"
MODEL = "repo-demo"


@dataclass(frozen=True)
class Guarded:
    """A server, and commands that are given to it by its users."""

    uri: str
    run: Run
    folder: Path

    def by(self, user: str, *command: str, password: str = PASSWORD) -> "subprocess.CompletedProcess[str]":
        who = {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        return self.run(*command, cwd=self.folder, MLFLOW_TRACKING_URI=self.uri, **who)

    def aliases(self) -> dict[str, str]:
        listed = json.loads(self.by(ADMIN, "models", "list", "--json", "--model", MODEL).stdout)
        return {alias: info["version"] for info in listed for alias in info["aliases"]}


@pytest.fixture(scope="module")
def guarded(repo_pipeline: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server with a champion and a version that waits for approval, both made by its administrator."""
    folder = tmp_path_factory.mktemp("guarded")
    port = free_port()
    config = folder / "auth.ini"
    config.write_text(
        f"[mlflow]\ndatabase_uri = sqlite:///{folder}/users.db\nadmin_username = {ADMIN}\n"
        "default_permission = NO_PERMISSIONS\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for a test",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1"]
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1", *store], env=environment, stdout=log, stderr=log
        )
    made = Guarded(f"http://127.0.0.1:{port}", repo_pipeline, folder)
    try:
        wait_until_it_answers(port, server)
        for approval in ("none", "manual"):
            done = made.by(ADMIN, "demo", *options((*SMALL, f"gate.approval={approval}")))
            assert done.returncode == 0, done.stdout + done.stderr
        assert made.aliases() == {"champion": "1", "challenger": "2"}
        add_users(made.uri)
        yield made
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def add_users(uri: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
        patched.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        users = get_app_client("basic-auth", tracking_uri=uri)
        for name in (READER, EDITOR, NOBODY):
            users.create_user(name, PASSWORD)
        experiment = MlflowClient(tracking_uri=uri).get_experiment_by_name(MODEL).experiment_id
        for user, right in ((READER, "READ"), (EDITOR, "EDIT")):
            users.grant_user_permission(user, "registered_model", MODEL, right)
            users.grant_user_permission(user, "experiment", experiment, "READ")


def refused(done: "subprocess.CompletedProcess[str]", user: str, right: str, thing: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert PASSWORD not in said
    assert f"MLflow refuses this to user {user}: the right {right} on the {thing} is missing" in done.stderr, said
    assert f"ask who administers MLflow to grant {right}" in done.stderr


def test_who_may_read_sees_everything(guarded: Guarded) -> None:
    listed = guarded.by(READER, "models", "--model", MODEL)
    assert "version 2 waits for approval" in listed.stdout, listed.stderr
    shown = guarded.by(READER, "models", "show", "2", "--model", MODEL)
    assert (shown.returncode, "cannot be had" in shown.stdout) == (0, False), shown.stdout + shown.stderr
    assert "gain over champion" in shown.stdout
    compared = guarded.by(READER, "models", "compare", "1", "2", "--model", MODEL, "--json")
    differ = json.loads(compared.stdout)
    assert differ["settings"] == {"gate.approval": ["none", "manual"]}
    assert differ["same_exam"]
    assert differ["missing"] == [[], []]


@pytest.mark.parametrize(
    "command",
    [
        ("promote", "2", "--approve", "--by", "eve"),
        ("promote", "2", "--approve", "--force", "--reason", "hurry", "--by", "eve"),
        ("decline", "2", "--reason", "hurry", "--by", "eve"),
        ("rollback", "--reason", "hurry"),
    ],
)
def test_who_may_only_read_moves_no_alias_and_is_told_what_is_missing(
    guarded: Guarded, command: tuple[str, ...]
) -> None:
    before = guarded.aliases()
    refused(guarded.by(READER, "models", *command, "--model", MODEL), READER, "EDIT", "registered model")
    assert guarded.aliases() == before


def test_who_may_not_even_read_is_told_so(guarded: Guarded) -> None:
    shown = guarded.by(NOBODY, "models", "show", "1", "--model", MODEL)
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    assert "no version 1" in shown.stderr or "the right READ" in shown.stderr


@pytest.mark.parametrize(("user", "right"), [(READER, "EDIT"), (NOBODY, "READ")])
def test_a_run_in_an_experiment_of_somebody_else_is_refused(guarded: Guarded, user: str, right: str) -> None:
    refused(guarded.by(user, "demo", *options(SMALL)), user, right, "experiment")


def test_the_doctor_names_the_rights_that_a_run_would_miss(guarded: Guarded) -> None:
    line = ("--set", f"registry.experiment={MODEL}", "--model", MODEL)
    assert guarded.by(ADMIN, "doctor", *line).returncode == 0
    done = guarded.by(READER, "doctor", *line)
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (1, False)
    assert "EDIT on that experiment" in done.stdout
    assert "EDIT on that model" in done.stdout


def test_a_wrong_password_is_told(guarded: Guarded) -> None:
    done = guarded.by(READER, "models", "--model", MODEL, password="wrong")
    assert done.returncode == 1
    assert "does not let user reader in" in done.stderr
    assert "MLFLOW_TRACKING_PASSWORD" in done.stderr


def test_who_may_edit_approves_rolls_back_and_copies_and_signs_with_their_name(guarded: Guarded) -> None:
    """Comes last: it moves the aliases."""
    approved = guarded.by(EDITOR, "models", "promote", "--approve", "--by", "ann", "--model", MODEL, "--json")
    assert approved.returncode == 0, approved.stderr
    assert json.loads(approved.stdout) == {"model": MODEL, "champion": "2", "previous": "1"}
    copied = guarded.by(EDITOR, "models", "copy", "--to", "production", "--model", MODEL, "--json")
    assert copied.returncode == 0, copied.stderr
    assert json.loads(copied.stdout)["copied_from"] == f"{MODEL}/2"
    back = guarded.by(EDITOR, "models", "rollback", "--reason", "rude", "--model", MODEL)
    assert "version 1 is champion again" in back.stdout, back.stderr
    # Only who may MANAGE takes an alias away: these two stay, and mean nothing.
    assert guarded.aliases() == {"champion": "1", "previous-champion": "1", "challenger": "2"}
    shown = guarded.by(READER, "models", "show", "2", "--model", MODEL).stdout
    assert "approved by ann" in shown
    assert f"rolled back by {EDITOR}" in shown
    assert ": rude" in shown
    assert "promote (approval: approved, rolled back)" in guarded.by(READER, "models", "--model", MODEL).stdout
