"""What the compiled pipelines say of their steps' containers."""

from collections.abc import Iterator
from typing import Any

import yaml

from pipelines.compiling import COMPILED


def executors() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every step's name and container, of all compiled pipelines."""
    for file in sorted(COMPILED.glob("*.yaml")):
        compiled = yaml.safe_load(file.read_text(encoding="utf-8"))
        for name, executor in compiled["deploymentSpec"]["executors"].items():
            yield name.removeprefix("exec-"), executor["container"]
