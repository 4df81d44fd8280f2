"""Which batches a model has consumed: a file kept with the version that took the last of them, named by a tag of it.

The champion's file lists what its line of weights has seen, so a rejected candidate consumes nothing, and going back to
an earlier champion gives back what the later ones took. There is no other record that could disagree with the registry.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow import MlflowClient

from repo.errors import UserError
from repo.files import read_json, write_json
from repo.inbox.look import Batch, Taken
from repo.tracking.handover import Pointer, fetch
from repo.tracking.registry import Tag, champion

_FILE = "batches.json"


def save_ledger(before: Iterable[Taken], batches: Iterable[Batch], directory: Path) -> None:
    """Write what a new version has seen: what its champion had, and the batches that it took itself.

    The version's own number is not known before it is registered: `consumed` puts it in.
    """
    own = [Taken(batch.digest, batch.name, "") for batch in batches]
    rows = [{"digest": one.digest, "name": one.name, "version": one.version} for one in (*before, *own)]
    write_json(directory / _FILE, {"batches": rows})


def ledger_tags(pointer: Pointer) -> Mapping[str, str]:
    """Return the tag by which a version names its ledger: one, so that address and digest change together."""
    return {Tag.BATCHES: json.dumps(pointer.metadata)}


def consumed(model_name: str) -> list[Taken]:
    """Return the batches that the champion has seen; none where there is no champion, or it was trained otherwise.

    Raises:
        UserError: the champion's ledger is gone or was changed.
    """
    current = champion(model_name)
    if current is None:
        return []
    tag = MlflowClient().get_model_version(model_name, current.version).tags.get(Tag.BATCHES)
    if tag is None:
        return []
    try:
        rows = read_json(fetch(Pointer(**json.loads(tag))) / _FILE)["batches"]
    except UserError as error:
        problem = f"{model_name}: what version {current.version} has consumed cannot be told: {error.problem}"
        remedy = "restore that artifact; without it batches would be counted twice"
        raise UserError(problem, remedy) from None
    return [Taken(row["digest"], row["name"], row["version"] or current.version) for row in rows]
