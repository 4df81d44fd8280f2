"""Nights of retraining as the terminal shows them."""

from pipelines.nights_screen import nights_table
from repo.reporting.nights import Drift, Estimate, Night, NightBatch

PROMOTED = Night(
    "day-08",
    "promoted",
    31.0,
    batches=[NightBatch("day-08.jsonl", "consumed"), NightBatch("again.jsonl", "duplicate", "of day-07.jsonl")],
    annotations=1309,
    version="8",
    champion="8",
    candidate_accuracy=Estimate(0.8241, 0.80, 0.85),
    drift=[Drift("careful-4", Estimate(0.97, 0.94, 1.0), Estimate(0.2, 0.17, 0.23))],
    newcomers=["newcomer-1"],
)


def test_a_night_is_a_line_and_what_was_kept_out_is_told_below() -> None:
    head, line, blank, note = nights_table([PROMOTED])
    assert head.split()[:3] == ["night", "outcome", "annotations"]
    assert line.split("  ") != [line]
    for cell in ("day-08", "promoted", "1,309", "0.824 (0.80–0.85)", "1, 1 duplicate"):
        assert cell in line
    assert line.endswith("careful-4 0.97 → 0.20, 1 new annotator")
    assert (blank, note) == ("", "again.jsonl duplicate: of day-07.jsonl")


def test_why_a_night_promoted_nothing_is_told_below() -> None:
    rejected = Night("b", "rejected", 1.0, champion="8", reasons=["no better"])
    lines = nights_table([Night("a", "nothing new", 1.0, champion="8"), rejected])
    assert lines[-1] == "b rejected: no better"
    assert lines[1].split() == ["a", "nothing", "new", "0", "8", "0"]


def test_many_changes_are_cut_and_nothing_breaks_the_terminal() -> None:
    value = Estimate(0.5, 0.4, 0.6)
    drift = [Drift(f"\x1b[2J-{i}", value, value) for i in range(5)]
    night = Night("c\n", "failed", 1.0, drift=drift, reasons=["\x1b[2J" + "long " * 200])
    lines = nights_table([night])
    assert "?[2J-2 0.50 → 0.50, 2 more" in lines[1]
    assert all(line.isprintable() for line in lines)
    assert all(len(line) <= 100 for line in lines[3:])
    assert lines[-1].endswith("…")
