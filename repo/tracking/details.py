"""Everything that is known about a version, from wherever MLflow keeps it; and how two versions differ."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from repo.errors import UserError
from repo.files import read_json
from repo.settings import Settings, leaves
from repo.tracking.handover import location
from repo.tracking.ledger import Ledger, ledger_of
from repo.tracking.models import RELIABILITY_FILE
from repo.tracking.registry import ModelInfo
from repo.tracking.runs import PIPELINE_RUN, artifact_of

T = TypeVar("T")


@dataclass(frozen=True)
class Details:
    """What is known about one version.

    Attributes:
        model: the registered model.
        info: what its tags say.
        parent: the version whose weights and counts the training went on from, or "".
        pipeline_run: the Kubeflow run that made it; of a run on one machine the name kfp's local runner gave it.
        batches: name → digest of the batches that it was the first to see.
        seen: how many batches it has seen in all.
        settings: those of its run, name → text.
        changed: those among them that differ from the defaults, name → (value, default).
        rules: the gate's, with outcome and reason.
        evaluation: content of evaluation.json; empty where it cannot be had.
        reliability: content of reliability.json; empty where it cannot be had.
        missing: what cannot be had, and why.
    """

    model: str
    info: ModelInfo
    parent: str = ""
    pipeline_run: str = ""
    batches: dict[str, str] = field(default_factory=dict)
    seen: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)
    evaluation: dict[str, Any] = field(default_factory=dict)
    reliability: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-ready data; settings only where they differ from the defaults."""
        content = asdict(self)
        del content["settings"]
        content["changed"] = {name: {"value": value, "default": was} for name, (value, was) in self.changed.items()}
        return content


def details_of(model_name: str, info: ModelInfo) -> Details:
    """Collect what is known about a version; what cannot be had, say of a run that was deleted, is named."""
    missing: list[str] = []

    def attempt(what: str, get: Callable[[], T]) -> T | None:
        try:
            return get()
        except (ValueError, MlflowException, OSError, LookupError) as error:
            missing.append(f"{what}: {_in_one_line(error)}")
            return None

    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        run = attempt("its run", lambda: MlflowClient().get_run(info.run_id).data)
        evaluation = attempt("evaluation", lambda: _published(info, "evaluate", "evaluation", folder))
        verdict = attempt("verdict", lambda: _published(info, "gate", "verdict", folder))
        reliability = attempt("reliabilities", lambda: _reliability(info, folder))
        ledger = attempt("batches", lambda: ledger_of(model_name, info.version)) or Ledger()
    settings = dict(run.params) if run else {}
    return Details(
        model=model_name,
        info=info,
        parent=ledger.records[-1].version if ledger.records else "",
        pipeline_run=run.tags.get(PIPELINE_RUN, "") if run else "",
        batches={taken.name: taken.digest for taken in ledger.batches if taken.version == info.version},
        seen=len(ledger.batches),
        settings=settings,
        changed=_changed(settings),
        rules=verdict["rules"] if verdict else [],
        evaluation=evaluation or {},
        reliability=reliability or {},
        missing=missing,
    )


def _published(info: ModelInfo, step: str, name: str, folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(artifact_of(info.run_id, step, f"{name}/{name}.json", folder / name))
    return content


def _reliability(info: ModelInfo, folder: Path) -> dict[str, Any]:
    file = f"{location(info.source)}/{RELIABILITY_FILE}"
    content: dict[str, Any] = read_json(Path(mlflow.artifacts.download_artifacts(file, dst_path=str(folder))))
    return content


def _changed(settings: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    defaults = {name: str(value) for name, value in leaves(Settings())}
    known = (name for name in settings if name in defaults)
    return {name: (settings[name], defaults[name]) for name in known if settings[name] != defaults[name]}


def _in_one_line(error: Exception) -> str:
    problem = error.problem if isinstance(error, UserError) else str(error) or type(error).__name__
    return problem.splitlines()[0]


@dataclass(frozen=True)
class Moved:
    """An annotator whom two versions see differently: each one's reliability lies outside the other's interval."""

    annotator: str
    before: float
    before_interval: list[float]
    now: float
    now_interval: list[float]


@dataclass(frozen=True)
class Comparison:
    """How two versions differ.

    Attributes:
        first, second: what is known about each.
        same_exam: whether they sat the same exam: else their figures cannot be held against each other.
        figures: name → (first, second), as `repo.evaluation.summary.flat_metrics` names the candidate's.
        settings: that differ, name → (first, second).
        moved: annotators, the farthest first.
        common: how many annotators both know.
    """

    first: Details
    second: Details
    same_exam: bool
    figures: dict[str, tuple[Any, Any]]
    settings: dict[str, tuple[str, str]]
    moved: list[Moved]
    common: int

    def as_dict(self) -> dict[str, Any]:
        """Return the differences as JSON-ready data."""
        return {
            "versions": [self.first.info.version, self.second.info.version],
            "same_exam": self.same_exam,
            "figures": {name: list(pair) for name, pair in self.figures.items()},
            "settings": {name: list(pair) for name, pair in self.settings.items()},
            "moved": [asdict(row) for row in self.moved],
            "common_annotators": self.common,
            "missing": [[*self.first.missing], [*self.second.missing]],
        }


def compare(first: Details, second: Details) -> Comparison:
    """Hold two versions against each other."""
    before, now = (_by_annotator(details) for details in (first, second))
    common = before.keys() & now.keys()
    moved = [
        Moved(
            name, before[name]["reliability"], before[name]["interval"], now[name]["reliability"], now[name]["interval"]
        )
        for name in common
        if _beyond(before[name], now[name])
    ]
    names = sorted(first.settings.keys() | second.settings.keys())
    pairs = {name: (first.settings.get(name, ""), second.settings.get(name, "")) for name in names}
    return Comparison(
        first,
        second,
        bool(first.info.exam_digest) and first.info.exam_digest == second.info.exam_digest,
        _figures(first.evaluation, second.evaluation),
        {name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
        sorted(moved, key=lambda row: (-abs(row.now - row.before), row.annotator)),
        len(common),
    )


def _by_annotator(details: Details) -> dict[str, dict[str, Any]]:
    rows = details.reliability.get("annotators", [])
    return {row["annotator_id"]: row for row in rows if row["interval"]}


def _beyond(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return not _within(before["reliability"], now["interval"]) and not _within(now["reliability"], before["interval"])


def _within(value: float, interval: list[float]) -> bool:
    return interval[0] <= value <= interval[1]


def _figures(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The candidates' own figures, and their gains, by name; what only one has is None for the other."""
    one, other = (_own(evaluation) for evaluation in (first, second))
    return {name: (one.get(name), other.get(name)) for name in [*one, *(name for name in other if name not in one)]}


def _own(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    if not evaluation:
        return {}
    target = evaluation["target"]
    metrics = {f"{name} ({target})": value for name, value in evaluation["policies"]["candidate"][target].items()}
    return {**metrics, **{f"gain over {other}": gain for other, gain in evaluation["gains"].items()}}
