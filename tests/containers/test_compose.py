"""MLflow on one machine: `infra/compose/mlflow` on a real engine, with a real PostgreSQL."""

import json
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_mlflow import (
    EXPECTED,
    MODEL,
    READER,
    Deployment,
    add_reader,
    build_postgres,
    deploy,
    docker,
    register,
    register_another,
    registered,
)

SECRETS = ("database_password", "admin_password", "session_key")
PERSON = (READER, READER * 3)


@pytest.fixture(scope="module")
def postgres_image() -> str:
    return build_postgres()


@pytest.fixture(scope="module")
def server(postgres_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment that runs and has a model; every test leaves it so."""
    deployment = deploy(tmp_path_factory.mktemp("checkout") / "compose", postgres_image)
    try:
        deployment.does("up")
        deployment.as_admin(lambda client: register(client, tmp_path_factory.mktemp("weights")))
        add_reader(deployment)
        yield deployment
    finally:
        deployment.destroy()


@pytest.fixture
def bare(postgres_image: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment that was never started."""
    deployment = deploy(tmp_path / "compose", postgres_image)
    try:
        yield deployment
    finally:
        deployment.destroy()


def assert_all_is_there(server: Deployment, files: Path) -> None:
    assert server.as_admin(lambda client: registered(client, files)) == EXPECTED
    assert server.get(PERSON) == 200


def test_a_name_and_a_password_are_asked_for(server: Deployment) -> None:
    assert server.get() == 401
    assert server.get(("admin", "password1234")) == 401
    assert server.get(("admin", server.secret("admin_password"))) == 200


def test_a_request_to_another_host_name_is_refused(server: Deployment) -> None:
    admin = ("admin", server.secret("admin_password"))
    assert server.get(admin, host="evil.example") == 403
    assert server.get(admin, host="localhost:5000") == 200


def test_only_this_machine_is_listened_to(server: Deployment) -> None:
    bound = json.loads(server.inspect("mlflow", "{{json .NetworkSettings.Ports}}"))
    assert bound["5000/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": server.environment["MLFLOW_PORT"]}]
    assert not any(json.loads(server.inspect("postgres", "{{json .NetworkSettings.Ports}}")).values())


def test_no_password_is_in_the_file_the_containers_settings_the_arguments_or_the_logs(server: Deployment) -> None:
    shown = [(server.folder / "compose.yaml").read_text()]
    for service in ("postgres", "mlflow"):
        found = server.container(service)
        logs = subprocess.run(["docker", "logs", found], capture_output=True, text=True, check=True)
        shown += [docker("inspect", found), docker("top", found, "-eo", "pid,args"), logs.stdout, logs.stderr]
    for name in SECRETS:
        assert len(server.secret(name)) >= 32
        assert not any(server.secret(name) in text for text in shown), name
    assert len({server.secret(name) for name in SECRETS}) == len(SECRETS)


def test_passwords_are_kept_from_other_users_of_the_machine(server: Deployment) -> None:
    assert stat.S_IMODE((server.folder / "secrets").stat().st_mode) == 0o700


@pytest.mark.parametrize("service", ["postgres", "mlflow"])
def test_a_container_may_do_no_more_than_it_must(server: Deployment, service: str) -> None:
    host = json.loads(server.inspect(service, "{{json .HostConfig}}"))
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    users = docker("top", server.container(service), "-eo", "uid,pid").splitlines()[1:]
    assert "0" not in {line.split()[0] for line in users}


def test_a_second_up_changes_nothing(server: Deployment) -> None:
    before, password = server.running_since(), server.secret("database_password")
    server.does("up")
    assert server.running_since() == before
    assert server.secret("database_password") == password


def test_what_was_registered_outlasts_down_and_up(server: Deployment, tmp_path: Path) -> None:
    server.does("down")
    assert server.container("mlflow") == ""
    server.does("down")
    server.does("up")
    assert_all_is_there(server, tmp_path)


def test_a_server_whose_database_was_away_for_a_while_recovers(server: Deployment, tmp_path: Path) -> None:
    docker("stop", server.container("postgres"))
    time.sleep(20)
    assert server.get(PERSON) >= 500
    docker("start", server.container("postgres"))
    until = time.monotonic() + 60
    while server.get(PERSON) != 200:
        assert time.monotonic() < until
        time.sleep(1)
    assert_all_is_there(server, tmp_path)


