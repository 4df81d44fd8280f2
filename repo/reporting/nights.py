"""What a nightly retraining did, night by night, and what can be told from many nights together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["promoted", "rejected", "nothing new", "failed"]
Truth = Mapping[str, Sequence[float | None]]
"""Annotator → true reliability on every night, None where the annotator is not there."""

TAKEN = "consumed"
"""The state of a batch that was trained on."""


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class NightBatch:
    """A batch that a night looked at for the first time: its name, its state (`repo.inbox.look.State`), and why."""

    name: str
    state: str
    note: str = ""


@dataclass(frozen=True)
class Drift:
    """An annotator whose reliability a night found changed."""

    annotator: str
    before: Estimate
    after: Estimate


@dataclass(frozen=True)
class Night:
    """One night.

    Attributes:
        day: what the night is called: a date, a number.
        outcome: what became of the night's candidate, or why there is none.
        seconds: how long the night took.
        batches: what came; `TAKEN` is the state of those trained on.
        annotations: how many were taken from them.
        version: the candidate's, '' where there is none.
        champion: the champion's version after the night, '' where there is none.
        candidate_accuracy: measured on the same comparisons as champion_accuracy; None where there is no candidate.
        champion_accuracy: of the champion that the candidate met; None where it met none.
        reasons: why the candidate was rejected, or the night failed.
        drift: annotators whose reliability was found changed.
        newcomers: annotators seen for the first time.
        reliabilities: annotator → reliability as the night's training left it.
    """

    day: str
    outcome: Outcome
    seconds: float
    batches: Sequence[NightBatch] = ()
    annotations: int = 0
    version: str = ""
    champion: str = ""
    candidate_accuracy: Estimate | None = None
    champion_accuracy: Estimate | None = None
    reasons: Sequence[str] = ()
    drift: Sequence[Drift] = ()
    newcomers: Sequence[str] = ()
    reliabilities: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def champions_accuracy(self) -> Estimate | None:
        """The accuracy of the champion after the night, where it was measured on it."""
        return self.candidate_accuracy if self.outcome == "promoted" else self.champion_accuracy


@dataclass(frozen=True)
class Change:
    """A change of an annotator's reliability: named by a night, true, or both.

    Attributes:
        annotator: whose.
        drift: what the night found; None where no night named the change.
        named: the place of that night among the nights, from 0.
        turned: the place of the night that the true reliability changed on; None where it did not, or is not known.
        judged: whether the truth is known.
        again: whether an earlier night had named the same true change.
    """

    annotator: str
    drift: Drift | None = None
    named: int | None = None
    turned: int | None = None
    judged: bool = False
    again: bool = False


def changes(nights: Sequence[Night], truth: Truth | None) -> list[Change]:
    """Return the changes that nights named, in that order, then the true ones that none named.

    Args:
        nights: in their order.
        truth: for no more nights than these; None where it is not known.
    """
    found: list[Change] = []
    for place, night in enumerate(nights):
        for drift in night.drift:
            turns = _turns(truth, drift.annotator)
            turned = max((turn for turn in turns or () if turn <= place), default=None)
            again = turned is not None and (drift.annotator, turned) in {(c.annotator, c.turned) for c in found}
            found.append(Change(drift.annotator, drift, place, turned, turns is not None, again))
    named = {(change.annotator, change.turned) for change in found}
    true = [(annotator, turn) for annotator in truth or () for turn in _turns(truth, annotator) or ()]
    missed = [Change(annotator, turned=turn, judged=True) for annotator, turn in true if (annotator, turn) not in named]
    return [*found, *missed]


def _turns(truth: Truth | None, annotator: str) -> list[int] | None:
    """Return the places at which an annotator's true reliability changed; None where it is not known."""
    if truth is None or annotator not in truth:
        return None
    values = truth[annotator]
    return [
        place
        for place in range(1, len(values))
        if None not in (values[place - 1], values[place]) and values[place - 1] != values[place]
    ]


def kept_out(nights: Sequence[Night]) -> list[NightBatch]:
    """Return the batches that were not trained on, each once, in the order they came; those that wait are not out."""
    out: dict[tuple[str, str], NightBatch] = {}
    for batch in (batch for night in nights for batch in night.batches):
        if batch.state in {"quarantined", "duplicate"}:
            out.setdefault((batch.name, batch.state), batch)
    return list(out.values())


def by_reliability(nights: Sequence[Night]) -> list[str]:
    """Return the annotators that any night had an estimate of, by the latest of each, most reliable first."""
    latest = {annotator: estimate for night in nights for annotator, estimate in night.reliabilities.items()}
    return sorted(latest, key=lambda annotator: (-latest[annotator].value, annotator))
