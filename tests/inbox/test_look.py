"""Real files in a real inbox, as vendors leave them."""

import os
import shutil
from pathlib import Path

import fsspec
import pytest

from repo.errors import UserError
from repo.inbox.look import Batch, State, Taken, look, new_batches
from repo.settings import InboxSettings

STILL = InboxSettings(settle_seconds=0)


def drop(inbox: Path, name: str, text: str = "") -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"votes of {name}\n")
    return path


def states(batches: list[Batch]) -> dict[str, State]:
    return {batch.name: batch.state for batch in batches}


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    drop(tmp_path / "inbox", "a.jsonl")
    drop(tmp_path / "inbox", "b.csv")
    return tmp_path / "inbox"


def test_files_of_known_formats_are_batches_and_others_are_not(inbox: Path) -> None:
    for name in ("readme.txt", ".hidden.jsonl", ".ipynb_checkpoints/a.jsonl", "_SUCCESS"):
        drop(inbox, name)
    drop(inbox, "may/c.parquet")
    assert states(look(str(inbox), STILL)) == dict.fromkeys(["a.jsonl", "b.csv", "may/c.parquet"], State.NEW)


def test_a_batch_is_its_content_not_its_name(inbox: Path) -> None:
    shutil.copy(inbox / "a.jsonl", inbox / "z-again.jsonl")
    found = {batch.name: batch for batch in look(str(inbox), STILL)}
    assert (found["z-again.jsonl"].state, found["z-again.jsonl"].note) == (State.DUPLICATE, "of a.jsonl")
    assert found["z-again.jsonl"].digest == found["a.jsonl"].digest
    assert [batch.name for batch in new_batches(found.values())] == ["a.jsonl", "b.csv"]


def test_what_a_version_consumed_is_told_under_any_name_and_a_changed_file_is_new(inbox: Path) -> None:
    taken = [Taken(batch.digest, batch.name, "3") for batch in look(str(inbox), STILL)]
    (inbox / "a.jsonl").rename(inbox / "renamed.jsonl")
    drop(inbox, "b.csv", "corrected\n")
    found = {batch.name: batch for batch in look(str(inbox), STILL, taken)}
    assert (found["renamed.jsonl"].state, found["renamed.jsonl"].note) == (State.CONSUMED, "by version 3, as a.jsonl")
    assert found["b.csv"].state is State.NEW
    assert "another than version 3 consumed" in found["b.csv"].note


@pytest.mark.parametrize("change", ["grows", "is touched", "vanishes"])
def test_a_file_that_changes_between_two_looks_waits(inbox: Path, change: str) -> None:
    def meanwhile(seconds: float) -> None:
        assert seconds == 2
        if change == "grows":
            with (inbox / "a.jsonl").open("a") as file:
                file.write("more\n")
        elif change == "is touched":
            os.utime(inbox / "a.jsonl", (1, 1))
        else:
            (inbox / "a.jsonl").unlink()

    found = {batch.name: batch for batch in look(str(inbox), InboxSettings(), sleep=meanwhile)}
    assert (found["a.jsonl"].state, found["a.jsonl"].note) == (State.WAITING, "it is still being written")
    assert found["b.csv"].state is State.NEW


def test_where_nothing_is_new_nobody_waits(inbox: Path) -> None:
    taken = [Taken(batch.digest, batch.name, "1") for batch in look(str(inbox), STILL)]

    def never(seconds: float) -> None:
        raise AssertionError(seconds)

    assert set(states(look(str(inbox), InboxSettings(), taken, never)).values()) == {State.CONSUMED}


def test_files_wait_for_the_marker_of_their_own_folder(inbox: Path) -> None:
    marked = InboxSettings(settle_seconds=0, marker="_SUCCESS")
    drop(inbox, "may/c.jsonl")
    drop(inbox, "may/_SUCCESS")
    found = {batch.name: batch for batch in look(str(inbox), marked)}
    assert found["may/c.jsonl"].state is State.NEW
    assert (found["a.jsonl"].state, found["a.jsonl"].note) == (State.WAITING, "its folder holds no _SUCCESS yet")


def test_an_inbox_may_be_empty_but_not_missing_or_a_file(tmp_path: Path, inbox: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert look(str(tmp_path / "empty"), STILL) == []
    with pytest.raises(UserError, match="no such folder") as caught:
        look(str(tmp_path / "inbo"), STILL)
    assert "did you mean" in caught.value.remedy
    with pytest.raises(UserError, match="is a file, not a folder"):
        look(str(inbox / "a.jsonl"), STILL)


def test_an_inbox_may_be_a_uri() -> None:
    with fsspec.open_files("memory://inbox/x/*.jsonl", "w", num=2, newline="") as files:
        for number, file in enumerate(files):
            file.write(f"votes {number}\n")
    moved: list[float] = []

    def meanwhile(seconds: float) -> None:
        moved.append(seconds)
        fsspec.filesystem("memory").pipe("/inbox/x/0.jsonl", b"other votes\n")

    found = look("memory://inbox", InboxSettings(), sleep=meanwhile)
    assert states(found) == {"x/0.jsonl": State.WAITING, "x/1.jsonl": State.NEW}
    assert moved == [2]
    with pytest.raises(UserError, match="no such folder"):
        look("memory://nowhere", STILL)


def test_ten_thousand_files_are_looked_at_one_at_a_time(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number:05}.jsonl").write_text(f"votes {number}\n")
    taken = [Taken(batch.digest, batch.name, "7") for batch in look(str(tmp_path), STILL)[:9_990]]
    assert len(new_batches(look(str(tmp_path), STILL, taken))) == 10


def test_a_consumed_batch_that_comes_again_beside_itself_is_a_duplicate(inbox: Path) -> None:
    taken = [Taken(batch.digest, batch.name, "3") for batch in look(str(inbox), STILL)]
    shutil.copy(inbox / "a.jsonl", inbox / "later.jsonl")
    found = {batch.name: batch for batch in look(str(inbox), STILL, taken)}
    assert (found["a.jsonl"].state, found["a.jsonl"].note) == (State.CONSUMED, "by version 3")
    assert (found["later.jsonl"].state, found["later.jsonl"].note) == (
        State.DUPLICATE,
        "of a.jsonl, consumed by version 3",
    )
