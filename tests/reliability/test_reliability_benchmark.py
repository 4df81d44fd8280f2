"""The short form of `python -m benchmarks.reliability.run` holds its targets."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.reliability import run
from benchmarks.reliability.table import Row


@pytest.mark.slow
def test_the_short_benchmark_misses_no_target(tmp_path: Path) -> None:
    assert run.main(["--quick", "--only", "theorem", "crowd", "one_label", "intervals", "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["benchmarks"]) == ["theorem", "crowd", "one_label", "intervals", "total"]


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
