"""What one training learnt about its annotators, kept in one JSON file as the prior of the next."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.errors import UserError
from repo.files import read_json, write_json
from repo.reliability.em.algorithms import Problem, e_step
from repo.reliability.em.expectation import Parameters

Array = NDArray[Any]

SCHEMA_VERSION = 2
READABLE = (1, 2)


@dataclass(frozen=True)
class AnnotatorRecord:
    """Pseudo-counts of one annotator: how many certain votes, right and wrong, the evidence so far is worth, by coin.

    Labels whose correctness is itself uncertain count for less than one, as much as the observed information says.
    """

    right: tuple[float, ...]
    wrong: tuple[float, ...]
    labels: float

    def faded(self, forgetting: float) -> "AnnotatorRecord":
        """Return the record with a share `forgetting` of its evidence gone."""
        keep = 1 - forgetting
        return AnnotatorRecord(
            tuple(keep * value for value in self.right), tuple(keep * value for value in self.wrong), keep * self.labels
        )


@dataclass(frozen=True)
class ReliabilityState:
    """Evidence about annotators without the prior of their population, that population, and the calibration.

    A temperature belongs to a policy and its loss: the next fit only starts from it.

    Attributes:
        mean, sd: of the η of annotators in general; None where nothing was learnt of them.
    """

    estimator: str
    coins: int
    temperature: float
    intercept: float
    annotators: Mapping[Hashable, AnnotatorRecord] = field(default_factory=dict)
    mean: float | None = None
    sd: float | None = None

    def faded(self, forgetting: float) -> "ReliabilityState":
        """Return the state with a share `forgetting` of its evidence gone."""
        return replace(self, annotators={i: record.faded(forgetting) for i, record in self.annotators.items()})

    def with_coins(self, coins: int) -> "ReliabilityState":
        """Return the state with this many coins: two are folded into one; one stands for both, half each."""
        if coins == self.coins:
            return self

        def changed(counts: tuple[float, ...]) -> tuple[float, ...]:
            return (sum(counts),) if coins == 1 else (counts[0] / 2, counts[0] / 2)

        records = {
            identifier: AnnotatorRecord(changed(record.right), changed(record.wrong), record.labels)
            for identifier, record in self.annotators.items()
        }
        return replace(self, coins=coins, annotators=records)

    def counts(self, identifier: Hashable) -> Array:
        """Return the pseudo-counts (right, wrong) of an annotator's coins, shape [coins, 2]."""
        record = self.annotators[identifier]
        return np.stack([record.right, record.wrong], 1)

    def save(self, path: Path) -> None:
        """Write one JSON file.

        Raises:
            ValueError: an annotator id is neither a string nor an integer.
        """
        for identifier in self.annotators:
            if isinstance(identifier, bool) or not isinstance(identifier, str | int):
                raise ValueError(f"annotator id {identifier!r}: only strings and integers can be saved as JSON")
        write_json(
            path,
            {
                "schema_version": SCHEMA_VERSION,
                "estimator": self.estimator,
                "coins": self.coins,
                "calibration": {"temperature": self.temperature, "intercept": self.intercept},
                "population": {"mean": self.mean, "sd": self.sd},
                "annotators": [
                    {"annotator": identifier, "right": record.right, "wrong": record.wrong, "labels": record.labels}
                    for identifier, record in self.annotators.items()
                ],
            },
        )

    @classmethod
    def load(cls, path: Path) -> "ReliabilityState":
        """Read a file written by save().

        Raises:
            ValueError: the file is not one, was written by another version, or holds a value that cannot be.
        """
        try:
            values = read_json(path)
        except ValueError as error:
            raise ValueError(f"{path}: not a reliability state: no valid JSON ({error})") from None
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version not in READABLE:
            raise ValueError(
                f"{path}: not a reliability state of schema version {SCHEMA_VERSION} (found {version!r}); "
                "start without it: it will be written anew after the next training"
            )
        try:
            return cls._from_json(values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: damaged reliability state: {error!r}") from None

    @classmethod
    def _from_json(cls, values: dict[str, Any]) -> "ReliabilityState":
        coins = values["coins"]
        if coins not in (1, 2):
            raise ValueError(f"coins = {coins!r}")
        annotators = {entry["annotator"]: _record(entry, coins) for entry in values["annotators"]}
        calibration = values["calibration"]
        temperature, intercept = float(calibration["temperature"]), float(calibration["intercept"])
        if not (0 < temperature < math.inf and math.isfinite(intercept)):
            raise ValueError(f"calibration = {calibration!r}")
        population = values.get("population") or {}
        mean, sd = (_moment(population.get(name)) for name in ("mean", "sd"))
        return cls(str(values["estimator"]), coins, temperature, intercept, annotators, mean, sd)


def next_state(
    name: str,
    problem: Problem,
    parameters: Parameters,
    variance: Array,
    population: tuple[float, float] | None,
    old: ReliabilityState | None,
) -> ReliabilityState:
    """Return the evidence after this fit: the old one (already faded) for annotators not seen; new for those seen.

    A variance v of logit η is that of 1 / (v η(1 − η)) certain votes. What is left of them without the population's
    prior is divided by the shares of right and wrong labels that EM expects, the old evidence included.

    Args:
        name: of the estimator.
        problem: its prior is the old evidence plus the population's.
        parameters: where EM ended.
        variance: of logit η by coin, shape [A, coins].
        population: mean and standard deviation of η.
        old: the state that the fit was given.
    """
    model, records = problem.model, dict[Hashable, AnnotatorRecord]()
    if old is not None:
        old = old.with_coins(model.coins)
        records.update(old.annotators)
    identifiers = problem.votes.annotators
    nothing = np.zeros((model.coins, 2))
    known = {} if old is None else old.annotators
    evidence = np.array([old.counts(i) if old is not None and i in known else nothing for i in identifiers])
    right, tosses = model.counts(e_step(problem, parameters).first, problem.number)  # each [A, coins]
    right, tosses = right + evidence[..., 0], tosses + evidence.sum(-1)
    worth = 1 / np.maximum(variance * parameters.eta * (1 - parameters.eta), 1e-300)
    kept = np.clip((worth - (problem.prior - evidence).sum(-1)) / np.where(tosses > 0, tosses, 1), 0, 1)  # [A, coins]
    labels = problem.number.sum(1)
    for row, identifier in enumerate(identifiers):
        if not problem.fixed[row]:
            before = records[identifier].labels if identifier in records else 0.0
            of_right = tuple((kept[row] * right[row]).tolist())
            of_wrong = tuple((kept[row] * np.maximum(tosses[row] - right[row], 0)).tolist())
            records[identifier] = AnnotatorRecord(of_right, of_wrong, before + float(labels[row]))
    mean, sd = population or (None, None)
    return ReliabilityState(name, model.coins, parameters.temperature, parameters.intercept, records, mean, sd)


def load_state(path: str) -> ReliabilityState:
    """Read the state that the setting reliability.prior_state names.

    Raises:
        UserError: it is not there or not one.
    """
    try:
        return ReliabilityState.load(Path(path).expanduser())
    except OSError as error:
        raise UserError(f"reliability.prior_state: {path}: {error.strerror}", _REMEDY) from None
    except ValueError as error:
        raise UserError(f"reliability.prior_state: {error}", _REMEDY) from None


_REMEDY = "give the reliability_state.json that an earlier run wrote beside reliability.json, or leave it out"


def _moment(value: Any) -> float | None:
    if value is None:
        return None
    if not 0 <= float(value) <= 1:
        raise ValueError(f"population: {value!r}")
    return float(value)


def _record(entry: dict[str, Any], coins: int) -> AnnotatorRecord:
    right, wrong = (tuple(float(value) for value in entry[name]) for name in ("right", "wrong"))
    numbers = (*right, *wrong, labels := float(entry["labels"]))
    if len(right) != coins or len(wrong) != coins or not all(0 <= value < math.inf for value in numbers):
        raise ValueError(f"annotator {entry['annotator']!r}: pseudo-counts {right}, {wrong}")
    return AnnotatorRecord(right, wrong, labels)
