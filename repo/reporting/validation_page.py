"""The page that says whether a batch of annotations may be trained on, and what to do about what is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from repo.reporting.page import render
from repo.reporting.text import count

if TYPE_CHECKING:
    from repo.annotations.validation.suite import ExpectationOutcome, QuarantinedRow, ValidationResult

QUARANTINED_SHOWN = 100
"""Quarantined rows on the page; the quarantine file has all of them."""

_SEVERITIES = ["critical", "warning", "info"]


def render_validation(result: ValidationResult) -> str:
    """Return the validation page: verdict, counts, every expectation (failed ones first), quarantined rows, notes."""
    summary = result.summary
    return render(
        "validation.html",
        passed=result.passed,
        verdict=_verdict(result),
        tiles=[
            (f"{summary.rows_read:,}", "rows read"),
            (f"{summary.rows_kept:,}", "rows kept"),
            (f"{summary.rows_quarantined:,}", "rows in quarantine"),
            (f"{summary.ties:,}", "ties"),
            (f"{summary.annotations:,}", "annotations"),
            (f"{summary.comparisons:,}", "comparisons"),
            (f"{summary.prompts:,}", "prompts"),
            (f"{summary.annotators:,}", "annotators"),
        ],
        expectations=sorted(result.expectations, key=_urgency),
        quarantine=[_quarantined(row) for row in result.quarantine[:QUARANTINED_SHOWN]],
        quarantine_total=len(result.quarantine),
        notes=result.notes,
        digest=summary.digest,
    )


def _verdict(result: ValidationResult) -> str:
    failed = [outcome.severity for outcome in result.expectations if not outcome.passed]
    critical, warnings = failed.count("critical"), failed.count("warning")
    if critical:
        return f"Stopped: {count(critical, 'critical expectation')} failed. Nothing is trained until that is put right."
    kept = f"{result.summary.rows_kept:,} of {count(result.summary.rows_read, 'row')} can be used"
    return f"Passed: {kept}, with {count(warnings, 'warning')}." if warnings else f"Passed: {kept}."


def _urgency(outcome: ExpectationOutcome) -> tuple[bool, int]:
    return outcome.passed, _SEVERITIES.index(outcome.severity)


def _quarantined(row: QuarantinedRow) -> dict[str, Any]:
    text = json.dumps(row.row, ensure_ascii=False, default=str)
    return {"file": row.file, "line": row.line, "reasons": row.reasons, "text": text}
