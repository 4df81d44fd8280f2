"""Measurements in a fresh interpreter: nobody's earlier memory counts."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


def in_its_own_process(
    module: str,
    *arguments: object,
    environment: Mapping[str, str] = MappingProxyType({}),
    within: float | None = None,
) -> dict[str, Any]:
    """Run a module of the benchmarks (scale.register) with these arguments and return the JSON of its last line.

    Args:
        module: below `benchmarks`.
        arguments: its command line.
        environment: variables on top of this process's own.
        within: seconds that it may take; None: any.

    Raises:
        subprocess.CalledProcessError: it failed.
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    variables = {**os.environ, **environment}
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables, timeout=within)
    values: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return values
