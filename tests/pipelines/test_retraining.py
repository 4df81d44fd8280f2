"""Passes over an inbox, one after another, as a scheduler runs them: what is new is trained on once."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from pipeline_runs import SMALL, Run, options

from repo.annotations.simulation import simulate
from repo.files import read_json, write_jsonl
from repo.settings import SimulationSettings
from repo.tracking.store import Store

pytestmark = pytest.mark.slow

ROWS = list(simulate(SimulationSettings(comparisons=120, prompts=60)))
NIGHTS = [ROWS[start : start + 120] for start in range(0, 360, 120)]
USUAL = (*SMALL[1:], "inbox.settle_seconds=0")


def drop(inbox: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    inbox.mkdir(exist_ok=True)
    write_jsonl(inbox / name, rows)
    return inbox / name


class Line:
    """A model line, its inbox, and what each pass printed."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.inbox, self.store, self._run = folder / "inbox", folder / "store", run

    def retrain(self, *settings: str) -> str:
        done = self._run("retrain", "--inbox", self.inbox, "--store", self.store, *options((*USUAL, *settings)))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=Store(self.store).tracking_uri)

    def champion(self) -> str:
        return str(self.client().get_model_version_by_alias("repo-policy", "champion").version)

    def counted(self, version: str) -> dict[str, float]:
        """Return how many votes of each annotator a version's state holds."""
        source = self.client().get_model_version("repo-policy", version).source
        model = source.removeprefix("models:/")
        state = next(self.store.glob(f"artifacts/**/{model}/artifacts/reliability_state.json"))
        return {row["annotator"]: row["labels"] for row in read_json(state)["annotators"]}

    def ledger(self, version: str) -> list[tuple[str, str]]:
        tag = json.loads(self.client().get_model_version("repo-policy", version).tags["batches"])
        run_id = tag["mlflow_uri"].split("/")[1]
        content = read_json(next(self.store.glob(f"artifacts/**/{run_id}/artifacts/ledger/batches.json")))
        return [(row["name"], row["version"]) for row in content["batches"]]

    def trained_on(self) -> list[pd.DataFrame]:
        files = sorted(
            self.store.glob("artifacts/**/training/posteriors.parquet"), key=lambda path: path.stat().st_mtime
        )
        return [pd.read_parquet(file) for file in files]


@pytest.fixture(scope="module")
def passes(repo_pipeline: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Line, dict[str, str]]:
    """Six nights: two batches; nothing; a new batch, a broken one and votes sent once more; nothing; one that is
    rejected; nothing.
    """
    line, said = Line(tmp_path_factory.mktemp("nights"), repo_pipeline), {}
    drop(line.inbox, "a.jsonl", NIGHTS[0][:60])
    drop(line.inbox, "b.jsonl", NIGHTS[0][60:])
    said["first"] = line.retrain()
    said["nothing"] = line.retrain()
    drop(line.inbox, "c.jsonl", [*NIGHTS[0][:15], *NIGHTS[1]])
    (line.inbox / "broken.jsonl").write_text('{"prompt": "cut of')
    shutil.copy(line.inbox / "a.jsonl", line.inbox / "a-again.jsonl")
    said["second"] = line.retrain()
    said["nothing but broken"] = line.retrain()
    drop(line.inbox, "d.jsonl", NIGHTS[2])
    said["rejected"] = line.retrain("gate.min_gain_over_champion=0.9")
    said["rejected before"] = line.retrain("gate.min_gain_over_champion=0.9")
    return line, said


def test_every_vote_is_counted_by_the_version_that_was_the_first_to_see_it(passes: tuple[Line, dict[str, str]]) -> None:
    line, _ = passes
    first, second, _ = line.trained_on()
    assert sum(line.counted("1").values()) == len(first)
    assert sum(line.counted("2").values()) == len(first) + len(second)
    places = pd.concat([first, second])[["annotator_id", "prompt", "response_a", "response_b"]]
    assert not places.duplicated().any()
    # Of the 15 votes sent once more those on held-out prompts never counted.
    left_out = re.search(r"c.jsonl: (\d+) of its annotations left out", passes[1]["second"])
    assert left_out
    assert 0 < int(left_out[1]) <= 15


def test_the_versions_say_which_batches_they_took(passes: tuple[Line, dict[str, str]]) -> None:
    line, _ = passes
    assert line.ledger("1") == [("a.jsonl", ""), ("b.jsonl", "")]
    assert line.ledger("2") == [("a.jsonl", "1"), ("b.jsonl", "1"), ("c.jsonl", "")]
    assert [name for name, _ in line.ledger("3")] == ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"]
    assert line.champion() == "2"


def test_what_is_new_broken_or_delivered_twice_is_said(passes: tuple[Line, dict[str, str]]) -> None:
    said = passes[1]["second"]
    assert "broken.jsonl: quarantined: " in said
    lines = {line.split()[0]: line for line in said.splitlines() if "jsonl  " in line}
    assert "duplicate" in lines["a-again.jsonl"]
    assert "of a.jsonl, consumed by version 1" in lines["a-again.jsonl"]
    assert "quarantined" in lines["broken.jsonl"]
    assert "it looks cut off" in lines["broken.jsonl"]
    assert "nobody's reliability has changed since version 1" in said


@pytest.mark.parametrize("night", ["nothing", "nothing but broken", "rejected before"])
def test_a_night_with_nothing_new_starts_no_step(passes: tuple[Line, dict[str, str]], night: str) -> None:
    said = passes[1][night].splitlines()
    assert said[-1].startswith("nothing new")
    assert not any("open-run" in line for line in said)


