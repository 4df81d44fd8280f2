"""A row that did not make it, and why. Knows nothing of layouts or expectations."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class QuarantinedRow:
    """A bad row: where it stands, every reason against it, and the row as read (the columns that we know)."""

    file: str
    line: int
    reasons: list[str]
    row: dict[str, Any]

    @property
    def place(self) -> str:
        """Where the row stands, for a message."""
        return f"{self.file}, line {self.line}"


def plain(value: Any) -> Any:
    """Return a value as strict JSON can hold it: Parquet's dates and decimals become text, NaN becomes null."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)
