"""A step in a container of its own refuses a store that the steps after it would not see."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repo.errors import UserError
from repo.lifeline import COMMAND
from repo.tracking.store import check_shared

OPEN_RUN = """
from components.open_run import open_run
from repo.settings import Settings, to_parameters
open_run.python_func(
    pipeline_run="1", name="", data="simulated", finish=False, settings="settings.json", **to_parameters(Settings())
)
"""


@pytest.fixture(autouse=True)
def _in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(COMMAND, raising=False)


@pytest.mark.parametrize(
    "uri", ["", "sqlite:////data/mlflow.db", "sqlite+pysqlite:///x.db", "file:///runs", "./mlruns"]
)
def test_a_store_in_one_container_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI") as caught:
        check_shared()
    assert "--secret" in caught.value.remedy


@pytest.mark.parametrize(
    "uri",
    ["http://mlflow:5000", "https://user:word@mlflow.example.org", "postgresql+psycopg2://db/mlflow", "databricks"],
)
def test_a_server_is_taken(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    check_shared()


def test_steps_of_one_command_share_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////data/mlflow.db")
    monkeypatch.setenv(COMMAND, str(os.getpid()))
    check_shared()


def test_the_first_step_ends_with_the_words_and_makes_nothing(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", COMMAND)}
    done = subprocess.run(
        [sys.executable, "-c", OPEN_RUN],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "error: MLFLOW_TRACKING_URI is not set" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
