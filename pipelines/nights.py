"""A night of retraining as MLflow has it: what became of a pass, and of every batch that it met."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repo.files import read_json
from repo.inbox.look import Batch, State
from repo.reporting.nights import TAKEN, Drift, Estimate, Night, NightBatch

if TYPE_CHECKING:
    from repo.tracking.passes import Look


def night_without_a_run(day: str, found: "Look", seconds: float, earlier: Sequence[Night]) -> Night:
    """Return a night on which nothing new was found.

    Args: as for night_of; `found` is what was found.
    """
    return Night(day, "nothing new", seconds, _told(found.batches, earlier), champion=found.champion)


def night_of(day: str, run_id: str, seconds: float, earlier: Sequence[Night]) -> Night:
    """Return the night whose pass this was, from what its steps published.

    Args:
        day: what the night is called.
        run_id: the pass's parent MLflow run; it has ended.
        seconds: how long the night took.
        earlier: the nights before; what they told of a batch or a newcomer is not told again.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _night(day, _Pass(run_id, Path(folder)), seconds, earlier)


def judged_batches(run_id: str, folder: Path) -> tuple[str, list[Batch]]:
    """Return the champion that a pass began with, and the batches as the last of its steps that judged them did.

    Args:
        run_id: the pass's parent MLflow run.
        folder: where to download to.
    """
    from repo.tracking.passes import batches_of
    from repo.tracking.runs import artifact_of

    done = _Pass(run_id, folder)
    # Where a merge leaves nothing to train on, it says of the batches why.
    if done.finished("merge") and not done.failed and "train" not in done.steps:
        step, path = "merge", "batches/batches.json"
    elif done.finished("validate_batches"):
        step, path = "validate_batches", "batches/batches.json"
    else:
        step, path = "look", "look/batches.json"
    return batches_of(artifact_of(run_id, step, path, folder).parent)


class _Pass:
    """A pass's steps, and what they published."""

    def __init__(self, run_id: str, folder: Path) -> None:
        from repo.tracking.runs import steps_of

        self.run_id, self.folder = run_id, folder
        self.steps = {step.name: step for step in steps_of(run_id)}  # of several attempts the last counts

    @property
    def failed(self) -> list[str]:
        """Why steps failed; none of those that did not."""
        return [
            f"step {step.name} failed: {step.error or step.status.lower()}"
            for step in self.steps.values()
            if step.status != "FINISHED"
        ]

    def finished(self, step: str) -> bool:
        return step in self.steps and self.steps[step].status == "FINISHED"

    def read(self, step: str, path: str) -> dict[str, Any] | None:
        """Return the content of a JSON file that a step published, or None where there is no such file."""
        from repo.tracking.runs import artifact_of

        file = artifact_of(self.run_id, step, path, self.folder)
        return read_json(file) if file.exists() else None

    def wrote(self, step: str, path: str) -> dict[str, Any]:
        """Return the content of a JSON file that a finished step always publishes."""
        content = self.read(step, path)
        assert content is not None, f"{step} published no {path}"
        return content


def _night(day: str, done: _Pass, seconds: float, earlier: Sequence[Night]) -> Night:
    from mlflow import MlflowClient

    if done.failed and not done.finished("look"):
        return Night(day, "failed", seconds, reasons=done.failed)  # not even the champion is known
    champion, judged = judged_batches(done.run_id, done.folder)
    trained = done.finished("gate") and not done.failed
    batches = _told(judged, earlier, trained)
    if done.failed:
        return Night(day, "failed", seconds, batches, champion=champion, reasons=done.failed)
    if not trained:
        return Night(day, "nothing new", seconds, batches, champion=champion)
    version = MlflowClient().get_run(done.steps["register"].run_id).data.tags["model_version"]
    evaluation, verdict = (
        done.wrote("evaluate", "evaluation/evaluation.json"),
        done.wrote("gate", "verdict/verdict.json"),
    )
    reliabilities = _reliabilities(done.wrote("train", "training/reliability.json"))
    drift = done.read("train", "training/drift.json")  # not there where there was no champion to compare with
    promoted = "promote" in done.steps
    return Night(
        day,
        "promoted" if promoted else "rejected",
        seconds,
        batches,
        annotations=done.wrote("train", "training/training.json")["annotations"],
        version=version,
        champion=version if promoted else champion,
        candidate_accuracy=_accuracy(evaluation, "candidate"),
        champion_accuracy=_accuracy(evaluation, "champion"),
        reasons=() if promoted else verdict["reasons"],
        drift=_changed(drift) if drift else (),
        newcomers=_newcomers(drift["new"] if drift else sorted(reliabilities), earlier),
        reliabilities=reliabilities,
    )


def _told(batches: Iterable[Batch], earlier: Sequence[Night], trained: bool = False) -> list[NightBatch]:
    """Return the batches that a night tells of: those trained on, and others unless an earlier night told the same.

    What was consumed on an earlier night is no news.
    """
    known = {(batch.name, batch.state) for night in earlier for batch in night.batches}
    told = [
        NightBatch(batch.name, TAKEN if trained and batch.state is State.NEW else str(batch.state), batch.note)
        for batch in batches
        if batch.state is not State.CONSUMED
    ]
    return [batch for batch in told if batch.state == TAKEN or (batch.name, batch.state) not in known]


def _newcomers(new: Iterable[str], earlier: Sequence[Night]) -> list[str]:
    """A rejected candidate leaves the next night to meet the same people anew."""
    met = {name for night in earlier for name in night.newcomers}
    return [name for name in new if name not in met]


def _accuracy(evaluation: Mapping[str, Any], policy: str) -> Estimate | None:
    if policy not in evaluation["policies"]:
        return None
    figure = evaluation["policies"][policy][evaluation["target"]]["accuracy"]
    return Estimate(**figure) if None not in figure.values() else None


def _reliabilities(reliability: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return the estimates; a pinned reliability is none."""
    return {
        row["annotator_id"]: Estimate(row["reliability"], *row["interval"])
        for row in reliability["annotators"]
        if row["interval"] and not row["pinned"]
    }


def _changed(drift: Mapping[str, Any]) -> list[Drift]:
    return [
        Drift(
            row["annotator"],
            Estimate(row["before"], *row["before_interval"]),
            Estimate(row["now"], *row["now_interval"]),
        )
        for row in drift["annotators"]
        if row["changed"]
    ]
