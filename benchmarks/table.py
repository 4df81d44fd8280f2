"""What a benchmark returns: rows of (what, target, measured, held)."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from repo.files import write_json, write_text


@dataclass(frozen=True)
class Row:
    """One measurement beside its target; `ok` is None where there is no target, or none in the quick form."""

    name: str
    target: str
    measured: float | str
    ok: bool | None

    def text(self) -> str:
        """Return one line: verdict, what, measured, target."""
        verdict = {True: "ok", False: "MISSED", None: "—"}[self.ok]
        value = self.measured if isinstance(self.measured, str) else f"{self.measured:.4g}"
        return f"{verdict:7s}{self.name}: {value}" + (f" (target {self.target})" if self.target else "")


def not_measured(what: str, lacking: str, quick: bool) -> Row:
    """Return the row of something that could not be measured: a missed target, except in the quick form."""
    return Row(f"{what} ({lacking})", "", "not measured", None if quick else False)


def shown(values: dict[str, float], digits: int = 4) -> str:
    """Return "name value, name value …"."""
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())


def markdown(results: dict[str, list[Row]]) -> str:
    """Return all rows as one table."""
    lines = ["| | what | target | measured | |", "|---|---|---|---|---|"]
    for name, rows in results.items():
        for row in rows:
            value = row.measured if isinstance(row.measured, str) else f"{row.measured:.4g}"
            verdict = {True: "ok", False: "**missed**", None: ""}[row.ok]
            what = row.name.replace("|", "\\|")
            lines.append(f"| {name} | {what} | {row.target} | {value} | {verdict} |")
    return "\n".join(lines) + "\n"


def print_rows(name: str, rows: list[Row], seconds: float) -> None:
    """Print a section's rows under its name and the time they took."""
    print(f"\n{name} ({seconds:.1f} s)")
    for row in rows:
        print("  " + row.text(), flush=True)


def write_results(results: dict[str, list[Row]], output: Path, facts: dict[str, Any]) -> None:
    """Write results.json, with the facts about the run, and results.md."""
    values = {name: [asdict(row) for row in rows] for name, rows in results.items()}
    write_json(output / "results.json", {**facts, "benchmarks": values})
    write_text(output / "results.md", markdown(results))


def conclude(results: dict[str, list[Row]], output: Path, facts: dict[str, Any]) -> int:
    """Write the results; return 1 when a target is missed."""
    write_results(results, output, facts)
    missed = [row for rows in results.values() for row in rows if row.ok is False]
    print(f"\n{len(missed)} target(s) missed; written to {output}")
    return 1 if missed else 0
