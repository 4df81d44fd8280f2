"""The library's face: who can be believed, from ids, labels and, where there are any, margins."""

import warnings
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from repo.reliability.diagnostics import ReliabilityWarning, diagnose
from repo.reliability.em.algorithms import Fit, Problem, e_step
from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.checks import pinned_values
from repo.reliability.em.empirical_bayes import WEAK
from repo.reliability.em.expectation import Expectation, Parameters
from repo.reliability.em.information import logit_variance
from repo.reliability.em.intervals import (
    interval,
    interval_with_population,
    overall,
    overall_variance,
    variance_with_population,
)
from repo.reliability.em.left_out import judged_by_others, opinions, prediction_score
from repo.reliability.em.population import Population
from repo.reliability.em.votes import Votes, group_votes
from repo.reliability.fitting import ESTIMATORS, Asked, Fitted, fit_coins
from repo.reliability.start import known_before
from repo.reliability.state import ReliabilityState, next_state

Array = NDArray[Any]


_COMPUTED_WHEN_ASKED = (
    "_logit_variance",
    "_coin_variance",
    "interval_",
    "eta_interval_",
    "first_preference_interval_",
    "population_share_",
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

    Annotators are draws from one population, logit η_k ~ N(level, sd²), whose mean and spread are estimated as well:
    who has few labels is taken to be much like the others, and where nobody can be told apart all get the pooled value.

    1. Start: η = `initial`; or what the prior state, gold and pinned annotators say (see start.py).
       c = 1 / rms(S) if calibrated, else 1; b = 0.
    2. E-step, by comparison: q_m = P(z_m = +1 | labels) = σ(c·S_m + b + Σ_k label_km · logit η_k) for one coin;
       w = q where the label is +1, 1 − q where it is −1. With one label per comparison this is RE-PO Eq. 4:
       w = ηp / (ηp + (1 − η)(1 − p)). With S = 0 it is Dawid & Skene's.
    3. M-step for η (RE-PO Eq. 6): η_k = (Σ w + s·μ) / (n_k + s); mean μ and strength s are the population's.
    4. M-step for (log c, b), where they are estimated: one guarded Newton step on the marginal likelihood. Where most
       comparisons have a single vote and annotators few each, c is instead estimated before step 2 with every η
       integrated out (see em/mixture.py): fitted jointly with many η_k on few votes each, c comes out too large.
    5. Repeat 2–4 until no parameter moves by more than `tolerance` (em/algorithms.py). Then estimate the population by
       empirical Bayes (em/population.py), and repeat all of it until the population stays (em/empirical_bayes.py).
    6. Where several people judged a comparison, a last E- and M-step weigh each vote by what its annotator's *other*
       votes say (em/left_out.py): else people of few votes confirm themselves.

    Mirror image: (η, S, b) and (1 − η, −S, −b) explain the labels equally well. `gold` and `pinned` fix the sign;
    without them a start above ½ picks it, and a warning says so when the result is in doubt. Nothing is ever flipped.

    Args:
        estimator: "full" (Eq. 6, all data per iteration), "incremental" (Neal & Hinton: running sums, batch by batch;
            the same optimum), or "paper" (Eq. 7: moving average by batch in the given order, one pass, every annotation
            on its own).
        calibrate: estimate the margins' temperature c; without, c = 1 and S must itself be a log-odds.
        coins: 1, 2, or "auto": two coins where there are no margins, or there are positions, and they predict every
            vote from the others better than one coin, by more than the standard error; one coin else.
        prevalence: estimate the intercept b; None: where there are no margins and people judged the same comparisons.
        initial: η of every annotator at the start, η₀; it stays where nothing speaks for or against any vote.
        prior_mean, prior_strength: a prior of one's own in place of the population's, worth `prior_strength` votes
            (shared by the coins) of which a share `prior_mean` (None: one half) is right: log density of one coin
            prior_strength · (prior_mean · log η + (1 − prior_mean) · log(1 − η)). Strength 0: maximum likelihood.
            Strength None: the population's; with a prior of one's own step 6 is left out.
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
        population_: mean and standard deviation of η over people, whether the labels tell people apart, and for two
            coins by how much people in general lean to what is displayed first, and the coins' correlation; None with a
            prior of one's own.
        population_share_: how much of the information on each annotator is the population's, 0 … 1, shape [A].
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
        objectives_: log-likelihood plus log prior at each iteration of the last run of EM ("full").
        iterations_, converged_: of the last run of EM.
        warnings_: what is doubtful about the result, with the evidence; also raised as ReliabilityWarning.
        state_: evidence about every annotator, to save and to start the next fit from.
            (The intervals, population_share_ and state_ are computed when first asked for.)

    References:
        S. Cao et al. RE-PO: Robust Enhanced Policy Optimization. ICLR 2026, arXiv 2509.24159.
        A. P. Dawid, A. M. Skene. Maximum likelihood estimation of observer error-rates using the EM algorithm.
        Applied Statistics 28, 1979.
        R. M. Neal, G. E. Hinton. A view of the EM algorithm that justifies incremental, sparse, and other variants.
        In: Learning in Graphical Models, 1998.
        C. N. Morris. Parametric empirical Bayes inference: theory and applications. JASA 78, 1983.
        T. A. Louis. Finding the observed information matrix when using the EM algorithm. JRSS B 44, 1982.

    Examples:
        Three people judged six comparisons; carl disagrees with the others throughout.

        >>> annotator = ["ann", "bob", "carl"] * 6
        >>> comparison = [m for m in range(6) for _ in range(3)]
        >>> label = [+1, +1, -1] * 3 + [-1, -1, +1] * 3
        >>> fitted = AnnotatorReliability().fit(annotator, label, comparison)
        >>> dict(zip(fitted.annotators_, fitted.reliability_.round(2).tolist()))
        {'ann': 0.95, 'bob': 0.95, 'carl': 0.13}
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
    prior_strength: float | None = None
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
    population_: dict[str, Any] | None = field(init=False, repr=False)
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
        if self.prior_strength is None:
            if self.prior_mean is not None:
                raise ValueError(f"prior_mean = {self.prior_mean}: give prior_strength as well, or neither")
        elif not 0 <= self.prior_strength < np.inf:
            raise ValueError(f"prior_strength = {self.prior_strength}: must be 0 or more, or None")
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
        runs = [fit_coins(self._asked, votes, separate, coins, state) for coins in self._coins(votes)]
        best = runs[0]
        if len(runs) == 2:
            # Of a vote alone on its comparison only its side can be predicted: that tells of positions, not of classes.
            one, two = (prediction_score(run.problem, run.fit.parameters, votes.kinds == 4) for run in runs)
            best = runs[1] if two.better_than(one) else runs[0]
        self._publish(best, state)
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
        known = known_before(votes.annotators, 1, self.pinned, self.initial, None)
        counts = np.full((len(votes.annotators), 1, 2), WEAK / 2)
        problem = Problem.of(votes, 1, counts, known.fixed, CalibrationPrior.of(votes, False, False), self.chunk)
        eta = np.array([[reliability[identifier]] for identifier in votes.annotators])
        self._publish(Fitted(problem, votes, Fit(Parameters(eta), 0, True), known, None, problem.calibration), None)
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

        Annotators not seen in the fit have the population's mean reliability, or `initial` with a prior of one's own.
        With estimator "paper" every annotation stands on its own (RE-PO Eq. 4).
        """
        if annotator is None or label is None:
            return self._by_annotation(*self._judged)
        grouped = None if self.estimator == "paper" else comparison
        votes = group_votes(annotator, label, grouped, margin, position, gold, weight, dtype=self.dtype)
        if self.coins_ == 2 and votes.kinds != self._last.problem.votes.kinds:
            raise ValueError("position: must be given here exactly if it was given to fit")
        place = {identifier: index for index, identifier in enumerate(self.annotators_)}
        eta = np.full((len(votes.annotators), self.coins_), self.initial)
        if self._population is not None:
            eta[:] = self._population.moments()[0]
        for row, identifier in enumerate(votes.annotators):
            if identifier in place:
                eta[row] = self.eta_[place[identifier]]
        nothing, nobody = np.zeros((*eta.shape, 2)), np.zeros(len(eta), bool)
        problem = Problem.of(votes, self.coins_, nothing, nobody, CalibrationPrior(False, False), self.chunk)
        expectation = e_step(problem, Parameters(eta, **self.calibration_), keep_direction=True)
        assert expectation.direction is not None
        return self._by_annotation(votes, expectation.direction)

    def opinions(self, edges: Array) -> Array:
        """Return how often each annotator's votes met which opinion of the others, shape [A, len(edges)]; one coin.

        An opinion is the log-odds that the vote is right by its comparison's margin and the other votes, split between
        the two neighbouring of the equidistant `edges`.
        """
        assert self.coins_ == 1, "two coins have two ways to vote"
        everybody = np.arange(len(self.annotators_))
        return opinions(self._last.problem, self._last.fit.parameters, edges, everybody)[:, 0]

    @property
    def _asked(self) -> Asked:
        return Asked(**{option.name: getattr(self, option.name) for option in fields(Asked)})

    def _coins(self, votes: Votes) -> list[int]:
        """Return the coin models to try."""
        if self.coins != "auto":
            return [self.coins]
        return [1, 2] if votes.margin is None or votes.kinds == 4 else [1]

    def _publish(self, run: Fitted, state: ReliabilityState | None) -> None:
        problem, votes, parameters = run.problem, run.problem.votes, run.fit.parameters
        if run.population is not None:
            parameters, expectation = judged_by_others(problem, parameters)
        else:
            expectation = e_step(problem, parameters, keep_direction=True)
        assert expectation.direction is not None
        self._last, self._prior_state, self._population = run, state, run.population
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
        self._judged = run.judged, self._direction_of(run.judged, run, expectation)
        self.log_likelihood_ = expectation.log_likelihood
        self.objectives_ = run.fit.history
        self.iterations_, self.converged_ = run.fit.iterations, run.fit.converged
        self.population_ = None if run.population is None else _described(run.population)
        self.warnings_ = diagnose(
            problem, run.known.evidence, run.fit, self._asked.options, self.reliability_, self.counts_
        )
        for message in self.warnings_:
            warnings.warn(message, ReliabilityWarning, stacklevel=3)

    def _direction_of(self, judged: Votes, run: Fitted, expectation: Expectation) -> Array:
        """Return q for the votes as they are judged: by comparison, or by the paper each on its own."""
        if judged is not run.problem.votes:
            expectation = e_step(replace(run.problem, votes=judged), run.fit.parameters, keep_direction=True)
        assert expectation.direction is not None
        return expectation.direction

    @cached_property
    def _logit_variance(self) -> Array:
        """Variance of logit η by coin, shape [A, coins_]; found when first asked for."""
        run = self._last
        return logit_variance(replace(run.problem, calibration=run.calibration), run.fit.parameters)

    @cached_property
    def _coin_variance(self) -> Array:
        """Variance of logit η by coin, shape [A, coins_], with what is not known of the population."""
        run = self._last
        if run.population is None:
            return self._logit_variance
        parameters, evidence = run.fit.parameters, run.known.evidence
        return variance_with_population(run.problem, parameters, self._logit_variance, evidence, run.population)

    @cached_property
    def eta_interval_(self) -> Array:
        """Interval for each η, shape [A, coins_, 2]."""
        run = self._last
        if run.population is None or self.coins_ == 2:
            return interval(self.eta_, self._coin_variance, self.confidence)
        evidence = run.known.evidence, run.known.elsewhere
        parameters, variance = run.fit.parameters, self._logit_variance
        found = interval_with_population(run.problem, parameters, variance, evidence, run.population, self.confidence)
        # Everybody may have the pooled value, also who alone would be another; and the grid of levels ends at .9975.
        low, high = np.minimum(found[:, 0], self.eta_[:, 0]), np.maximum(found[:, 1], self.eta_[:, 0])
        return np.stack([low, high], 1)[:, None]

    @cached_property
    def interval_(self) -> Array:
        """Interval for `reliability_`, shape [A, 2]."""
        if self.coins_ == 1:
            return self.eta_interval_[:, 0]
        variance = overall_variance(self._tosses, self.eta_, self._coin_variance)
        return interval(self.reliability_, variance, self.confidence)

    @cached_property
    def population_share_(self) -> Array:
        """How much of the information on each annotator is the population's, 0 … 1, shape [A]; 0 where pinned."""
        run = self._last
        strength = (run.problem.prior - run.known.evidence).sum(2)  # [A, coins]
        eta = run.fit.parameters.eta
        share = np.minimum(strength * eta * (1 - eta) * self._logit_variance, 1.0)
        return np.where(run.known.fixed, 0.0, (share * self._tosses).sum(1) / self._tosses.sum(1))

    @cached_property
    def first_preference_interval_(self) -> Array:
        """Interval for `first_preference_`, shape [A, 2]: normal, the two coins taken as independent; 0s for one."""
        if self.coins_ == 1:
            return np.zeros((len(self.eta_), 2))
        spread = np.sqrt((self._coin_variance * (self.eta_ * (1 - self.eta_)) ** 2).sum(1)) / 2
        half = NormalDist().inv_cdf((1 + self.confidence) / 2) * spread
        middle = self.first_preference_
        return np.asarray(np.clip(np.stack([middle - half, middle + half], 1), -0.5, 0.5))

    @cached_property
    def state_(self) -> ReliabilityState:
        """Evidence about every annotator, to save and to start the next fit from."""
        run, population = self._last, self.population_
        moments = None if population is None else (population["mean"], population["sd"])
        variance, parameters = self._logit_variance, run.fit.parameters
        return next_state(self.estimator, run.problem, parameters, variance, moments, self._prior_state)

    @staticmethod
    def _by_annotation(votes: Votes, direction: Array) -> Array:
        q = direction if votes.start is None else np.repeat(direction, votes.group_sizes())
        return votes.in_input_order(np.where(votes.code % 2 == 1, q, 1 - q))


def _described(population: Population) -> dict[str, Any]:
    mean, sd = population.moments()
    words: dict[str, Any] = {"mean": float(mean.mean()), "sd": float(sd.mean()), "told_apart": population.told_apart}
    if not population.told_apart:
        words["sd"] = 0.0
    if population.coins == 2:
        words |= {"first_preference": float(mean[0] - mean[1]) / 2, "correlation": population.correlation}
    return words
