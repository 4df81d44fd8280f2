"""How much memory a process took."""

import re
from pathlib import Path


def peak_bytes() -> int:
    """Return this process's peak resident memory (Linux; ru_maxrss would start from the parent's)."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]
