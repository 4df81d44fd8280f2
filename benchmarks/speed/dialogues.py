"""Two-turn dialogues on the tiny policy with the command's defaults: the package of an earlier revision, then this one.

People's votes on two answers (llmfao, without ties and empty answers); in front of each prompt stands another prompt of
the set with one of its answers as the first turn.
"""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.child import in_its_own_process
from benchmarks.reliability.crowd import DATA
from benchmarks.speed.beside import QUIET
from benchmarks.table import Row, not_measured
from repo.files import write_jsonl

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "1d20c08"
"""Two padded sequences a comparison."""
VOTES, QUICK_VOTES = 1751, 20
QUICKLY = ("policy.tiny.warm_start_steps=1", "policy.max_length=128", "policy.max_prompt_length=64")
TIMES = 3.0


def rows(quick: bool) -> list[Row]:
    """Return the seconds of either package, and how many times as fast this one is."""
    votes = QUICK_VOTES if quick else VOTES
    what = f"tiny, {'small' if quick else 'defaults'}, {votes:,} votes on two-turn dialogues"
    source = DATA / "llmfao/annotations.jsonl"
    if not source.is_file():
        return [not_measured(what, "no shared data", quick)]
    with tempfile.TemporaryDirectory() as folder:
        annotations, earlier = Path(folder, "dialogues.jsonl"), Path(folder, "earlier")
        write_jsonl(annotations, two_turns(source, votes))
        if not _unpack(BEFORE, earlier):
            return [not_measured(what, f"no revision {BEFORE} in this clone", quick)]
        before, now = (_trained_by(package, annotations, QUICKLY if quick else ()) for package in (earlier, ROOT))
    times = before["seconds"] / now["seconds"]
    return [
        Row(f"{what}, {now['comparisons']:,} comparisons: seconds at {BEFORE}", "", before["seconds"], None),
        Row("the same now", "", now["seconds"], None),
        Row("times as fast", f"≥ {TIMES:g}", times, None if quick else times >= TIMES),
    ]


def two_turns(source: Path, votes: int) -> Iterator[dict[str, Any]]:
    """Yield so many votes on dialogues, all votes of a comparison together; the same ones every time."""
    table = pd.read_json(source, lines=True, dtype=False)
    answers = table[["response_a", "response_b"]].fillna("").astype(str)
    table = table[(answers.apply(lambda column: column.str.strip()) != "").all(axis=1) & (table["preference"] != "tie")]
    random = np.random.default_rng(0)
    first_turns = table.drop_duplicates("comparison_id").sample(frac=1, random_state=random)
    groups = dict(list(table.groupby("comparison_id", sort=True)))
    order = random.permutation(list(groups))
    dialogues = (row for name in order for row in _dialogues(groups[name], first_turns, random))
    return (row for row, _ in zip(dialogues, range(votes), strict=False))


def _dialogues(votes: pd.DataFrame, first_turns: pd.DataFrame, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield the votes on one comparison, behind a first turn that is about something else."""
    others = first_turns[first_turns["prompt"] != votes["prompt"].iloc[0]]
    earlier = others.iloc[int(random.integers(len(others)))]
    turns = [_turn("user", earlier["prompt"]), _turn("assistant", earlier["response_a"])]
    for vote in votes.itertuples():
        yield {
            "comparison_id": vote.comparison_id,
            "prompt": [*turns, _turn("user", vote.prompt)],
            "response_a": [_turn("assistant", vote.response_a)],
            "response_b": [_turn("assistant", vote.response_b)],
            "preference": vote.preference,
            "annotator_id": vote.annotator_id,
        }


def _turn(role: str, content: Any) -> dict[str, str]:
    return {"role": role, "content": str(content)}


def _unpack(revision: str, folder: Path) -> bool:
    """Write the package as it was; return False where the history does not go back so far."""
    archive = subprocess.run(["git", "archive", revision, "repo"], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return True


def _trained_by(package: Path, annotations: Path, settings: tuple[str, ...]) -> dict[str, Any]:
    # Without the working directory on the path, the first `repo` on it is the one meant; benchmarks are always ours.
    found = {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{package}:{ROOT}"}
    arguments = (annotations, "--set", *settings)
    measured = in_its_own_process("speed.whole", *arguments, environment={**QUIET, **found})
    assert measured["package"] == str(package.resolve()), "the package asked for was measured"
    return measured
