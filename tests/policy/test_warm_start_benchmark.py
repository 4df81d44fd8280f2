"""make bench-retraining, its small form: both starts are followed from checkpoint to checkpoint."""

import pytest

from benchmarks.retraining import warm


@pytest.mark.slow
def test_either_start_is_measured_at_its_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_EVERY", 40)
    cold, cold_end, warm_start, warm_end, share = warm.measure(210)
    assert "steps" in str(cold.measured)
    assert cold.name.startswith("cold start")
    assert warm_start.name.startswith("warm start")
    assert 0.5 < float(cold_end.measured) <= 1
    assert 0.5 < float(warm_end.measured) <= 1
    assert share.ok is not None
