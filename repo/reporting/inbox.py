"""What lay in an inbox and what became of it: as Markdown for the Kubeflow UI, and as a page with the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from repo.reporting.page import render
from repo.reporting.text import cell, count, short

if TYPE_CHECKING:
    from repo.inbox.judging import Judged
    from repo.inbox.look import Batch

_DIGEST, _NAME, _NOTE = 12, 80, 400
"""Characters shown."""
ROWS_SHOWN = 20
"""Quarantined rows of a batch on the page."""


def to_markdown(batches: Sequence[Batch], words: str) -> str:
    """Return a table, a line a batch."""
    rows = [
        f"| {cell(short(batch.name, _NAME))} | {batch.state} | {cell(short(batch.note, _NOTE))} "
        f"| {batch.digest[:_DIGEST]} |"
        for batch in batches
    ]
    return "\n".join([f"# {words}", "", "| batch | state | note | digest |", "|---|---|---|---|", *rows, ""])


def render_batches(judged: Sequence[Judged]) -> str:
    """Return the page: every batch with its state, then what validation found of those that were read."""
    read = [_read(one) for one in judged if one.result is not None or one.batch.state == "quarantined"]
    good = sum(one.batch.state == "new" for one in judged)
    bad = sum(one.batch.state == "quarantined" for one in judged)
    return render(
        "batches.html",
        lede=f"{count(good, 'batch', 'batches')} to train on, {bad:,} kept out.",
        batches=[one.batch for one in judged],
        read=read,
        rows_shown=ROWS_SHOWN,
    )


def _read(one: Judged) -> dict[str, Any]:
    result = one.result
    return {
        "batch": one.batch,
        "summary": result.summary if result else None,
        "failed": [outcome for outcome in result.expectations if not outcome.passed] if result else [],
        "quarantine": result.quarantine[:ROWS_SHOWN] if result else [],
        "notes": result.notes if result else [],
    }
