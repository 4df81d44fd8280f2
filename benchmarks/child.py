"""Measurements in a fresh interpreter: nobody's earlier memory counts."""

import json
import subprocess
import sys
from typing import Any


def in_its_own_process(module: str, *arguments: object) -> dict[str, Any]:
    """Run a module of the benchmarks (scale.register) with these arguments and return the JSON of its last line."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    values: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return values
