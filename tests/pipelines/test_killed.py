"""Commands and steps that are killed: the same command goes on."""

from pathlib import Path

import pytest
from interruptions import (
    Command,
    champion_weights,
    checkpoint_of,
    client_of,
    leftovers,
    running,
    step_at_work,
)
from pipeline_runs import Run
from retraining_line import disturbing

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("moment", ["checkpoint", "evaluate", "promote"])
def test_a_command_that_is_killed_goes_on_when_it_is_given_again(
    data: Path, undisturbed: str, tmp_path: Path, moment: str
) -> None:
    command = Command(data, tmp_path / "store")
    command.wait_until(
        lambda: checkpoint_of(tmp_path / "store") if moment == "checkpoint" else step_at_work(command, moment)
    )
    command.kill()
    again = Command(data, tmp_path / "store")
    said = again.finish()
    assert "going on from step" in said
    assert "runs of a command that was killed, closed now: 1" in said
    assert running(tmp_path / "store") == []
    assert champion_weights(tmp_path / "store") == undisturbed
    assert not leftovers(tmp_path / "store", again)
    assert not checkpoint_of(tmp_path / "store")


def test_a_step_that_is_killed_fails_the_run_and_the_next_one_goes_on(
    data: Path, undisturbed: str, tmp_path: Path
) -> None:
    command = Command(data, tmp_path / "store")
    command.wait_until(lambda: checkpoint_of(tmp_path / "store"))
    command.descendants()[-1].kill()
    assert command.process.wait(timeout=60) == 1
    assert "step train failed: the step's process ended without a word" in command.said()
    assert "→ run the same command again" in command.said()
    assert running(tmp_path / "store") == []
    assert "going on from step" in Command(data, tmp_path / "store").finish()
    assert champion_weights(tmp_path / "store") == undisturbed


def test_a_passed_version_that_was_never_promoted_is_finished_by_hand(
    repo_pipeline: Run, data: Path, tmp_path: Path
) -> None:
    """The run is killed when the version stands and its promotion does not."""
    store = tmp_path / "store"
    command = Command(data, store, environment=disturbing("register", FAULT_KILL="set_terminated"))
    assert command.process.wait(timeout=200) == -9, command.said()
    client = client_of(store)
    assert "champion" not in client.get_registered_model("repo-policy").aliases
    done = repo_pipeline("models", "promote", "--store", store)
    assert (done.returncode, done.stdout) == (0, "repo-policy version 1 is champion\n"), done.stderr
    assert list(client.get_registered_model("repo-policy").aliases) == ["champion"]
    again = repo_pipeline("models", "promote", "--store", store)
    assert again.returncode == 1
    assert "no version waits to be promoted" in again.stderr
    unknown = repo_pipeline("models", "promote", "7", "--store", store)
    assert "has no version 7" in unknown.stderr
