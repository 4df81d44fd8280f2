"""The exam: whose answers it takes for right, and what it keeps out of training."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from annotation_examples import canonical
from pandas.testing import assert_frame_equal

from repo.annotations.simulation import simulate
from repo.evaluation.exam import Exam
from repo.settings import SimulationSettings

RIGHT = {"careful": 0.95, "bad-1": 0.15, "bad-2": 0.15, "bad-3": 0.15}


@pytest.fixture(scope="module")
def crowd() -> pd.DataFrame:
    """Three adversaries outvote one careful annotator."""
    settings = SimulationSettings(comparisons=200, prompts=100, annotations_per_comparison=4, reliabilities=RIGHT)
    return canonical(pd.DataFrame(simulate(settings)))


def record(reliability: dict[str, float]) -> dict[str, Any]:
    rows = [{"annotator_id": n, "reliability": r, "first_preference": None} for n, r in reliability.items()]
    return {"annotators": rows, "population": {"mean": 0.3, "sd": 0.3}, "initial": 0.9}


def right(exam: Exam) -> float:
    judged = exam.judgements["consensus"]
    gold = exam.comparisons["gold"].map({"a": 1.0, "b": -1.0}).to_numpy()
    return float(np.mean(judged.direction == gold[judged.comparison]))


def test_the_consensus_believes_whom_the_training_found_reliable(crowd: pd.DataFrame) -> None:
    believed = record(RIGHT)
    assert right(Exam.of(crowd, "prompt")) < 0.2
    assert right(Exam.of(crowd, "prompt", believed)) > 0.9


def test_somebody_unknown_has_the_population_s_reliability(crowd: pd.DataFrame) -> None:
    """Of people who are right in three of ten, the majority is taken for wrong."""
    assert right(Exam.of(crowd, "prompt", record({"stranger": 0.9}))) > 0.8


def test_position_bias_is_seen_through() -> None:
    """Two people who name whatever is shown first say nothing; the third decides."""
    rows = []
    for number in range(40):
        shown, better = ("a", "b")[number % 2], ("a", "b")[number // 2 % 2]
        rows += [(number, "leans-1", shown, shown), (number, "leans-2", shown, shown), (number, "fair", better, shown)]
    table = pd.DataFrame(rows, columns=["comparison_id", "annotator_id", "preference", "shown_first"])
    table = table.assign(comparison_id=table["comparison_id"].astype(str), weight=1.0, gold="", prompt="p")
    known = record({})
    known["annotators"] = [
        {"annotator_id": "leans-1", "reliability": 0.5, "first_preference": 0.49},
        {"annotator_id": "leans-2", "reliability": 0.5, "first_preference": 0.49},
        {"annotator_id": "fair", "reliability": 0.8, "first_preference": 0.0},
    ]
    fair = table[table["annotator_id"] == "fair"].set_index("comparison_id")["preference"].map({"a": 1.0, "b": -1.0})
    exam = Exam.of(table, "comparison", known)
    judged = exam.judgements["consensus"]
    assert (judged.direction == fair[exam.comparisons["comparison_id"]].to_numpy()[judged.comparison]).all()


def test_opposite_votes_of_equal_people_say_nothing(crowd: pd.DataFrame) -> None:
    two = crowd[crowd["annotator_id"].isin(["bad-1", "bad-2"])]
    split = two.groupby("comparison_id")["preference"].transform("nunique") == 2
    exam = Exam.of(two[split], "prompt", record({}))
    assert len(exam.comparisons) > 5
    assert len(exam.judgements["consensus"].direction) == 0


def test_one_row_that_knows_the_gold_is_enough_whichever_it_is(crowd: pd.DataFrame) -> None:
    last = ~crowd.duplicated("comparison_id", keep="last")
    exam = Exam.of(crowd.assign(gold=crowd["gold"].where(last, "")), "prompt")
    assert len(exam.judgements["gold"].direction) == crowd["comparison_id"].nunique()


def test_it_comes_back_from_disk_as_it_was(crowd: pd.DataFrame, tmp_path: Path) -> None:
    exam = Exam.of(crowd, "prompt")
    exam.save(tmp_path)
    again = Exam.load(tmp_path)
    assert again.by == "prompt"
    assert_frame_equal(again.annotations, exam.annotations)


def test_it_knows_its_prompts_and_its_pairs_under_other_ids(crowd: pd.DataFrame) -> None:
    half = crowd["prompt"].isin(crowd["prompt"].unique()[:50])
    renamed = crowd.assign(comparison_id="other-" + crowd["comparison_id"])
    assert (Exam.of(crowd[half], "prompt").holds(renamed) == half).all()
    pairs = crowd.drop_duplicates(["prompt", "response_a", "response_b"])
    some = pairs.index[:20]
    exchanged = pairs.assign(response_a=pairs["response_b"], response_b=pairs["response_a"])
    held = Exam.of(pairs.loc[some], "comparison").holds(exchanged)
    assert held[held].index.tolist() == some.tolist()
