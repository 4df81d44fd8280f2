"""A model line that is retrained, and what must be true of it whatever has happened to its passes."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interruptions import Command, running_at
from mlflow import MlflowClient
from pipeline_runs import SMALL

FAULTS = Path(__file__).parent / "faults"
SETTINGS = (*SMALL, "inbox.settle_seconds=0", "train.log_every=1")
MODEL = "repo-policy"
VOTES = 105
"""Those that a batch trains with; its 15 others judge prompts of the exam."""


@dataclass
class Line:
    """Batches, an inbox that they are put into one by one, and a store; a store must stay where it was made."""

    root: Path
    restored: int = 0

    @property
    def client(self) -> MlflowClient:
        """A client with connections of its own since the store was last restored: MLflow keeps one for each address."""
        uri = f"sqlite:///{self.store}/{'./' * self.restored}mlflow.db"
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    def running(self) -> list[str]:
        return running_at(self.client)

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def artifacts(self) -> Path:
        return self.store / "artifacts"

    def receive(self, *days: int) -> None:
        self.inbox.mkdir(exist_ok=True)
        for day in days:
            shutil.copy(self.root / "batches" / f"day-{day:02}.jsonl", self.inbox)

    def retrain(self, *settings: str, **environment: str) -> Command:
        return Command(self.inbox, self.store, (*SETTINGS, *settings), ("retrain", "--inbox"), environment)

    def kept_as(self, name: str) -> Path:
        """Copy the store and the inbox aside."""
        for part in (self.store, self.inbox):
            shutil.copytree(part, self.root / name / part.name)
        return self.root / name

    def restored_from(self, folder: Path) -> "Line":
        self.restored += 1
        for part in (self.store, self.inbox):
            if (folder / part.name).exists():
                shutil.rmtree(part)
                shutil.copytree(folder / part.name, part)
        return self


def disturbing(steps: str, **faults: str) -> dict[str, str]:
    """Return the environment in which something happens to steps when they write to MLflow: see faults/."""
    path = os.pathsep.join([str(FAULTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "FAULT_STEPS": steps, **faults}


def counted_once(client: MlflowClient, names: list[str], artifacts: Path) -> None:
    """Check that these batches, and no others, are in the champion, each once, and that every version is explained."""
    assert consumed(client, artifacts) == names
    assert labels(client, artifacts) == len(names) * VOTES
    model = client.get_registered_model(MODEL)
    versions = client.search_model_versions(f"name = '{MODEL}'")
    current = client.get_model_version(MODEL, model.aliases["champion"])
    assert {version.tags.get("verdict") for version in versions} <= {"promote", "reject"}
    assert len({version.source for version in versions}) == len(versions)
    passed = {str(version.version): version for version in versions if version.tags["verdict"] == "promote"}
    assert all(version.tags.get("promoted_at") for version in passed.values())
    assert str(model.aliases.get("challenger")) not in passed
    assert str(model.aliases.get("previous-champion", "")) == current.tags["promoted_from"]
    assert "lease" not in model.tags


def consumed(client: MlflowClient, artifacts: Path) -> list[str]:
    """Return the names in the champion's ledger, whose contents must all differ."""
    tag = client.get_model_version_by_alias(MODEL, "champion").tags["batches"]
    rows = json.loads(_artifact(artifacts, json.loads(tag)["mlflow_uri"], "batches.json"))["batches"]
    assert len({row["digest"] for row in rows}) == len(rows)
    return sorted(row["name"] for row in rows)


def labels(client: MlflowClient, artifacts: Path) -> float:
    """Return how many votes the champion's reliabilities rest on."""
    source = client.get_model_version_by_alias(MODEL, "champion").source
    state = json.loads(_artifact(artifacts, source, "reliability_state.json"))
    return float(sum(row["labels"] for row in state["annotators"]))


def in_order(line: Line, names: list[str], versions: int) -> None:
    """As `counted_once`, in an embedded store; nothing is left running, and there are so many versions."""
    counted_once(line.client, names, line.artifacts)
    assert line.running() == []
    assert len(line.client.search_model_versions(f"name = '{MODEL}'")) == versions


def _artifact(artifacts: Path, uri: str, file: str) -> str:
    """Read a file where it lies: of a model, or of a run's published directory."""
    kind, _, path = uri.partition(":/")
    identity, _, directory = path.partition("/")
    folder = artifacts / "models" / identity if kind == "models" else artifacts / identity
    return (folder / "artifacts" / directory / file).read_text(encoding="utf-8")


def names_of(*days: int) -> list[str]:
    return [f"day-{day:02}.jsonl" for day in days]


def with_clock(library: Path, shift: Path) -> Mapping[str, str]:
    """Return the environment of a process whose clock is off by the seconds in a file."""
    return {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(shift)}
