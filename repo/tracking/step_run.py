"""The MLflow run of one step: what the step logs, and the results it publishes."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from repo.tracking.handover import Pointer, content_digest, figures_metadata

T = TypeVar("T")

_BATCH = 100
"""MLflow takes so many parameters or tags at once (and more metrics)."""


@dataclass(frozen=True)
class StepRun:
    """The MLflow run of one step.

    Args:
        run_id: the run.
        plugged: whether it is one of Kubeflow's MLflow plugin, which logs to it whatever figures the step hands to
            Kubeflow, and ends it.
    """

    run_id: str
    plugged: bool = False

    def hand_on(self, figures: Mapping[str, float]) -> dict[str, float | str]:
        """Log figures once; return them as metadata of a Kubeflow artifact. The plugin logs no NaN."""
        handed = figures_metadata(figures)
        left = {name: value for name, value in figures.items() if isinstance(handed[name], str)}
        self.log_metrics(left if self.plugged else figures)
        return handed

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; NaN is kept as such.

        Raises:
            ValueError: a value is infinite, which MLflow would store as the largest finite number.
        """
        self.log_history([{**metrics, "step": step or 0}])

    def log_record(self, record: Mapping[str, float]) -> None:
        """Log one row of numbers with its `step`. Raises as log_metrics does."""
        self.log_history([record])

    def log_history(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Log many rows of numbers at once, each with its `step`. Raises as log_metrics does."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(name, _not_infinite(name, float(value)), now, int(row["step"]))
            for row in rows
            for name, value in row.items()
            if name != "step"
        ]
        for part in _parts(metrics):
            MlflowClient().log_batch(self.run_id, metrics=part)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters; MLflow cuts a value of more than 6000 characters and refuses to change one."""
        for part in _parts([Param(name, _storable(str(value))) for name, value in params.items()]):
            MlflowClient().log_batch(self.run_id, params=part)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags; MLflow cuts a value of more than 8000 characters."""
        for part in _parts([RunTag(name, _storable(str(value))) for name, value in tags.items()]):
            MlflowClient().log_batch(self.run_id, tags=part)

    def publish(self, directory: Path, name: str) -> Pointer:
        """Keep a directory with the run and return where it lies and its digest."""
        assert any(directory.iterdir()), f"{directory} is empty: MLflow would keep nothing of it"
        digest = content_digest(directory)
        MlflowClient().log_artifacts(self.run_id, str(directory), artifact_path=name)
        return Pointer(f"runs:/{self.run_id}/{name}", digest)


def _not_infinite(name: str, value: float) -> float:
    if math.isinf(value):
        raise ValueError(f"metric {name} is infinite: MLflow cannot hold that; log NaN or leave it out")
    return value


def _storable(text: str) -> str:
    """Lone surrogates, which JSON files can hold, cannot be stored as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _parts(items: list[T]) -> Iterator[list[T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
