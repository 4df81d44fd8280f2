"""The model line's exam in MLflow: the frozen one, or a new one made by the run that is the line's first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repo.annotations.splitting import load_split
from repo.evaluation.exam import Exam
from repo.tracking.handover import Pointer, fetch, read_pointer
from repo.tracking.step_run import StepRun

EXAM_POINTER = "exam_pointer.json"
"""Beside the split: the frozen exam that it kept out of training. Not there where the line has none yet."""


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