def test_a_rejected_candidate_consumes_nothing_and_is_not_made_again(passes: tuple[Line, dict[str, str]]) -> None:
    line, said = passes
    assert "verdict: reject" in said["rejected"]
    last = said["rejected before"].splitlines()[-1]
    assert last == ("nothing new: version 3 was trained on the same batches with the same settings and rejected")
    assert len(line.client().search_model_versions("name = 'repo-policy'")) == 3


def test_the_batches_of_a_rejected_candidate_take_part_in_the_next_pass(
    passes: tuple[Line, dict[str, str]], repo_pipeline: Run, tmp_path: Path
) -> None:
    """Stands after the tests that look at the state before."""
    line, _ = passes
    said = line.retrain()
    assert "verdict: promote" in said
    assert line.champion() == "4"
    assert line.ledger("4")[-1] == ("d.jsonl", "")
    assert sum(line.counted("4").values()) == sum(
        len(table) for table in (*line.trained_on()[:2], line.trained_on()[3])
    )
    # A consumed batch that is changed is a new one, of which only what is new counts.
    corrected = [{**row, "preference": "a"} for row in NIGHTS[2]]
    drop(line.inbox, "d.jsonl", corrected)
    said = line.retrain()
    assert "of its annotations left out: these people's votes on these pairs count already" in said
    assert "say something else now, and the earlier vote stands" in said
    assert "no vote in the new batches can train" in said
    assert line.champion() == "4"
    said = line.retrain()
    assert said.splitlines()[-1] == "nothing new"
    assert "every vote in it counts already" in said


def test_nothing_new_needs_no_torch(passes: tuple[Line, dict[str, str]]) -> None:
    line, _ = passes
    code = (
        "import sys; from pipelines.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'mlflow' in sys.modules\n"
        "assert 'torch' not in sys.modules and 'kfp' not in sys.modules"
    )
    command = ["retrain", "--inbox", str(line.inbox), "--store", str(line.store), *options(USUAL)]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing new" in done.stdout


def test_every_run_has_ended_and_the_line_is_free(passes: tuple[Line, dict[str, str]]) -> None:
    client = passes[0].client()
    experiment = client.get_experiment_by_name("repo")
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FINISHED"}
    assert "lease" not in client.get_registered_model("repo-policy").tags


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("policy.base=no/such-model", "was trained from tiny"),
        ("reliability.estimator=none", "what it knows of annotators would be lost"),
        ("reliability.prior_state=models:/repo-policy@champion", "a retraining takes what the champion knows"),
    ],
)
def test_settings_that_do_not_fit_the_champion_are_told_before_a_step(
    passes: tuple[Line, dict[str, str]], repo_pipeline: Run, tmp_path: Path, setting: str, words: str
) -> None:
    line, _ = passes
    drop(tmp_path / "inbox", "e.jsonl", NIGHTS[2][:30])
    settings = options((*USUAL, setting))
    done = repo_pipeline("retrain", "--inbox", tmp_path / "inbox", "--store", line.store, *settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "open-run" not in done.stdout


def test_an_inbox_that_is_not_there_is_told_before_a_store_is_made(repo_pipeline: Run, tmp_path: Path) -> None:
    done = repo_pipeline("retrain", "--inbox", tmp_path / "nowhere", "--store", tmp_path / "store")
    assert done.returncode == 1
    assert "nowhere: no such folder" in done.stderr
    assert not (tmp_path / "store").exists()


def test_an_empty_inbox_ends_well(repo_pipeline: Run, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    done = repo_pipeline("retrain", "--inbox", tmp_path / "inbox", "--store", tmp_path / "store")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2:] == ["the inbox is empty", "nothing new"]


def test_what_waits_for_a_person_is_trained_once_and_consumed_when_it_is_approved_and_not_when_rolled_back(
    passes: tuple[Line, dict[str, str]], repo_pipeline: Run
) -> None:
    """Stands last of the tests on this line, which it goes on with."""
    line, _ = passes
    settings = ("gate.approval=manual", "gate.min_gain_over_champion=-1")
    drop(line.inbox, "late.jsonl", list(simulate(SimulationSettings(comparisons=40, prompts=20, seed=7))))

    def models(*command: str) -> str:
        done = repo_pipeline("models", *command, "--store", line.store)
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = line.champion()
    said = line.retrain(*settings)
    new = str(max(int(version.version) for version in line.client().search_model_versions("name = 'repo-policy'")))
    named = f"--model repo-policy --store {line.store}"
    waits = f"version {new} waits for approval: repo-pipeline models promote {new} {named} --approve --by NAME"
    assert waits in said
    assert line.champion() == before
    again = line.retrain(*settings).splitlines()[-1]
    assert again.startswith(f"nothing new: version {new} was trained on the same batches")
    assert waits.partition(": ")[0] in models()
    models("promote", "--approve", "--by", "ann")
    assert line.champion() == new
    assert "nothing new" in line.retrain(*settings)
    assert " new again: the next pass" in models("rollback", "--reason", "rude")
    assert line.champion() == before
    # Also where some of what lies in the inbox was new to one champion only; that may show only once it is merged.
    said = line.retrain(*settings)
    tried = rf"version {new} was trained on the same (batches|votes) with the same settings and rolled back"
    assert re.search(tried, said), said
    versions = line.client().search_model_versions("name = 'repo-policy'")
    assert max(int(version.version) for version in versions) == int(new)
    assert "late.jsonl" in models("show", new)
