"""What can go wrong around steps in containers: told in a few lines, and the same command then makes one version."""

import time

import pytest
from click.testing import CliRunner
from docker_runs import RUN, Desk, made_once, trains, wait_until

from pipelines import graphs
from pipelines.cli import main
from pipelines.compiling import Placement, compile_pipelines

OUTAGE = 20.0
"""Seconds."""


def one_screen(said: str, *words: str) -> None:
    assert "Traceback" not in said
    assert "error: " in said
    assert "→" in said
    assert not [word for word in words if word not in said], said


def test_a_wrong_password_is_told_before_anything_is_made(desk: Desk) -> None:
    code, said = desk.run(*RUN, MLFLOW_TRACKING_PASSWORD="wrong")
    assert code == 1
    one_screen(said, "MLflow does not let user admin in", "MLFLOW_TRACKING_PASSWORD")
    assert not desk.versions()
    assert desk.left() == []


def test_an_image_that_is_nowhere_is_told_before_anything_is_made(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = tmp_path_factory.mktemp("compiled")
    name = "127.0.0.1:9/team/python:1"
    compile_pipelines(compiled, Placement.of([f"train={name}"], "keys", []))
    monkeypatch.setattr(graphs, "COMPILED", compiled)
    monkeypatch.chdir(desk.folder)
    done = CliRunner().invoke(main, desk.command(*RUN)[3:])
    assert done.exit_code == 1
    one_screen(done.output, f"image {name}: not on this machine", "--images")
    assert not (desk.folder / ".repo").exists()


def test_memory_that_is_no_size_is_told(desk: Desk) -> None:
    code, said = desk.run(*RUN, "--memory", "much")
    assert code == 1
    one_screen(said, "--memory much", "4g")


def test_a_step_killed_for_its_memory_is_told_and_another_run_completes(desk: Desk) -> None:
    code, said = desk.run(*RUN, "--memory", "150m")
    assert code == 1
    one_screen(said, "more memory than the 150 MiB of --memory", "raise --memory")
    assert not desk.versions()
    assert "RUNNING" not in desk.statuses()
    code, said = desk.run(*RUN)
    assert code == 0, said
    made_once(desk)


def test_a_run_outlasts_its_database_and_its_server(desk: Desk) -> None:
    command = desk.start(*RUN, "--set", "train.log_every=1", "--set", "train.epochs=4")
    wait_until(lambda: trains(desk))
    desk.server.database.stop()
    time.sleep(OUTAGE)
    desk.server.database.start()
    wait_until(lambda: "'evaluate'" in desk.log())
    desk.server.restart(pause=5)
    said, _ = command.communicate(timeout=600)
    assert command.returncode == 0, said
    assert f"{desk.server.uri} is away, or not well; it is asked again" in said
    made_once(desk)


def test_a_store_without_room_is_told_and_another_run_completes(desk: Desk) -> None:
    with desk.server.full():
        code, said = desk.run(*RUN, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
    assert code == 1, said
    one_screen(said, "room")
    code, said = desk.run(*RUN)
    assert code == 0, said
    made_once(desk)
