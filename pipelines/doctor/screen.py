"""Findings as lines for people and as rows for machines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from pipelines.doctor.finding import Finding, State


def line(finding: Finding) -> str:
    """Return a finding, with its remedy on a line of its own."""
    words = f"{finding.state:8}{finding.name}: {finding.words}"
    return f"{words}\n{'':8}→ {finding.remedy}" if finding.remedy else words


def total(findings: Sequence[Finding]) -> str:
    """Return how many checks ended how."""
    counts = Counter(finding.state for finding in findings)
    return ", ".join(f"{counts[state]} {state}" for state in State if counts[state])


def as_rows(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Return name, state, words and remedy of each."""
    return [asdict(finding) for finding in findings]
