"""Annotators with a large share of the votes: what the champion's training found of them, and the candidate's."""

from collections.abc import Mapping
from typing import Any


def large_annotators(
    candidate: Mapping[str, Any], champion: Mapping[str, Any], least_share: float
) -> list[dict[str, Any]]:
    """Return evaluation.json's large_annotators, largest share first.

    Compared is who goes by the same name in both: after a change that retraining saw, that is who they are now. Nothing
    is found of somebody whose reliability was pinned or taken for granted.

    Args:
        candidate: content of the reliability.json beside the candidate; shares are of the votes counted in it.
        champion: the same of the champion.
        least_share: of the votes, to be large.
    """
    votes = sum(row["annotations"] for row in candidate["annotators"])
    before = {row["annotator_id"]: row for row in champion["annotators"] if _found(row)}
    rows = [
        {
            "annotator_id": row["annotator_id"],
            "share": row["annotations"] / votes,
            "candidate": _figure(row),
            "champion": _figure(before[row["annotator_id"]]),
        }
        for row in candidate["annotators"]
        if row["annotations"] >= least_share * votes and row["annotator_id"] in before and _found(row)
    ]
    return sorted(rows, key=lambda row: (-row["share"], row["annotator_id"]))


def _found(row: Mapping[str, Any]) -> bool:
    return row["interval"] is not None and not row["pinned"]


def _figure(row: Mapping[str, Any]) -> dict[str, float]:
    low, high = row["interval"]
    return {"value": row["reliability"], "low": low, "high": high}
