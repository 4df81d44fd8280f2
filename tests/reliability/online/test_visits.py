"""Telling a policy that generalises from one that learnt its labels by heart, without any truth."""

import numpy as np

from repo.reliability.online.visits import memorisation

random = np.random.default_rng(0)
late = np.arange(4000) >= 1000
guess = random.standard_normal(4000)


def test_margins_that_generalise_are_believed_at_the_last_visit() -> None:
    label_is_right = np.where(random.random(4000) < 0.75, 1, -1)
    first, last = label_is_right * (1 + 0.1 * guess), label_is_right * (3 + 0.1 * guess)
    measured = memorisation(first, last, late)
    assert not measured.found
    assert measured.visit == "last_visit"
    assert measured.labels == 3000


def test_margins_that_repeat_the_label_are_not() -> None:
    measured = memorisation(guess, guess + 2, late)
    assert abs(measured.first - 0.5) < 0.05
    assert measured.last > 0.9
    assert measured.visit == "first_visit"


def test_few_labels_are_no_evidence() -> None:
    few = np.arange(4000) >= 3998
    assert not memorisation(-np.ones(4000), np.where(np.arange(4000) == 3999, 1.0, -1.0), few).found
    assert memorisation(guess, guess, np.zeros(4000, bool)).labels == 0
