"""Judge batches, each on its own: what cannot be read, or holds too many bad rows, is kept out of training."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from repo.annotations.reading.reader import read_annotations
from repo.annotations.validation.suite import ValidationResult, validate
from repo.errors import UserError
from repo.inbox.look import Batch, State, addresses, digest_of
from repo.settings import Settings
from repo.uris import public_name


@dataclass(frozen=True)
class Judged:
    """A batch after it was read.

    Attributes:
        batch: new where it can be used, quarantined where it cannot; waiting where it is not what the look saw.
        result: what validation found; None where it could not be read.
    """

    batch: Batch
    result: ValidationResult | None

    def without_annotations(self) -> "Judged":
        """Return it without the annotations, which may be large."""
        if self.result is None:
            return self
        return replace(self, result=replace(self.result, annotations=self.result.annotations.head(0)))

    @property
    def good(self) -> ValidationResult | None:
        """What validation found of a batch that can be used; None of any other."""
        return self.result if self.batch.state is State.NEW else None


def judge(batches: Iterable[Batch], settings: Settings) -> list[Batch]:
    """Return the batches, those new ones quarantined that cannot be used; their note says why."""
    return [_judged(batch, settings).batch if batch.state is State.NEW else batch for batch in batches]


def judge_again(inbox: str, batches: Iterable[Batch], settings: Settings) -> Iterator[Judged]:
    """Judge what a look found new, one batch at a time; what has changed or gone since then waits.

    Args:
        inbox: the folder or URI that was looked into.
        batches: without their addresses.
        settings: layouts and bounds.

    Raises:
        UserError: the inbox is gone.
    """
    found = addresses(inbox)
    for batch in batches:
        if batch.state is not State.NEW:
            yield Judged(batch, None)
        elif batch.name not in found:
            yield Judged(replace(batch, state=State.WAITING, note="it has gone since the look"), None)
        else:
            judged = _judged(replace(batch, address=found[batch.name]), settings)
            # Asked after the reading: what was read is then what the look saw.
            same = digest_of(judged.batch.address) == batch.digest
            note = "its content has changed since the look"
            yield judged if same else Judged(replace(judged.batch, state=State.WAITING, note=note), None)


def _judged(batch: Batch, settings: Settings) -> Judged:
    result = None
    try:
        result = validate(read_annotations(batch.address, settings.data), settings)
        result.raise_if_failed(one_of_many=True)
    except UserError as error:
        # The batch is named beside the note.
        name = public_name(batch.address)
        problem = " ".join(error.problem.replace(f"{name}, ", "").replace(f"{name}: ", "").split())
        return Judged(replace(batch, state=State.QUARANTINED, note=f"{problem} → {error.remedy}"), result)
    return Judged(batch, result)
