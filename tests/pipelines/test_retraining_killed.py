"""Passes that are killed with `kill -9` at any of their steps: the same command goes on, and each vote counts once."""

from pathlib import Path

import pytest
from retraining_line import MODEL, Line, disturbing, in_order, names_of

pytestmark = pytest.mark.slow

STEPS = ("look", "validate_batches", "merge", "train", "gate")
"""Those before anything is registered. Evaluate and report, between train and gate, leave behind no more than these."""


@pytest.fixture(scope="module")
def moments(trained: tuple[Line, Path]) -> Path:
    """Kill passes at one step after the other; of the last pass, which ends, keep the store before each late write."""
    line, kept = trained
    line.restored_from(kept).receive(2)
    for number, step in enumerate(STEPS):
        command = line.retrain(**disturbing(step, FAULT_HOLD="set_terminated"))
        command.wait_until(lambda step=step: step in line.running())
        if number % 2:
            command.kill()
        else:
            for process in reversed(command.descendants()):
                process.kill()
            assert command.process.wait(timeout=60) == 1
            assert "the step's process ended without a word" in command.said()
        assert "Traceback" not in command.said()
    snapshots = line.root / "snapshots"
    snapshots.mkdir()
    where = {"FAULT_SNAPSHOTS": f"{line.store}:{snapshots}"}
    line.retrain(**disturbing("register,promote,close_run", **where)).finish()
    in_order(line, names_of(1, 2), versions=2)
    return snapshots


def test_passes_killed_before_anything_is_registered_leave_nothing_behind(moments: Path) -> None:
    """All of it is checked where it happens."""
    assert list(moments.iterdir())


@pytest.mark.parametrize(
    "moment",
    [
        "set_registered_model_alias-repo-policy_challenger",
        "set_registered_model_tag-repo-policy_exam",
        "set_registered_model_alias-repo-policy_champion",
        "set_model_version_tag-repo-policy_promoted_at",
        "set_registered_model_alias-repo-policy_previous-champion",
        "delete_registered_model_alias-repo-policy_challenger",
        "delete_registered_model_tag-repo-policy_lease",
        "set_terminated",
    ],
)
def test_a_pass_killed_after_it_has_registered_is_finished_without_a_second_training(
    trained: tuple[Line, Path], moments: Path, moment: str
) -> None:
    line, kept = trained
    line.restored_from(kept).receive(2)
    snapshot = [path for path in sorted(moments.iterdir()) if moment in path.name][-1]
    line.restored_from(_as_store(snapshot))
    assert line.running()
    said = line.retrain().finish()
    assert "runs of a command that was killed, closed now: 1" in said
    assert "nothing new" in said
    in_order(line, names_of(1, 2), versions=2)


def test_a_pass_killed_while_it_registers_a_rejected_candidate_trains_no_second_one(line: Line) -> None:
    harsh = "gate.min_gain_over_champion=1"
    environment = disturbing("register", FAULT_KILL="set_registered_model_alias")
    killed = line.retrain(harsh, **environment)
    assert killed.process.wait(timeout=200) == -9, killed.said()
    [rejected] = [v for v in line.client.search_model_versions(f"name = '{MODEL}'") if v.version == 2]
    assert rejected.tags["verdict"] == "reject"
    again = line.retrain(harsh).finish()
    assert "closed now: 1" in again
    assert "version 2 was trained on the same batches with the same settings and rejected" in again
    in_order(line, names_of(1), versions=2)


def _as_store(snapshot: Path) -> Path:
    """Return a folder in which the snapshot is called store."""
    folder = snapshot.with_name(f"{snapshot.name}-folder")
    if not folder.exists():
        folder.mkdir()
        (folder / "store").symlink_to(snapshot)
    return folder
