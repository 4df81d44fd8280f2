"""How checks are done: each has a time limit, none is a traceback, and none without the one that it needs."""

import threading
from pathlib import Path

from click.testing import CliRunner

from pipelines.cli import main
from pipelines.doctor.finding import Check, State, examine, failed, ok, warning
from pipelines.doctor.screen import line, total
from repo.errors import UserError


def broken() -> None:
    raise KeyError("nobody thought of it")


def refused() -> None:
    raise UserError("s3://ann:s3cr3t@bucket: closed")


def test_a_check_that_breaks_is_a_finding_and_the_others_are_done() -> None:
    first, second = examine([Check("a", broken), Check("b", lambda: ok("fine"))])
    assert first.state is State.FAILED
    assert "KeyError: 'nobody thought of it'" in first.words
    assert first.remedy
    assert second.state is State.OK


def test_a_check_that_does_not_end_is_given_up() -> None:
    let_go = threading.Event()
    (found,) = examine([Check("a", lambda: ok("late") if let_go.wait() else ok(""))], patience=0.05)
    let_go.set()
    assert (found.state, found.words) == (State.FAILED, "no end within 0.05 s")


def test_what_needs_a_failed_or_skipped_check_is_skipped_and_a_warning_is_no_hindrance() -> None:
    found = list(
        examine(
            [
                Check("a", refused),
                Check("b", lambda: ok(""), needs="a"),
                Check("c", lambda: ok(""), needs="b"),
                Check("d", lambda: warning("w", "r")),
                Check("e", lambda: ok(""), needs="d"),
            ]
        )
    )
    assert [str(finding.state) for finding in found] == ["failed", "skipped", "skipped", "warning", "ok"]
    assert found[1].words == "needs: a"
    assert total(found) == "1 ok, 1 warning, 1 failed, 2 skipped"


def test_a_mistake_without_a_remedy_gets_one_and_no_secret_is_shown() -> None:
    (found,) = examine([Check("a", refused)])
    assert found.remedy
    assert "s3cr3t" not in line(found)
    (other,) = examine([Check("a", lambda: failed("w", "https://ann:s3cr3t@host/"))])
    assert "s3cr3t" not in line(other)


def test_people_get_a_line_a_check_and_the_remedy_below(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["doctor", "--store", f"{tmp_path}/new", "--data", f"{tmp_path}/none.jsonl"])
    assert done.exit_code == 1
    assert f"failed  data: {tmp_path}/none.jsonl: no such file\n        → " in done.output
    assert done.output.endswith("5 ok, 1 failed, 4 skipped\n")


def test_settings_that_cannot_be_read_are_told_as_in_every_command() -> None:
    done = CliRunner().invoke(main, ["doctor", "--set", "train.los=dpo"])
    assert done.exit_code == 1
    assert "train.los" in done.output
    assert not done.output.startswith("ok")
