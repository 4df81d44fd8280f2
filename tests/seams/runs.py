"""One run of the design from its outermost door, killed on the way where the design says so; what it left behind."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from design import PINNED, Case
from mlflow import MlflowClient
from mlflow.entities import Run
from pipeline_runs import options

from repo.annotations.reading.pseudonyms import KEY_VARIABLE
from repo.annotations.simulation import simulate
from repo.files import write_jsonl
from repo.settings import SimulationSettings
from repo.tracking.store import Store

PEOPLE = {
    "mary-jackson": 0.95,
    PINNED: 0.9,
    "dorothy-vaughan": 0.8,
    "annie-easley": 0.7,
    "christine-darden": 0.6,
    "gladys-west": 0.3,
}
RETIRED = {"ada-lovelace": 0.9}
"""Who is known from the earlier annotations alone."""
MODEL = "repo-policy"

_LOSS = """
from dataclasses import dataclass

import torch

from repo import PairLogps, PreferenceLoss


@dataclass(frozen=True)
class SmoothHinge(PreferenceLoss):
    beta: float = 0.1

    def __call__(self, pair: PairLogps) -> torch.Tensor:
        h = (pair.first - pair.reference_first) - (pair.second - pair.reference_second)
        return torch.nn.functional.softplus(1 - self.beta * h)
"""
_PATIENCE = 400
"""Seconds that a command may take on a machine that is busy with others."""


@dataclass(frozen=True)
class Finished:
    """What a case's command left.

    Attributes:
        store: the store it was given.
        output: what the command that came to its end printed.
        temporary: the directory that command was given for temporary files.
        killed: the MLflow runs that a killed command had begun.
    """

    store: Store
    output: str
    temporary: Path
    killed: frozenset[str]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.store.tracking_uri, registry_uri=self.store.tracking_uri)

    def runs(self) -> list[Run]:
        return runs_in(self.store)

    def champion(self) -> Path:
        """Return the directory of the champion: its weights, and reliability.json."""
        version = self.client.get_model_version_by_alias(MODEL, "champion")
        return self.store.artifacts / "models" / version.source.removeprefix("models:/") / "artifacts"


@dataclass(frozen=True)
class Home:
    """The directory that commands are started in: annotations, a loss of one's own, what is known from before."""

    root: Path

    def prepare(self) -> None:
        """Write everything that a run needs."""
        self.root.mkdir()
        (self.root / "my_losses.py").write_text(_LOSS)
        now = SimulationSettings(comparisons=60, prompts=30, reliabilities=PEOPLE)
        earlier = SimulationSettings(comparisons=40, prompts=40, seed=7, reliabilities={**PEOPLE, **RETIRED})
        write_jsonl(self.root / "votes.jsonl", _votes(now))
        write_jsonl(self.root / "earlier.jsonl", _votes(earlier))
        for pseudonyms, coins in itertools.product((False, True), (1, 2)):
            output = self.prior(pseudonyms, coins).parent
            chosen = options((f"data.pseudonymise={str(pseudonyms).lower()}", f"reliability.coins={coins}"))
            command = ("reliability", "--annotations", "earlier.jsonl", "--output", output, *chosen)
            self._finish(command, self.root / output.name, self.root / f"{output.name}-tmp")

    def prior(self, pseudonyms: bool, coins: int) -> Path:
        """Return the state that the earlier annotations left, with ids as they are or with pseudonyms."""
        return self.root / "earlier" / f"{'pseudonyms' if pseudonyms else 'ids'}-{coins}" / "reliability_state.json"

    def train(self, case: Case, folder: Path, *, disturbed: bool) -> Finished:
        """Run a case's command in a store of its own; `disturbed`: kill it amid training, and run it again."""
        folder.mkdir()
        store = Store(folder / "store")
        settings = case.settings(self.prior("pseudonyms" in case.on, case.prior_coins))
        command = ("run", "--data", "votes.jsonl", "--store", store.root, *options(settings))
        killed: frozenset[str] = frozenset()
        if disturbed:
            self._kill_amid_training(command, store, folder)
            killed = frozenset(run.info.run_id for run in runs_in(store))
        temporary = folder / "tmp"
        return Finished(store, self._finish(command, folder / "output.txt", temporary), temporary, killed)

    def _finish(self, command: tuple[Any, ...], output: Path, temporary: Path) -> str:
        with self._started(command, output, temporary) as process:
            process.wait(_PATIENCE)
        text = output.read_text(encoding="utf-8")
        assert process.returncode == 0, text
        return text

    def _kill_amid_training(self, command: tuple[Any, ...], store: Store, folder: Path) -> None:
        output, temporary = folder / "killed.txt", folder / "killed-tmp"
        with self._started(command, output, temporary) as process:
            until = time.monotonic() + _PATIENCE
            while not any(path for root in (temporary, store.root) for path in root.rglob("step-*")):
                assert process.poll() is None, f"ended before it could be killed:\n{output.read_text()}"
                assert time.monotonic() < until, output.read_text()
                time.sleep(0.05)
        assert process.returncode == -signal.SIGKILL
        assert not list(store.root.glob("artifacts/**/training.json")), "killed too late: training had ended"

    @contextlib.contextmanager
    def _started(self, command: tuple[Any, ...], output: Path, temporary: Path) -> Iterator["subprocess.Popen[bytes]"]:
        """Start `repo-pipeline` in a session of its own; nothing of it outlives this block."""
        temporary.mkdir(parents=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        # One thread each: two runs share two cores, and sums come out the same in every run.
        own = {KEY_VARIABLE: "a key that nobody will guess", "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *map(str, command)],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=kept | own,
                cwd=self.root,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def runs_in(store: Store) -> list[Run]:
    """Return all MLflow runs of a store."""
    client = MlflowClient(tracking_uri=store.tracking_uri)
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def _votes(settings: SimulationSettings) -> Iterator[dict[str, Any]]:
    """Yield simulated votes as displayed; one in ten is a tie, one comparison has nothing else; gold is rare."""
    chance = random.Random(0)
    for row in simulate(settings):
        number = int(row["comparison_id"].rpartition("-")[2])
        tie = number == 7 or chance.random() < 0.1
        gold = row["gold"] if number % 6 == 0 else ""
        yield {**row, "gold": gold, "preference": "tie" if tie else row["preference"]}
