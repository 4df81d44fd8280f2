"""Do 90 % intervals cover the true reliability 90 % of the time?"""

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks.table import Row
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.em.votes import Array
from repo.reliability.estimator import AnnotatorReliability

ANNOTATORS = 40
COUNTS = (20, 50, 100, 200, 400)
RELIABILITIES = ((0.95, 0.25), (0.9, 0.25), (0.8, 0.2), (0.7, 0.1), (0.6, 0.1), (0.2, 0.1))
SETTINGS = {
    "one label a comparison, margins": {"votes": 1, "scale": 3.0, "margins": True},
    "one label a comparison, weak margins": {"votes": 1, "scale": 1.5, "margins": True},
    "three labels a comparison, margins": {"votes": 3, "scale": 2.0, "margins": True},
    "three labels a comparison, no margins": {"votes": 3, "scale": 0.0, "margins": False},
    "five labels a comparison, no margins": {"votes": 5, "scale": 0.0, "margins": False},
}
UNIT = 0.1
"""Margins are handed over in this unit: the temperature must be found, and its uncertainty is part of the intervals."""


def mixture(random: np.random.Generator) -> Array:
    """Return the η of ANNOTATORS people, drawn from RELIABILITIES."""
    values, shares = zip(*RELIABILITIES, strict=True)
    return random.choice(values, ANNOTATORS, p=shares)


def simulate(random: np.random.Generator, eta: Array, votes: int, scale: float, margins: bool) -> dict[str, Array]:
    """Return the arrays for fit: people of these reliabilities, with COUNTS labels each in turn."""
    annotator = np.repeat(np.arange(len(eta)), np.resize(COUNTS, len(eta)))
    random.shuffle(annotator)
    comparisons = len(annotator) // votes
    comparison = np.arange(len(annotator)) % comparisons
    margin = random.normal(0, scale, comparisons)
    truth = np.where(random.random(comparisons) < 1 / (1 + np.exp(-margin)), 1, -1)
    right = random.random(len(annotator)) < eta[annotator]
    arrays = {
        "annotator": annotator,
        "comparison": comparison,
        "label": np.where(right, truth[comparison], -truth[comparison]),
    }
    if margins:
        arrays["margin"] = UNIT * margin[comparison]
    return arrays


def covered(name: str, replications: int) -> Array:
    """Return whether each interval covers, shape [replications, ANNOTATORS]."""
    random, inside = np.random.default_rng(1), []
    for _ in range(replications):
        eta = mixture(random)
        arrays = simulate(random, eta, **SETTINGS[name])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            interval = AnnotatorReliability(coins=1).fit(**arrays).interval_
        inside.append((interval[:, 0] <= eta) & (eta <= interval[:, 1]))
    return np.array(inside)


def rows(quick: bool = False) -> list[Row]:
    """Return the coverage over all annotators, and by number of labels, for each setting."""
    replications = 20 if quick else 200
    low, high = (0.83, 0.96) if quick else (0.87, 0.93)
    result = []
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for name, inside in zip(SETTINGS, pool.map(covered, SETTINGS, [replications] * len(SETTINGS)), strict=True):
            coverage = float(inside.mean())
            by_count = [float(inside[:, place :: len(COUNTS)].mean()) for place in range(len(COUNTS))]
            detail = ", ".join(f"{number}: {share:.3f}" for number, share in zip(COUNTS, by_count, strict=True))
            what = f"{name}, {replications} replications ({detail})"
            result.append(Row(what, f"{low:g} … {high:g}", coverage, low <= coverage <= high))
    return result
