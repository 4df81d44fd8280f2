"""What `repo-pipeline reliability` prints."""

from pathlib import Path

from pipelines.reliability import Outcome
from pipelines.summary import reliability_lines, shortened, warning_lines


def describe(outcome: Outcome, output: Path | None) -> str:
    """Return the reliabilities, what is doubtful about them, and where the files are."""
    found, table = outcome.report.reliability, outcome.table
    counts = f"{len(table):,} labels on {table['comparison_id'].nunique():,} comparisons"
    return "\n".join(
        [
            *reliability_lines(found, {}),
            *(
                [f"first is the class {shortened(outcome.classes[0])}"]
                if outcome.classes and found["coins"] == 2
                else []
            ),
            *warning_lines(found["warnings"]),
            "",
            f"{counts}; {len(outcome.report.doubtful):,} labels are doubtful (posterior below ½)",
            *_files(output),
        ]
    )


def _files(output: Path | None) -> list[str]:
    if output is None:
        return ["nothing was written: --output DIR keeps the reliabilities, the label of every comparison and a report"]
    quarantine = output / "quarantine.jsonl"
    return [
        f"report: {output / 'report.html'}",
        f"labels: {output / 'labels.csv'}    reliabilities: {output / 'reliability.json'}",
        *([f"rows left out: {quarantine}"] if quarantine.exists() else []),
        f"next time: --prior-state {output / 'reliability_state.json'}",
    ]
