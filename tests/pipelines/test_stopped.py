"""Commands that are stopped, and two at once: everything ends as it should."""

import signal
from pathlib import Path

import pytest
from interruptions import Command, champion_weights, client_of, leftovers, running, step_at_work

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_command_ends_what_it_started(data: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = Command(data, tmp_path / "store")
    command.wait_until(lambda: step_at_work(command, "train"))
    started = command.descendants()
    assert command.end(number) == 128 + number
    assert not [process for process in started if process.is_running()]
    assert "the same command goes on" in command.said()
    assert "Traceback" not in command.said()
    assert running(tmp_path / "store") == []
    client = client_of(tmp_path / "store")
    experiment = client.get_experiment_by_name("repo")
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FINISHED", "KILLED"}
    assert not leftovers(tmp_path / "store", command)


def test_of_two_commands_on_a_fresh_store_one_waits_and_both_end_well(
    data: Path, undisturbed: str, tmp_path: Path
) -> None:
    first, second = Command(data, tmp_path / "store"), Command(data, tmp_path / "store")
    said = first.finish() + second.finish()
    assert said.count("another run is at work on repo-policy; this one waits until it has ended") == 1
    assert running(tmp_path / "store") == []
    assert champion_weights(tmp_path / "store") == undisturbed
    versions = client_of(tmp_path / "store").search_model_versions("name = 'repo-policy'")
    assert sorted(version.tags["compared_with"] for version in versions) == ["", "1"]
    assert all(version.tags["verdict_reasons"] for version in versions)
