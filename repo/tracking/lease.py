"""The lease on a model line: at most one retraining pass works on a line at a time.

It is one tag of the registered model: who holds the line, until when, and how long a lease lasts. A pass takes it,
renews it from whichever of its processes is at work, and releases it; one that died blocks the line until its lease
runs out.

MLflow cannot compare and set a tag. So whoever wants the line reads, writes its own name, waits until all who read at
the same time have written too, and reads again: the last to write holds it. Two can believe that they hold it only
where one was held up for longer than `settle` between its read and its write. The earlier one learns of it when it next
renews; a pass renews before it promotes, and `promote_version` looks for itself whether the champion is still the one
compared with.

Expiry is by the clock of whoever wrote it; MLflow's own stamp of a registered model does not move with its tags, so it
cannot date a lease. Where a clock was set back, or the writer's is ahead, a lease seems to last longer than any can: it
is then dated anew by the reader's clock, so that it blocks the line no longer than one lease does; its owner, if alive,
renews it as ever. A reader whose clock is ahead takes over a living lease, and its owner learns of that as above.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, ErrorCode
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from repo.errors import UserError
from repo.tracking.registry import Tag, make_line, registered_model

SECONDS = 900
"""How long a lease lasts, unless it is renewed."""
SETTLE = 0.5
"""Seconds that others are waited for who ask at the same time: more than reading and writing a tag takes."""
_BRIEF = 60
"""How long a lease lasts that is taken for moving an alias."""
_PATIENCE = 20.0
"""Seconds that whoever wants to move an alias waits for the line: others who do the same are soon done."""
_AGAIN = "give the same command again"
_LONGEST = 7 * 24 * 3600
"""Seconds that a lease may last: a longer one would block the line for good where its owner died."""


@dataclass(frozen=True)
class Claim:
    """How an attempt to take a lease ended.

    Args:
        held: whether the owner holds the line now.
        words: who else holds it, and until when; or whose stale lease was taken over; "" where the line was free.
    """

    held: bool
    words: str


class _Lease(BaseModel, frozen=True, extra="forbid"):
    owner: str = Field(min_length=1)
    expires: AwareDatetime
    seconds: int = Field(gt=0, le=_LONGEST)

    @property
    def in_force(self) -> bool:
        return datetime.now(UTC) < self.expires

    @property
    def impossible(self) -> bool:
        """Whether it runs for longer than it could if it had been written by this clock."""
        return datetime.now(UTC) + timedelta(seconds=self.seconds) < self.expires

    @property
    def until(self) -> str:
        return self.expires.isoformat(timespec="seconds")


def take(model_name: str, owner: str, seconds: int = SECONDS, settle: float = SETTLE) -> Claim:
    """Take the lease on a model line where it is free, stale, or the owner's already.

    Args:
        model_name: registered model, made where it is missing.
        owner: who asks: the pass's parent MLflow run.
        seconds: how long the lease lasts unless it is renewed.
        settle: seconds to wait for others who ask at the same time; see SETTLE.

    Raises:
        UserError: the tag holds something else than a lease.
    """
    client = MlflowClient()
    _ensure_model(client, model_name)
    found = _read(client, model_name)
    other = found if found and found.owner != owner else None
    if other and other.in_force:
        return Claim(False, _in_force(client, model_name, other))
    standing = _claim(client, model_name, owner, seconds, settle)
    if standing is None or standing.owner != owner:
        return Claim(False, _holder(model_name, standing))
    return Claim(True, _taken_over(model_name, other) if other else "")


def renew(model_name: str, owner: str, settle: float = SETTLE) -> None:
    """Let the lease last its full time from now on; a stale one too, where nobody has taken it over.

    Raises:
        UserError: the owner holds the lease no longer, or the tag holds something else than a lease.
    """
    client = MlflowClient()
    standing = _read(client, model_name)
    if standing and standing.owner == owner:
        standing = _claim(client, model_name, owner, standing.seconds, settle)
    if standing is None or standing.owner != owner:
        raise UserError(
            f"{model_name}: {owner} has lost the lease on this model line, because it was not renewed in time or a "
            f"clock was changed; {_holder(model_name, standing)}",
            "run the pass again when no other is at work; nothing was promoted by this one",
        )


def release(model_name: str, owner: str) -> None:
    """Give the lease back; nothing happens where the owner does not hold it.

    Raises:
        UserError: the tag holds something else than a lease.
    """
    client = MlflowClient()
    held = _read(client, model_name)
    if held and held.owner == owner:
        client.delete_registered_model_tag(model_name, Tag.LEASE)


@contextmanager
def holding(
    model_name: str, owner: str, settle: float = SETTLE, patience: float = _PATIENCE, again: str = _AGAIN
) -> Iterator[None]:
    """Hold the line for the length of the body; whoever holds it already goes on holding it afterwards.

    Args:
        model_name: registered model.
        owner: who wants to.
        settle: as for `take`.
        patience: seconds to wait for another to give it back.
        again: what is to be done when that one has ended.

    Raises:
        UserError: another goes on holding it, or the tag holds something else than a lease.
    """
    held = _read(MlflowClient(), model_name)
    if held and held.owner == owner:
        renew(model_name, owner, settle)
        yield
        return
    deadline = time.monotonic() + patience
    while not (claim := take(model_name, owner, _BRIEF, settle)).held:
        if time.monotonic() > deadline:
            raise UserError(
                f"{model_name}: another is at work on this model line: {claim.words}",
                f"{again} when that one has ended, or stop it first",
            )
        time.sleep(settle)
    try:
        yield
    finally:
        # What was done is done, also where it cannot be given back: it runs out by itself.
        with suppress(MlflowException):
            release(model_name, owner)


def _ensure_model(client: MlflowClient, model_name: str) -> None:
    if registered_model(client, model_name) is None:
        make_line(model_name, "Made by a retraining pass, before its first version.")


def _claim(client: MlflowClient, model_name: str, owner: str, seconds: int, settle: float) -> _Lease | None:
    """Write a lease, and return the one that stands when all who write at the same time have written."""
    try:
        _write(client, model_name, owner, seconds)
    except MlflowException as error:
        # Of two that write a new tag in the same instant one is refused; the second time the tag is not new.
        if error.error_code != ErrorCode.Name(BAD_REQUEST):
            raise
        _write(client, model_name, owner, seconds)
    time.sleep(settle)
    return _read(client, model_name)


def _read(client: MlflowClient, model_name: str) -> _Lease | None:
    model = registered_model(client, model_name)
    text = model.tags.get(Tag.LEASE) if model else None
    if text is None:
        return None
    try:
        return _Lease.model_validate_json(text)
    except ValidationError:
        raise UserError(
            f"{model_name}: tag {Tag.LEASE} of the registered model is no lease: {text!r}",
            "make sure that no retraining pass is at work on this model, then delete that tag in MLflow",
        ) from None


def _write(client: MlflowClient, model_name: str, owner: str, seconds: int) -> _Lease:
    """Date a lease from now; the part of a second is cut off, so that it never seems to last too long."""
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    lease = _Lease(owner=owner, expires=expires, seconds=seconds)
    client.set_registered_model_tag(model_name, Tag.LEASE, lease.model_dump_json())
    return lease


def _in_force(client: MlflowClient, model_name: str, other: _Lease) -> str:
    """Say who holds the line; a lease that lasts impossibly long is dated anew."""
    if not other.impossible:
        return _holder(model_name, other)
    dated = _write(client, model_name, other.owner, other.seconds)
    return (
        f"{_holder(model_name, dated)}; it said {other.until}, though a lease lasts {other.seconds} seconds: this "
        "machine's clock was set back, or another machine's is ahead"
    )


def _holder(model_name: str, lease: _Lease | None) -> str:
    if lease is None:
        return f"nobody holds the lease on {model_name} now: it was given back or deleted in the meantime"
    return f"{lease.owner} holds the lease on {model_name} until {lease.until}"


def _taken_over(model_name: str, stale: _Lease) -> str:
    return f"{stale.owner} left its lease on {model_name} behind, which ran out at {stale.until}; it was taken over"
