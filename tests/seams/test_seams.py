"""Features that were each tested alone, together: what holds of one run of the pipeline holds of every run."""

import itertools
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from design import CASES, PINNED, SETTINGS, Case
from runs import MODEL, PEOPLE, RETIRED, Finished, Home

from repo.files import read_json, tree_digest

AGAIN = next(case for case in CASES if "resume" not in case.on and case.on)
"""The undisturbed run that is repeated; those that were killed and run again are compared with an undisturbed one."""


def test_every_pair_of_features_meets_in_all_four_ways() -> None:
    for one, other in itertools.combinations(SETTINGS, 2):
        met = {(one in case.on, other in case.on) for case in CASES}
        assert len(met) == 4, f"{one} and {other} meet only in {met}"


def _one_policy_is_promoted(_: Case, finished: Finished) -> None:
    assert "verdict: promote" in finished.output
    versions = finished.client.search_model_versions(f"name='{MODEL}'")
    aliases = [finished.client.get_model_version(MODEL, version.version).aliases for version in versions]
    assert aliases == [["champion"]]


def _every_mlflow_run_has_ended_and_only_what_was_killed_is_not_finished(_: Case, finished: Finished) -> None:
    for killed in (False, True):
        runs = [run for run in finished.runs() if (run.info.run_id in finished.killed) == killed]
        ended = {run.info.run_name: run.info.status for run in runs}
        assert set(ended.values()) <= ({"FINISHED", "KILLED"} if killed else {"FINISHED"}), ended


def _what_was_killed_was_taken_up_again(case: Case, finished: Finished) -> None:
    assert ("going on from step" in finished.output) == ("resume" in case.on)


def _every_metric_is_a_finite_number(_: Case, finished: Finished) -> None:
    bad = [
        (run.info.run_name, name, metric.step, metric.value)
        for run in finished.runs()
        for name in run.data.metrics
        for metric in finished.client.get_metric_history(run.info.run_id, name)
        # MLflow keeps an infinite value as the largest number there is.
        if not abs(metric.value) < 1e300
    ]
    assert not bad


def _every_number_in_a_file_is_finite_and_known(case: Case, finished: Finished) -> None:
    files = [path for path in finished.store.root.rglob("*.json*") if path.is_file()]
    assert {"reliability.json", "training.json", "evaluation.json", "verdict.json"} <= {path.name for path in files}
    unknown = {(path.name, name) for path in files for name in _unknown(path)}
    assert unknown == _may_be_unknown(case)


def _unknown(path: Path) -> Iterator[str]:
    """Yield the places of nulls in one of our own files, and of numbers that are not finite in any file."""
    text = path.read_text(encoding="utf-8")
    for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
        for name, value in _values(json.loads(line)):
            if isinstance(value, float) and not math.isfinite(value):
                yield f"{name} is {value}"
            elif value is None and path.name not in ("tokenizer.json", "great_expectations.json"):
                yield name


def _values(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _values(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, name)
    else:
        yield name, value


def _may_be_unknown(case: Case) -> set[tuple[str, str]]:
    """Return what no such run can know: which way people lean by one coin, and a prior that was not given."""
    leaning = () if "coins" in case.on else ("annotators.first_preference", "annotators.first_preference_interval")
    prior = () if "prior" in case.on else ("prior",)
    return {("reliability.json", name) for name in (*leaning, *prior)}


def _each_feature_that_is_on_did_something(case: Case, finished: Finished) -> None:
    """Otherwise the design would cover pairs in name only."""
    champion = finished.champion()
    found = read_json(champion / "reliability.json")
    people = {row["annotator_id"]: row for row in found["annotators"]}
    training = read_json(next(finished.store.root.glob("artifacts/**/training.json")))
    count = {key: sum(c[key] for c in training["tokenization"].values()) for key in ("truncated", "dropped")}
    split = pd.read_parquet(next(finished.store.root.glob("artifacts/**/annotations.parquet")))
    did = {
        "gold": found["anchors"]["gold_comparisons"] > 0,
        "pinned": [row["reliability"] for row in people.values() if row["pinned"]] == [0.9],
        "prior": any(row["known_before"] for row in people.values()),
        "pseudonyms": not set(people) & set(PEOPLE),
        "ties": bool((split["weight"] != 1).any()),
        "coins": found["coins"] == 2 and found["positions_known"],
        "first_visit": found["margins"] == "first_visit",
        "lora": any(run.data.params.get("policy.lora.rank") == "4" for run in finished.runs()),
        "own_loss": training["loss"] == "my_losses:SmoothHinge",
        "truncation": count["truncated"] > 0 and count["dropped"] > 0,
        "resume": bool(finished.killed),
    }
    assert {feature for feature, happened in did.items() if happened} == case.on
    if "first_visit" not in case.on:
        assert not found["memorisation"]["found"]


def _no_person_is_named_where_there_are_pseudonyms(case: Case, finished: Finished) -> None:
    named = {name for name in (*PEOPLE, *RETIRED) for text in _texts(finished.store.root) if name.encode() in text}
    if "pseudonyms" in case.on:
        assert not named
    else:
        assert named >= {*PEOPLE}  # this is where they would be found
    assert PINNED not in finished.output or "pseudonyms" not in case.on


def _texts(root: Path) -> Iterator[bytes]:
    """Yield all that stands in files, and their names; tables as text, since their pages are compressed."""
    for path in root.rglob("*"):
        yield os.fsencode(path.name)
        if path.suffix == ".parquet":
            yield pd.read_parquet(path).to_csv().encode()
        elif path.is_file():
            yield path.read_bytes()


def _nothing_temporary_is_left(_: Case, finished: Finished) -> None:
    assert not [path.name for path in finished.temporary.iterdir()]


CHECKS = (
    _one_policy_is_promoted,
    _every_mlflow_run_has_ended_and_only_what_was_killed_is_not_finished,
    _what_was_killed_was_taken_up_again,
    _every_metric_is_a_finite_number,
    _every_number_in_a_file_is_finite_and_known,
    _each_feature_that_is_on_did_something,
    _no_person_is_named_where_there_are_pseudonyms,
    _nothing_temporary_is_left,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_holds_of_one_run_holds_of_every_run(
    case: Case, home: Home, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    finished = home.train(case, tmp_path / "first", disturbed="resume" in case.on)
    for check in CHECKS:
        with subtests.test(check.__name__):
            check(case, finished)
    if "resume" in case.on or case == AGAIN:
        with subtests.test("the same command, undisturbed in a fresh store, gives the same"):
            _are_the_same(finished, home.train(case, tmp_path / "again", disturbed=False))


def _are_the_same(one: Finished, other: Finished) -> None:
    first, second = one.champion(), other.champion()
    assert read_json(first / "reliability.json") == read_json(second / "reliability.json")
    weights = Path("model", "model.safetensors")
    assert tree_digest(first / weights) == tree_digest(second / weights)
