"""The library's face: who can be believed, from ids, labels and, where there are any, margins."""

import warnings
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from repo.reliability.diagnostics import ReliabilityWarning, diagnose
from repo.reliability.em.algorithms import ESTIMATORS, Fit, Options, Problem
from repo.reliability.em.anchors import anchored_start
from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.checks import pinned_values
from repo.reliability.em.expectation import Expectation, Parameters
from repo.reliability.em.information import (
    bayesian_information_criterion,
    interval,
    logit_variance,
    overall,
    overall_variance,
)
from repo.reliability.em.mixture import needed as mixture_needed
from repo.reliability.em.mixture import population
from repo.reliability.em.votes import Votes, group_votes
from repo.reliability.start import prior_counts, start, start_parameters
from repo.reliability.state import ReliabilityState, next_state

Array = NDArray[Any]


_COMPUTED_WHEN_ASKED = (
    "_logit_variance",
    "interval_",
    "eta_interval_",
    "first_preference_interval_",
    "state_",
)


@dataclass(kw_only=True)
class AnnotatorReliability:
    r"""How often each annotator is right, and how far each label can be believed.

    Annotator k says of comparison m that its first response is better (label +1) or its second (−1). The truth
    z_m ∈ {+1, −1} is not seen. Three things are known about it: the votes, optionally a model's margin S_m, and
    optionally gold:

        P(z_m = +1)             = σ(c·S_m + b)                     temperature c, intercept b
        P(label = z_m)          = η_k                              one coin
        P(label = z_m | side)   = η_{k,side}                       two coins: which displayed position (class) is right

    The estimate maximises the marginal likelihood, with a Beta prior on every η, by EM:

    1. Start: η = `initial`; or the prior state's; or agreement with gold and pinned annotators, where there are any
       (see em/anchors.py). c = 1 / rms(S) if calibrated, else 1; b = 0.
    2. E-step, by comparison: q_m = P(z_m = +1 | labels) = σ(c·S_m + b + Σ_k label_km · logit η_k) for one coin;
       w = q where the label is +1, 1 − q where it is −1. With one label per comparison this is RE-PO Eq. 4:
       w = ηp / (ηp + (1 − η)(1 − p)). With S = 0 it is Dawid & Skene's.
    3. M-step for η (RE-PO Eq. 6): η_k = (Σ w + prior_strength · prior_mean) / (n_k + prior_strength).
    4. M-step for (log c, b), where they are estimated: one guarded Newton step on the marginal likelihood. Where most
       comparisons have a single vote and annotators few each, c is instead estimated before step 2 with every η
       integrated out (see em/mixture.py): fitted jointly with many η_k on few votes each, c comes out too large.
    5. Repeat 2–4 until no parameter moves by more than `tolerance`.

    Mirror image: (η, S, b) and (1 − η, −S, −b) explain the labels equally well. `gold` and `pinned` fix the sign;
    without them a start above ½ picks it, and a warning says so when the result is in doubt. Nothing is ever flipped.

    Args:
        estimator: "full" (Eq. 6, all data per iteration), "incremental" (Neal & Hinton: running sums, batch by batch;
            the same optimum), or "paper" (Eq. 7: moving average by batch in the given order, one pass, every annotation
            on its own).
        calibrate: estimate the margins' temperature c; without, c = 1 and S must itself be a log-odds.
        coins: 1, 2, or "auto": two coins where there are no margins, or there are positions, and the Bayesian
            information criterion prefers them; one coin else.
        prevalence: estimate the intercept b; None: only where there are no margins.
        initial: η of every annotator at the start, η₀.
        prior_mean, prior_strength: the prior of each annotator, worth `prior_strength` votes (shared by its coins) of
            which a share `prior_mean` is right: log density of one coin prior_strength · (prior_mean · log η +
            (1 − prior_mean) · log(1 − η)). Mean None: the annotators' estimated mean where step 4 integrates η out,
            else ½: half a vote either way, which makes the estimate the mean under Jeffreys' prior. Neither depends on
            `initial`. Strength 0: maximum likelihood.
        pinned: annotator → η that is known and stays.
        confidence: coverage of the intervals.
        tolerance: of η, log c and b between iterations.
        max_iterations: passes over the data at most; None: 1 for "paper", 1000 else.
        batch_size: annotations ("paper") or comparisons ("incremental") per batch.
        step_size: α of Eq. 7 ("paper").
        chunk: votes taken at a time, to bound memory; changes nothing but rounding. None: chosen.
        dtype: precision of what is as long as the data; sums are always float64.

    Attributes:
        annotators_: ids, sorted where they can be; the order of every per-annotator array, length A.
        reliability_: P(a label of the annotator is right), shape [A]: η for one coin; for two coins their mean, by how
            often each was tossed.
        interval_: interval for it, shape [A, 2].
        eta_: η by coin, shape [A, coins_].
        eta_interval_: interval for each, shape [A, coins_, 2].
        first_preference_: with two coins, how much more often than justly the annotator names the response displayed
            first (without positions: the first in the data), (η_first − η_second) / 2, shape [A]; zeros for one coin.
        first_preference_interval_: interval for it, shape [A, 2].
        counts_: labels (or their weights' sum) of each annotator, shape [A].
        coins_: 1 or 2.
        calibration_: {"temperature": c, "intercept": b}.
        comparisons_: comparison ids, length M (row numbers where no ids were given).
        direction_: q, the posterior that the first response is better, shape [M].
        log_likelihood_: marginal log-likelihood of the labels.
        objectives_: log-likelihood plus log prior at each iteration ("full").
        iterations_, converged_: of EM.
        warnings_: what is doubtful about the result, with the evidence; also raised as ReliabilityWarning.
        state_: evidence about every annotator, to save and to start the next fit from.
            (The intervals and state_ are computed when first asked for.)

    References:
        S. Cao et al. RE-PO: Robust Enhanced Policy Optimization. ICLR 2026, arXiv 2509.24159.
        A. P. Dawid, A. M. Skene. Maximum likelihood estimation of observer error-rates using the EM algorithm.
        Applied Statistics 28, 1979.
        R. M. Neal, G. E. Hinton. A view of the EM algorithm that justifies incremental, sparse, and other variants.
        In: Learning in Graphical Models, 1998.
        T. A. Louis. Finding the observed information matrix when using the EM algorithm. JRSS B 44, 1982.

    Examples:
        Three people judged six comparisons; carl disagrees with the others throughout.

        >>> annotator = ["ann", "bob", "carl"] * 6
        >>> comparison = [m for m in range(6) for _ in range(3)]
        >>> label = [+1, +1, -1] * 3 + [-1, -1, +1] * 3
        >>> fitted = AnnotatorReliability().fit(annotator, label, comparison)
        >>> dict(zip(fitted.annotators_, fitted.reliability_.round(2).tolist()))
        {'ann': 0.93, 'bob': 0.93, 'carl': 0.07}
        >>> (fitted.direction_ > 0.5).tolist()
        [True, True, True, False, False, False]
        >>> fitted.posterior()[:3].round(2).tolist()
        [1.0, 1.0, 0.0]
    """

    estimator: str = "full"
    calibrate: bool = True
    coins: Literal[1, 2, "auto"] = "auto"
    prevalence: bool | None = None
    initial: float = 0.9
    prior_mean: float | None = None
    prior_strength: float = 1.0
    pinned: Mapping[Hashable, float] = field(default_factory=dict)
    confidence: float = 0.9
    tolerance: float = 1e-6
    max_iterations: int | None = None
    batch_size: int = 64
    step_size: float = 0.1
    chunk: int | None = None
    dtype: DTypeLike = np.float64

    annotators_: list[Hashable] = field(init=False, repr=False)
    reliability_: Array = field(init=False, repr=False)
    eta_: Array = field(init=False, repr=False)
    first_preference_: Array = field(init=False, repr=False)
    counts_: Array = field(init=False, repr=False)
    coins_: int = field(init=False, repr=False)
    calibration_: dict[str, float] = field(init=False, repr=False)
    comparisons_: Array = field(init=False, repr=False)
    direction_: Array = field(init=False, repr=False)
    log_likelihood_: float = field(init=False, repr=False)
    objectives_: list[float] = field(init=False, repr=False)
    iterations_: int = field(init=False, repr=False)
    converged_: bool = field(init=False, repr=False)
    warnings_: list[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise ValueError(f"estimator = {self.estimator!r}: must be one of {', '.join(ESTIMATORS)}")
        if self.coins not in (1, 2, "auto"):
            raise ValueError(f"coins = {self.coins!r}: must be 1, 2 or 'auto'")
        for name in ("initial", "prior_mean", "confidence"):
            if (value := getattr(self, name)) is not None and not 0 < value < 1:
                raise ValueError(f"{name} = {value}: must be inside (0, 1)")
        if not 0 <= self.prior_strength < np.inf:
            raise ValueError(f"prior_strength = {self.prior_strength}: must be 0 or more")
        if not 0 < self.step_size <= 1:
            raise ValueError(f"step_size = {self.step_size}: must be inside (0, 1]")
        for name in ("batch_size", "max_iterations", "chunk"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} = {value}: must be 1 or more")
        self.pinned = pinned_values(self.pinned)

    def fit(
        self,
        annotator: ArrayLike,
        label: ArrayLike,
        comparison: ArrayLike | None = None,
        margin: ArrayLike | None = None,
        position: ArrayLike | None = None,
        gold: ArrayLike | None = None,
        weight: ArrayLike | None = None,
        *,
        annotators: Collection[Hashable] | None = None,
        prior_state: ReliabilityState | None = None,
        forgetting: float = 0.0,
    ) -> "AnnotatorReliability":
        """Estimate everything. Every array has one entry per annotation, shape [N].

        Args:
            annotator: who judged; any hashable ids.
            label: +1: the first response was preferred; −1: the second.
            comparison: which comparison was judged; labels of one comparison share its direction. None: each its own.
            margin: S, log-odds (up to the temperature) that the *first* response is better; the same in all rows of a
                comparison. Not S of the annotation as given: that is label · margin.
            position: +1: the first response was displayed first; −1: second.
            gold: +1: the first response is known to be better; −1: the second; 0: unknown. As margin, per comparison.
            weight: how many votes the annotation counts for, in the posterior and in the counts; ½ for half a tie.
            annotators: ids that must all have labels, and nobody else may.
            prior_state: what an earlier fit found; its evidence is added to the prior of the annotators it knows.
            forgetting: share of that evidence to leave out, 0 … 1.

        Raises:
            ValueError: naming the array and the first bad index.
        """
        votes = group_votes(
            annotator, label, comparison, margin, position, gold, weight, annotators, self.pinned, self.dtype
        )
        separate = votes
        if self.estimator == "paper" and comparison is not None:
            separate = group_votes(annotator, label, None, margin, position, gold, weight, dtype=self.dtype)
        if not 0 <= forgetting <= 1:
            raise ValueError(f"forgetting = {forgetting}: must be inside [0, 1]")
        state = None if prior_state is None else prior_state.faded(forgetting)
        fits = [self._fit(votes, separate, coins, state) for coins in self._coins(votes, state)]
        expectations = [problem.expect(fit.parameters, keep_direction=True) for problem, fit in fits]
        scores = [
            bayesian_information_criterion(problem, expectation.log_likelihood)
            for (problem, _), expectation in zip(fits, expectations, strict=True)
        ]
        best = int(np.argmax(scores))
        self._publish(*fits[best], expectations[best], state)
        return self

    def adopt(
        self,
        reliability: Mapping[Any, float],
        annotator: ArrayLike,
        label: ArrayLike,
        comparison: ArrayLike | None = None,
        margin: ArrayLike | None = None,
        position: ArrayLike | None = None,
        gold: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> "AnnotatorReliability":
        """Take reliabilities that were found elsewhere, one coin each, as if `fit` had found them.

        Intervals, posteriors and state then say what these annotations know about them. With estimator "paper" every
        annotation stands on its own (RE-PO Eq. 4).

        Raises:
            ValueError: naming the array and the first bad index.
        """
        grouped = None if self.estimator == "paper" else comparison
        votes = group_votes(annotator, label, grouped, margin, position, gold, weight, reliability, (), self.dtype)
        eta = np.array([[reliability[identifier]] for identifier in votes.annotators])
        fixed = np.array([identifier in self.pinned for identifier in votes.annotators])
        prior = prior_counts(votes.annotators, 1, 0.5, self.prior_strength, None)
        problem = Problem.of(votes, 1, prior, fixed, CalibrationPrior.of(votes, False, False), self.chunk)
        fit = Fit(Parameters(eta), 0, True)
        self._publish(problem, fit, problem.expect(fit.parameters, keep_direction=True), None)
        return self

    def posterior(
        self,
        annotator: ArrayLike | None = None,
        label: ArrayLike | None = None,
        comparison: ArrayLike | None = None,
        margin: ArrayLike | None = None,
        position: ArrayLike | None = None,
        gold: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> Array:
        """Return w = P(the label is right) of each annotation, shape [N]; without arguments, of those fitted.

        Annotators not seen in the fit have reliability `initial`.
        """
        if annotator is None or label is None:
            return self._by_annotation(self._votes, self.direction_)
        votes = group_votes(annotator, label, comparison, margin, position, gold, weight, dtype=self.dtype)
        if self.coins_ == 2 and votes.kinds != self._votes.kinds:
            raise ValueError("position: must be given here exactly if it was given to fit")
        place = {identifier: index for index, identifier in enumerate(self.annotators_)}
        eta = np.full((len(votes.annotators), self.coins_), self.initial)
        for row, identifier in enumerate(votes.annotators):
            if identifier in place:
                eta[row] = self.eta_[place[identifier]]
        problem = Problem.of(
            votes,
            self.coins_,
            np.zeros((*eta.shape, 2)),
            np.zeros(len(eta), bool),
            CalibrationPrior(False, False),
            self.chunk,
        )
        expectation = problem.expect(Parameters(eta, **self.calibration_), keep_direction=True)
        assert expectation.direction is not None
        return self._by_annotation(votes, expectation.direction)

    def _coins(self, votes: Votes, state: ReliabilityState | None) -> list[int]:
        """Return the coin models to try."""
        if self.coins != "auto":
            return [self.coins]
        if state is not None:
            return [state.coins]
        return [1, 2] if votes.margin is None or votes.kinds == 4 else [1]

    def _fit(self, votes: Votes, separate: Votes, coins: int, state: ReliabilityState | None) -> tuple[Problem, Fit]:
        """Run EM with one coin model; `separate` are the votes as "paper" wants them."""
        fixed = np.array([identifier in self.pinned for identifier in votes.annotators])
        prevalence = votes.margin is None if self.prevalence is None else self.prevalence
        calibration = CalibrationPrior.of(votes, self.calibrate, prevalence)
        temperature, mean = None, 0.5 if self.prior_mean is None else self.prior_mean
        if calibration.temperature and mixture_needed(votes):
            known = np.array([self.pinned.get(identifier, self.initial) for identifier in votes.annotators])
            temperature, population_mean = population(votes, calibration, known, fixed)
            mean = population_mean if self.prior_mean is None else mean
        prior = prior_counts(votes.annotators, coins, mean, self.prior_strength, state)
        problem = Problem.of(votes, coins, prior, fixed, calibration, self.chunk)
        strength = self.prior_strength / coins
        problem = replace(problem, default_prior=(strength * mean, strength * (1 - mean)))
        eta = start(votes.annotators, prior, self.prior_strength, self.initial, self.pinned)
        if state is None:
            eta = anchored_start(problem, eta)
        parameters = start_parameters(eta, problem, state)
        if calibration.temperature and temperature is None and self.estimator == "paper":
            temperature = ESTIMATORS["full"](problem, parameters, Options()).parameters.temperature
        run_on = replace(problem, votes=separate)
        if temperature is not None:
            parameters = replace(parameters, temperature=temperature)
            run_on = replace(run_on, calibration=replace(calibration, temperature=False))
        return problem, ESTIMATORS[self.estimator](run_on, parameters, self._options())

    def _options(self) -> Options:
        passes = self.max_iterations or (1 if self.estimator == "paper" else 1000)
        return Options(self.tolerance, passes, self.batch_size, self.step_size)

    def _publish(self, problem: Problem, fit: Fit, expectation: Expectation, state: ReliabilityState | None) -> None:
        parameters, votes = fit.parameters, problem.votes
        assert expectation.direction is not None
        self._problem, self._fit_result, self._prior_state, self._votes = problem, fit, state, votes
        for computed in _COMPUTED_WHEN_ASKED:
            self.__dict__.pop(computed, None)
        self._tosses = problem.model.counts(expectation.first, problem.number)[1] + problem.prior.sum(2)
        self.annotators_, self.eta_, self.coins_ = votes.annotators, parameters.eta, problem.model.coins
        self.reliability_ = overall(self._tosses, parameters.eta)
        self.first_preference_ = (parameters.eta[:, 0] - parameters.eta[:, -1]) / 2
        self.counts_ = problem.number.sum(1)
        self.calibration_ = {"temperature": parameters.temperature, "intercept": parameters.intercept}
        self.comparisons_ = np.arange(votes.size) if votes.comparisons is None else votes.comparisons
        self.direction_ = expectation.direction
        self.log_likelihood_ = expectation.log_likelihood
        self.objectives_ = fit.history
        self.iterations_, self.converged_ = fit.iterations, fit.converged
        self.warnings_ = diagnose(problem, fit, self._options(), self.reliability_, self.counts_)
        for message in self.warnings_:
            warnings.warn(message, ReliabilityWarning, stacklevel=3)

    @cached_property
    def _logit_variance(self) -> Array:
        """Variance of logit η by coin, shape [A, coins_]; found when first asked for."""
        return logit_variance(self._problem, self._fit_result.parameters)

    @cached_property
    def eta_interval_(self) -> Array:
        """Interval for each η, shape [A, coins_, 2]."""
        return interval(self.eta_, self._logit_variance, self.confidence)

    @cached_property
    def interval_(self) -> Array:
        """Interval for `reliability_`, shape [A, 2]."""
        variance = overall_variance(self._tosses, self.eta_, self._logit_variance)
        return interval(self.reliability_, variance, self.confidence)

    @cached_property
    def first_preference_interval_(self) -> Array:
        """Interval for `first_preference_`, shape [A, 2]: normal, the two coins taken as independent; 0s for one."""
        if self.coins_ == 1:
            return np.zeros((len(self.eta_), 2))
        spread = np.sqrt((self._logit_variance * (self.eta_ * (1 - self.eta_)) ** 2).sum(1)) / 2
        half = NormalDist().inv_cdf((1 + self.confidence) / 2) * spread
        middle = self.first_preference_
        return np.asarray(np.clip(np.stack([middle - half, middle + half], 1), -0.5, 0.5))

    @cached_property
    def state_(self) -> ReliabilityState:
        """Evidence about every annotator, to save and to start the next fit from."""
        return next_state(self.estimator, self._problem, self._fit_result, self._logit_variance, self._prior_state)

    @staticmethod
    def _by_annotation(votes: Votes, direction: Array) -> Array:
        q = direction if votes.start is None else np.repeat(direction, votes.group_sizes())
        return votes.in_input_order(np.where(votes.code % 2 == 1, q, 1 - q))
