"""`schedule`: one recurring run a model line, whatever happens while it is replaced."""

import json
from typing import Any

import pytest
from kubeflow_server import Call, Fault, Kubeflow

from pipelines.kubeflow.uploads import digest
from repo.settings import load_settings, to_parameters

INBOX = "s3://bucket/votes"
CRON = "0 0 2 * * *"
OTHER = "0 30 3 * * *"


def create(call: Call, cron: str = CRON, *more: str) -> Any:
    return call("schedule", "create", "--inbox", INBOX, "--cron", cron, *more)


def named(kubeflow: Kubeflow, line: str = "repo-policy") -> list[dict[str, Any]]:
    return [row for row in kubeflow.recurring if row["display_name"].startswith(f"repo-retrain-{line}-")]


@pytest.fixture(autouse=True)
def never_two(kubeflow: Kubeflow) -> list[int]:
    """After each request, how many schedules of the line are enabled."""
    counts: list[int] = []
    kubeflow.watchers.append(lambda: counts.append(sum(row["mode"] == "ENABLE" for row in named(kubeflow))))
    return counts


def test_a_schedule_is_all_that_was_asked_for(call: Call, kubeflow: Kubeflow) -> None:
    done = create(call, "@daily", "--set", "retrain.retain=window", "--set", "train.loss=ipo")
    assert done.exit_code == 0, done.output
    (row,) = kubeflow.recurring
    settings = load_settings(None, ["retrain.retain=window", "train.loss=ipo"])
    assert row["runtime_config"]["parameters"] == {"inbox": INBOX, **to_parameters(settings)}
    assert row["trigger"] == {"cron_schedule": {"cron": "0 0 0 * * *"}}
    assert (row["mode"], row["max_concurrency"], row["no_catchup"]) == ("ENABLE", "1", True)
    assert kubeflow.versions[0]["display_name"] == digest("retraining")
    assert row["pipeline_version_reference"]["pipeline_version_id"] == kubeflow.versions[0]["pipeline_version_id"]
    assert f"{row['display_name']}: created" in done.stdout
    assert done.stdout.count(", 00:00:00 UTC, in ") == 3


def test_the_same_again_changes_nothing(call: Call, kubeflow: Kubeflow) -> None:
    create(call)
    before = json.dumps(kubeflow.recurring)
    writes = len(kubeflow.calls("POST"))
    assert "unchanged" in create(call).stdout
    assert json.dumps(kubeflow.recurring) == before
    assert len(kubeflow.calls("POST")) == writes


@pytest.mark.parametrize(
    "change", [(OTHER,), (CRON, "--set", "train.loss=ipo"), (CRON, "--set", "retrain.retain=window")]
)
def test_something_else_takes_the_old_ones_place(
    call: Call, kubeflow: Kubeflow, never_two: list[int], change: tuple[str, ...]
) -> None:
    create(call)
    old = kubeflow.recurring[0]["display_name"]
    never_two.clear()
    done = create(call, *change)
    (row,) = kubeflow.recurring
    assert row["display_name"] != old
    assert f"removed: {old}" in done.stdout
    assert kubeflow.enabled() == [row["display_name"]]
    assert never_two.count(0) == 1


def test_a_changed_pipeline_is_another_schedule(
    call: Call, kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(call)
    old = kubeflow.recurring[0]["pipeline_version_reference"]
    monkeypatch.setattr("pipelines.kubeflow.schedules.digest", lambda graph: "0123456789ab")
    monkeypatch.setattr("pipelines.kubeflow.uploads.digest", lambda graph: "0123456789ab")
    create(call)
    (row,) = kubeflow.recurring
    assert row["pipeline_version_reference"] != old
    assert len(kubeflow.versions) == 2


def test_lines_do_not_touch_each_other(call: Call, kubeflow: Kubeflow) -> None:
    for line in ("repo-policy", "repo-policy-2", "repo-policy-0123abcd"):
        create(call, CRON, "--model", line)
    create(call, OTHER, "--model", "repo-policy")
    assert len(kubeflow.enabled()) == 3
    call("schedule", "delete", "--model", "repo-policy")
    assert len(kubeflow.enabled()) == 2


REQUESTS = 14
"""More than a replacement makes."""


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(REQUESTS))
def test_killed_at_any_request_the_same_command_finishes(
    call: Call, kubeflow: Kubeflow, never_two: list[int], at: int, done: bool
) -> None:
    assert create(call).exit_code == 0
    kubeflow.faults.append(Fault("*", status=0, after=at, times=1, done=done))
    killed = create(call, OTHER)
    kubeflow.faults.clear()
    again = create(call, OTHER)
    assert again.exit_code == 0, again.output
    (row,) = kubeflow.recurring
    assert row["trigger"]["cron_schedule"]["cron"] == OTHER
    assert row["mode"] == "ENABLE"
    assert max(never_two) == 1
    if killed.exit_code == 0:
        assert "unchanged" in again.stdout


