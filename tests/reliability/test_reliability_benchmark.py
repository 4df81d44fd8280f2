"""The short form of `python -m benchmarks.reliability.run` holds its targets."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.reliability import coins, cost, crowd, crowdlab, few, hidden, run
from benchmarks.table import Row

SHORT = ["theorem", "crowd", "crowdlab", "hidden", "one_label", "intervals", "few", "coins", "cost"]


@pytest.mark.slow
def test_the_short_benchmark_misses_no_target(tmp_path: Path) -> None:
    assert run.main(["--quick", "--only", *SHORT, "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["benchmarks"]) == [*SHORT, "total"]
    assert all(results["benchmarks"].values())


def test_the_short_benchmark_trains_policies_and_measures_them(tmp_path: Path) -> None:
    assert run.main(["--quick", "--only", "trained", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["benchmarks"]["trained"]
    measured = {row["name"].split(": ")[1].split(" (")[0]: row["measured"] for row in rows}
    # 60 labels an annotator: the rule of the paper is still near where it started.
    assert measured["mean |η − realised agreement|"] < 0.06
    assert measured["times lower than the paper's rule"] > 1.5
    default, paper = re.findall(r"\d\.\d+", measured["AUROC of the posterior for injected flips"])
    assert float(default) > max(0.85, float(paper))


def test_a_missed_target_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = Row("speed", "≥ 5", 4.0, False)
    monkeypatch.setattr(run, "BENCHMARKS", [("crowd", lambda quick: [missed])])
    assert run.main(["--output", str(tmp_path)]) == 1
    assert "| crowd | speed | ≥ 5 | 4 | **missed** |" in (tmp_path / "results.md").read_text()


def test_what_was_not_measured_is_missed_except_in_the_quick_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowdlab, "peer", lambda: None)
    monkeypatch.setattr(crowd, "CROWD", tmp_path / "absent")
    monkeypatch.setattr(hidden, "DATA", tmp_path / "absent")
    monkeypatch.setattr(few, "CASE", tmp_path / "absent.csv")
    for rows in (crowdlab.rows, crowd.rows, hidden.rows, few.one_label_each):
        assert {(row.measured, row.ok) for row in rows(False)} == {("not measured", False)}
        assert {(row.measured, row.ok) for row in rows(True)} == {("not measured", None)}


def test_the_crowd_sets_without_peers_are_missed() -> None:
    measured = crowd.Measured({"ours": 0.9}, 1, {"posterior": 0.1, "η": 0.1}, 0.9)
    rows = [*crowd._on_set("rte", measured, False), crowd._mean([measured], False), *crowd.speed({}, False)]
    assert [row.ok for row in rows] == [False, False, False]


def test_one_default_is_judged_against_every_single_method() -> None:
    errors = {"posterior": 0.1, "η": 0.1, crowd.ONE_COIN: 0.2}
    sets = [
        crowd.Measured({"ours": 0.9, "GLAD": 0.895}, 1, errors, 0.9),
        crowd.Measured({"ours": 0.8, "GLAD": 0.81}, 1, errors, 0.9),
    ]
    assert not crowd._mean(sets, False).ok
    assert crowd._on_set("near the best", sets[1], False)[0].ok
    far = crowd.Measured({"ours": 0.8, "GLAD": 0.82}, 1, errors, 0.9)
    assert not crowd._on_set("far from it", far, False)[0].ok


def fitted(**attributes: Any) -> Any:
    """A fit of two people and two comparisons."""
    return SimpleNamespace(population_=None, annotators_=["ann", "bob"], comparisons_=np.array([1, 2]), **attributes)


def test_hidden_votes_are_predicted_by_the_coin_of_the_side() -> None:
    visible = pd.DataFrame(
        {"annotator": ["ann", "ann", "ann", "bob"], "comparison": [1, 2, 2, 2], "label": [1, 1, 1, -1]}
    )
    votes = pd.DataFrame(
        {"annotator": ["ann", "bob", "new", "ann"], "comparison": [1, 2, 2, 9], "label": [1, -1, 1, 1]}
    )
    two = fitted(coins_=2, eta_=np.array([[0.9, 0.6], [0.8, 0.7]]), direction_=np.array([0.75, 0.25]))
    mean = 0.875, 0.625  # three labels of ann, one of bob
    expected = [
        0.75 * 0.9 + 0.25 * 0.4,
        0.25 * 0.8 + 0.75 * 0.3,
        0.25 * mean[0] + 0.75 * (1 - mean[1]),
        0.5 * 0.9 + 0.5 * 0.4,
    ]
    np.testing.assert_allclose(hidden.by_model(two, visible, votes), expected)
    one = fitted(coins_=1, reliability_=np.array([0.9, 0.8]), direction_=np.array([0.75, 0.25]))
    expected = [0.75 * 0.9 + 0.25 * 0.1, 0.25 * 0.8 + 0.75 * 0.2, 0.25 * 0.875 + 0.75 * 0.125, 0.5]
    np.testing.assert_allclose(hidden.by_model(one, visible, votes), expected)
    one.population_ = {"mean": 0.6}
    assert hidden.by_model(one, visible, votes)[2] == pytest.approx(0.25 * 0.6 + 0.75 * 0.4)
    two.population_ = {"mean": 0.6, "first_preference": 0.1}
    assert hidden.by_model(two, visible, votes)[2] == pytest.approx(0.25 * 0.7 + 0.75 * 0.5)
    np.testing.assert_allclose(hidden.by_majority(visible, votes), [2 / 3, 3 / 5, 3 / 5, 1 / 2])
    loss = -np.log([2 / 3, 2 / 5, 3 / 5, 1 / 2]).mean()
    assert hidden.log_loss(hidden.by_majority(visible, votes), votes) == pytest.approx(loss)


def test_the_worlds_are_what_they_are_called() -> None:
    random = np.random.default_rng(0)
    for name, (mean, deviation) in few.BETAS.items():
        eta = np.concatenate([few.population(name, random) for _ in range(200)])
        assert (eta.mean(), eta.std()) == (pytest.approx(mean, abs=0.005), pytest.approx(deviation, abs=0.005))
    arrays, truth = coins.simulate(coins.World(0.2, "by class", 20_000, 100), 0)
    right = arrays["label"] == truth[arrays["comparison"]]
    assert (truth > 0).mean() == pytest.approx(0.2, abs=0.01)
    assert right[truth[arrays["comparison"]] > 0].mean() == pytest.approx(6 / 9, abs=0.05)
    assert right[truth[arrays["comparison"]] < 0].mean() == pytest.approx(14 / 16, abs=0.05)
    assert set(np.bincount(cost.annotations(3000, 3, margins=False)["annotator"])) == {10}
    crowded = cost.crowded(90)
    assert sorted(crowded["annotator"][crowded["comparison"] == crowded["comparison"].max()]) == list(range(90))