def test_a_backup_brings_everything_back_after_the_volumes_are_gone(server: Deployment, tmp_path: Path) -> None:
    kept = tmp_path / "backups" / "mlflow.zip"
    kept.parent.mkdir()
    server.does("backup", str(kept))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(kept.parent.iterdir()) == [kept]
    assert_all_is_there(server, tmp_path / "after the backup")

    server.destroy()
    server.does("restore", str(kept))
    assert server.get(("admin", server.secret("admin_password"))) == 200
    assert_all_is_there(server, tmp_path / "restored")


def test_a_store_that_holds_something_is_replaced_only_when_told_so(server: Deployment, tmp_path: Path) -> None:
    kept = tmp_path / "mlflow.zip"
    server.does("backup", str(kept))
    before = kept.read_bytes()
    assert "are not overwritten" in server.refuses("backup", str(kept))
    assert kept.read_bytes() == before

    server.as_admin(register_another)
    since = server.running_since()
    assert "would be lost" in server.refuses("restore", str(kept))
    assert server.running_since() == since
    assert len(server.as_admin(lambda client: client.search_model_versions(f"name = '{MODEL}'"))) == 2

    server.does("restore", str(kept), "--replace")
    assert_all_is_there(server, tmp_path)


def test_a_backup_that_is_not_whole_is_refused_before_anything_is_touched(server: Deployment, tmp_path: Path) -> None:
    kept = tmp_path / "mlflow.zip"
    server.does("backup", str(kept))
    since, whole = server.running_since(), kept.read_bytes()
    half = len(whole) // 2
    damaged = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
    for content in (whole[:half], whole[:-1], damaged, b"", b"not a backup"):
        kept.write_bytes(content)
        assert "nothing was changed" in server.refuses("restore", str(kept), "--replace")
    kept.unlink()
    assert "there is no file" in server.refuses("restore", str(kept), "--replace")
    assert server.running_since() == since
    assert_all_is_there(server, tmp_path)


def test_a_backup_that_is_stopped_leaves_no_file_and_a_server_that_runs(server: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    running = server.start("backup", str(folder / "mlflow.zip"))
    while server.inspect("mlflow", "{{.State.Running}}") == "true":
        assert running.poll() is None
        time.sleep(0.2)
    assert "another call of this program is at work" in server.refuses("up")
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []
    assert_all_is_there(server, tmp_path)


def test_passwords_that_are_gone_or_open_to_others_are_not_made_anew(server: Deployment, tmp_path: Path) -> None:
    folder, away = server.folder / "secrets", server.folder / "secrets-away"
    folder.rename(away)
    assert "is gone, but the database that its passwords open is there" in server.refuses("up")
    assert not folder.exists()
    away.rename(folder)

    folder.chmod(0o750)
    said = server.refuses("up")
    assert f"chmod 700 '{folder}'" in said
    folder.chmod(0o700)

    (folder / "session_key").rename(tmp_path / "session_key")
    assert "session_key is missing or empty" in server.refuses("up")
    (tmp_path / "session_key").rename(folder / "session_key")
    server.does("up")


def test_without_an_engine_one_line_says_so(bare: Deployment) -> None:
    for command in (("up",), ("down",), ("backup", "b.zip"), ("restore", "b.zip")):
        assert "engine does not answer" in bare.refuses(*command, DOCKER_HOST="unix:///nowhere.sock")
    assert not (bare.folder / "secrets").exists()


def test_an_image_that_cannot_be_had_is_told_with_what_to_do(bare: Deployment) -> None:
    assert "make images" in bare.refuses("up", MLFLOW_IMAGE="repo-pipeline-test-absent:1")


def test_a_port_that_is_taken_is_told_with_the_setting_to_change(bare: Deployment) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(bare.environment["MLFLOW_PORT"])))
        other.listen()
        assert "set another MLFLOW_PORT" in bare.refuses("up")


def test_before_the_first_start_there_is_nothing_to_back_up(bare: Deployment, tmp_path: Path) -> None:
    assert "nothing to back up" in bare.refuses("backup", str(tmp_path / "mlflow.zip"))
    bare.does("down")
