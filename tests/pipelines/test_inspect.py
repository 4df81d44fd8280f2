"""`repo-pipeline inspect`: what was understood, before anything is done."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_runs import Run

from repo.files import write_jsonl

PAIR = {"question": "Which?", "answer_a": "the first", "answer_b": "the second"}
SETTINGS = (
    *("--set", "data.columns={prompt: question, response_a: answer_a, response_b: answer_b, annotator_id: who}"),
    *("--set", "data.values={a: [1], b: [2], tie: [0]}"),
)


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    rows = [
        PAIR | {"preference": 2, "who": "ann", "source": "web"},
        PAIR | {"preference": 0, "who": "bob", "source": "web"},
        PAIR | {"preference": 1, "who": "ann", "question": "And here?", "source": None},
        PAIR | {"preference": 1, "who": "eve", "question": None, "source": None},
    ]
    write_jsonl(tmp_path / "votes.jsonl", rows)
    return tmp_path / "votes.jsonl"


def test_a_person_sees_layout_columns_counts_and_the_first_annotations(repo_pipeline: Run, votes: Path) -> None:
    done = repo_pipeline("inspect", "--data", str(votes), *SETTINGS)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for part in (
        "preference says whether answer_a or answer_b is better",
        "prompt (question), response_a (answer_a)",
        "not read source",
        "answer_a is taken as displayed first (else: data.display=unknown)",
        "3 annotations by 2 annotators on 2 comparisons of 2 prompts; 1 ties",
        f"1 rows not understood, the first: {votes}, line 4: prompt is missing",
        "line 1: ann prefers prompt Which? better answer_b: the second worse answer_a: the first",
        "line 2: bob finds both as good prompt Which? one answer_a: the first other answer_b: the second",
        "columns not read: source",
    ):
        assert part in said


def test_a_program_gets_the_same_as_json(repo_pipeline: Run, votes: Path) -> None:
    found = json.loads(repo_pipeline("inspect", "--data", str(votes), "--json", *SETTINGS).stdout)
    assert found["files"][0]["columns"]["annotator_id"] == "who"
    assert [found[count] for count in ("annotations", "annotators", "comparisons", "ties", "not_understood")] == [
        *(3, 2, 2, 1, 1)
    ]
    assert found["examples"][0]["first"] == {"column": "answer_b", "text": "the second"}


def test_chosen_is_shown_as_better_and_a_crowd_table_as_labels(repo_pipeline: Run, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "trl.jsonl", [{"prompt": "q", "chosen": "good", "rejected": "bad"}])
    said = repo_pipeline("inspect", "--data", str(tmp_path / "trl.jsonl")).stdout
    assert "chosen is better than rejected" in said
    assert "better    chosen: good" in said
    (tmp_path / "crowd.csv").write_text("task,worker,label\nt1,w1,yes\nt1,w2,no\n")
    said = repo_pipeline("inspect", "--data", str(tmp_path / "crowd.csv")).stdout
    assert "a crowd table: each worker's label of a task is yes or no" in said
    assert "line 2: w1 labels task t1 yes" in said


def test_what_cannot_be_understood_ends_with_an_error(repo_pipeline: Run, votes: Path) -> None:
    done = repo_pipeline("inspect", "--data", str(votes))
    assert (done.returncode, done.stdout) == (1, "")
    assert "fit no layout" in done.stderr


def test_inspection_needs_neither_torch_nor_mlflow(votes: Path) -> None:
    code = (
        "import sys; from pipelines.cli import main\n"
        f"try: main({['inspect', '--data', str(votes), *SETTINGS]!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "print([m for m in ('torch', 'mlflow', 'kfp', 'great_expectations', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["run", "reliability"])
def test_other_commands_say_it_in_one_line_or_stop_before_a_store_is_made(
    repo_pipeline: Run, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "votes.jsonl"
    write_jsonl(file, [PAIR | {"preference": n % 2, "question": f"question {n}", "who": "ann"} for n in range(12)])
    option = "--data" if command == "run" else "--annotations"
    place = ("--store", str(tmp_path / "store")) if command == "run" else ("--output", str(tmp_path / "store"))
    done = repo_pipeline(command, option, str(file), *place, *SETTINGS[:2])
    assert done.returncode == 1
    assert "what does preference mean by '0' (6 times), '1' (6 times)?" in done.stderr
    assert not (tmp_path / "store").exists()


def test_reliability_says_what_it_understood(repo_pipeline: Run, tmp_path: Path) -> None:
    rows = [PAIR | {"preference": 1, "question": f"q {n}", "who": who} for n in range(12) for who in ("ann", "bob")]
    write_jsonl(tmp_path / "votes.jsonl", rows)
    done = repo_pipeline("reliability", "--annotations", str(tmp_path / "votes.jsonl"), *SETTINGS)
    assert "24 annotations by 2 annotators on 12 comparisons, 0 ties: preference says whether" in done.stderr
