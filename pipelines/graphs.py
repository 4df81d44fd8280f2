"""What the compiled pipelines say: these run, whatever the code would compile to now."""

from collections.abc import Iterator
from typing import Any

import yaml

from pipelines.compiling import COMPILED


def executors() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every step's name and container, of all compiled pipelines."""
    for file in sorted(COMPILED.glob("*.yaml")):
        yield from containers(file.stem).items()


def containers(graph: str) -> dict[str, dict[str, Any]]:
    """Return a pipeline's steps by name, each with its container."""
    steps = _documents(graph)[0]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): step["container"] for name, step in steps.items()}


def variables(graph: str) -> tuple[str, ...]:
    """Return the names of the environment variables that a pipeline's steps are given."""
    steps = _documents(graph)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    secrets = [secret for step in steps for secret in step.get("secretAsEnv", [])]
    return tuple(sorted({key["envVar"] for secret in secrets for key in secret["keyToEnv"]}))


def _documents(graph: str) -> list[dict[str, Any]]:
    """Return the pipeline's specification, and what the platform is told beside it."""
    return list(yaml.safe_load_all((COMPILED / f"{graph}.yaml").read_text(encoding="utf-8")))
