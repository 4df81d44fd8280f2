"""The command line as a user calls it, and one whole pipeline run that several tests look at."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from interruptions import Command, champion_weights, leftovers, write_votes
from pipeline_runs import SMALL, Finished, Run, options
from retraining_line import Line, in_order, names_of


@pytest.fixture(scope="session")
def repo_pipeline() -> Run:
    """Run `repo-pipeline` in a process of its own, without a user's MLflow settings."""

    def run(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=kept | environment,
            cwd=cwd,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def finished(repo_pipeline: Run, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    store = tmp_path_factory.mktemp("run") / "store"
    done = repo_pipeline("demo", "--store", store, *options(SMALL))
    assert done.returncode == 0, done.stdout + done.stderr
    return Finished(store, done.stdout)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Votes for runs that are killed or stopped."""
    return write_votes(tmp_path_factory.mktemp("interruption") / "votes.jsonl")


@pytest.fixture(scope="session")
def undisturbed(data: Path) -> str:
    """Digest of the weights that a run on them ends with when nobody interrupts it."""
    store = data.parent / "undisturbed"
    command = Command(data, store)
    command.finish()
    assert not leftovers(store, command)
    assert {path.name for path in (store / "checkpoints").glob("*/*")} <= {"references"}
    return champion_weights(store)


@pytest.fixture(scope="session")
def batches(repo_pipeline: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "batches"
    settings = ("simulation.comparisons=120", "simulation.prompts=40")
    done = repo_pipeline("simulate", "--batches", "3", "--output", folder, *options(settings))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def trained(batches: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Line, Path]:
    """A line whose first batch made a champion, and where its state after that is kept."""
    line = Line(tmp_path_factory.mktemp("line"))
    shutil.copytree(batches, line.root / "batches")
    line.receive(1)
    line.retrain().finish()
    in_order(line, names_of(1), versions=1)
    return line, line.kept_as("first")


@pytest.fixture
def line(trained: tuple[Line, Path]) -> Line:
    """The line as it was after its first batch, and a second batch that has come."""
    line, kept = trained
    line.restored_from(kept).receive(2)
    return line
