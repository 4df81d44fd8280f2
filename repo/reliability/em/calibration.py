"""The margins' temperature c and intercept b: one guarded Newton step on the marginal likelihood per EM iteration.

p = σ(c·S + b) must be calibrated for EM to find the true reliabilities (RE-PO Theorem 4.1); a loss's margins are not.
The likelihood of c never falls again as c → ∞ where the margins' signs explain every label, and is flat near c = 0, so
log c has a weak prior, normal around −log rms(S) (margins of size 1) with standard deviation LOG_TEMPERATURE_SD.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.expectation import Expectation, Parameters
from repo.reliability.em.votes import Votes

Array = NDArray[Any]

LOG_TEMPERATURE_SD = 3.0
"""Two standard deviations: typical margins between e^−6 and e^6 in size, anything that data can tell apart and more."""

INTERCEPT_SD = 3.0
"""Of b, around 0: a prevalence between .002 and .998 is within two standard deviations."""

LONGEST_STEP = 1.0


@dataclass(frozen=True)
class CalibrationPrior:
    """Which of (log c, b) are estimated, and their normal priors."""

    temperature: bool
    intercept: bool
    center: float = 0.0

    @classmethod
    def of(cls, votes: Votes, calibrate: bool, intercept: bool) -> "CalibrationPrior":
        """Return the prior for these votes; without margins, or with all margins 0, there is no temperature."""
        if votes.margin is None:
            return cls(False, intercept)
        size = float(np.sqrt(np.mean(np.square(votes.margin), dtype=np.float64)))
        return cls(calibrate and size > 0, intercept, -np.log(size) if size > 0 else 0.0)

    @property
    def free(self) -> Array:
        """Return which of (log c, b) are estimated."""
        return np.array([self.temperature, self.intercept])

    @property
    def precision(self) -> Array:
        """Return the prior precision of (log c, b), shape [2]."""
        return np.array([LOG_TEMPERATURE_SD**-2, INTERCEPT_SD**-2])

    def deviation(self, parameters: Parameters) -> Array:
        """Return (log c, b) minus the prior's centre, 0 where not estimated."""
        offset = np.array([np.log(max(parameters.temperature, 1e-300)) - self.center, parameters.intercept])
        return np.where(self.free, offset, 0.0)

    def log_density(self, parameters: Parameters) -> float:
        """Return the log prior density up to a constant."""
        return float(-0.5 * (self.precision * self.deviation(parameters) ** 2).sum())

    def information(self, expectation: Expectation) -> Array:
        """Return minus the second derivative of the penalised log-likelihood in (log c, b), η held, shape [2, 2]."""
        curvature = expectation.complete - expectation.missing + np.diag(self.precision)
        curvature[0, 0] -= expectation.gradient[0]
        return np.asarray(curvature)

    def step(self, parameters: Parameters, expectation: Expectation) -> tuple[float, float]:
        """Return (c, b) after one damped Newton step; complete-data information where it is not concave."""
        free = np.flatnonzero(self.free)
        if not free.size:
            return parameters.temperature, parameters.intercept
        gradient = (expectation.gradient - self.precision * self.deviation(parameters))[free]
        information = self.information(expectation)[np.ix_(free, free)]
        complete = (expectation.complete + np.diag(self.precision))[np.ix_(free, free)]
        # Less than a tenth of the complete-data information left: too near flat, or a saddle, for a Newton step.
        if np.linalg.eigvalsh(information - 0.1 * complete).min() <= 0:
            information = complete
        change = np.zeros(2)
        change[free] = np.linalg.solve(information, gradient)
        change *= min(1.0, LONGEST_STEP / max(np.abs(change).max(), 1e-300))
        return float(parameters.temperature * np.exp(change[0])), float(parameters.intercept + change[1])
