"""Every vote judged by the others: compared with taking it out by hand."""

import numpy as np
import pytest
from reliability_examples import world

from repo.reliability.em.algorithms import Options, Problem, full
from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.expectation import Parameters
from repo.reliability.em.left_out import left_out, prediction_score
from repo.reliability.em.votes import group_votes

STRENGTH = 2.0


def fitted(weight: np.ndarray) -> tuple[Problem, Parameters, dict[str, np.ndarray]]:
    w = world(1, annotators=5, comparisons=30)
    arrays = w.arrays("comparison", "margin")
    votes = group_votes(**arrays, weight=weight)
    prior = np.full((5, 1, 2), STRENGTH / 2)
    problem = Problem.of(votes, 1, prior, np.zeros(5, bool), CalibrationPrior(False, False), None)
    return problem, full(problem, Parameters(np.full((5, 1), 0.9)), Options(1e-10)).parameters, arrays


@pytest.mark.parametrize("weights", ["ones", "halves and wholes"])
def test_a_vote_and_its_share_are_taken_out(weights: str) -> None:
    size = 90
    weight = np.ones(size) if weights == "ones" else np.where(np.arange(size) % 3 == 0, 0.5, 1.0)
    problem, parameters, arrays = fitted(weight)
    (part,) = left_out(problem, parameters)
    annotator, label, comparison, margin = (arrays[n] for n in ("annotator", "label", "comparison", "margin"))
    eta = parameters.eta[annotator, 0]
    evidence = weight * label * np.log(eta / (1 - eta))
    logit = np.bincount(comparison, evidence) + margin[::3]
    q = 1 / (1 + np.exp(-logit[comparison]))
    w = np.where(label > 0, q, 1 - q)
    right, number = np.bincount(annotator, weight * w), np.bincount(annotator, weight)
    own = (right[annotator] - weight * w + STRENGTH / 2) / (number[annotator] - weight + STRENGTH)
    own_evidence = weight * label * np.log(own / (1 - own))
    total = np.bincount(comparison, own_evidence) + margin[::3]
    np.testing.assert_allclose(part.first, np.where(label > 0, own, 1 - own), atol=1e-9)
    np.testing.assert_allclose(part.direction, 1 / (1 + np.exp(-total)), atol=1e-9)
    np.testing.assert_allclose(part.others, total[comparison] - own_evidence, atol=1e-8)
    p = 1 / (1 + np.exp(-part.others))
    chance = p * part.first + (1 - p) * part.second
    score = prediction_score(problem, parameters, lone_votes=True)
    np.testing.assert_allclose(score.by_comparison, np.bincount(comparison, weight * np.log(chance)), atol=1e-9)


@pytest.mark.parametrize("comparisons", [None, np.arange(30)])
def test_a_lone_vote_is_predicted_without_its_own_share(comparisons: np.ndarray | None) -> None:
    w = world(2, annotators=5, comparisons=30, votes=1)
    votes = group_votes(w.annotator, w.label, comparisons, w.margin)
    problem = Problem.of(
        votes, 1, np.full((5, 1, 2), STRENGTH / 2), np.zeros(5, bool), CalibrationPrior(False, False), None
    )
    parameters = full(problem, Parameters(np.full((5, 1), 0.9)), Options(1e-10)).parameters
    eta = parameters.eta[w.annotator, 0]
    p = 1 / (1 + np.exp(-w.label * w.margin))
    share = eta * p / (eta * p + (1 - eta) * (1 - p))
    right, number = np.bincount(w.annotator, share), np.bincount(w.annotator)
    others = (right[w.annotator] - share + STRENGTH / 2) / (number[w.annotator] - 1 + STRENGTH)
    score = prediction_score(problem, parameters, lone_votes=True)
    in_input_order = votes.in_input_order(score.by_comparison)
    np.testing.assert_allclose(in_input_order, np.log(others * p + (1 - others) * (1 - p)), atol=1e-9)
    (part,) = left_out(problem, parameters)
    # What is trained on and shown keeps Eq. 4.
    by_equation_4 = np.where(w.label > 0, share, 1 - share)
    np.testing.assert_allclose(votes.in_input_order(part.direction), by_equation_4, atol=1e-9)
