"""Whose reliability is compared with what the champion's training found."""

from typing import Any

import pytest

from repo.evaluation.collapse import large_annotators


def record(*rows: dict[str, Any]) -> dict[str, Any]:
    usual = {"reliability": 0.8, "interval": [0.7, 0.9], "annotations": 10, "pinned": False}
    return {"annotators": [usual | row for row in rows]}


def names(candidate: dict[str, Any], champion: dict[str, Any], share: float = 0.2) -> list[str]:
    return [row["annotator_id"] for row in large_annotators(candidate, champion, share)]


def test_large_is_who_gave_the_share_asked_of_the_candidate_s_votes() -> None:
    votes = record(*({"annotator_id": name, "annotations": n} for name, n in (("ann", 19), ("bob", 20), ("cem", 61))))
    assert names(votes, votes) == ["cem", "bob"]
    assert names(votes, votes, 0.19) == ["cem", "bob", "ann"]


def test_both_findings_stand_side_by_side() -> None:
    now = record({"annotator_id": "ann", "reliability": 0.5, "interval": [0.4, 0.6]})
    [row] = large_annotators(now, record({"annotator_id": "ann"}), 0.2)
    assert row == {
        "annotator_id": "ann",
        "share": 1.0,
        "candidate": {"value": 0.5, "low": 0.4, "high": 0.6},
        "champion": {"value": 0.8, "low": 0.7, "high": 0.9},
    }


def test_who_changed_is_compared_by_the_current_name() -> None:
    champion = record({"annotator_id": "ann (until version 2)"}, {"annotator_id": "ann", "reliability": 0.6})
    [row] = large_annotators(record({"annotator_id": "ann"}), champion, 0.2)
    assert row["champion"]["value"] == 0.6


@pytest.mark.parametrize("taken", [{"pinned": True}, {"interval": None}], ids=["pinned", "plain training"])
def test_what_was_not_found_in_the_votes_is_not_compared(taken: dict[str, Any]) -> None:
    found, given = record({"annotator_id": "ann"}), record({"annotator_id": "ann"} | taken)
    assert names(found, found) == ["ann"]
    assert names(found, given) == names(given, found) == names(found, record({"annotator_id": "bob"})) == []
