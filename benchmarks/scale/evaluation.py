"""Memory and time of an exam and its figures without a forward, in a process of its own."""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.child import in_its_own_process
from benchmarks.memory import peak_bytes
from benchmarks.scale.comparisons import WORDS, texts
from benchmarks.table import Row
from repo.evaluation import evaluation
from repo.evaluation.evaluation import Margins, PolicySource
from repo.evaluation.exam import Exam
from repo.policy.losses import DPO
from repo.settings import Settings

ROWS = 10**5
"""Held-out prompts, one comparison each."""
VOTES = 3
GIGABYTES, SECONDS = 4.0, 60.0
POLICIES = ("candidate", "base", "champion")


def held_out(prompts: int) -> pd.DataFrame:
    """Return canonical annotations: three votes a comparison by a thousand annotators, gold for half of them."""
    random = np.random.default_rng(0)
    rows = prompts * VOTES
    number = np.repeat(np.arange(prompts), VOTES)
    gold = np.where(number % 2 == 0, "a", "")
    return pd.DataFrame(
        {
            "comparison_id": _text(number),
            **{
                name: texts(random, prompts, words).take(number).reset_index(drop=True) for name, words in WORDS.items()
            },
            "messages": False,
            "preference": _text(np.where(random.random(rows) < 0.7, "a", "b")),
            "annotator_id": _text(random.integers(1000, size=rows)),
            "gold": _text(gold),
            "shown_first": _text(np.where(random.random(rows) < 0.5, "a", "b")),
            "weight": 1.0,
            "file": _text(np.full(rows, "votes.jsonl")),
            "line": np.arange(1, rows + 1),
        }
    )


def _text(values: Any) -> "pd.Series[str]":
    return pd.Series(values).astype("str")


def judge(prompts: int) -> dict[str, float]:
    """Return the seconds of each part, and this process's peak memory."""
    table, reliability = held_out(prompts), _reliability()
    before, began = peak_bytes(), time.perf_counter()
    exam = Exam.of(table, "prompt", reliability)
    exam.judgements  # noqa: B018 - computed once, when first asked for
    made = time.perf_counter()
    result = _figures(exam)
    scored = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        exam.save(Path(directory))
        held = Exam.load(Path(directory)).holds(table)
    assert held.all()
    assert result["comparisons"] == prompts
    return {
        "exam_seconds": made - began,
        "figures_seconds": scored - made,
        "files_seconds": time.perf_counter() - scored,
        "before_bytes": before,
        "peak_bytes": peak_bytes(),
    }


def _reliability() -> dict[str, Any]:
    people = [{"annotator_id": str(i), "reliability": 0.6 + i / 3000, "first_preference": 0.0} for i in range(1000)]
    return {"annotators": people, "population": {"mean": 0.75, "sd": 0.1}, "initial": 0.9}


def _figures(exam: Exam) -> dict[str, Any]:
    """Evaluate as always, but for margins that are drawn at random instead of computed by models."""
    random = np.random.default_rng(1)

    def margins_of(comparisons: pd.DataFrame, *_: object) -> dict[str, Margins]:
        size = len(comparisons)
        usable = np.ones(size, np.bool_)
        return {name: Margins(random.normal(0.3, 1, size), random.normal(size=size), usable) for name in POLICIES}

    computed, evaluation.margins_of = evaluation.margins_of, margins_of
    try:
        policies = {name: PolicySource(name, "base", DPO()) for name in POLICIES}
        return evaluation.evaluate(exam, policies, Settings())
    finally:
        evaluation.margins_of = computed


def measure(rows: int | None = None) -> list[Row]:
    """Return peak memory and seconds at so many held-out prompts (never more than promised)."""
    size = min(rows or ROWS, ROWS)
    values = in_its_own_process("scale.evaluation", size)
    parts = {name: values[f"{name}_seconds"] for name in ("exam", "figures", "files")}
    name, whole, peak = f"{size:.0e} held-out prompts", size >= ROWS, values["peak_bytes"] / 1e9
    total = sum(parts.values())
    return [
        *(Row(f"{name}: seconds, {part}", "", seconds, None) for part, seconds in parts.items()),
        Row(f"{name}: seconds", f"≤ {SECONDS:g}", total, total <= SECONDS if whole else None),
        Row(f"{name}: peak memory before, GB", "", values["before_bytes"] / 1e9, None),
        Row(f"{name}: peak memory, GB", f"≤ {GIGABYTES:g}", peak, peak <= GIGABYTES if whole else None),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", type=int)
    print(json.dumps(judge(parser.parse_args().prompts)))
