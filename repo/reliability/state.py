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
from repo.reliability.em.algorithms import Fit, Problem

Array = NDArray[Any]

SCHEMA_VERSION = 1


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
    """Evidence about annotators without the default prior, and the calibration it was found with.

    A temperature belongs to a policy and its loss: the next fit only starts from it.
    """

    estimator: str
    coins: int
    temperature: float
    intercept: float
    annotators: Mapping[Hashable, AnnotatorRecord] = field(default_factory=dict)

    def faded(self, forgetting: float) -> "ReliabilityState":
        """Return the state with a share `forgetting` of its evidence gone."""
        return replace(self, annotators={i: record.faded(forgetting) for i, record in self.annotators.items()})

    def one_coin(self) -> "ReliabilityState":
        """Return the state with each annotator's evidence in one coin."""
        records = {
            identifier: AnnotatorRecord((sum(record.right),), (sum(record.wrong),), record.labels)
            for identifier, record in self.annotators.items()
        }
        return replace(self, coins=1, annotators=records)

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
        if version != SCHEMA_VERSION:
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
        return cls(str(values["estimator"]), coins, temperature, intercept, annotators)


def next_state(
    name: str,
    problem: Problem,
    fit: Fit,
    variance: Array,
    old: ReliabilityState | None,
) -> ReliabilityState:
    """Return the evidence after this fit: the old one (already faded) for annotators not seen; new for those seen.

    A variance v of logit η is that of 1 / (v η(1 − η)) certain votes, a share η of them right.
    """
    parameters = fit.parameters
    records = {} if old is None else dict(old.annotators)
    labels = problem.number.sum(1)
    worth = 1 / np.maximum(variance * parameters.eta * (1 - parameters.eta), 1e-300)
    right = np.maximum(worth * parameters.eta - problem.default_prior[0], 0.0)
    wrong = np.maximum(worth * (1 - parameters.eta) - problem.default_prior[1], 0.0)
    for row, identifier in enumerate(problem.votes.annotators):
        if not problem.fixed[row]:
            before = records[identifier].labels if identifier in records else 0.0
            records[identifier] = AnnotatorRecord(
                tuple(right[row].tolist()), tuple(wrong[row].tolist()), before + float(labels[row])
            )
    return ReliabilityState(name, problem.model.coins, parameters.temperature, parameters.intercept, records)


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


def _record(entry: dict[str, Any], coins: int) -> AnnotatorRecord:
    right, wrong = (tuple(float(value) for value in entry[name]) for name in ("right", "wrong"))
    numbers = (*right, *wrong, labels := float(entry["labels"]))
    if len(right) != coins or len(wrong) != coins or not all(0 <= value < math.inf for value in numbers):
        raise ValueError(f"annotator {entry['annotator']!r}: pseudo-counts {right}, {wrong}")
    return AnnotatorRecord(right, wrong, labels)