def test_the_kills_reach_every_request(call: Call, kubeflow: Kubeflow) -> None:
    create(call)
    before = len(kubeflow.requests)
    create(call, OTHER)
    assert 8 <= len(kubeflow.requests) - before <= REQUESTS


def test_a_half_replaced_schedule_says_so(call: Call, kubeflow: Kubeflow) -> None:
    create(call)
    kubeflow.faults.append(Fault("POST", ":enable"))
    done = create(call, OTHER)
    assert done.exit_code == 1
    assert "the schedule of repo-policy is only half replaced" in done.stderr
    assert "run the same command again" in done.stderr
    resumed = call("schedule", "resume")
    assert resumed.exit_code == 1
    assert "has 2 schedules" in resumed.stderr
    assert "has several schedules" in call("schedule", "list").stdout


def test_a_schedule_is_paused_and_resumed(call: Call, kubeflow: Kubeflow) -> None:
    create(call)
    assert ": paused" in call("schedule", "pause").stdout
    assert kubeflow.enabled() == []
    assert "was paused already" in call("schedule", "pause").stdout
    assert "next: paused" in call("schedule", "list").stdout
    assert ": enabled" in call("schedule", "resume").stdout
    assert len(kubeflow.enabled()) == 1
    assert "was enabled already" in call("schedule", "resume").stdout


def test_create_enables_what_was_paused(call: Call, kubeflow: Kubeflow) -> None:
    create(call)
    call("schedule", "pause")
    assert ": enabled" in create(call).stdout
    assert len(kubeflow.enabled()) == 1


@pytest.mark.parametrize("command", ["pause", "resume", "delete"])
def test_a_line_without_a_schedule_is_told_which_have_one(call: Call, command: str) -> None:
    nothing = call("schedule", command, "--model", "mine")
    assert nothing.exit_code == 1
    assert "`repo-pipeline schedule create` makes one" in nothing.stderr
    create(call, CRON, "--model", "theirs")
    assert "there are schedules of theirs" in call("schedule", command, "--model", "mine").stderr


def test_the_list_has_all_pages_and_nothing_that_is_not_ours(call: Call, kubeflow: Kubeflow) -> None:
    assert "no schedules yet" in call("schedule", "list").stdout
    lines = [f"line-{number}" for number in range(7)]
    for line in lines:
        create(call, CRON, "--model", line)
    somebodys = dict(kubeflow.recurring[0], display_name="nightly report", recurring_run_id="recurring-theirs")
    kubeflow.recurring.insert(3, somebodys)
    newest = {"recurring_run_id": kubeflow.recurring[0]["recurring_run_id"], "display_name": "run"}
    kubeflow.runs += [{**newest, "run_id": "1", "state": "SUCCEEDED"}, {**newest, "run_id": "2", "state": "FAILED"}]
    listed = json.loads(call("schedule", "list", "--json").stdout)
    assert [row["line"] for row in listed] == lines
    assert [row["last"] for row in listed] == ["FAILED", *[""] * 6]
    assert all(row["enabled"] and row["next"].endswith("02:00:00+00:00") for row in listed)
    shown = call("schedule", "list", "--timezone", "Asia/Tokyo").stdout
    assert "last run: failed" in shown
    assert "11:00:00 JST" not in shown  # the cron is the controller's clock, not UTC's
    assert "02:00:00 JST" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--inbox", INBOX, "--cron", "0 2 * * *"], '"0 0 2 * * *"'),
        (["--inbox", "inbox/", "--cron", CRON], "inbox/: a path"),
        (["--inbox", INBOX, "--cron", CRON, "--timezone", "Mars"], "--timezone Mars: unknown"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(
    call: Call, kubeflow: Kubeflow, arguments: list[str], told: str
) -> None:
    done = call("schedule", "create", *arguments)
    assert done.exit_code == 1
    assert told in done.stderr
    assert not kubeflow.requests
