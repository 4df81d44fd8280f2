"""The model line's exam in MLflow: the frozen one, or a new one made by the run that is the line's first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repo.annotations.splitting import load_split
from repo.errors import UserError
from repo.evaluation.exam import Exam
from repo.tracking.handover import Pointer, fetch, read_pointer
from repo.tracking.registry import line_exam
from repo.tracking.step_run import StepRun

EXAM_POINTER = "exam_pointer.json"
"""Beside the split: the frozen exam that it kept out of training. Not there where the line has none yet."""


def frozen_exam(model_name: str) -> tuple[Exam, Pointer] | None:
    """Return the model line's exam and where it lies, or None while no version was ever promoted.

    Raises:
        UserError: it is gone or was changed.
    """
    pointer = line_exam(model_name)
    if pointer is None:
        return None
    try:
        return Exam.load(fetch(pointer)), pointer
    except UserError as error:
        problem = f"{model_name}: the evaluation set of this model line cannot be had: {error.problem}"
        raise UserError(problem, "restore it, or make a new one with evaluation.exam=renew") from None


def exam_of(run: StepRun, parts: Path, reliability: Mapping[str, Any], directory: Path) -> tuple[Exam, Pointer]:
    """Return the exam that the split step kept out of training, and where it lies; a new one is published.

    Args:
        run: the step that publishes a new exam.
        parts: the split.
        reliability: content of the training's reliability.json: how far each annotator of a new exam can be believed.
        directory: a directory to write to.
    """
    frozen = parts / EXAM_POINTER
    if frozen.exists():
        pointer = read_pointer(frozen)
        return Exam.load(fetch(pointer)), pointer
    split = load_split(parts)
    exam = Exam.of(split.held_out, split.by, reliability)
    exam.save(directory / "exam")
    return exam, run.publish(directory / "exam", "exam")
