"""Annotators with few labels each: shrunk to the population, as far as the population itself says.

One label each tells nothing of a person and everything of the population. Where people have 20 to 400 labels, and
differ much or hardly at all, telling them apart must not cost: no error above that of one value for everybody.
"""

import multiprocessing
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

from benchmarks.reliability.crowd import DATA
from benchmarks.reliability.intervals import ANNOTATORS, SETTINGS, mixture, simulate
from benchmarks.table import Row, not_measured
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.em.votes import Array
from repo.reliability.estimator import AnnotatorReliability

CASE = DATA / "cases/one-label-each/crowd.csv"
TRUE = 0.85
"""What everybody's η is in that case."""
NAMES = (
    "one label a comparison, margins",
    "three labels a comparison, margins",
    "three labels a comparison, no margins",
)
BETAS = {
    f"mean {mean:g}, deviation {deviation:g}": (mean, deviation)
    for mean, deviation in ((0.8, 0.02), (0.8, 0.05), (0.8, 0.1), (0.8, 0.15), (0.65, 0.1))
}
MIXTURE = "mixture"
"""The population of intervals.py."""
LOW, HIGH = 0.87, 0.93
REPLICATIONS = 60
"""2,400 intervals in each world: coverage is measured to about .006."""


def population(name: str, random: np.random.Generator) -> Array:
    """Return the η of ANNOTATORS people drawn from a Beta with that mean and deviation, or from the mixture."""
    if name == MIXTURE:
        return mixture(random)
    mean, deviation = BETAS[name]
    size = mean * (1 - mean) / deviation**2 - 1
    return random.beta(size * mean, size * (1 - mean), ANNOTATORS)


def measure(setting: str, people: str, replications: int) -> tuple[float, float, float]:
    """Return the coverage of the intervals, and mean |η̂ − η| of ours and of one value for everybody."""
    random, inside, errors, pooled_errors = np.random.default_rng(1), [], [], []
    for _ in range(replications):
        eta = population(people, random)
        arrays = simulate(random, eta, **SETTINGS[setting])
        same = {**arrays, "annotator": np.zeros_like(arrays["annotator"])}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            ours, pooled = AnnotatorReliability().fit(**arrays), AnnotatorReliability(coins=1).fit(**same)
        low, high = ours.interval_.T
        inside.append((low <= eta) & (eta <= high))
        errors.append(np.abs(ours.reliability_ - eta))
        pooled_errors.append(np.abs(pooled.reliability_ - eta))
    return float(np.mean(inside)), float(np.mean(errors)), float(np.mean(pooled_errors))


def rows(quick: bool = False) -> list[Row]:
    """Return mean and coverage where everybody has one label, then coverage and error by setting and population."""
    return [*one_label_each(quick), *simulated(quick)]


def one_label_each(quick: bool) -> list[Row]:
    """Return the mean of η and the coverage of its intervals for 2,000 people of one label each, right with TRUE."""
    what = "2,000 people, one label each, right with .85: "
    mean_of, coverage_of = f"{what}mean η", f"{what}coverage of .85"
    if not CASE.is_file():
        return [not_measured(name, "no shared data", quick) for name in (mean_of, coverage_of)]
    table = pd.read_csv(CASE)
    labels = (2 * table["label"] - 1).to_numpy()
    fitted = AnnotatorReliability().fit(table["worker"].to_numpy(), labels, table["task"].to_numpy())
    mean, (low, high) = float(fitted.reliability_.mean()), fitted.interval_.T
    coverage = float(((low <= TRUE) & (high >= TRUE)).mean())
    return [
        Row(mean_of, f"{TRUE:g} ± .03", mean, None if quick else abs(mean - TRUE) <= 0.03),
        Row(coverage_of, f"≥ {LOW:g}", coverage, None if quick else coverage >= LOW),
    ]


def simulated(quick: bool) -> Iterator[Row]:
    """Yield coverage and error in every setting and population."""
    replications = 3 if quick else REPLICATIONS
    people = [*BETAS, MIXTURE]
    jobs = [(name, who, replications) for name in NAMES for who in (people[:1] if quick else people)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(measure, *zip(*jobs, strict=True)))
    for (name, who, _), (coverage, error, pooled) in zip(jobs, found, strict=True):
        what = f"{name}, 20–400 labels each, η of {who}, {replications} replications: "
        covers = None if quick else LOW <= coverage <= HIGH
        yield Row(f"{what}coverage", f"{LOW:g} … {HIGH:g}", coverage, covers)
        nearer = None if quick else error <= pooled
        yield Row(f"{what}mean |η̂ − η|", f"≤ {pooled:.4f}, one value for everybody", error, nearer)
