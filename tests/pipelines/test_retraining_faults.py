"""What befalls a pass from outside: two at once, a server that goes, a clock that is set back, a full disk, bad input.

Afterwards the same command leads to the same champion: each vote is counted once. Kills: test_retraining_killed.py.
"""

import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from interruptions import Command, step_at_work
from mlflow import MlflowClient
from pipeline_runs import Run, options
from retraining_line import (
    FAULTS,
    MODEL,
    SETTINGS,
    VOTES,
    Line,
    consumed,
    counted_once,
    in_order,
    labels,
    names_of,
    with_clock,
)
from test_servers import one_screen, served_store

pytestmark = pytest.mark.slow

HOUR = 3600


def test_of_two_passes_at_once_on_a_store_one_waits_and_finds_nothing_new(line: Line) -> None:
    first, second = line.retrain(), line.retrain()
    said = first.finish() + second.finish()
    assert "this one waits until it has ended" in said
    assert "nothing new" in said
    in_order(line, names_of(1, 2), versions=2)


def test_of_two_passes_at_once_on_a_server_one_holds_the_line_and_the_other_ends_well(line: Line) -> None:
    """Each has scratch files of its own, so that no lock of this machine stands between them."""
    with served_store(line.store) as port:
        said = [command.finish() for command in (_on(line, port), _on(line, port))]
        client = MlflowClient(tracking_uri=f"http://127.0.0.1:{port}")
        counted_once(client, names_of(1, 2), line.artifacts)
    assert sum("another pass is at work" in words for words in said) == 1
    in_order(line, names_of(1, 2), versions=2)


def test_a_server_that_is_away_amid_training_for_a_while_is_waited_for(line: Line) -> None:
    with served_store(line.store) as port:
        command = _on(line, port)
        command.wait_until(lambda: "%  step " in command.said())
    time.sleep(8)
    with served_store(line.store, port):
        command.finish()
    in_order(line, names_of(1, 2), versions=2)


@pytest.mark.parametrize("step", ["look", "promote"])
def test_a_pass_whose_server_goes_for_good_fails_and_the_next_one_goes_on(line: Line, step: str) -> None:
    impatient = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    with served_store(line.store) as port:
        command = _on(line, port, **impatient)
        command.wait_until(lambda: step_at_work(command, step))
    assert command.process.wait(timeout=120) == 1
    assert "Traceback" not in command.said()
    down = _on(line, port)
    assert down.process.wait(timeout=60) == 1
    assert "no answer from there" in down.said()
    with served_store(line.store, port):
        # With the scratch files of the first, as somebody has who gives the same command again.
        again = _on(line, port, folder=command.output.parent)
        again.finish()
    in_order(line, names_of(1, 2), versions=2)


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for a clock that is wrong")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, FAULTS / "clock.c", "-ldl"], check=True)
    return library


def test_a_clock_that_is_set_back_between_passes_and_amid_one_changes_nothing(
    line: Line, clock: Path, tmp_path: Path
) -> None:
    shift = tmp_path / "shift"
    shift.write_text(str(-HOUR))
    command = line.retrain(**with_clock(clock, shift))
    command.wait_until(lambda: "merge" in line.running())
    shift.write_text(str(-2 * HOUR))
    command.finish()
    in_order(line, names_of(1, 2), versions=2)
    assert "nothing new" in line.retrain().finish()


def test_a_lease_from_a_clock_that_was_ahead_is_dated_anew_and_given_back(
    line: Line, clock: Path, tmp_path: Path
) -> None:
    shift = tmp_path / "shift"
    shift.write_text(str(HOUR))
    killed = line.retrain(**with_clock(clock, shift))
    killed.wait_until(lambda: "validate_batches" in line.running())
    killed.kill()
    line.retrain().finish()
    in_order(line, names_of(1, 2), versions=2)


def test_a_full_disk_is_told_with_a_remedy_and_with_room_the_next_pass_goes_on(batches: Path, tmp_path: Path) -> None:
    """A limit on a file's size stands for the disk: the policy's weights are larger, MLflow's database is not."""
    line = Line(tmp_path)
    shutil.copytree(batches, line.root / "batches")
    line.receive(1)
    large = "policy.tiny={vocabulary: 400, hidden: 256, layers: 1, heads: 2, warm_start_steps: 4}"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limit[1]))
    try:
        command = line.retrain(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert command.process.wait(timeout=200) == 1
    assert "Traceback" not in command.said()
    assert "step train failed" in command.said()
    assert "→ make room" in command.said()
    assert line.running() == []
    line.retrain(large).finish()
    in_order(line, names_of(1), versions=1)


def test_a_changed_batch_and_one_with_other_columns_cost_no_vote_and_count_none_twice(line: Line) -> None:
    """The first batch comes back without its last line; a stranger's table lies beside the second."""
    first = line.inbox / "day-01.jsonl"
    first.write_text("".join(first.read_text().splitlines(keepends=True)[:-1]))
    (line.inbox / "stranger.csv").write_text("question,good,bad\nwhy?,because,no\n")
    said = line.retrain().finish()
    assert "its content is another than version 1 consumed under this name" in said
    assert "stranger.csv: quarantined" in said
    assert "question" in said
    assert labels(line.client, line.artifacts) == 2 * VOTES
    assert consumed(line.client, line.artifacts) == ["day-01.jsonl", *names_of(1, 2)]
    assert "nothing new" in line.retrain().finish()


def test_an_empty_inbox_ends_well(repo_pipeline: Run, trained: tuple[Line, Path], tmp_path: Path) -> None:
    done = repo_pipeline("retrain", "--inbox", tmp_path, "--store", trained[0].store)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["the inbox is empty", "nothing new"]), done.stderr


def test_a_missing_inbox_is_told_before_a_store_is_made(repo_pipeline: Run, tmp_path: Path) -> None:
    one_screen(repo_pipeline("retrain", "--inbox", "nowhere", "--store", "store", cwd=tmp_path), "nowhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_batch_that_may_not_be_read_is_named(repo_pipeline: Run, line: Line) -> None:
    (line.inbox / "day-02.jsonl").chmod(0)
    one_screen(_retrain(repo_pipeline, line), "day-02.jsonl")


def test_a_champion_whose_alias_was_deleted_stops_the_pass_before_its_votes_count_anew(
    repo_pipeline: Run, line: Line
) -> None:
    line.client.delete_registered_model_alias(MODEL, "champion")
    one_screen(_retrain(repo_pipeline, line), "version 1 was promoted", "set the alias champion", "registry.model")
    line.client.set_registered_model_alias(MODEL, "champion", "1")
    in_order(line, names_of(1), versions=1)


def _retrain(repo_pipeline: Run, line: Line) -> "subprocess.CompletedProcess[str]":
    return repo_pipeline("retrain", "--inbox", line.inbox, "--store", line.store, *options(SETTINGS))


def _on(line: Line, port: int, folder: Path | None = None, **environment: str) -> Command:
    """Retrain against a server, with scratch files beside the command's output, or in the folder of another's."""
    own = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", **environment}
    return Command(line.inbox, None, SETTINGS, ("retrain", "--inbox"), own, folder)
