"""Simulated annotators are as reliable as they are said to be, and nothing but quality tells good from bad."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from repo.annotations.simulation import _HELPFUL, simulate
from repo.settings import SimulationSettings

SCALE_OF_MEAN_P_08 = 1.1


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.DataFrame(simulate(SimulationSettings(comparisons=4000)))


def test_annotators_agree_with_gold_as_often_as_their_reliability(rows: pd.DataFrame) -> None:
    right = (rows["preference"] == rows["gold"]).groupby(rows["annotator_id"]).agg(["mean", "size"])
    for name, reliability in SimulationSettings().reliabilities.items():
        mean, size = right.loc[name]
        assert abs(mean - reliability) < 4 * np.sqrt(reliability * (1 - reliability) / size), name


def test_position_and_length_do_not_tell_which_is_better(rows: pd.DataFrame) -> None:
    once = rows.drop_duplicates("comparison_id")
    first = once["gold"] == "a"
    longer = once["response_a"].str.len() > once["response_b"].str.len()
    assert abs(first.mean() - 0.5) < 0.05
    assert abs((longer == first).mean() - 0.5) < 0.1


def test_with_a_utility_scale_the_response_with_more_helpful_parts_is_better_by_bradley_terry() -> None:
    rows = pd.DataFrame(
        simulate(SimulationSettings(comparisons=4000, annotations_per_comparison=1, utility_scale=SCALE_OF_MEAN_P_08))
    )
    difference = rows["response_a"].map(helpful_parts) - rows["response_b"].map(helpful_parts)
    gold = np.where(rows["gold"] == "a", 1, -1)
    assert (difference != 0).all()
    better_wins = gold == np.sign(difference)
    assert abs(better_wins.mean() - 0.8) < 0.025
    for size in (1, 2):
        chosen = difference.abs() == size
        p = 1 / (1 + np.exp(-SCALE_OF_MEAN_P_08 * size))
        assert abs(better_wins[chosen].mean() - p) < 4 * np.sqrt(p * (1 - p) / chosen.sum())


def helpful_parts(response: str) -> int:
    return sum(sentence in response for part in _HELPFUL for sentence in part)


def test_the_seed_decides_everything() -> None:
    small = SimulationSettings(comparisons=30)
    assert list(simulate(small)) == list(simulate(small))
    assert list(simulate(small)) != list(simulate(SimulationSettings(comparisons=30, seed=1)))


def test_every_comparison_has_distinct_annotators_and_responses() -> None:
    rows = list(simulate(SimulationSettings(comparisons=50, annotations_per_comparison=4, prompts=500)))
    assert set(Counter(row["comparison_id"] for row in rows).values()) == {4}
    assert len({(row["comparison_id"], row["annotator_id"]) for row in rows}) == len(rows)
    assert all(row["response_a"] != row["response_b"] for row in rows)
    assert len({row["prompt"] for row in rows}) == 50
