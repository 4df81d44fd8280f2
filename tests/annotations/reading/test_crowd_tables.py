"""Crowd tables: told from annotation files by their columns, two classes, the same policy for bad rows."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from repo.annotations.reading.crowd_tables import read_votes, without_texts
from repo.annotations.schema import COLUMNS
from repo.annotations.validation.suite import validate
from repo.errors import UserError
from repo.settings import DataSettings, Settings, build_settings

Write = Callable[..., str]


def table(rows: list[str], head: str = "task,worker,label") -> str:
    return "\n".join([head, *rows]) + "\n"


def full(tasks: int = 12) -> list[str]:
    """Three workers who all label every task, not all alike."""
    return [f"t{t},w{w},{int((t + (w == 2 and t % 3 == 0)) % 2)}" for t in range(tasks) for w in range(3)]


@pytest.mark.parametrize(
    ("classes", "first"),
    [
        (("0", "1"), "1"),
        (("1", "0"), "1"),
        (("no", "yes"), "yes"),
        (("2", "10"), "10"),
        (("-1", "1"), "1"),
        (("1.0", "01"), "1.0"),
    ],
)
def test_the_class_that_sorts_last_stands_as_response_a(write: Write, classes: tuple[str, str], first: str) -> None:
    file = write(table([f"t1,w1,{classes[0]}", f"t2,w1,{classes[1]}"]), "labels.csv")
    votes = read_votes(file, DataSettings())
    assert votes.classes == (first, next(name for name in classes if name != first))
    named = {"a": votes.classes[0], "b": votes.classes[1]}
    assert [named[side] for side in votes.read.annotations["preference"]] == list(classes)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_format_does_not_matter(tmp_path: Path, form: str) -> None:
    frame = pd.DataFrame({"item": [7, 7, 8], "worker": [1, 2, 1], "label": [1, 0, 1]})
    path = tmp_path / f"labels.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    rows = read_votes(str(path), DataSettings()).read.annotations
    assert list(rows.columns) == list(COLUMNS)
    assert rows["comparison_id"].tolist() == ["7", "7", "8"]
    assert rows["annotator_id"].tolist() == ["1", "2", "1"]
    assert rows["preference"].tolist() == ["a", "b", "a"]
    assert rows["line"].tolist() == ([2, 3, 4] if form == "csv" else [1, 2, 3])


def test_columns_of_other_names_are_mapped(write: Write) -> None:
    file = write(table(["t1,w1,0", "t2,w1,1"], "question,user,answer"), "labels.csv")
    mapped = DataSettings(columns={"item": "question", "worker": "user", "label": "answer"})
    assert read_votes(file, mapped).read.annotations["comparison_id"].tolist() == ["t1", "t2"]


def test_several_tables_share_their_classes(write: Write) -> None:
    files = [write(table([f"t1,w{number},{number}"]), f"labels-{number}.csv") for number in range(2)]
    votes = read_votes(",".join(files), DataSettings())
    assert votes.classes == ("1", "0")
    assert votes.read.annotations["file"].tolist() == files


def test_annotations_of_texts_are_read_as_ever(write: Write, vote: Callable[..., dict[str, str]]) -> None:
    votes = read_votes(write([vote(task=1, worker="w", label="x")]), DataSettings())
    assert votes.classes is None
    assert votes.read.annotations["prompt"].tolist() == ["question 0"]


def test_mapped_annotations_with_a_column_label_are_no_crowd_table(
    write: Write, vote: Callable[..., dict[str, str]]
) -> None:
    row = vote(task="sums")
    row["label"], row["text"] = row.pop("preference"), row.pop("prompt")
    settings = DataSettings(columns={"prompt": "text", "preference": "label"})
    assert read_votes(write([row]), settings).classes is None


def test_rows_with_something_missing_are_set_aside_and_named_by_the_files_columns(write: Write) -> None:
    rows = [*full(), ",w1,1", "t1,,1", "t1,w9, ", ",,"]
    read = read_votes(write(table(rows, "item,worker,label"), "labels.csv"), DataSettings()).read
    assert [(row.line, row.reasons) for row in read.rejected] == [
        (38, ["item is missing"]),
        (39, ["worker is missing"]),
        (40, ["label is missing"]),
        (41, ["item is missing", "worker is missing", "label is missing"]),
    ]
    assert read.rejected[1].row == {"item": "t1", "worker": "", "label": "1"}
    assert read.rows_read == len(rows)


def test_json_rows_may_lack_a_key(write: Write) -> None:
    rows = [
        {"task": 1, "worker": 1, "label": True},
        {"task": 1, "worker": 2, "label": False},
        {"task": 2, "label": True},
    ]
    votes = read_votes(write(rows), DataSettings())
    assert votes.classes == ("True", "False")
    assert [row.reasons for row in votes.read.rejected] == [["worker is missing"]]


def test_repeated_votes_count_once_and_contradictory_ones_not_at_all(write: Write) -> None:
    first = full()[0]  # t0,w0,0
    rows = [*full(), first, "t1,w0,0"]
    checked = validate(read_votes(write(table(rows), "labels.csv"), DataSettings()).read, Settings())
    assert [row.line for row in checked.quarantine] == [5, 38, 39]
    assert "same vote stands at" in checked.quarantine[1].reasons[0]
    assert "voted otherwise" in checked.quarantine[0].reasons[0]
    kept = checked.annotations
    assert len(kept[(kept["comparison_id"] == "t0") & (kept["annotator_id"] == "w0")]) == 1
    assert not len(kept[(kept["comparison_id"] == "t1") & (kept["annotator_id"] == "w0")])
    assert checked.passed


def test_the_bound_on_bad_rows_holds_for_crowd_tables(write: Write) -> None:
    read = read_votes(write(table([*full(), *["t1,,1"] * 4]), "labels.csv"), DataSettings()).read
    assert validate(read, Settings()).passed
    strict = build_settings({"validation": {"max_bad_rows": 0.05}}, "test")
    with pytest.raises(UserError, match=r"labels\.csv, line 38: worker is missing"):
        validate(read, strict).raise_if_failed()


def test_once_validated_no_text_remains(write: Write) -> None:
    checked = validate(read_votes(write(table(full()), "labels.csv"), DataSettings()).read, Settings())
    texts = without_texts(checked.annotations)[["prompt", "response_a", "response_b"]]
    assert (texts == "").all(axis=None)


def test_workers_are_pseudonymised_before_anything_is_kept(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPO_PSEUDONYM_KEY", "0123456789abcdef")
    file = write(table(["t1,jane,1", "t2,jane,0", ",jane,1"]), "labels.csv")
    read = read_votes(file, DataSettings(pseudonymise=True)).read
    assert read.annotations["annotator_id"].nunique() == 1
    assert "jane" not in read.annotations.to_json() + str(read.raw) + str(read.rejected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (table(["1,1,0", "2,1,l", *full()]), ["3 classes", "'l' (1 times)", "labels.csv, line 3"]),
        (table([f"{n},1,{n}" for n in range(9)]), ["9 classes", "and 3 more"]),
        (table(["1,1,yes", "2,1,yes "]), ["every label is 'yes'"]),
        (table(["1,1,0", f"2,1,{'long ' * 2000}", *full()]), [f"'{'long ' * 16}…' (1 times)"]),
        (table(["1,,0"]), ["no row is complete", "labels.csv, line 2: worker is missing"]),
        (table(["1,1,0"], "task,worker,answer"), ["no column label", "'answer'", "task (or item), worker, label"]),
        (table(["1,1,0"], "task,annotator,label"), ["no column worker"]),
        (table(["1,1,1,0"], "task,item,worker,label"), ["task and item"]),
        (table([]), ["no rows"]),
        ("", ["empty"]),
    ],
    ids=["three classes", "many", "one", "long", "none", "no label", "no worker", "task and item", "header", "empty"],
)
def test_what_cannot_be_used_is_named(write: Write, content: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read_votes(write(content, "labels.csv"), DataSettings())
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("columns", "word"),
    [({"worker": "who"}, "'who' (data.columns.worker)"), ({"worker": "worker", "gold": "label"}, "'gold'")],
)
def test_mapping_mistakes_are_named(write: Write, columns: dict[str, str], word: str) -> None:
    with pytest.raises(UserError) as caught:
        read_votes(write(table(full()), "labels.csv"), DataSettings(columns=columns))
    assert word in str(caught.value)
