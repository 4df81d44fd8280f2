"""Which batches a model has consumed: a file kept with the version that took the last of them, named by a tag of it.

The champion's file lists what its line of weights has seen, so a rejected candidate consumes nothing, and going back to
an earlier champion gives back what the later ones took. There is no other record that could disagree with the registry.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient

from repo.errors import UserError
from repo.files import read_json, write_json
from repo.inbox.look import Batch, Taken
from repo.tracking.handover import Pointer, fetch
from repo.tracking.policies import registered_metadata
from repo.tracking.registry import ModelInfo, Tag, champion

_FILE = "batches.json"


@dataclass(frozen=True)
class Record:
    """Where the annotations lie that a version was the first to learn."""

    version: str
    pointer: Pointer


@dataclass(frozen=True)
class Ledger:
    """What a line of weights has seen.

    Attributes:
        batches: those it consumed.
        records: of every training, oldest first; of the version itself only after `with_its_record`.
    """

    batches: list[Taken] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


def save_ledger(before: Ledger, batches: Iterable[Batch], directory: Path) -> None:
    """Write what a new version has seen: what its champion had, and the batches that it took itself.

    The version's own number is not known before it is registered: `ledger_of` puts it in.
    """
    own = [Taken(batch.digest, batch.name, "") for batch in batches]
    content = {
        "batches": [asdict(taken) for taken in (*before.batches, *own)],
        "records": [{"version": record.version, **record.pointer.metadata} for record in before.records],
    }
    write_json(directory / _FILE, content)


def ledger_tags(pointer: Pointer) -> Mapping[str, str]:
    """Return the tag by which a version names its ledger: one, so that address and digest change together."""
    return {Tag.BATCHES: json.dumps(pointer.metadata)}


def consumed(model_name: str) -> list[Taken]:
    """Return the batches that the champion has seen; none where there is no champion, or it was trained otherwise.

    Raises:
        UserError: the champion's ledger is gone or was changed.
    """
    current = champion(model_name)
    return ledger_of(model_name, current.version).batches if current else []


def ledger_of(model_name: str, version: str) -> Ledger:
    """Return what a version has seen; nothing where it took no batches.

    Raises:
        UserError: its ledger is gone or was changed.
    """
    tag = MlflowClient().get_model_version(model_name, version).tags.get(Tag.BATCHES)
    if tag is None:
        return Ledger()
    try:
        content = read_json(fetch(Pointer(**json.loads(tag))) / _FILE)
    except UserError as error:
        problem = f"{model_name}: what version {version} has consumed cannot be told: {error.problem}"
        remedy = "restore that artifact; without it batches would be counted twice"
        raise UserError(problem, remedy) from None
    batches = [Taken(**row) for row in content["batches"]]
    records = [Record(row.pop("version"), Pointer(**row)) for row in content["records"]]
    return Ledger([replace(taken, version=taken.version or version) for taken in batches], records)


def own_batches(model_name: str, version: str) -> set[str]:
    """Return the digests of the batches that a version itself took."""
    return {taken.digest for taken in ledger_of(model_name, version).batches if taken.version == version}


def with_its_record(ledger: Ledger, info: ModelInfo) -> Ledger:
    """Return a version's ledger with the version's own training.

    Raises:
        UserError: its policy is gone.
    """
    details = registered_metadata(info.pointer)
    own = Record(info.version, Pointer(details["record_uri"], details["record_digest"]))
    return replace(ledger, records=[*ledger.records, own])


def counted_annotations(ledger: Ledger) -> dict[str, pd.DataFrame]:
    """Return version → the annotations that it was the first to learn, oldest first.

    Raises:
        UserError: one of the records is gone or was changed.
    """
    tables = {}
    for record in ledger.records:
        try:
            tables[record.version] = pd.read_parquet(fetch(record.pointer) / "posteriors.parquet")
        except UserError as error:
            problem = f"what version {record.version} was trained on cannot be had: {error.problem}"
            remedy = f"{error.remedy}; or start a new line of models with registry.model"
            raise UserError(problem, remedy) from None
    return tables
