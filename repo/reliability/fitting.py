"""One fit with one coin model: what is known before, the margins' temperature, the population, EM."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Algorithm, Fit, Options, Problem, full
from repo.reliability.em.by_batch import incremental, paper
from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.empirical_bayes import Hierarchy, with_population
from repo.reliability.em.expectation import Parameters
from repo.reliability.em.mixture import few_each, mixture_temperature, mostly_alone
from repo.reliability.em.population import Population
from repo.reliability.em.votes import Votes
from repo.reliability.start import Known, known_before, where_em_starts
from repo.reliability.state import ReliabilityState

Array = NDArray[Any]

ESTIMATORS: dict[str, Algorithm] = {"paper": paper, "full": full, "incremental": incremental}


@dataclass(frozen=True)
class Asked:
    """What a fit is to do; the fields are those of AnnotatorReliability."""

    estimator: str
    calibrate: bool
    prevalence: bool | None
    initial: float
    prior_mean: float | None
    prior_strength: float | None
    pinned: Mapping[Hashable, float]
    chunk: int | None
    tolerance: float
    max_iterations: int | None
    batch_size: int
    step_size: float

    @property
    def options(self) -> Options:
        """Return when to stop, and how batches are visited."""
        passes = self.max_iterations or (1 if self.estimator == "paper" else 1000)
        return Options(self.tolerance, passes, self.batch_size, self.step_size)

    def estimates_prevalence(self, votes: Votes) -> bool:
        """Whether the intercept b is estimated."""
        if self.prevalence is not None:
            return self.prevalence
        return votes.margin is None and (votes.start is not None or votes.gold is not None)


@dataclass(frozen=True)
class Fitted:
    """EM with one coin model.

    Attributes:
        problem: votes grouped by comparison; its prior is what the state knows plus the population's.
        judged: the votes as posteriors see them: by comparison, or by the paper each on its own.
        fit: where EM ended.
        known: what was known before.
        population: of the annotators, where it was estimated.
        calibration: what is not known of (log c, b), whether EM estimated it or it was found before.
    """

    problem: Problem
    judged: Votes
    fit: Fit
    known: Known
    population: Population | None
    calibration: CalibrationPrior


def fit_coins(asked: Asked, votes: Votes, separate: Votes, coins: int, state: ReliabilityState | None) -> Fitted:
    """Fit one coin model.

    Args:
        asked: what to do.
        votes: grouped by comparison.
        separate: each on its own, for "paper".
        coins: 1 or 2.
        state: what an earlier fit found, faded.
    """
    known = known_before(votes.annotators, coins, asked.pinned, asked.initial, state)
    calibration = CalibrationPrior.of(votes, asked.calibrate, asked.estimates_prevalence(votes))
    strength, mean = asked.prior_strength or 0.0, asked.prior_mean or 0.5
    counts = np.broadcast_to([strength * mean / coins, strength * (1 - mean) / coins], known.evidence.shape)
    problem = Problem.of(votes, coins, known.evidence + counts, known.fixed, calibration, asked.chunk)
    start = where_em_starts(problem, known)
    lone_votes = calibration.temperature and mostly_alone(votes)
    held, warm = _with_temperature(problem, start, Options(asked.tolerance)) if lone_votes else (problem, start)
    if asked.estimator == "paper":
        return Fitted(problem, separate, _by_the_paper(asked, held, warm, separate), known, None, calibration)
    algorithm = ESTIMATORS[asked.estimator]
    if asked.prior_strength is not None or known.fixed.all():
        return Fitted(held, votes, algorithm(held, warm, asked.options), known, None, calibration)

    def hierarchy(problem: Problem, start: Parameters) -> Hierarchy:
        options = Options(asked.tolerance)
        return with_population(problem, start, known.evidence, known.elsewhere, calibration, options)

    found = hierarchy(held, warm)
    if lone_votes and not found.population.told_apart:
        # One reliability for everybody drags no temperature along: fitted jointly, c is the better known.
        found = hierarchy(problem, start)
    fit = algorithm(found.problem, found.parameters, asked.options)
    return Fitted(found.problem, votes, fit, known, found.population, calibration)


def _with_temperature(problem: Problem, start: Parameters, options: Options) -> tuple[Problem, Parameters]:
    """Return problem and start with c estimated before the population is.

    Votes that stand alone hardly tell c from η: every η drawn to the population would drag c along, far too high.
    """
    if few_each(problem.votes):
        temperature = mixture_temperature(problem.votes, problem.calibration, start.eta[:, 0], problem.fixed)
    else:
        temperature = full(problem, start, options).parameters.temperature
    held = replace(problem, calibration=replace(problem.calibration, temperature=False))
    return held, replace(start, temperature=temperature)


def _by_the_paper(asked: Asked, problem: Problem, start: Parameters, separate: Votes) -> Fit:
    """Run the paper's rule, with c found beforehand where it is to be calibrated."""
    if problem.calibration.temperature:
        start = replace(start, temperature=full(problem, start, Options()).parameters.temperature)
    return paper(replace(problem, votes=separate), start, asked.options)
