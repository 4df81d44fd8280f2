"""Votes of which a version was made that came to nothing train no second one, whatever batches bring them."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from repo.annotations.validation.suite import content_digest
from repo.files import text_digest
from repo.inbox.look import Batch, State
from repo.settings import Settings
from repo.tracking.handover import Pointer
from repo.tracking.ledger import Ledger, ledger_tags, save_ledger
from repo.tracking.merging import MergedBatches, merge_batches
from repo.tracking.passes import look_into, remember, save_judged
from repo.tracking.registry import Tag, register_version
from repo.tracking.runs import step_run

SETTINGS = Settings.model_validate({"inbox": {"settle_seconds": 0}})
NAME = SETTINGS.registry.model


def batch(name: str, state: State = State.NEW, digest: str = "") -> Batch:
    return Batch(name, "", digest or text_digest(name), state, "")


@pytest.fixture
def rejected(parent: str, tmp_path: Path):
    """Registers a version that the gate rejected on a line without a champion; it took some batches with some votes."""

    def make(votes: pd.DataFrame, *batches: Batch) -> str:
        folder = tmp_path / "ledger"
        folder.mkdir()
        save_ledger(Ledger(), batches, folder)
        with step_run(parent, "merge") as run:
            ledger = run.publish(folder, "ledger")
        client = MlflowClient()
        model = client.create_logged_model(client.get_run(parent).info.experiment_id, "policy", source_run_id=parent)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        facts = {
            Tag.VERDICT: "reject",
            Tag.COMPARED_WITH: "",
            Tag.CONFIG_DIGEST: text_digest(SETTINGS.model_dump_json()),
            Tag.DATA_DIGEST: content_digest(votes),
        }
        return register_version(Pointer(f"models:/{model.model_id}", "0" * 64), NAME, {**facts, **ledger_tags(ledger)})

    return make


def merged(folder: Path, **tables: pd.DataFrame) -> MergedBatches:
    """Merge what the step before would have published."""
    folder.mkdir()
    found = [batch(name) for name in tables]
    save_judged(found, "", SETTINGS, folder)
    for one in found:
        tables[one.name].to_parquet(folder / f"{one.digest}.parquet")
    return merge_batches(folder, SETTINGS)


def test_a_batch_that_only_repeats_the_votes_of_a_rejected_version_s_batches_starts_no_training(
    rejected, annotations: pd.DataFrame, tmp_path: Path
) -> None:
    rejected(annotations, batch("late"))
    told = "version 1 was trained on the same votes with the same settings and rejected"
    for number, tables in enumerate(
        [
            {"late": annotations, "again": annotations.sample(30, random_state=0)},
            {"again": annotations.sample(30, random_state=0), "late": annotations},
            {"one": annotations.iloc[:50], "two": annotations.iloc[50:]},
        ]
    ):
        found = merged(tmp_path / str(number), **tables)
        assert (found.train, found.idle) == (False, told)
        assert list(found.words())[-1] == f"{told}: nothing to train on"
        # Without the other it would bring its votes: what only another new batch repeats stays new.
        assert {one.state for one in found.batches} == {State.NEW}
        assert found.counts()["batches"] == 0


def test_other_votes_other_settings_or_a_version_that_took_no_batches_hinder_no_training(
    rejected, annotations: pd.DataFrame, tmp_path: Path
) -> None:
    version = rejected(annotations, batch("late"))
    assert merged(tmp_path / "fewer", late=annotations.iloc[:-12]).train
    client = MlflowClient()
    client.set_model_version_tag(NAME, version, Tag.CONFIG_DIGEST, "another")
    assert merged(tmp_path / "settings", late=annotations).train
    client.set_model_version_tag(NAME, version, Tag.CONFIG_DIGEST, text_digest(SETTINGS.model_dump_json()))
    assert not merged(tmp_path / "same", late=annotations).train
    client.delete_model_version_tag(NAME, version, Tag.BATCHES)
    assert merged(tmp_path / "run", late=annotations).train


def test_a_look_leaves_batches_that_bring_nothing_out_of_the_comparison(
    rejected, annotations: pd.DataFrame, parent: str, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "late.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    (inbox / "barren.jsonl").write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    found = look_into(str(inbox), SETTINGS)
    assert found.train
    rejected(annotations, *found.batches)
    assert "rejected" in look_into(str(inbox), SETTINGS).words
    judged = [replace(one, state=State.NOTHING_NEW) if "barren" in one.name else one for one in found.batches]
    with step_run(parent, "merge") as run:
        (tmp_path / "judged").mkdir()
        save_judged(judged, "", SETTINGS, tmp_path / "judged")
        remember(parent, NAME, run.publish(tmp_path / "judged", "batches"))
    again = look_into(str(inbox), SETTINGS)
    assert (again.train, "trained on the same batches" in again.words) == (False, True), again.words
