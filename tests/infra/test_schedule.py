"""The schedules without a cluster: their commands do what the README beside them says."""

import os
import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from pipelines.cli import main

SCHEDULE = Path(__file__).resolve().parents[2] / "infra" / "schedule"
SERVICE, TIMER = SCHEDULE / "repo-retrain.service", SCHEDULE / "repo-retrain.timer"


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text())
    return parser


def exec_start() -> list[str]:
    return shlex.split(unit(SERVICE)["Service"]["ExecStart"])


def example_environment() -> dict[str, str]:
    lines = (SCHEDULE / "retrain.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def cron_lines() -> list[str]:
    lines = (SCHEDULE / "crontab.example").read_text().splitlines()
    return [line for line in lines if not line.startswith(("#", "MAILTO="))]


def cron_command() -> str:
    [line] = cron_lines()
    return line.split(maxsplit=5)[5]


def retrain_options(words: list[str]) -> set[str]:
    after = words[words.index("retrain") + 1 :]
    return {word for word in after if word.startswith("--")}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory as `make setup` leaves it, whose command only tells where and with what it was called."""
    directory = tmp_path / "the programs"
    command = directory / ".venv" / "bin" / "repo-pipeline"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\npwd\nprintf "<%s>\\n" "$@"\nexit ${FAILS:-0}\n')
    command.chmod(0o755)
    return directory


def test_every_variable_of_the_service_is_in_the_example_of_its_file() -> None:
    used = re.findall(r"\$\{(\w+)\}", unit(SERVICE)["Service"]["ExecStart"])
    assert set(used) == set(example_environment())


def test_the_service_runs_the_command_in_its_directory_whatever_characters_the_paths_have(programs: Path) -> None:
    """Variables are filled in as systemd does it: one in braces stays one word."""
    values = {**example_environment(), "RETRAIN_DIRECTORY": str(programs), "RETRAIN_INBOX": "/my in$box"}
    words = [re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], word) for word in exec_start()]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [
        str(programs), "<retrain>", "<--inbox>", "</my in$box>", "<--store>", "<.repo>",
    ]  # fmt: skip


def test_the_service_says_where_its_directory_is_not_set() -> None:
    words = [re.sub(r"\$\{(\w+)\}", "", word) for word in exec_start()]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "cannot change directory" in ran.stderr


def test_the_timer_makes_up_for_a_missed_night_and_is_wanted_by_the_timers() -> None:
    timer = unit(TIMER)
    assert timer["Timer"]["OnCalendar"] == "*-*-* 02:00:00"
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert TIMER.stem == SERVICE.stem


def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    command = ["systemd-analyze", "--user", "verify", SERVICE, TIMER]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    about_ours = [line for line in ran.stderr.splitlines() if "repo-retrain" in line]
    assert (ran.returncode, about_ours) == (0, []), ran.stderr


def test_cron_s_line_has_no_percent_sign_which_cron_takes_for_an_end_of_line() -> None:
    assert "%" not in cron_command()


@pytest.mark.parametrize("fails", [0, 1])
def test_cron_s_line_writes_to_the_log_and_is_heard_of_only_where_it_fails(programs: Path, fails: int) -> None:
    directory = programs.rename(programs.parent / "programs")
    command = cron_command().replace("/srv/repo-pipeline", str(directory))
    environment = os.environ | {"FAILS": str(fails)}
    ran = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    log = directory / "retrain.log"
    assert log.read_text().splitlines()[:3] == [str(directory), "<retrain>", "<--inbox>"]
    assert ran.stdout == (f"retraining failed, see {log}\n" if fails else "")
    assert ran.stderr == ""


@pytest.mark.parametrize("words", [exec_start(), shlex.split(cron_command())], ids=["systemd", "cron"])
def test_the_command_knows_the_options_that_the_schedules_give_it_and_needs_no_others(words: list[str]) -> None:
    command: click.Command | None = main.commands.get("retrain")
    if command is None:
        pytest.skip("there is no command `repo-pipeline retrain` yet")
    known = {name for parameter in command.params for name in parameter.opts}
    needed = {parameter.opts[-1] for parameter in command.params if parameter.required}
    assert needed <= retrain_options(words) <= known
