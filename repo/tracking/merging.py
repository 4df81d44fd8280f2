"""From a night's good batches to what a training is given: what is new, what is retained, what it goes on from."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from repo.annotations.splitting import Split, save_split, split_annotations
from repo.annotations.validation.suite import content_digest
from repo.errors import UserError
from repo.evaluation.exam import Exam
from repo.inbox.look import Batch, State, new_batches
from repo.inbox.merging import merge
from repo.settings import Settings
from repo.tracking.exams import EXAM_POINTER, frozen_exam
from repo.tracking.handover import Pointer, write_pointer
from repo.tracking.ledger import Ledger, counted_annotations, ledger_of, save_ledger, with_its_record
from repo.tracking.passes import Pass, batches_of, remember, save_judged, still_champion, tried_votes
from repo.tracking.step_run import StepRun


@dataclass(frozen=True)
class MergedBatches:
    """What a pass has come to.

    Attributes:
        champion: the version to go on from, or "".
        ledger: what that one has seen.
        batches: all of the inbox; where there is nothing to train on, those that cannot bring a vote are new no more.
        split: the new annotations; None where there is nothing to train on.
        idle: why not, in words, or "".
        retained: see repo.inbox.merging.Merged.
        exam: where the frozen exam lies, if there is one.
        data_digest: of the new annotations that train, or would judge: with a frozen exam these judge nothing.
        notes: what was left out.
    """

    champion: str
    ledger: Ledger
    batches: list[Batch]
    split: Split | None
    idle: str
    retained: pd.DataFrame
    exam: Pointer | None
    data_digest: str
    notes: list[str]

    @property
    def train(self) -> bool:
        """Whether there is anything to train on."""
        return self.split is not None

    def counts(self) -> dict[str, float]:
        """Return the numbers of annotations, and of batches taken."""
        sides = {"train": self.split.train, "held_out": self.split.held_out} if self.split else {}
        return {
            **{name: float(len(table)) for name, table in sides.items()},
            "retained": float(len(self.retained)),
            "batches": float(len(new_batches(self.batches)) if self.split else 0),
        }

    def words(self) -> Iterator[str]:
        """Say what is trained on."""
        yield from self.notes
        if self.split is None:
            yield f"{self.idle}: nothing to train on"
            return
        yield (
            f"{len(self.split.train):,} new annotations and {len(self.retained):,} earlier ones to train on, "
            f"{len(self.split.held_out):,} held out by {self.split.by}"
        )
        yield from self.split.notes


def merge_batches(judged: Path, settings: Settings) -> MergedBatches:
    """Merge a night's good batches with what the champion has seen.

    Args:
        judged: what the step before published: batches.json, and a table a good batch.
        settings: all of them.

    Raises:
        UserError: the champion is another one by now; what it has seen, or its exam, cannot be had; or these are the
            line's first votes and one side of the split would be empty.
    """
    name = settings.registry.model
    champion, batches = batches_of(judged)
    current = still_champion(name, champion)
    ledger = with_its_record(ledger_of(name, champion), current) if current else Ledger()
    tables = {batch.name: pd.read_parquet(judged / f"{batch.digest}.parquet") for batch in new_batches(batches)}
    counted = counted_annotations(ledger)
    merged = merge(tables, counted, settings.retrain)
    exam = frozen_exam(name) if settings.evaluation.exam == "frozen" else None
    retained = merged.retained
    if exam and len(retained):
        retained = retained[~exam[0].holds(retained)].reset_index(drop=True)
    split, notes = None, merged.notes
    try:
        split = _split(merged.new, exam, settings)
    except UserError as error:
        if not current:
            raise
        notes = [*notes, error.problem]
    digest = content_digest(_plain(split.train if split and exam else merged.new))
    barren: set[str] = set()
    if split is None:
        idle, barren = "no vote in the new batches can train", set(tables)
    elif idle := tried_votes(name, digest, champion, settings):
        split = None
        # Each looked at alone: what only repeats another new batch is new once that one is gone.
        alone = {batch: merge({batch: table}, counted, settings.retrain).new for batch, table in tables.items()}
        barren = {batch for batch, new in alone.items() if not _can_train(new, exam, settings)}
    else:
        split = replace(split, train=_plain(split.train), held_out=_plain(split.held_out))
    batches = [_nothing_new(batch) if batch.name in barren else batch for batch in batches]
    return MergedBatches(champion, ledger, batches, split, idle, retained, exam[1] if exam else None, digest, notes)


def publish_parts(
    run: StepRun, parent_run_id: str, merged: MergedBatches, settings: Settings, directory: Path
) -> Pointer:
    """Publish the split with what a training goes on from; without a split, what became of the batches."""
    if merged.split is None:
        save_judged(merged.batches, merged.champion, settings, directory)
        pointer = run.publish(directory, "batches")
        remember(parent_run_id, settings.registry.model, pointer)
        return pointer
    with tempfile.TemporaryDirectory() as folder:
        save_ledger(merged.ledger, new_batches(merged.batches), Path(folder))
        ledger = run.publish(Path(folder), "ledger")
    save_split(merged.split, directory)
    if merged.exam:
        write_pointer(merged.exam, directory / EXAM_POINTER)
    Pass(merged.champion, ledger, merged.retained).save(directory)
    return run.publish(directory, "split")


def _split(new: pd.DataFrame, exam: tuple[Exam, Pointer] | None, settings: Settings) -> Split | None:
    """Split new annotations; None where there are none. Raises as split_annotations does."""
    if new.empty:
        return None
    held = (exam[0].holds(new), exam[0].by) if exam else (None, None)
    return split_annotations(new, settings.data, *held)


def _can_train(new: pd.DataFrame, exam: tuple[Exam, Pointer] | None, settings: Settings) -> bool:
    """Whether any of them trains; without an exam that is decided only together with the others."""
    if exam is None:
        return not new.empty
    try:
        return _split(new, exam, settings) is not None
    except UserError:
        return False


def _nothing_new(batch: Batch) -> Batch:
    why = "every vote in it counts already, or is held out for evaluation"
    return replace(batch, state=State.NOTHING_NEW, note=why)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Return canonical annotations only."""
    return table.drop(columns="batch")
