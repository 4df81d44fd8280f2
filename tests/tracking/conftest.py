"""A real sqlite store for every test: one is made a session (migrations take a second) and copied."""

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus

from repo.tracking.handover import Pointer
from repo.tracking.runs import open_parent
from repo.tracking.store import Store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("template") / ".repo")
    store.root.mkdir()
    mlflow.MlflowClient(tracking_uri=store.tracking_uri).search_experiments()
    return store.database


@pytest.fixture
def store(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store(tmp_path / "home" / ".repo")
    made.root.mkdir(parents=True)
    shutil.copy(empty_database, made.database)
    made.open_experiment("repo")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    yield made
    assert mlflow.active_run() is None


@pytest.fixture
def parent(store: Store) -> str:
    return open_parent("repo", "training", "job-1", settings={"train.loss": "dpo"}, tags={"purpose": "test"})


@pytest.fixture
def pointer(parent: str) -> Callable[[], Pointer]:
    """Makes logged models without content: the registry only looks at their address."""

    def make() -> Pointer:
        client = mlflow.MlflowClient()
        experiment_id = client.get_run(parent).info.experiment_id
        model = client.create_logged_model(experiment_id, name="policy", source_run_id=parent)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return Pointer(f"models:/{model.model_id}", "0" * 64)

    return make


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
