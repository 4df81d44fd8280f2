"""Rules between rows: what a comparison id names, what one person says of one pair, and that no order matters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from repo.annotations.comparisons.gold import read_gold
from repo.annotations.comparisons.margins import read_margins
from repo.annotations.comparisons.orientation import name_responses
from repo.annotations.reading.reader import read_annotations
from repo.annotations.schema import COLUMNS, flip
from repo.annotations.validation.suite import ValidationResult, validate
from repo.errors import UserError
from repo.files import write_jsonl
from repo.settings import Settings, build_settings

Row = dict[str, Any]
Write = Callable[..., str]
Vote = Callable[..., Row]
PEOPLE = ("ann", "bob", "carl")


def judged(source: str, **sections: Any) -> ValidationResult:
    used = build_settings({"validation": {"max_bad_rows": 1.0, **sections}}, "test")
    return validate(read_annotations(source, used.data), used)


def reasons(result: ValidationResult) -> dict[int, list[str]]:
    return {row.line: row.reasons for row in result.quarantine}


def batch(vote: Vote, first: int, size: int = 5, start: int = 1) -> list[Row]:
    """Three people on comparisons that are numbered from `start`, whatever the texts."""
    return [
        vote(first + n, person, comparison_id=start + n, preference="ab"[n % 2])
        for n in range(size)
        for person in PEOPLE
    ]


# Rows already judged bad take no part.


def test_a_row_with_an_empty_response_leaves_its_comparison_alone(write: Write, vote: Vote) -> None:
    rows = batch(vote, 0)
    result = judged(write([rows[0] | {"response_b": " "}, *rows[1:]]))
    assert reasons(result) == {1: ["a response is empty"]}
    assert result.summary.rows_kept == len(rows) - 1


def test_a_vote_that_is_none_contradicts_nobody(write: Write, vote: Vote) -> None:
    result = judged(write([vote(1, preference="?"), vote(1), vote(2), vote(1, preference="none")]))
    assert sorted(reasons(result)) == [1, 4]


def test_rows_of_another_pair_have_no_say_about_votes(write: Write, vote: Vote) -> None:
    rows = [vote(1, "ann", comparison_id=1), vote(1, "bob", comparison_id=1), vote(2, "ann", "b", comparison_id=1)]
    result = judged(write(rows))
    assert list(reasons(result)) == [3]
    assert "names another prompt or pair of responses at" in result.quarantine[0].reasons[0]


# One id, two pairs.


def test_in_one_file_an_id_means_the_pair_of_most_of_its_rows(write: Write, vote: Vote) -> None:
    rows = [*batch(vote, 0), vote(50, "dora", comparison_id=2), vote(51, "eve", comparison_id=2)]
    result = judged(write(rows))
    assert list(reasons(result)) == [16, 17]
    assert all(row.reasons[0].endswith(f"{row.file}, line 4") for row in result.quarantine)


def test_in_one_file_two_pairs_of_as_many_rows_are_both_lost(write: Write, vote: Vote) -> None:
    rows = [vote(pair, person, comparison_id="x") for pair in (1, 2) for person in PEOPLE]
    result = judged(write([*rows, vote(3, comparison_id="x"), *batch(vote, 10)]))
    assert list(reasons(result)) == [1, 2, 3, 4, 5, 6, 7]
    assert result.quarantine[0].reasons[0].endswith("line 4")
    assert result.quarantine[3].reasons[0].endswith("line 1")


def test_files_that_number_from_one_are_each_their_own(write: Write, vote: Vote) -> None:
    may, june = write(batch(vote, 0), "may.jsonl"), write(batch(vote, 100), "june.jsonl")
    july = write(batch(vote, 200, start=70), "july.jsonl")
    one, other = judged(f"{may},{june},{july}"), judged(f"{july},{june},{may}")
    assert not one.quarantine
    assert one.summary.comparisons == 15
    assert one.summary.digest == other.summary.digest
    assert {"1 in may.jsonl", "1 in june.jsonl", "70"} <= set(one.annotations["comparison_id"])
    (note,) = one.notes
    assert note.startswith("5 comparison ids name different pairs in different files")
    assert f"{june} (5), {may} (5); '1' became '1 in june.jsonl'" in note


def test_folders_tell_files_of_one_name_apart(tmp_path: Path, vote: Vote) -> None:
    for number, month in enumerate(("may", "june")):
        (tmp_path / month).mkdir()
        write_jsonl(tmp_path / month / "labels.jsonl", batch(vote, 100 * number))
    result = judged(f"{tmp_path}/may/labels.jsonl,{tmp_path}/june/labels.jsonl")
    assert {"1 in may/labels.jsonl", "1 in june/labels.jsonl"} <= set(result.annotations["comparison_id"])


def test_shards_of_one_numbering_stay_as_they_are(write: Write, vote: Vote) -> None:
    rows = batch(vote, 0)
    result = judged(f"{write(rows[::2], 'one.jsonl')},{write(rows[1::2], 'two.jsonl')}")
    assert set(result.annotations["comparison_id"]) == {"1", "2", "3", "4", "5"}
    assert not result.notes


def test_files_that_agree_on_a_pair_share_its_id(write: Write, vote: Vote) -> None:
    files = [
        write([vote(pair, name, comparison_id=1)], f"{name}.jsonl") for pair, name in ((1, "c"), (1, "b"), (2, "a"))
    ]
    result = judged(",".join(files))
    assert result.annotations["comparison_id"].tolist() == ["1 in b.jsonl", "1 in b.jsonl", "1 in a.jsonl"]


def test_an_id_that_is_taken_already_is_refused_by_name(write: Write, vote: Vote) -> None:
    files = [write(batch(vote, 100 * number), f"{number}.jsonl") for number in range(2)]
    taken = write([vote(900, comparison_id="1 in 0.jsonl")], "taken.jsonl")
    with pytest.raises(UserError, match=r"taken\.jsonl, line 1: comparison_id '1 in 0\.jsonl'") as caught:
        judged(",".join([*files, taken]))
    assert "rename" in caught.value.remedy


@pytest.fixture
def restarted(write: Write, vote: Vote) -> pd.DataFrame:
    files = [write(batch(vote, 100 * number), f"{name}.jsonl") for number, name in enumerate(("may", "june"))]
    return judged(",".join(files)).annotations


def test_side_files_name_such_comparisons_in_full_or_by_file(write: Write, restarted: pd.DataFrame) -> None:
    names = name_responses(restarted)
    full = "comparison_id,gold\n1 in may.jsonl,a\n2 in june.jsonl,b\n"
    by_file = "file,comparison_id,gold\nmay.jsonl,1,a\njune.jsonl,2.0,b\n"
    found = [read_gold(write(text, "gold.csv"), restarted, names)[0] for text in (full, by_file)]
    assert found[0].tolist() == found[1].tolist()
    assert set(restarted.loc[found[0] != "", "comparison_id"]) == {"1 in may.jsonl", "2 in june.jsonl"}


def test_side_files_that_do_not_say_which_are_refused_by_line(write: Write, restarted: pd.DataFrame) -> None:
    names = name_responses(restarted)
    words = r"line 2: '1' is the id of a different comparison in different annotation files"
    for content in ("comparison_id,gold\n1,a\n", "file,comparison_id,gold\nmarch.jsonl,1,a\n"):
        with pytest.raises(UserError, match=words) as caught:
            read_gold(write(content, "gold.csv"), restarted, names)
        assert "'1 in june.jsonl', '1 in may.jsonl'" in caught.value.remedy
    with pytest.raises(UserError, match=words):
        read_margins(write("comparison_id,margin\n1,0.5\n", "margins.csv"), restarted, names)


# Several votes of one person on one pair.


def test_votes_are_compared_by_pair_whatever_the_id(write: Write, vote: Vote) -> None:
    rows = [vote(1, "ann", comparison_id="x"), vote(1, "ann", comparison_id="y"), vote(1, "bob", comparison_id="y")]
    (again,) = judged(write(rows)).quarantine
    assert "the same vote stands at" in again.reasons[0]


TIMES = [
    ("2024-03-01", "2024-03-02"),
    ("2024-03-01T23:59:59", "2024-03-02 00:00:00.5"),
    ("2024-03-01T10:00:00+02:00", "2024-03-01T09:00:00Z"),
    (1709251200, 1709251201.5),
    (1709251200000, 1709251201),
    ("1709251200", "2024-03-01T00:00:01Z"),
]


@pytest.mark.parametrize(("early", "late"), TIMES)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("revised", ["b", "tie"])
def test_the_later_vote_counts(write: Write, vote: Vote, early: Any, late: Any, backwards: bool, revised: str) -> None:
    rows = [vote(1, created_at=early), vote(1, preference=revised, created_at=late)]
    result = judged(write(rows[::-1] if backwards else rows))
    (row,) = result.quarantine
    kept_line = 1 if backwards else 2
    assert row.reasons == [f"replaced by the later vote at {row.file}, line {kept_line}"]
    assert row.line == 3 - kept_line
    assert result.summary.ties == (revised == "tie")


UNSETTLED = [
    ("2024-03-01", "2024-03-01"),
    ("2024-03-01T10:00:00+02:00", "2024-03-01T08:00:00Z"),
    ("2024-03-01", "2024-03-02T10:00:00"),
    ("2024-03-01T10:00:00", "2024-03-02T10:00:00Z"),
    ("2024-03-01", ""),
    (None, "2024-03-01"),
    ("yesterday", "today"),
    (1, 2),
    ("20240301", "20240302"),
]


@pytest.mark.parametrize(("one", "other"), UNSETTLED)
def test_without_times_to_compare_all_contradicting_votes_are_lost(
    write: Write, vote: Vote, one: Any, other: Any
) -> None:
    result = judged(write([vote(1, created_at=one), vote(1, preference="b", created_at=other)]))
    assert list(reasons(result)) == [1, 2]
    assert all("voted otherwise" in row.reasons[0] and "created_at" in row.reasons[0] for row in result.quarantine)


def test_of_many_votes_the_latest_counts_once(write: Write, vote: Vote) -> None:
    days = [("a", 3), ("b", 1), ("a", 2), ("a", 3)]
    rows = [vote(1, preference=side, created_at=f"2024-03-0{day}") for side, day in days]
    found = reasons(judged(write(rows)))
    assert list(found) == [2, 3, 4]
    assert [text[0].split(" at ")[0] for text in found.values()] == [
        "replaced by the later vote",
        "replaced by the later vote",
        "the same vote stands",
    ]


def test_two_latest_votes_that_differ_settle_nothing(write: Write, vote: Vote) -> None:
    rows = [vote(1, preference=side, created_at=f"2024-03-0{day}") for side, day in (("a", 1), ("a", 2), ("b", 2))]
    assert len(judged(write(rows)).quarantine) == 3


def test_revised_votes_are_no_fault_of_the_batch(write: Write, vote: Vote) -> None:
    rows = [
        vote(number, preference=side, created_at=day)
        for number in range(20)
        for side, day in (("a", "2024-03-01"), ("b", "2024-03-02"))
    ]
    result = judged(write(rows), max_bad_rows=0.0)
    result.raise_if_failed()
    assert (result.summary.rows_quarantined, result.summary.rows_kept) == (20, 20)
    assert "20 votes replaced by later votes of the same annotator" in result.notes[-1]
    assert "warning" not in {each.severity for each in result.expectations if each.title == "No vote is revised"}


def test_the_results_are_complete_and_in_a_stable_order(write: Write, vote: Vote) -> None:
    titles = [
        [result["expectation_config"]["meta"]["title"] for result in judged(write(rows)).great_expectations][:12]
        for rows in (batch(vote, 0), [vote(1, prompt="")])
    ]
    assert titles[0] == titles[1]
    assert titles[0][9:] == [
        "A comparison id names one pair",
        "No vote is given twice",
        "No annotator contradicts themselves",
    ]


# No order matters.


def content(result: ValidationResult, *left_out: str) -> list[tuple[Any, ...]]:
    columns = [name for name in COLUMNS if name not in ("file", "line", *left_out)]
    return sorted(result.annotations[columns].itertuples(index=False, name=None))


WHERE = ("shown_first", "listed_first")
VOTES = st.builds(
    lambda pair, person, side, name, day, empty, gold: {
        "prompt": f"q{pair // 2}",
        "response_a": "" if empty else f"first {pair}",
        "response_b": f"second {pair}",
        "preference": side,
        "annotator_id": person,
        "comparison_id": name,
        "created_at": day,
        "gold": gold,
    },
    st.integers(0, 3),
    st.sampled_from(["ann", "bob", None]),
    st.sampled_from(["a", "b", "tie", ""]),
    st.sampled_from([None, 1, 2]),
    st.sampled_from(["", "2024-03-01", "2024-03-02", "2024-03-03"]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["", "", "a"]),
)


def swapped(row: Row) -> Row:
    sides = {"response_a": row["response_b"], "response_b": row["response_a"]}
    return row | sides | {"preference": flip(row["preference"]), "gold": flip(row["gold"])}


# Each example takes seconds: to shrink one would take an hour.
@settings(
    max_examples=8, phases=[Phase.generate], deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(VOTES, min_size=1, max_size=8), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_no_order_of_rows_files_or_responses_changes_what_is_kept(
    write: Write, files: list[list[Row]], random: Any
) -> None:
    def read(files: list[list[Row]], backwards: bool = False) -> ValidationResult:
        names = [write(rows, f"{number}.jsonl") for number, rows in enumerate(files)]
        used = Settings()
        return validate(read_annotations(",".join(names[::-1] if backwards else names), used.data), used)

    as_given = read(files)
    shuffled = read([random.sample(rows, len(rows)) for rows in files], backwards=True)
    assert content(shuffled) == content(as_given)
    turned = read([[swapped(row) if random.random() < 0.5 else row for row in rows] for rows in files])
    assert content(turned, *WHERE) == content(as_given, *WHERE)
