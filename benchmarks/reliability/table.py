"""What a benchmark returns: rows of (what, target, measured, held)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement beside its target; `ok` is None where it was not measured or has no target."""

    name: str
    target: str
    measured: float | str
    ok: bool | None

    def text(self) -> str:
        """Return one line: verdict, what, measured, target."""
        verdict = {True: "ok", False: "MISSED", None: "—"}[self.ok]
        value = self.measured if isinstance(self.measured, str) else f"{self.measured:.4g}"
        return f"{verdict:7s}{self.name}: {value}" + (f" (target {self.target})" if self.target else "")
