"""Commands whose steps are in containers, stopped and killed: nothing stays behind, and the same command goes on."""

import os
import signal

from docker_runs import RUN, Desk, made_once, trains, wait_until

LONGER = ("--set", "train.epochs=6", "--set", "train.checkpoint_every=2")


def test_a_stopped_command_leaves_no_container_and_no_run_at_work(desk: Desk) -> None:
    command = desk.start(*RUN, *LONGER)
    wait_until(lambda: trains(desk))
    os.kill(command.pid, signal.SIGINT)
    said, _ = command.communicate(timeout=60)
    assert command.returncode == 128 + signal.SIGINT
    assert "the same command goes on from the training's last checkpoint" in said
    assert desk.left() == []
    assert "RUNNING" not in desk.statuses()


def test_what_a_killed_command_leaves_the_same_command_removes_and_goes_on_from(desk: Desk) -> None:
    command = desk.start(*RUN, *LONGER)
    wait_until(lambda: trains(desk))
    command.kill()
    command.communicate(timeout=60)
    code, said = desk.run(*RUN, *LONGER)
    assert code == 0, said
    assert "runs of a command that was killed, closed now" in said
    made_once(desk)
