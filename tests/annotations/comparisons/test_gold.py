"""Known answers in a file of their own become the table's gold, by class or as the first row names the responses."""

from collections.abc import Callable

import pandas as pd
import pytest

from repo.annotations.comparisons.gold import read_gold
from repo.annotations.comparisons.orientation import name_responses
from repo.errors import UserError

Write = Callable[..., str]

TABLE = pd.DataFrame(
    {
        "comparison_id": ["p", "p", "q", "r", "s"],
        "listed_first": ["a", "b", "b", "", ""],
        "preference": ["a", "a", "a", "a", "b"],
        "file": "labels.csv",
    }
)


def gold(write: Write, content: str, classes: tuple[str, str] | None = None) -> tuple[list[str], list[str]]:
    found, notes = read_gold(write(content, "gold.csv"), TABLE, name_responses(TABLE, classes))
    return found.tolist(), notes


def test_answers_are_about_the_response_that_the_first_row_names(write: Write) -> None:
    answers = "comparison_id,gold\np,response_a\nq,a\nr,chosen\ns,chosen\n"
    assert gold(write, answers) == (["a", "a", "b", "a", "b"], [])


def test_answers_are_classes_of_a_crowd_table(write: Write) -> None:
    assert gold(write, "item,truth\np,1\nq,0\nr,\n", ("1", "0")) == (["a", "a", "b", "", ""], [])


def test_answers_about_nothing_are_counted(write: Write) -> None:
    found, notes = gold(write, "task,truth\nother,1\np,1\n", ("1", "0"))
    assert found == ["a", "a", "", "", ""]
    assert notes[0].endswith(
        "1 of 2 rows name no comparison with labels, the first in line 2: 'other'; they are not used"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("item,truth\np,2\n", ["gold.csv, line 2", "truth '2' is not '0' or '1'"]),
        (f"item,truth\np,{'2' * 5000}\n", ["gold.csv, line 2", "is not '0' or '1'"]),
        ("item,truth\np,1\nq,1\np,0\n", ["gold.csv, line 4", "line 2 says '1'"]),
        ("item,truth\nx,1\n", ["none of its answers", "'p'"]),
        ("item,truth\np,\n", ["none of its answers"]),
        ("item,answer\np,1\n", ["no column truth or gold", "'answer'"]),
        ("item,truth\n,1\n", ["gold.csv, line 2: item is missing"]),
    ],
)
def test_what_cannot_be_used_is_named(write: Write, content: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        gold(write, content, ("1", "0"))
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value)) < 1000
