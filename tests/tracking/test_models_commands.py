"""`repo-pipeline models` at the command line: on which line and store it acts, and what its hints say."""

import json
import shlex

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from pipelines.cli import main
from repo.tracking.decisions import Decision, record
from repo.tracking.handover import Pointer
from repo.tracking.promotion import promote_version
from repo.tracking.registry import Tag, champion, register_version, version_tags
from repo.tracking.store import store_option

LINES = ("repo-policy", "production")


@pytest.fixture
def two_lines(pointer):
    """Two models, each with a champion and the one before it."""
    for name in LINES:
        former = None
        for _ in range(2):
            version = register_version(pointer(), name, facts(compared_with=former or ""))
            promote_version(name, version, former)
            former = version


def facts(**others):
    known = {"loss": "ipo", "accuracy": 0.75, "annotators": 10, "mean_reliability": 0.8, "data_digest": "d" * 64}
    decided = {"config_digest": "c" * 64, "verdict": "promote", "reasons": [], "run_id": "the-run", "simulated": False}
    return version_tags(**known, **decided, exam=Pointer("runs:/the-run/exam", "e" * 64), **others)


def models(*arguments):
    done = CliRunner().invoke(main, ["models", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def remedy(*arguments):
    """The hint that comes with a refusal."""
    done = CliRunner().invoke(main, ["models", *map(str, arguments)])
    assert done.exit_code == 1, done.output
    return done.stderr.rpartition("→ ")[2].strip()


@pytest.mark.parametrize("given", ["before", "after"])
def test_the_line_and_store_named_before_a_command_are_those_it_acts_on(two_lines, store, monkeypatch, tmp_path, given):
    monkeypatch.chdir(tmp_path)  # the default store is another one
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    options = ["--store", store.root, "--model", "production", "--json"]
    words = [*options, "rollback"] if given == "before" else ["rollback", *options]
    assert json.loads(models(*words)) == {"model": "production", "champion": "1", "previous": "2"}
    assert [champion(name).version for name in LINES] == ["2", "1"]


def test_what_is_named_after_a_command_goes_before_what_is_named_before_it(two_lines):
    assert "production version 2" in models("--model", "repo-policy", "show", "--model", "production")


def test_a_hint_names_the_line_and_the_store_it_is_about(store, pointer, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the default store is another one
    register_version(pointer(), "production", facts(compared_with="", manual=True))
    options = ["--store", store.root, "--model", "production"]
    hint = remedy("promote", "1", *options)
    assert hint in models(*options)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    command, group, *words = shlex.split(hint.replace("NAME", "ann"))
    assert (command, group) == ("repo-pipeline", "models")
    assert models(*words) == "production version 1 is champion\n"


def test_what_waits_is_declined_with_name_and_reason_and_shown_so_ever_after(store, pointer):
    register_version(pointer(), "production", facts(compared_with="", manual=True))
    line = ("--model", "production")
    for given in (("--reason", "rude"), ("--by", "ann")):
        assert CliRunner().invoke(main, ["models", "decline", "1", *given, *line]).exit_code == 2
    assert "--reason" in remedy("decline", "1", "--by", "ann", "--reason", "", *line)
    assert "--by" in remedy("decline", "1", "--by", " ", "--reason", "rude", *line)
    assert "(approval: waiting)" in models(*line)
    said = json.loads(models("decline", "1", "--by", "ann", "--reason", "rude", *line, "--json"))
    assert said == {"model": "production", "version": "1", "approval": "declined"}
    listed, shown = models(*line), models("show", "1", *line)
    assert "promote (approval: declined)" in listed
    assert "waits for approval" not in listed
    assert "challenger" not in listed
    assert "declined by ann at " in shown
    assert ": rude" in shown
    again = CliRunner().invoke(main, ["models", "decline", "1", "--by", "bob", "--reason", "too", *line])
    assert (again.exit_code, "does not wait for approval (approval: declined)" in again.stderr) == (1, True)


def test_in_the_default_store_and_on_a_server_a_hint_names_none(store, pointer, monkeypatch):
    register_version(pointer(), "production", facts(compared_with="", manual=True))
    monkeypatch.chdir(store.root.parent)
    assert "--store" not in models("--model", "production")
    for uri in ("https://mlflow.example.org", "sqlite:///relative.db", "postgresql:///mlflow", ""):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert store_option() == ""


def test_a_rollback_is_no_failure_where_the_ledger_of_what_left_is_gone(two_lines):
    gone = json.dumps(Pointer("runs:/gone/ledger", "0" * 64).metadata)
    MlflowClient().set_model_version_tag("production", "2", Tag.BATCHES, gone)
    assert models("rollback", "--model", "production").startswith("production version 1 is champion again")


def test_a_name_that_no_model_can_have_is_told_of_the_option_that_named_it(two_lines):
    for option in ("--to", "--model"):
        refused = CliRunner().invoke(main, ["models", "copy", "--to", "production", option, "x y"])
        assert (refused.exit_code, refused.stderr.split()[1]) == (1, f"{option}:"), refused.stderr


def test_in_a_container_whose_user_has_no_name_it_is_asked_who_decides(two_lines, monkeypatch):
    def nobody(_):
        raise KeyError("getpwuid(): uid not found: 4711")

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert remedy("rollback") == "say who: --by NAME"
    assert champion("repo-policy").version == "2"


def test_bytes_that_are_no_text_in_a_reason_are_kept_as_question_marks(two_lines):
    models("rollback", "--reason", "caf\udce9")
    assert "caf?" in models("show", "2")


def test_a_rollback_on_record_that_was_cut_short_is_not_listed_of_the_champion(two_lines):
    record("repo-policy", "2", Decision("rolled back", "ann", "", "2"))
    assert "rolled back)" not in models("list")
    models("rollback")
    assert "promote (rolled back)" in models("list")
