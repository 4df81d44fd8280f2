"""Judge batches, each on its own: what cannot be read, or holds too many bad rows, is kept out of training."""

from collections.abc import Iterable
from dataclasses import replace

from repo.annotations.reading.reader import read_annotations
from repo.annotations.validation.suite import validate
from repo.errors import UserError
from repo.inbox.look import Batch, State
from repo.settings import Settings
from repo.uris import public_name


def judge(batches: Iterable[Batch], settings: Settings) -> list[Batch]:
    """Return the batches, those new ones quarantined that cannot be used; their note says why."""
    return [_judged(batch, settings) if batch.state is State.NEW else batch for batch in batches]


def _judged(batch: Batch, settings: Settings) -> Batch:
    try:
        validate(read_annotations(batch.address, settings.data), settings).raise_if_failed(one_of_many=True)
    except UserError as error:
        # The batch is named beside the note.
        name = public_name(batch.address)
        problem = " ".join(error.problem.replace(f"{name}, ", "").replace(f"{name}: ", "").split())
        return replace(batch, state=State.QUARANTINED, note=f"{problem} → {error.remedy}")
    return batch
