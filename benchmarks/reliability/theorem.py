"""RE-PO Theorem 4.1: with calibrated p, EM finds the true reliability from any start, at the rate T′(η*)."""

import numpy as np

from benchmarks.table import Row
from repo.reliability.em.algorithms import Options, Problem, full
from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.expectation import Parameters
from repo.reliability.em.votes import Array, group_votes

STARTS = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
RELIABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
COPIES = 1000


def population(eta: float, points: int = 60) -> tuple[Array, Array]:
    """Return (margins, labels) with the labels' frequencies as in the population: no sampling error but rounding.

    Margins are the mid-quantiles of a logistic distribution of scale 2: calibrated log-odds of "first is better".
    """
    quantile = (np.arange(points) + 0.5) / points
    margin = 2 * np.log(quantile / (1 - quantile))
    p = 1 / (1 + np.exp(-margin))
    first = np.rint(COPIES * (eta * p + (1 - eta) * (1 - p))).astype(int)
    labels = [np.repeat([1, -1], [number, COPIES - number]) for number in first]
    return np.repeat(margin, COPIES), np.concatenate(labels)


def rate(margin: Array, label: Array, eta: float) -> float:
    """Return T′(η) = E[p(1 − p) / (ηp + (1 − η)(1 − p))²], p of the label as given."""
    p = 1 / (1 + np.exp(-label * margin))
    return float(np.mean(p * (1 - p) / (eta * p + (1 - eta) * (1 - p)) ** 2))


def path(problem: Problem, start: float, iterations: int) -> list[float]:
    """Return η after every iteration of full EM."""
    etas, parameters = [start], Parameters(np.array([[start]]))
    for _ in range(iterations):
        parameters = full(problem, parameters, Options(max_iterations=1)).parameters
        etas.append(float(parameters.eta[0, 0]))
    return etas


def rows(quick: bool = False) -> list[Row]:
    """Return for each true reliability the worst distance of a limit from it, and the measured rate against T′."""
    result = []
    for eta in RELIABILITIES[::5] if quick else RELIABILITIES:
        margin, label = population(eta, 20 if quick else 60)
        votes = group_votes(np.zeros(len(label), np.int64), label, margin=margin)
        no_prior = np.zeros((1, 1, 2))
        problem = Problem.of(votes, 1, no_prior, np.zeros(1, bool), CalibrationPrior(False, False), None)
        options = Options(tolerance=1e-7, max_iterations=5000)
        limits = [full(problem, Parameters(np.array([[start]])), options).parameters.eta[0, 0] for start in STARTS]
        spread, error = float(np.ptp(limits)), float(np.abs(np.array(limits) - eta).max())
        result.append(
            Row(f"η* = {eta:g}: spread of the limits from {len(STARTS)} starts", "≤ 1e-3", spread, spread <= 1e-3)
        )
        result.append(Row(f"η* = {eta:g}: largest error of a limit", "≤ 1e-3", error, error <= 1e-3))
        etas = np.array(path(problem, 0.55 if eta != 0.5 else 0.6, 60 if quick else 400))
        limit, expected = np.median(limits), rate(margin, label, float(np.median(limits)))
        # The last step that is still well above rounding.
        last = int(np.flatnonzero(np.abs(etas - limit) > 1e-5)[-1])
        measured = float((etas[last] - limit) / (etas[last - 1] - limit))
        relative = abs(measured / expected - 1)
        result.append(
            Row(
                f"η* = {eta:g}: rate {measured:.4f}, T′(η*) = {expected:.4f}, relative difference",
                "≤ .05",
                relative,
                relative <= 0.05,
            )
        )
    return result
