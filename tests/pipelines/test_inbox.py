"""`repo-pipeline inbox`: batches as a person sees them, and as a program does."""

import json
import shutil
from pathlib import Path

import pytest
from pipeline_runs import Run

from repo.annotations.simulation import simulate
from repo.files import write_jsonl
from repo.settings import SimulationSettings


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    for number in range(2):
        write_jsonl(folder / f"night-{number}.jsonl", simulate(SimulationSettings(comparisons=4, seed=number)))
    shutil.copy(folder / "night-0.jsonl", folder / "night-0-again.jsonl")
    (folder / "broken.jsonl").write_text('{"prompt": "cut of')
    write_jsonl(folder / "strange.jsonl", [{"prompt": "q", "answer_1": "x", "answer_2": "y", "better": 1}])
    return folder


def test_every_batch_has_its_state_and_why(repo_pipeline: Run, inbox: Path, tmp_path: Path) -> None:
    done = repo_pipeline("inbox", "--inbox", inbox, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert "new" in lines["night-1.jsonl"]
    assert "duplicate" in lines["night-0.jsonl"]
    assert "of night-0-again.jsonl" in lines["night-0.jsonl"]
    assert "quarantined" in lines["broken.jsonl"]
    assert "it looks cut off" in lines["broken.jsonl"]
    assert "fit no layout" in lines["strange.jsonl"]
    assert done.stdout.splitlines()[-1] == "5 batches: 2 new, 1 duplicate, 2 quarantined"
    assert not (tmp_path / "store").exists()


def test_a_program_gets_names_states_notes_and_digests(repo_pipeline: Run, inbox: Path, tmp_path: Path) -> None:
    done = repo_pipeline("inbox", "--inbox", inbox, "--store", tmp_path / "store", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert {name: row["state"] for name, row in rows.items()}["night-1.jsonl"] == "new"
    assert rows["night-0.jsonl"]["digest"] == rows["night-0-again.jsonl"]["digest"]
    assert set(rows["broken.jsonl"]) == {"name", "state", "note", "digest"}


def test_an_empty_inbox_is_no_mistake_and_a_missing_one_is(repo_pipeline: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = repo_pipeline("inbox", "--inbox", tmp_path / "empty", "--store", tmp_path / "store")
    assert (done.returncode, done.stdout) == (0, "the inbox is empty\n")
    done = repo_pipeline("inbox", "--inbox", tmp_path / "emty", "--store", tmp_path / "store")
    assert done.returncode == 1
    assert "no such folder" in done.stderr
    assert "did you mean" in done.stderr
