"""Sums over posteriors are derivatives of the marginal likelihood: Fisher's and Louis' identities against autograd."""

import numpy as np
import pytest
import torch
from reliability_examples import marginal_log_likelihood, world

from repo.reliability.em import information
from repo.reliability.em.algorithms import Options, Problem, e_step, full
from repo.reliability.em.calibration import INTERCEPT_SD, LOG_TEMPERATURE_SD, CalibrationPrior
from repo.reliability.em.expectation import Parameters
from repo.reliability.em.intervals import interval
from repo.reliability.em.votes import group_votes


def problem_and_parameters(coins: int, votes: int) -> tuple[Problem, Parameters, torch.Tensor]:
    """Return a problem, its optimum, and the variance of logit η there from the whole Hessian."""
    w = world(1, comparisons=150, votes=votes)
    votes_of_w = group_votes(**w.arrays("comparison", "margin", "position"))
    shape = (len(w.eta), coins)
    calibration = CalibrationPrior.of(votes_of_w, calibrate=True, intercept=True)
    problem = Problem.of(votes_of_w, coins, np.full((*shape, 2), 0.5), np.zeros(len(w.eta), bool), calibration, None)
    parameters = full(problem, Parameters(np.full(shape, 0.9)), Options()).parameters
    at = np.log(parameters.temperature), parameters.intercept

    def objective(flat: torch.Tensor) -> torch.Tensor:
        logit, log_c, b = flat[:-2].reshape(shape), flat[-2], flat[-1]
        prior = 0.5 * (torch.nn.functional.logsigmoid(logit) + torch.nn.functional.logsigmoid(-logit)).sum()
        prior = prior - 0.5 * (((log_c - calibration.center) / LOG_TEMPERATURE_SD) ** 2 + (b / INTERCEPT_SD) ** 2)
        return marginal_log_likelihood(w, logit, log_c, b) + prior

    eta = torch.tensor(parameters.eta)
    flat = torch.cat([torch.logit(eta).ravel(), torch.tensor(at)])
    hessian = torch.autograd.functional.hessian(objective, flat)
    return problem, parameters, torch.linalg.inv(-hessian).diagonal()[:-2].reshape(shape)


@pytest.mark.parametrize("coins", [1, 2])
@pytest.mark.parametrize("votes", [1, 3])
def test_posteriors_give_the_gradient_of_the_marginal_likelihood(coins: int, votes: int) -> None:
    problem, parameters, _ = problem_and_parameters(coins, votes)
    w = world(1, comparisons=150, votes=votes)
    parameters = Parameters(np.random.default_rng(2).uniform(0.6, 0.9, parameters.eta.shape), 1.3, 0.2)
    logit = np.log(parameters.eta / (1 - parameters.eta))
    at = [torch.tensor(x, dtype=torch.float64) for x in (logit, np.log(1.3), 0.2)]
    value = marginal_log_likelihood(w, *(x.requires_grad_() for x in at))
    of_eta, of_temperature, of_intercept = (x.numpy() for x in torch.autograd.grad(value, at))
    expectation = e_step(problem, parameters)
    right, tosses = problem.model.counts(expectation.first, problem.number)
    assert expectation.log_likelihood == pytest.approx(value.item(), rel=1e-12)
    np.testing.assert_allclose(right - tosses * parameters.eta, of_eta, atol=1e-9)
    np.testing.assert_allclose(expectation.gradient, [of_temperature, of_intercept], atol=1e-9)


@pytest.mark.parametrize("coins", [1, 2])
@pytest.mark.parametrize("votes", [1, 3])
def test_variance_is_the_inverse_hessians(coins: int, votes: int) -> None:
    problem, parameters, expected = problem_and_parameters(coins, votes)
    np.testing.assert_allclose(information.logit_variance(problem, parameters), expected, rtol=1e-6)


@pytest.mark.parametrize("coins", [1, 2])
def test_with_too_many_annotators_for_a_matrix_single_votes_lose_nothing(
    coins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, parameters, expected = problem_and_parameters(coins, votes=1)
    monkeypatch.setattr(information, "MAX_DENSE_COINS", 0)
    np.testing.assert_allclose(information.logit_variance(problem, parameters), expected, rtol=1e-6)


def test_where_nothing_is_known_the_interval_is_everything() -> None:
    votes = group_votes(["a"], [1])
    problem = Problem.of(votes, 1, np.zeros((1, 1, 2)), np.zeros(1, bool), CalibrationPrior(False, False), None)
    variance = information.logit_variance(problem, Parameters(np.array([[0.5]])))
    np.testing.assert_allclose(interval(np.array([[0.5]]), variance, 0.9), [[[0, 1]]], atol=1e-6)
