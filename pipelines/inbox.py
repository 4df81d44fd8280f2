"""The command `repo-pipeline inbox`: what lies in an inbox, as a table or as rows for machines."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from repo.inbox.judging import judge
from repo.inbox.look import Batch, State
from repo.inbox.look import look as look_at_files
from repo.reporting.text import count, short
from repo.settings import Settings

if TYPE_CHECKING:
    from repo.tracking.store import Server, Store

_NAME = 40
_NOTE = 160
_DIGEST = 12
"""Characters shown."""


def look(inbox: str, settings: Settings, store: "Store | Server") -> list[Batch]:
    """Look, and judge what is new. A store that was never made has consumed nothing.

    Raises:
        UserError: the inbox cannot be listed, or a file in it not be read, or the store does not answer.
    """
    if not store.exists:
        return judge(look_at_files(inbox, settings.inbox), settings)
    with store.opened():
        from repo.tracking.passes import batches_in

        return judge(batches_in(inbox, settings), settings)


def as_rows(batches: Sequence[Batch]) -> list[dict[str, str]]:
    """Return the batches without their addresses, which may hold secrets."""
    return [
        {"name": batch.name, "state": str(batch.state), "note": batch.note, "digest": batch.digest} for batch in batches
    ]


def describe(batches: Sequence[Batch], hidden: Sequence[State] = ()) -> str:
    """Return a line a batch, but for those in `hidden` states, then how many there are of each kind."""
    if not batches:
        return "the inbox is empty"
    shown = [batch for batch in batches if batch.state not in hidden]
    width = min(_NAME, max((len(batch.name) for batch in shown), default=0))
    lines = [
        f"{short(batch.name, width):{width}}  {batch.digest[:_DIGEST]:{_DIGEST}}  {batch.state:11}  "
        f"{short(batch.note, _NOTE)}".rstrip()
        for batch in shown
    ]
    counts = Counter(batch.state for batch in batches)
    kinds = ", ".join(f"{counts[state]:,} {state}" for state in State if counts[state])
    return "\n".join([*lines, *([""] if lines else []), f"{count(len(batches), 'batch', 'batches')}: {kinds}"])
