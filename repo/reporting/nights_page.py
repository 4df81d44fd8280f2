"""The page that shows what many nights of retraining came to."""

from collections import Counter
from collections.abc import Sequence

from repo.reporting.night_figures import accuracy_figure, batches_figure, reliability_panel
from repo.reporting.nights import TAKEN, Change, Night, Outcome, Truth, by_reliability, changes, kept_out
from repo.reporting.page import render
from repo.reporting.text import count, short

PANELS = 24
"""Annotators drawn; of more, those whose reliability changed and both ends."""


def render_nights(nights: Sequence[Night], truth: Truth | None = None, remarks: Sequence[str] = ()) -> str:
    """Return the page: what happened in words, day by day, the champion's accuracy, every annotator's reliability.

    Args:
        nights: one or more, in their order.
        truth: the true reliabilities, where they are known, for every night and perhaps for nights to come.
        remarks: what a reader should know of how the nights were run.
    """
    if truth:
        truth = {annotator: values[: len(nights)] for annotator, values in truth.items()}
    found = changes(nights, truth)
    ranked = by_reliability(nights)
    drawn = _drawn(ranked, {change.annotator for change in found})
    out = kept_out(nights)
    return render(
        "nights.html",
        nights=nights,
        outcomes=_outcomes(nights),
        changes=found,
        verdicts=[_verdict(change, nights) for change in found],
        truth=truth,
        remarks=remarks,
        out=out,
        tiles=_tiles(nights, len(out)),
        figures=[figure for figure in (accuracy_figure(nights), batches_figure(nights)) if figure],
        panels=[
            reliability_panel(
                nights,
                annotator,
                truth.get(annotator) if truth else None,
                {change.named for change in found if change.annotator == annotator and change.named is not None},
            )
            for annotator in drawn
        ],
        annotators=len(ranked),
        taken=TAKEN,
    )


def _outcomes(nights: Sequence[Night]) -> list[str]:
    """Return how often each outcome came, in words."""
    counts = Counter(night.outcome for night in nights)
    words: dict[Outcome, str] = {
        "promoted": "promoted a new champion",
        "rejected": "rejected the candidate",
        "nothing new": "had nothing new",
        "failed": "failed",
    }
    if len(nights) == 1:
        return [f"it {words[nights[0].outcome]}"]
    return [f"{counts[outcome]:,} {said}" for outcome, said in words.items() if counts[outcome]]


def _tiles(nights: Sequence[Night], out: int) -> list[tuple[str, str]]:
    measured = [night.champions_accuracy for night in nights if night.champions_accuracy]
    # What a rejected candidate was trained on takes part in the next night once more.
    taken = len({batch.name for night in nights for batch in night.batches if batch.state == TAKEN})
    learnt = sum(night.annotations for night in nights if night.outcome == "promoted")
    return [
        (f"{len(nights):,}", "night" if len(nights) == 1 else "nights"),
        (f"{taken:,}", "batches trained on"),
        (f"{out:,}", "batches kept out"),
        (f"{learnt:,}", "annotations learnt"),
        (nights[-1].champion or "none", "champion’s version"),
        (f"{measured[-1].value:.3f}" if measured else "–", "its accuracy, last measured"),
        (_time(sum(night.seconds for night in nights)), "spent"),
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _verdict(change: Change, nights: Sequence[Night]) -> str:
    """Return how the night that named a change compares with the truth; '' where that is not known."""
    if not change.judged:
        return ""
    if change.turned is None:
        return "false: its true reliability had not changed"
    turned = f"it truly changed on {short(nights[change.turned].day, 24)}"
    if change.named is None:
        return f"missed: {turned}"
    if change.again:
        return f"found before: {turned}"
    late = change.named - change.turned
    return f"right: {turned}, " + (f"{count(late, 'night')} before" if late else "the same night")


def _drawn(ranked: Sequence[str], changed: set[str]) -> list[str]:
    """Return the annotators to draw: those whose reliability changed, then the others, of many both ends."""
    first = [annotator for annotator in ranked if annotator in changed][:PANELS]
    others = [annotator for annotator in ranked if annotator not in changed]
    room = PANELS - len(first)
    if len(others) > room:
        others = [*others[: room - room // 2], *others[len(others) - room // 2 :]]
    return [*first, *others]
