import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from repo.errors import UserError
from repo.inbox.look import Batch, State, Taken
from repo.tracking.handover import Pointer
from repo.tracking.ledger import Ledger, consumed, ledger_tags, save_ledger
from repo.tracking.promotion import promote_version
from repo.tracking.registry import Tag, register_version
from repo.tracking.runs import step_run

NAME = "repo-policy"


def batch(name: str) -> Batch:
    return Batch(name, f"inbox/{name}", f"digest of {name}", State.NEW, "")


@pytest.fixture
def version(parent: str, tmp_path: Path):
    """Register a version that took some batches on top of what the champion has seen."""

    def make(*names: str) -> str:
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        save_ledger(Ledger(consumed(NAME)), [batch(name) for name in names], folder)
        with step_run(parent, "register") as run:
            ledger = run.publish(folder, f"batches-{'-'.join(names)}")
        client = MlflowClient()
        experiment = client.get_run(parent).info.experiment_id
        model = client.create_logged_model(experiment, name="policy", source_run_id=parent)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return register_version(Pointer(f"models:/{model.model_id}", "0" * 64), NAME, ledger_tags(ledger))

    return make


def seen() -> dict[str, str]:
    return {taken.name: taken.version for taken in consumed(NAME)}


def test_without_a_champion_or_with_one_trained_otherwise_nothing_is_consumed(store, version) -> None:
    assert consumed(NAME) == []
    number = version("a")
    MlflowClient().delete_model_version_tag(NAME, number, Tag.BATCHES)
    promote_version(NAME, number, None)
    assert consumed(NAME) == []


def test_only_what_the_champions_line_has_seen_is_consumed(version) -> None:
    first = version("a", "b")
    assert seen() == {}
    promote_version(NAME, first, None)
    assert seen() == {"a": first, "b": first}
    version("rejected")
    assert "rejected" not in seen()
    third = version("rejected", "c")
    promote_version(NAME, third, first)
    assert seen() == {"a": first, "b": first, "rejected": third, "c": third}
    MlflowClient().set_registered_model_alias(NAME, "champion", first)
    assert seen() == {"a": first, "b": first}


def test_ten_thousand_batches_need_no_more_than_a_short_tag(version, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    before = [Taken(f"{number:064}", f"nights/{number:05}.jsonl", "1") for number in range(10_000)]
    save_ledger(Ledger(before), [batch("new")], folder)
    assert (folder / "batches.json").stat().st_size < 3_000_000
    assert len(ledger_tags(Pointer("runs:/" + "0" * 32 + "/batches", "0" * 64))[Tag.BATCHES]) < 250


def test_a_ledger_that_is_gone_stops_everything(version) -> None:
    number = version("a")
    promote_version(NAME, number, None)
    tag = json.loads(MlflowClient().get_model_version(NAME, number).tags[Tag.BATCHES])
    MlflowClient().set_model_version_tag(NAME, number, Tag.BATCHES, json.dumps(tag | {"digest": "f" * 64}))
    with pytest.raises(UserError, match="what version 1 has consumed cannot be told") as caught:
        consumed(NAME)
    assert "counted twice" in caught.value.remedy
