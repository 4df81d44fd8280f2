"""The gain without each annotator, against exams made anew without that annotator's rows."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.evaluation.exam import Exam, Target
from repo.evaluation.leave_one_out import leave_one_out
from repo.files import read_json, write_json

Floats = npt.NDArray[np.float64]
ETA = {"ann": 0.9, "bob": 0.7, "cem": 0.7, "dee": 0.3, "eve": 0.5}
RECORD = {
    "annotators": [{"annotator_id": n, "reliability": r, "first_preference": None} for n, r in ETA.items()],
    "population": None,
    "initial": 0.9,
}


def table(votes: list[tuple[int, str, str, float]]) -> pd.DataFrame:
    rows = pd.DataFrame(votes, columns=["comparison_id", "annotator_id", "preference", "weight"])
    return rows.assign(
        comparison_id="c" + rows["comparison_id"].astype(str),
        prompt="p" + (rows["comparison_id"] // 2).astype(str),
        gold="",
    )


def gain_on(exam: Exam, target: Target, difference: dict[str, float], usable: set[str]) -> tuple[int, float]:
    """Return (prompts judged, gain) one judgement at a time."""
    judged = exam.judgements[target]
    ids = exam.comparisons["comparison_id"].to_numpy()[judged.comparison]
    kept = [(w, d * difference[i]) for i, d, w in zip(ids, judged.direction, judged.weight, strict=True) if i in usable]
    total = sum(weight for weight, _ in kept)
    prompts = {unit for unit, i in zip(judged.unit.tolist(), ids, strict=True) if i in usable}
    return len(prompts), sum(weight * value for weight, value in kept) / total if kept else float("nan")


VOTES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(sorted(ETA)), st.sampled_from("ab"), st.sampled_from([0.3, 0.5, 1.0])),
    min_size=1,
    max_size=30,
)


@given(
    votes=VOTES,
    target=st.sampled_from(["consensus", "labels"]),
    weighed=st.booleans(),
    differences=st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=6, max_size=6),
    readable=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_it_is_the_gain_on_an_exam_without_that_annotator_s_rows(
    votes: list[tuple[int, str, str, float]],
    target: Target,
    weighed: bool,
    differences: list[float],
    readable: list[bool],
) -> None:
    rows = table(votes)
    record = RECORD if weighed else None
    exam = Exam.of(rows, "prompt", record)
    difference = {f"c{c}": value for c, value in enumerate(differences)}
    usable = {f"c{c}" for c, read in enumerate(readable) if read}
    ids = exam.comparisons["comparison_id"]
    mask = ids.isin(usable).to_numpy()
    unread = np.where(mask, ids.map(difference).to_numpy(dtype=np.float64), np.nan)  # as margins are
    found = leave_one_out(exam, mask, target, unread)
    people = sorted(set(rows["annotator_id"][rows["comparison_id"].isin(usable)]))
    assert found["annotators"] == len(people)
    if len(people) < 2:
        assert found["dearest"] == found["fewest"] == []
        return
    expected = {}
    for name in people:
        rest = Exam.of(rows[rows["annotator_id"] != name], "prompt", record)
        expected[name] = gain_on(rest, target, difference, usable)
    for row in found["dearest"]:
        prompts, gain = expected[row["annotator_id"]]
        assert row["held_out"] == prompts
        assert (row["gain"] is None) == (prompts == 0)
        assert prompts == 0 or row["gain"] == pytest.approx(gain, abs=1e-9)
    assert len(found["dearest"]) == min(len(people), 5)
    gains = [-np.inf if row["gain"] is None else row["gain"] for row in found["dearest"]]
    assert gains == sorted(gains)
    assert found["fewest"][0]["held_out"] == min(prompts for prompts, _ in expected.values())


def test_by_hand() -> None:
    """Ann alone outvotes two others; without her the consensus turns, and with it the gain."""
    votes = [(c, name, side, 1.0) for c in range(3) for name, side in (("ann", "a"), ("bob", "b"), ("cem", "b"))]
    trusted = {**RECORD, "annotators": [{**row} for row in RECORD["annotators"]]}  # type: ignore[attr-defined]
    trusted["annotators"][0]["reliability"] = 0.99
    found = leave_one_out(Exam.of(table(votes), "comparison", trusted), np.ones(3, bool), "consensus", np.ones(3))
    assert found["dearest"] == [
        {"annotator_id": "ann", "votes": 3, "held_out": 3, "gain": -1.0},
        {"annotator_id": "bob", "votes": 3, "held_out": 3, "gain": 1.0},
        {"annotator_id": "cem", "votes": 3, "held_out": 3, "gain": 1.0},
    ]


def test_comparisons_that_only_one_person_judged_go_with_them() -> None:
    votes = [(c, "ann" if c < 4 else "bob", "a", 1.0) for c in range(5)]
    difference = np.array([1.0, 1.0, 1.0, 1.0, -1.0])
    found = leave_one_out(Exam.of(table(votes), "comparison"), np.ones(5, bool), "consensus", difference)
    assert found["dearest"][0] == {"annotator_id": "ann", "votes": 4, "held_out": 1, "gain": -1.0}
    assert found["fewest"] == found["dearest"][:1]


def test_a_margin_that_is_not_a_number_leaves_no_gain() -> None:
    votes = [(c, name, "a", 1.0) for c in range(3) for name in ("ann", "bob")]
    difference = np.array([1.0, np.nan, 0.0])
    for target in ("consensus", "labels"):
        found = leave_one_out(Exam.of(table(votes), "comparison"), np.ones(3, bool), target, difference)  # type: ignore[arg-type]
        assert [row["gain"] for row in found["dearest"]] == [None, None]


@pytest.fixture
def old(tmp_path: Path) -> Exam:
    """An exam as the first schema kept it."""
    votes = [(c, name, "a", 1.0) for c in range(3) for name in ("ann", "bob")]
    exam = Exam.of(table(votes), "comparison", RECORD)
    Exam(exam.annotations.drop(columns="vote_log_odds_a"), "comparison").save(tmp_path)
    facts: dict[str, Any] = read_json(tmp_path / "exam.json")
    write_json(tmp_path / "exam.json", facts | {"schema_version": 1})
    return Exam.load(tmp_path)


def test_an_exam_of_the_first_schema_is_sat_as_before_and_tells_nothing_of_single_votes(old: Exam) -> None:
    assert len(old.judgements["consensus"].direction) == 3
    found = leave_one_out(old, np.ones(3, bool), "consensus", np.ones(3))
    assert found == {"annotators": 2, "dearest": [], "fewest": []}


def test_its_labels_need_no_log_odds(old: Exam) -> None:
    assert len(leave_one_out(old, np.ones(3, bool), "labels", np.ones(3))["dearest"]) == 2
