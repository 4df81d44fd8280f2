"""Worlds of simulated annotators, and tiny policies trained in them; each training happens once and in its own process.

A training is named by its world and its settings. `train_all` runs those not done yet, two at a time with one thread
each, which on two cores is faster than one at a time with two.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repo.annotations.reading.reader import read_annotations
from repo.annotations.simulation import simulate
from repo.files import write_jsonl
from repo.settings import Settings, SimulationSettings, load_settings

PROCESSES = 2
MIXTURE = ((0.95, 4), (0.8, 3), (0.6, 2), (0.2, 1))
"""Reliability and number of annotators who have it, out of ten."""
HELD_OUT_SEED = 1_000


def annotators(number: int = 10) -> tuple[float, ...]:
    """Return the reliabilities of `number` annotators (a multiple of ten), in the shares of MIXTURE."""
    return tuple(eta for eta, share in MIXTURE for _ in range(share * number // 10))


@dataclass(frozen=True)
class World:
    """Simulated annotations.

    Attributes:
        comparisons: how many.
        votes: annotators who judge each.
        reliabilities: η of every annotator.
        utility_scale: see SimulationSettings; 0 is a truth without chance.
        gold: share of comparisons whose truth training may see.
        seed: of texts and votes.
    """

    comparisons: int
    votes: int
    reliabilities: tuple[float, ...] = annotators()
    utility_scale: float = 0.0
    gold: float = 0.0
    seed: int = 0

    def named(self) -> dict[str, float]:
        """Return η by annotator id."""
        return {f"{number:03d}": eta for number, eta in enumerate(self.reliabilities)}

    def annotations(self) -> pd.DataFrame:
        """Return the canonical table, as read from a file, and the column `truth`."""
        settings = SimulationSettings(
            comparisons=self.comparisons,
            annotations_per_comparison=self.votes,
            reliabilities=self.named(),
            utility_scale=self.utility_scale,
            seed=self.seed,
        )
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "annotations.jsonl"
            write_jsonl(path, simulate(settings))
            table = read_annotations(str(path), Settings().data).annotations
        seen = pd.factorize(table["comparison_id"])[0] < self.gold * self.comparisons
        return table.assign(truth=table["gold"], gold=table["gold"].where(seen, ""))

    def texts(self) -> "World":
        """Return the world that stands for all that have the same texts."""
        return replace(self, reliabilities=(0.5,) * len(self.reliabilities), gold=0.0)


@dataclass(frozen=True)
class Job:
    """One training: a world, settings in which it differs from the defaults, and held-out comparisons to score."""

    world: World
    settings: tuple[str, ...] = ()
    held_out: int = 0


@dataclass(frozen=True)
class Trained:
    """What a training found.

    Attributes:
        record: reliability.json.
        annotations: one row each: annotator_id, preference, truth, posterior.
        accuracy: of the policy on held-out comparisons against the truth; None without any.
    """

    record: dict[str, Any]
    annotations: pd.DataFrame
    accuracy: float | None

    @property
    def reliability(self) -> "pd.Series[float]":
        """η̂ by annotator."""
        rows = self.record["annotators"]
        return pd.Series({row["annotator_id"]: row["reliability"] for row in rows}).sort_index()

    @property
    def right(self) -> "pd.Series[bool]":
        """Whether each label names the truly better response."""
        return self.annotations["preference"] == self.annotations["truth"]

    @property
    def realised(self) -> "pd.Series[float]":
        """Each annotator's share of right labels: what knowing every truth would give."""
        return self.right.astype(float).groupby(self.annotations["annotator_id"]).mean().sort_index()

    def true(self, world: World) -> "pd.Series[float]":
        """η by annotator, as the world has it."""
        return pd.Series(world.named()).loc[self.reliability.index]

    def error(self) -> float:
        """Return mean |η̂ − realised agreement|."""
        return float((self.reliability - self.realised).abs().mean())


_done: dict[Job, Trained] = {}


def train_all(jobs: Sequence[Job]) -> list[Trained]:
    """Return what each training found; those seen before are not repeated."""
    new = list(dict.fromkeys(job for job in jobs if job not in _done))
    with ExitStack() as stack:
        bases = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pool = stack.enter_context(_pool(min(PROCESSES, len(new)))) if new else None
        if pool is not None:
            _train_new(new, bases, pool)
    return [_done[job] for job in jobs]


def _pool(processes: int) -> Executor:
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_one_thread)


def _one_thread() -> None:
    import torch

    os.environ["TQDM_DISABLE"] = "1"
    torch.set_num_threads(1)


def _train_new(jobs: list[Job], bases: Path, pool: Executor) -> None:
    """Make the base policy of each world's texts once, as `train` would, then train."""
    made = {_base_job(job): bases / str(number) for number, job in enumerate(jobs)}
    list(pool.map(_make_base, made.keys(), made.values()))
    paths = [made[_base_job(job)] for job in jobs]
    # The longest first, so that neither process is left alone with one at the end.
    order = sorted(range(len(jobs)), key=lambda place: -jobs[place].world.comparisons)
    results = pool.map(_train, [jobs[place] for place in order], [paths[place] for place in order])
    for place, result in zip(order, results, strict=True):
        _done[jobs[place]] = result


def _base_job(job: Job) -> Job:
    """Return the part of a job that its base policy depends on."""
    return Job(job.world.texts(), tuple(setting for setting in job.settings if setting.startswith("policy.")))


def _make_base(job: Job, path: Path) -> None:
    from repo.policy.loading import make_tiny_policy

    make_tiny_policy(job.world.annotations(), load_settings(None, job.settings)).save(path)


def _train(job: Job, base: Path) -> Trained:
    """Train in this process, on a base made before instead of a `tiny` made on the spot."""
    from repo.policy.training import learning_rate, train

    rate = learning_rate(load_settings(None, job.settings))
    settings = load_settings(
        None, [*job.settings, f"policy.base={base}", f"train.learning_rate={rate}", "train.checkpoint_every=0"]
    )
    with tempfile.TemporaryDirectory() as directory:
        result = train(job.world.annotations(), settings, Path(directory))
        table = pd.read_parquet(result.record / "posteriors.parquet")
        accuracy = _accuracy(job, settings, result.policy, base) if job.held_out else None
    columns = ["annotator_id", "preference", "truth", "posterior"]
    return Trained(result.reliability, table[columns], accuracy)


def _accuracy(job: Job, settings: Settings, policy: Path, base: Path) -> float:
    """Return the policy's accuracy on comparisons of another seed."""
    from repo.evaluation.evaluation import PolicySource, margins_of
    from repo.evaluation.metrics import correctness
    from repo.policy.losses import make_loss

    world = replace(job.world, comparisons=job.held_out, votes=1, seed=HELD_OUT_SEED, gold=0.0)
    comparisons = world.annotations()
    source = PolicySource(policy, base, make_loss(settings.train.loss, settings.train.loss_options))
    margin = margins_of(comparisons, {"candidate": source}, settings)["candidate"].a_over_b
    return float(correctness(np.where(comparisons["truth"] == "a", 1, -1) * margin).mean())
