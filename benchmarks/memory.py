"""How much memory a process takes (Linux)."""

import re
from pathlib import Path


def peak_bytes() -> int:
    """Return this process's peak resident memory (ru_maxrss would start from the parent's)."""
    return _status("VmHWM")


def resident_bytes() -> int:
    """Return this process's resident memory as it is."""
    return _status("VmRSS")


def reset_peak() -> None:
    """Let the peak start anew from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", status)[1])  # type: ignore[index]
