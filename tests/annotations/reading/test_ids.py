"""One person in every spelling that files produce, in annotations, crowd tables, side files and settings."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.annotations.comparisons.gold import read_gold
from repo.annotations.comparisons.orientation import name_responses
from repo.annotations.reading.crowd_tables import read_votes
from repo.annotations.reading.ids import case_notes
from repo.annotations.reading.pseudonyms import KEY_VARIABLE, pseudonymise, with_pseudonyms
from repo.annotations.reading.reader import read_annotations
from repo.annotations.validation.suite import validate
from repo.errors import UserError
from repo.ids import MISSING, id_text
from repo.settings import DataSettings, Settings, build_settings

Write = Callable[..., str]
Vote = Callable[..., dict[str, Any]]
KEY = "a key that nobody will guess"


@pytest.mark.parametrize(
    "value", [7, 7.0, "7", "7.0", "7.000", " 7 ", "7.0\n", np.int64(7), np.float32(7), np.float64(7), Decimal("7.00")]
)
def test_a_whole_number_has_one_spelling(value: Any) -> None:
    assert id_text(value) == "7"


@pytest.mark.parametrize("text", ["007", "7.50", "1e3", "7.", ".0", "v7.0", "7.0.0", "na", "Nan", "none", "everyone"])
def test_what_may_be_a_name_stays(text: str) -> None:
    assert id_text(text) == text


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, Decimal("NaN"), "", " \t", " NULL ", *sorted(MISSING)],
)
def test_words_for_missing_are_missing(value: Any) -> None:
    assert id_text(value) == ""


@given(st.one_of(st.text(), st.integers(), st.floats(), st.decimals(), st.booleans()))
def test_spelling_an_id_again_changes_nothing(value: Any) -> None:
    assert id_text(id_text(value)) in (id_text(value), "")


@given(st.integers(-(2**53), 2**53))
def test_a_float_column_names_the_people_of_an_integer_column(number: int) -> None:
    assert id_text(float(number)) == id_text(f"{number}.0") == id_text(number) == str(number)


def test_files_of_every_format_name_the_same_people(write: Write, vote: Vote, tmp_path: Any) -> None:
    people = [7, 12]
    lines = write([vote(number, people[number % 2]) for number in range(4)], "lines.jsonl")
    frame = pd.DataFrame([vote(number, people[number % 2]) for number in range(4, 8)])
    frame["annotator_id"] = frame["annotator_id"].astype(float)
    frame.to_csv(tmp_path / "floats.csv", index=False)
    frame.assign(annotator_id=frame["annotator_id"].astype(str).str.center(9)).to_parquet(tmp_path / "padded.parquet")
    source = f"{lines},{tmp_path / 'floats.csv'},{tmp_path / 'padded.parquet'}"
    assert set(read_annotations(source, DataSettings()).annotations["annotator_id"]) == {"7", "12"}


def test_comparison_ids_have_one_spelling_too(write: Write, vote: Vote) -> None:
    ids = [3, 3.0, "3.0", " 3"]
    read = read_annotations(write([vote(1, str(n), comparison_id=name) for n, name in enumerate(ids)]), Settings().data)
    assert set(read.annotations["comparison_id"]) == {"3"}


@pytest.mark.parametrize("word", ["nan", "None", "NULL", "  "])
def test_a_word_for_missing_is_no_person(write: Write, vote: Vote, word: str) -> None:
    rows = [vote(number) for number in range(10)]
    result = validate(read_annotations(write([*rows, vote(10, word)]), Settings().data), Settings())
    assert [row.reasons for row in result.quarantine] == [["annotator_id is missing"]]


def test_crowd_tables_and_their_gold_spell_ids_alike(write: Write) -> None:
    table = write("task,worker,label\n1.0,7.0,x\n1,8,y\n2, 7 ,y\n2,None,x\n", "labels.csv")
    read = read_votes(table, DataSettings()).read
    assert read.annotations["annotator_id"].tolist() == ["7", "8", "7"]
    assert [row.reasons for row in read.rejected] == [["worker is missing"]]
    names = name_responses(read.annotations, ("y", "x"))
    gold, notes = read_gold(write("task,truth\n1.0,x\n2.0,y\n", "gold.csv"), read.annotations, names)
    assert gold.ne("").all()
    assert not notes


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ann", "ann"), ("007", "7"), ("a", "a\u200b"), ("Jürg", "Ju\u0308rg"), ("\ufeffa", "A"), ("７", "07")],
)
def test_ids_that_look_alike_are_told_apart_in_the_note(one: str, other: str) -> None:
    (note,) = case_notes([one, other, "b", "70"], secret=False)
    shown = note.partition(": ")[2].removesuffix(" count as two people").split(" and ")
    assert len(set(shown)) == 2


def test_ids_that_do_not_look_alike_are_not_told() -> None:
    assert not case_notes(["a", "á", "7", "70", "0", "00x", "-7", "a b", "ab"], secret=False)


def test_ids_equal_but_for_case_are_told(write: Write, vote: Vote) -> None:
    rows = [vote(number, name) for number, name in enumerate(["Ann", "ann", "bob", "ann"])]
    assert read_annotations(write(rows), Settings().data).notes == [
        "annotator ids that look alike (in case, leading zeros or unseen signs): 'Ann' and 'ann' count as two people"
    ]
    table = write("task,worker,label\n1,Ann,x\n1,ann,y\n", "labels.csv")
    assert "'Ann' and 'ann'" in read_votes(table, DataSettings()).read.notes[-1]


def test_at_most_five_are_named() -> None:
    ids = [name for letter in "abcdefg" for name in (letter * 3, letter.upper() * 3)]
    (note,) = case_notes(ids, secret=False)
    assert note.count("count as two people") == 5
    assert note.endswith("; and 2 more")


def test_with_pseudonyms_the_note_names_nobody(write: Write, vote: Vote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    rows = [vote(number, name) for number, name in enumerate(["Ann", "ann", "bob", 7, "7.0", " 7 "])]
    read = read_annotations(write(rows), DataSettings(pseudonymise=True))
    assert read.notes == ["2 annotator ids look like another; each counts as a person"]
    expected = pseudonymise(pd.Series(["Ann", "ann", "bob", "7"]), KEY.encode())
    assert set(read.annotations["annotator_id"]) == set(expected)


def test_pinned_people_are_spelled_as_in_the_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    sections = {"reliability": {"pinned": {7.0: 0.9, " ann ": 0.8, "12.0": 0.7}}}
    settings = build_settings(sections | {"data": {"pseudonymise": True}}, "test")
    assert list(settings.reliability.pinned) == ["7", "ann", "12"]
    expected = pseudonymise(pd.Series(["7", "ann", "12"]), KEY.encode())
    assert list(with_pseudonyms(settings).reliability.pinned) == list(expected)


@pytest.mark.parametrize(
    ("pinned", "words"), [({"7": 0.9, 7.0: 0.8}, "two values, 0.9 and 0.8"), ({"nan": 0.9}, "no annotator id")]
)
def test_pinned_people_without_one_value_or_name_are_refused(pinned: dict[Any, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_settings({"reliability": {"pinned": pinned}}, "test")
