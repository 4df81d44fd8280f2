"""Terminals that cannot show every character."""

from pathlib import Path

import pytest
from pipeline_runs import SMALL, Run, options

ARABIC = {"PYTHONIOENCODING": "iso8859-6"}
"""An encoding that has none of our characters. (What is said to be ASCII, click takes for UTF-8.)"""
ASCII = {"PYTHONIOENCODING": "ascii"}
PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("environment", [ARABIC, ASCII, PLAIN_C], ids=["arabic", "ascii", "C locale"])
def test_output_never_fails_for_want_of_a_character(
    repo_pipeline: Run, tmp_path: Path, environment: dict[str, str]
) -> None:
    file = tmp_path / "votes.jsonl"
    assert repo_pipeline("simulate", "--output", file, **environment).returncode == 0
    for command in (["settings"], ["--help"], ["run", "--help"], ["reliability", "--annotations", file]):
        done = repo_pipeline(*command, **environment)
        assert done.returncode == 0, done.stderr
        assert environment != ARABIC or done.stdout.isascii()
    done = repo_pipeline("settings", "--set", "train.lös=ipo", **environment)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


@pytest.mark.slow
def test_a_run_says_what_its_steps_say_on_any_terminal(repo_pipeline: Run, tmp_path: Path) -> None:
    done = repo_pipeline("demo", "--store", tmp_path / "store", *options(SMALL), **ARABIC)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "180 of 180 rows kept" in done.stdout
    assert done.stdout.isascii()
    assert "\u2013" in next(tmp_path.glob("store/artifacts/**/report.html")).read_text(encoding="utf-8")


def test_a_locale_that_cannot_hold_the_steps_source_is_told_before_anything_is_made(
    repo_pipeline: Run, tmp_path: Path
) -> None:
    done = repo_pipeline("demo", "--store", tmp_path / "store", **PLAIN_C)
    assert (done.returncode, "PYTHONUTF8=1" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    assert not (tmp_path / "store").exists()
