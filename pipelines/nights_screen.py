"""Nights of retraining as the terminal shows them."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pipelines.summary import aligned, printable, shortened
from repo.reporting.nights import TAKEN, Estimate, Night, kept_out
from repo.reporting.text import count, interval, short

_WIDTH = 100
_MOST_CHANGES = 3
_NOTE = 300
"""Characters shown of a reason."""


def nights_table(nights: Sequence[Night]) -> list[str]:
    """Return a line a night, then why candidates were not promoted and batches kept out."""
    head = ("night", "outcome", "annotations", "candidate", "accuracy", "champion after", "batches", "annotators")
    rows = [
        (
            shortened(night.day),
            night.outcome,
            f"{night.annotations:,}",
            shortened(night.version),
            _estimate(night.candidate_accuracy),
            shortened(night.champion),
            _batches(night),
            _changes(night),
        )
        for night in nights
    ]
    why = list(_why(nights))
    return [*aligned(head, rows), *([""] if why else []), *why]


def night_line(night: Night) -> str:
    """Return what a night came to, in a line, for when it is over."""
    parts = [
        f"version {shortened(night.version)}, accuracy {_estimate(night.candidate_accuracy)}" if night.version else "",
        *(f"{shortened(batch.name)} {batch.state}" for batch in night.batches if batch.state != TAKEN),
        _changes(night),
    ]
    said = "; ".join(part for part in parts if part)
    return f"{shortened(night.day)}  {night.seconds:4.0f} s  {night.outcome}" + (f": {said}" if said else "")


def truth_lines(errors: Mapping[str, float]) -> list[str]:
    """Return how far the latest estimates are from the truth, annotator → error."""
    if not errors:
        return []
    worst = max(errors, key=lambda annotator: errors[annotator])
    mean = sum(errors.values()) / len(errors)
    return [
        f"reliabilities in the end: mean absolute error {mean:.3f}, largest {errors[worst]:.3f} ({shortened(worst)})"
    ]


def _estimate(found: Estimate | None) -> str:
    return f"{found.value:.3f} ({interval((found.low, found.high))})" if found else ""


def _batches(night: Night) -> str:
    """Return '1', '1, 1 duplicate': how many were trained on, and the others by state."""
    counts = Counter(batch.state for batch in night.batches)
    return ", ".join([f"{counts.pop(TAKEN, 0):,}", *(f"{number:,} {state}" for state, number in counts.items())])


def _changes(night: Night) -> str:
    shown = [
        f"{shortened(drift.annotator)} {drift.before.value:.2f} → {drift.after.value:.2f}"
        for drift in night.drift[:_MOST_CHANGES]
    ]
    more = len(night.drift) - len(shown)
    new = [count(len(night.newcomers), "new annotator")] if night.newcomers else []
    return ", ".join([*shown, *([f"{more} more"] if more else []), *new])


def _why(nights: Sequence[Night]) -> Iterator[str]:
    for night in nights:
        if night.outcome in {"rejected", "failed"}:
            for reason in night.reasons:
                yield from _note(f"{night.day} {night.outcome}: {reason}")
    for batch in kept_out(nights):
        yield from _note(f"{batch.name} {batch.state}" + (f": {batch.note}" if batch.note else ""))


def _note(text: str) -> list[str]:
    return textwrap.wrap(printable(short(text, _NOTE)), _WIDTH, subsequent_indent="  ")
