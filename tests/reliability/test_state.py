"""The state file: what comes back is what was saved, and nothing else is taken for one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repo.reliability.state import AnnotatorRecord, ReliabilityState

STATE = ReliabilityState(
    "full", 1, 2.5, 0.0, {"ann": AnnotatorRecord((3.5,), (1.0,), 6.0), 7: AnnotatorRecord((0.0,), (2.0,), 2.0)}
)


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    STATE.save(tmp_path / "state.json")
    assert ReliabilityState.load(tmp_path / "state.json") == STATE


def test_a_state_without_a_population_is_still_read(tmp_path: Path) -> None:
    """Schema 1 had none."""
    path = saved(tmp_path, schema_version=1)
    values = json.loads(path.read_text())
    del values["population"]
    path.write_text(json.dumps(values))
    assert ReliabilityState.load(path) == STATE


def test_the_population_survives_the_file(tmp_path: Path) -> None:
    with_population = replace(STATE, mean=0.8, sd=0.1)
    with_population.save(tmp_path / "state.json")
    assert ReliabilityState.load(tmp_path / "state.json") == with_population


def test_ids_that_json_cannot_keep_are_refused(tmp_path: Path) -> None:
    odd = ReliabilityState("full", 1, 1.0, 0.0, {("a", 1): AnnotatorRecord((1.0,), (1.0,), 2.0)})
    with pytest.raises(ValueError, match=r"annotator id \('a', 1\)"):
        odd.save(tmp_path / "state.json")


def test_forgetting_everything_leaves_no_evidence() -> None:
    assert STATE.faded(1.0).annotators["ann"] == AnnotatorRecord((0.0,), (0.0,), 0.0)


def saved(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "state.json"
    STATE.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 0}, r"not a reliability state of schema version 2 \(found 0\)"),
        ({"schema_version": None}, "found None"),
        ({"coins": 3}, "damaged reliability state"),
        ({"annotators": [{"annotator": "a", "right": [-1], "wrong": [0], "labels": 1}]}, "damaged"),
        ({"annotators": [{"annotator": "a"}]}, "damaged"),
        ({"population": {"mean": 1.5, "sd": 0.1}}, "damaged"),
        ({"calibration": {"temperature": 0, "intercept": 0}}, "damaged"),
    ],
)
def test_foreign_and_damaged_files_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReliabilityState.load(saved(tmp_path, **changes))


def test_what_is_no_json_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for text in ("no json", "[1]"):
        path.write_text(text)
        with pytest.raises(ValueError, match="not a reliability state"):
            ReliabilityState.load(path)
