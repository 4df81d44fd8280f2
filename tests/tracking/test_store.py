import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from repo.errors import UserError
from repo.tracking.handover import fetch
from repo.tracking.promotion import promote_version
from repo.tracking.registry import champion, list_models, register_version
from repo.tracking.runs import close_parent, open_parent, step_run, steps_of
from repo.tracking.store import Server, Store, choose_store


def test_a_new_store_keeps_everything_inside_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(Path("deep/.repo"))
    assert not store.exists
    store.open_experiment("mine")
    assert store.exists
    experiment = MlflowClient(tracking_uri=store.tracking_uri).get_experiment_by_name("mine")
    assert experiment.artifact_location == str(tmp_path / "deep/.repo/artifacts")
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert sorted(path.name for path in store.root.iterdir()) == ["artifacts", "locks", "mlflow.db"]


@pytest.mark.parametrize("name", ["a b", "feature%2Flogin", "v2?draft", "a#b", "it's", "übung", "100%;x=1&y:z"])
def test_a_directory_of_any_name_holds_its_store_and_nothing_lies_beside_it(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    store = Store(Path("in", name))
    for _ in range(2):
        store.open_experiment("repo")
    for variable, value in store.environment().items():
        monkeypatch.setenv(variable, value)
    (tmp_path / "published").mkdir()
    (tmp_path / "published/a.txt").write_text("text")
    with step_run(open_parent("repo", "training", "job-1", settings={}, tags={}), "validate") as run:
        pointer = run.publish(tmp_path / "published", "result")
    assert (fetch(pointer) / "a.txt").read_text() == "text"
    assert fetch(pointer).is_relative_to(store.artifacts)
    assert [path.name for path in (tmp_path / "in").iterdir()] == [name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "published"]
    assert sorted(path.name for path in store.root.iterdir()) == ["artifacts", "locks", "mlflow.db"]


def test_preparing_twice_changes_nothing(store):
    before = [dict(experiment) for experiment in MlflowClient().search_experiments()]
    store.open_experiment("repo")
    assert [dict(experiment) for experiment in MlflowClient().search_experiments()] == before


def test_a_published_directory_lies_in_the_store(store, parent, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.txt").write_text("text")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with step_run(parent, "validate") as run:
        pointer = run.publish(tmp_path / "elsewhere", "result")
    assert len(list(store.artifacts.rglob("a.txt"))) == 1
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["a.txt"]
    assert fetch(pointer).is_relative_to(store.artifacts)


@pytest.mark.parametrize("place", ["file", "file/.repo", "/proc/repo-store"])
def test_a_directory_that_cannot_be_made_is_explained(tmp_path, place):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(UserError, match="cannot be written") as caught:
        Store(tmp_path / place).open_experiment("repo")
    assert "--store DIR" in caught.value.remedy


def test_a_store_without_permission_to_write_is_explained(store):
    store.root.chmod(0o500)
    if os.access(store.root, os.W_OK):
        pytest.skip("the superuser may write anywhere")
    with pytest.raises(UserError, match="cannot be written"):
        store.open_experiment("repo")


def test_a_database_that_is_a_directory_is_explained(tmp_path):
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        Store(tmp_path).open_experiment("repo")


def test_a_file_that_is_no_database_is_explained_and_left_alone(tmp_path):
    (tmp_path / "mlflow.db").write_text("somebody's notes, and enough of them to look like a file header" * 3)
    with pytest.raises(UserError, match=r"mlflow\.db: .*not a database"):
        Store(tmp_path).open_experiment("repo")
    assert (tmp_path / "mlflow.db").read_text().startswith("somebody's notes")


def test_a_store_that_was_moved_says_where_it_belongs(store):
    moved = Store(store.root.rename(store.root.with_name("moved")))
    with pytest.raises(UserError, match="outside this store") as caught:
        moved.open_experiment("repo")
    assert f"move it back to {store.root}" in caught.value.remedy


def test_the_environment_names_the_store_and_switches_telemetry_off(tmp_path):
    environment = Store(tmp_path).environment()
    assert environment["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert (environment["DO_NOT_TRACK"], environment["MLFLOW_DISABLE_TELEMETRY"]) == ("true", "true")
    assert "HF_HUB_OFFLINE" not in environment


def test_the_users_server_is_honoured_unless_a_store_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert choose_store() == Store(Path(".repo"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert choose_store() == Server("https://mlflow.example")
    assert choose_store().environment()["MLFLOW_TRACKING_URI"] == "https://mlflow.example"
    assert choose_store(tmp_path) == Store(tmp_path)


def test_a_server_that_does_not_answer_is_told_at_once(free_port):
    with pytest.raises(UserError, match=r"no answer from there: .*refused"):
        Server(f"http://127.0.0.1:{free_port}").open_experiment("repo")


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns"])
def test_a_folder_of_old_mlflow_as_tracking_uri_is_explained(uri):
    with pytest.raises(UserError, match="filesystem tracking backend") as caught:
        Server(uri).open_experiment("repo")
    assert "unset MLFLOW_TRACKING_URI" in caught.value.remedy


def test_something_else_that_listens_there_is_told(free_port):
    with socket.create_server(("127.0.0.1", free_port)) as listener:
        answer = threading.Thread(target=lambda: listener.accept()[0].sendall(b"220 mail\r\n\r\n"))
        answer.start()
        with pytest.raises(UserError, match="no answer from there"):
            Server(f"http://127.0.0.1:{free_port}").open_experiment("repo")
        answer.join()


def test_a_port_in_use_is_refused_with_a_free_one(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is in use") as caught:
            store.ui_command(port)
    proposed = int(caught.value.remedy.rsplit(" ", 1)[1])
    assert proposed > port
    assert store.ui_command(proposed)


def test_the_ui_of_no_store_and_of_a_database_is_explained(tmp_path):
    with pytest.raises(UserError, match="no store there yet"):
        Store(tmp_path / ".repo").ui_command(5000)
    with pytest.raises(UserError, match="not a server with pages of its own"):
        Server("postgresql://user:secret@host/mlflow").address(5000)


@pytest.mark.parametrize("given", ["https://ann:pw@host:5000/mlflow/", "https://host:5000/mlflow?token=pw#pw"])
def test_a_servers_own_pages_are_addressed_without_secrets(given):
    server = Server(given)
    assert server.ui_command(1) is None
    assert server.address(1) == "https://host:5000/mlflow"


def test_the_store_module_does_not_import_mlflow():
    code = "import sys, repo.tracking.store, repo.tracking.handover; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_ui_serves_the_store_and_steps_work_through_it(store, free_port, monkeypatch, tmp_path):
    """One real server: what `repo-pipeline ui` starts, used as a tracking server for publish, fetch and register."""
    server = Server(f"http://127.0.0.1:{free_port}")
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(store.ui_command(free_port), stdout=log, stderr=log, cwd=tmp_path, process_group=0)
    try:
        wait_for(server, process)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.tracking_uri)
        # Artifacts of this experiment travel through the server.
        MlflowClient().create_experiment("remote", artifact_location="mlflow-artifacts:/remote")
        parent = open_parent("remote", "training", "job-1", settings={"train.loss": "dpo"}, tags={})
        (tmp_path / "model").mkdir()
        (tmp_path / "model/MLmodel").write_text("flavors: {}")
        with step_run(parent, "train") as run:
            run.log_metrics({"loss": 0.5})
            pointer = run.publish(tmp_path / "model", "model")
            client = MlflowClient()
            model = client.create_logged_model(client.get_run(parent).info.experiment_id, source_run_id=run.run_id)
            client.finalize_logged_model(model.model_id, "READY")
        assert len(list(store.artifacts.glob("remote/*/artifacts/model/MLmodel"))) == 1
        assert (fetch(pointer, tmp_path / "copy") / "MLmodel").read_text() == "flavors: {}"
        logged = type(pointer)(f"models:/{model.model_id}", pointer.digest)
        version = register_version(logged, "repo-policy", {"loss": "dpo"})
        assert register_version(logged, "repo-policy", {"loss": "dpo"}) == version
        promote_version("repo-policy", version, None)
        assert champion("repo-policy") == list_models("repo-policy")[0]
        close_parent("job-1", "SUCCEEDED")
        assert [(s.name, s.status) for s in steps_of(parent)] == [("train", "FINISHED")]
        with urllib.request.urlopen(server.tracking_uri) as page:
            assert b"MLflow" in page.read()
    finally:
        os.killpg(process.pid, 15)
        process.wait()
        log.close()


def wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            return server.open_experiment("repo")
        except UserError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.2)
    raise AssertionError("the server did not start")


def size_of(file: Path) -> int:
    """Of a file that another process may remove between any two looks, as sqlite does with its journal."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def test_a_store_whose_making_was_killed_is_made_by_the_next_command(tmp_path):
    """Killed at moments all over the making of the tables, which takes about a second."""
    code = "import sys; from pathlib import Path; from repo.tracking.store import Store; Store(Path(sys.argv[1]))"
    command = [sys.executable, "-c", f"{code}.open_experiment('repo')"]
    for number, tables in enumerate((1, 200_000, 400_000)):
        root = tmp_path / str(number)
        process = subprocess.Popen([*command, str(root)])
        while process.poll() is None and not any(size_of(file) >= tables for file in root.glob("mlflow.*")):
            time.sleep(0.001)
        process.kill()
        process.wait()
        Store(root).open_experiment("repo")
        assert sorted(path.name for path in root.iterdir()) == ["artifacts", "locks", "mlflow.db"]


def test_a_look_up_is_in_a_hurry_and_what_comes_after_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    for name, value in Store(tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    with Store(tmp_path).opened():
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "10"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
