"""One coin or two: is what is chosen blindly as good as the better of both, where truth is known?

Two classes without margins, three votes a task. Which of the two models labels better depends on how rare a class is,
whether people err by class, what misleads everybody (hard tasks), and how many labels there are to tell from.
"""

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.table import Row, shown
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.em.votes import Array
from repo.reliability.estimator import AnnotatorReliability

VOTES = 3
SEEDS = tuple(range(12))
MODELS: dict[str, Literal[1, 2, "auto"]] = {"chosen": "auto", "one coin": 1, "two coins": 2}
NEAR = 0.005
"""Label accuracy that the choice may cost."""
EASY, SKEWED_RARE, SKEWED_COMMON = (8.0, 2.5), (6.0, 3.0), (14.0, 2.0)
"""Beta distributions of η: of people of one coin (mean .76), and of those who err by class (.67 and .88)."""
HARD, HARDER = 0.25, 1.2
"""Share of tasks that are hard, and by how much the log-odds of being right are lower there: .76 becomes .49."""
LEANING = 0.15
"""Deviation of the share by which people prefer what is displayed first."""


@dataclass(frozen=True)
class World:
    """Tasks of two classes and the people who label them.

    Attributes:
        prevalence: of class +1.
        errors: "equal" (one coin), "by class" (two coins), "hard tasks" (one coin, and tasks where everybody errs
            more), or "by position" (two coins by what is displayed first, and positions are told).
        tasks: how many.
        workers: how many.
    """

    prevalence: float
    errors: Literal["equal", "by class", "hard tasks", "by position"]
    tasks: int = 1000
    workers: int = 50

    def text(self) -> str:
        """Return the world in words."""
        labels = VOTES * self.tasks // self.workers
        return f"prevalence {self.prevalence:g}, errors {self.errors}, {self.tasks} tasks, {labels} labels a worker"


WORLDS = (
    *(World(share, "equal") for share in (0.1, 0.2, 0.3, 0.5)),
    *(World(share, "by class") for share in (0.1, 0.2, 0.3, 0.5)),
    *(World(share, "hard tasks") for share in (0.1, 0.2, 0.3, 0.5)),
    *(World(share, errors, 400, 100) for share in (0.2, 0.5) for errors in ("equal", "by class")),
    World(0.2, "by class", 1500, 30),
    World(0.5, "by position", 1500, 30),
    World(0.5, "by position", 400, 100),
)


def simulate(world: World, seed: int) -> tuple[dict[str, Array], Array]:
    """Return the arrays for fit, and every task's class ±1."""
    random = np.random.default_rng(seed)
    truth = np.where(random.random(world.tasks) < world.prevalence, 1, -1)
    comparison = np.repeat(np.arange(world.tasks), VOTES)
    annotator = random.random((world.tasks, world.workers)).argsort(1)[:, :VOTES].ravel()
    position = random.choice([1, -1], len(comparison))
    side = truth[comparison] * (position if world.errors == "by position" else 1)
    eta = people(world, random)[annotator, np.where(side > 0, 0, 1)]
    if world.errors == "hard tasks":
        hard = random.random(world.tasks)[comparison] < HARD
        odds = eta / (1 - eta) * np.exp(-HARDER * hard)
        eta = odds / (1 + odds)
    right = random.random(len(comparison)) < eta
    label = np.where(right, truth[comparison], -truth[comparison])
    arrays = {"annotator": annotator, "comparison": comparison, "label": label}
    return arrays | ({"position": position} if world.errors == "by position" else {}), truth


def people(world: World, random: np.random.Generator) -> Array:
    """Return everybody's η by side (class, or what is displayed first), shape [workers, 2]."""
    if world.errors == "by class":
        return np.stack([random.beta(*SKEWED_RARE, world.workers), random.beta(*SKEWED_COMMON, world.workers)], 1)
    eta = random.beta(*EASY, world.workers)
    leaning = LEANING * random.standard_normal(world.workers) if world.errors == "by position" else 0.0
    return np.clip(np.stack([eta + leaning, eta - leaning], 1), 0.02, 0.98)


def measure(world: World, seeds: tuple[int, ...]) -> dict[str, float]:
    """Return each model's mean label accuracy, and how often the choice was two coins."""
    found: dict[str, list[float]] = {name: [] for name in [*MODELS, "two coins chosen"]}
    for seed in seeds:
        arrays, truth = simulate(world, seed)
        for name, coins in MODELS.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReliabilityWarning)
                fitted = AnnotatorReliability(coins=coins).fit(**arrays)
            labels = np.where(fitted.direction_ > 0.5, 1, -1)
            found[name].append(float((labels == truth[fitted.comparisons_]).mean()))
            if name == "chosen":
                found["two coins chosen"].append(float(fitted.coins_ == 2))
    return {name: float(np.mean(values)) for name, values in found.items()}


def rows(quick: bool = False) -> list[Row]:
    """Return for each world the label accuracy of the model chosen, beside the better of the two."""
    worlds, seeds = (WORLDS[::6], SEEDS[:1]) if quick else (WORLDS, SEEDS)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(measure, worlds, [seeds] * len(worlds)))
    result = []
    for world, accuracy in zip(worlds, found, strict=True):
        chosen, two = accuracy.pop("chosen"), accuracy.pop("two coins chosen")
        best = max(accuracy.values())
        what = f"{world.text()}: label accuracy, {len(seeds)} seed(s) ({shown(accuracy)}; two chosen in {two:.0%})"
        result.append(Row(what, f"≥ {best - NEAR:.4f}", chosen, None if quick else chosen >= best - NEAR))
    return result
