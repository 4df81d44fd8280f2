"""Nights to report on: the simulated fortnight, with estimates that follow its truth after a few nights."""

import numpy as np

from repo.annotations.nightly import Nightly
from repo.reporting.nights import Drift, Estimate, Night, NightBatch
from repo.settings import SimulationSettings

SIMULATED = Nightly(SimulationSettings(), 14)
TRUTH = SIMULATED.truth()
NAMED = 8
"""The day on which careful-4, who turned on day 7, is found changed."""


def around(value, half=0.03):
    """Return an estimate with an interval of that half width, inside [0, 1]."""
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def drift(annotator="ann", before=0.94, after=0.21):
    return Drift(annotator, around(before), around(after))


def night(day="day-01", outcome="promoted", **values):
    """A night that took one batch and promoted version 2, except for what is said."""
    plain = {
        "seconds": 31.4,
        "batches": [NightBatch("votes.jsonl", "consumed")],
        "annotations": 300,
        "version": "2",
        "champion": "2",
        "candidate_accuracy": around(0.81),
        "champion_accuracy": around(0.78),
        "reliabilities": {"ann": around(0.9), "ben": around(0.6)},
    }
    return Night(day, outcome, **{**plain, **values})


def quiet(day="day-11", champion="2"):
    return Night(day, "nothing new", 1.2, champion=champion)


def fortnight():
    """The nights of the simulated fortnight: all its events, two rejections, and one night that failed."""
    random = np.random.default_rng(0)
    nights, believed, champion, accuracy = [], {}, "", None
    for day in range(1, SIMULATED.days + 1):
        label = f"day-{day:02}"
        if not SIMULATED.files_of(day):
            nights.append(quiet(label, champion))
            continue
        if day == 13:
            failed = {"batches": [NightBatch("day-13.jsonl", "new")], "reasons": ["no space left on device"]}
            nights.append(Night(label, "failed", 4.0, champion=champion, **failed))
            continue
        present = SIMULATED.reliabilities_on(day)
        turned = drift("careful-4", believed["careful-4"].value, 0.2) if day == NAMED else None
        for name, value in present.items():
            seen = 0.95 if name == "careful-4" and day == NAMED - 1 else value
            guess = float(np.clip(seen + random.normal(0, 0.015), 0, 0.995))
            believed[name] = around(guess, 0.15 / np.sqrt(day if name != "careful-4" else 4))
        outcome = "rejected" if day in {5, 10} else "promoted"
        candidate = around(0.78 + 0.006 * day + random.normal(0, 0.01) - 0.04 * (outcome == "rejected"), 0.025)
        met, accuracy = accuracy, accuracy if outcome == "rejected" else candidate
        champion = champion if outcome == "rejected" else str(day)
        nights.append(
            Night(
                label,
                outcome,
                28 + day,
                batches=[_batch(name) for name in SIMULATED.files_of(day)],
                annotations=309,
                version=str(day),
                champion=champion,
                candidate_accuracy=candidate,
                champion_accuracy=met,
                reasons=["accuracy: no better than the champion's"] if outcome == "rejected" else [],
                drift=[turned] if turned else [],
                newcomers=[name for name in present if day == 1 or (day == 4 and name == "newcomer-1")],
                reliabilities=dict(believed),
            )
        )
    return nights


def _batch(name):
    if "again" in name:
        return NightBatch(name, "duplicate", "of day-08.jsonl")
    if "broken" in name:
        return NightBatch(name, "quarantined", "line 309: not valid JSON; it looks cut off → repair that line")
    return NightBatch(name, "consumed")
