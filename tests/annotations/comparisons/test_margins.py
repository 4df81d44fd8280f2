"""Margins find their comparison and its orientation, whichever way round the file shows the responses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from repo.annotations.comparisons.margins import Margins, read_margins
from repo.annotations.comparisons.orientation import name_responses
from repo.annotations.reading.reader import ReadResult, read_annotations
from repo.annotations.validation.suite import validate
from repo.errors import UserError
from repo.settings import DataSettings, Settings, build_settings

Row = dict[str, Any]
Write = Callable[..., str]

ANNOTATORS = ("ann", "bob", "carl")


def shown(number: int, annotator: str, better: str, turned: bool, layout: str = "paired") -> Row:
    """An annotation of comparison `number`, whose responses are called x and y."""
    texts = {"x": f"answer x {number}", "y": f"answer y {number}"}
    row = {"comparison_id": f"c{number}", "prompt": f"question {number}", "annotator_id": annotator}
    if layout == "trl":
        return row | {"chosen": texts[better], "rejected": texts["y" if better == "x" else "x"]}
    first, second = ("y", "x") if turned else ("x", "y")
    preference = "tie" if better == "tie" else "a" if better == first else "b"
    return row | {"response_a": texts[first], "response_b": texts[second], "preference": preference}


def in_use(read: ReadResult, used: Settings | None) -> pd.DataFrame:
    """The rows that validation keeps; without settings, those that decide, which is quicker."""
    rows = read.annotations
    return validate(read, used).annotations if used else rows[rows["preference"] != "tie"].reset_index(drop=True)


def margins(
    write: Write, annotations: list[Row] | str, given: list[Row] | str, used: Settings | None = None
) -> Margins:
    """Margins as log-odds that the response called x is better."""
    name = "margins.csv" if isinstance(given, str) else "margins.jsonl"
    files = [annotations if isinstance(annotations, str) else write(annotations), write(given, name)]
    read = read_annotations(files[0], DataSettings())
    table = in_use(read, used)
    found = read_margins(files[1], table, name_responses(read.annotations))
    toward_x = np.where(table["response_a"].str.startswith("answer x"), 1, -1)
    return Margins(found.values * toward_x, found.notes)


def read_both(write: Write, annotations: list[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    read = read_annotations(write(annotations), DataSettings())
    return in_use(read, None), name_responses(read.annotations)


@pytest.mark.parametrize("layout", ["paired", "trl"])
def test_each_form_says_the_same_of_the_same_response(write: Write, layout: str) -> None:
    random = np.random.default_rng(0)
    comparisons = 60
    rows = [
        shown(number, annotator, random.choice(["x", "y"]), bool(random.integers(2)), layout)
        for number in range(comparisons)
        for annotator in ANNOTATORS
    ]
    toward_x = {f"c{number}": float(random.normal()) for number in range(comparisons)}
    by_comparison = [
        {
            "comparison_id": row["comparison_id"],
            "margin": toward_x[row["comparison_id"]] * (1 if names_x_first(row) else -1),
        }
        for row in rows[:: len(ANNOTATORS)]
    ]
    by_line = [
        {"line": line, "margin": toward_x[row["comparison_id"]] * (1 if prefers_x(row) else -1)}
        for line, row in enumerate(rows, start=1)
    ]
    expected = [toward_x[row["comparison_id"]] for row in rows]
    for given in (by_comparison, by_line):
        found = margins(write, rows, given)
        assert found.values.tolist() == pytest.approx(expected)
        assert found.notes == []


def names_x_first(row: Row) -> bool:
    return str(row.get("response_a", row.get("chosen"))).startswith("answer x")


def prefers_x(row: Row) -> bool:
    return names_x_first(row) if "chosen" in row else names_x_first(row) == (row["preference"] == "a")


def test_a_first_row_that_is_a_tie_or_in_quarantine_still_gives_the_orientation(write: Write) -> None:
    rows = [shown(0, "ann", "tie", True), shown(0, "bob", "x", False), shown(0, "carl", "x", False)]
    rows += [
        shown(1, "ann", "x", True) | {"preference": "neither"},
        shown(1, "bob", "y", False),
        shown(1, "carl", "x", True),
    ]
    given = [{"comparison_id": f"c{number}", "margin": 2} for number in range(2)]
    used = build_settings({"validation": {"min_comparisons": 2, "max_bad_rows": 0.5}}, "test")
    assert margins(write, rows, given, used).values.tolist() == [-2.0] * 4


def test_a_record_of_our_own_training_falls_into_place(write: Write, tmp_path: Path) -> None:
    rows = [shown(n, annotator, "xy"[k % 2], n % 2 == 0) for n in range(3) for k, annotator in enumerate(ANNOTATORS)]
    table, names = read_both(write, rows)
    side = table["preference"].map({"a": 1, "b": -1})
    of_a = table["comparison_id"].map({"c0": 0.5, "c1": -1.5, "c2": 3.0})
    table.assign(margin=of_a * side, posterior=0.5).to_parquet(tmp_path / "posteriors.parquet")
    found = read_margins(str(tmp_path / "posteriors.parquet"), table, names)
    assert found.values.tolist() == of_a.tolist()


def test_split_ties_get_their_comparisons_margin(write: Write) -> None:
    rows = [shown(n, "ann", "x", False) for n in range(2)] + [shown(n, "bob", "tie", True) for n in range(2)]
    used = build_settings({"validation": {"min_comparisons": 2}, "data": {"ties": "split"}}, "test")
    found = margins(write, rows, [{"line": line, "margin": line} for line in range(1, 5)], used)
    assert found.values.tolist() == [1, 2, 1, 1, 2, 2]
    assert "2 of 4 rows name no label in use, the first in line 3" in found.notes[0]


def test_rows_that_disagree_are_averaged_and_counted(write: Write) -> None:
    rows = [shown(n, annotator, "x", False) for n in range(2) for annotator in ANNOTATORS[:2]]
    found = margins(write, rows, "line,margin\n1,1\n2,2\n3,5\n4,5.000001\n")
    assert found.values.tolist() == pytest.approx([1.5, 1.5, 5, 5])
    assert found.notes[0].endswith("the rows of 1 comparisons give different margins (by up to 1); their mean is used")


def test_the_line_is_that_of_its_own_file(write: Write) -> None:
    files = [
        write([shown(n, "ann", "x", n == 1) for n in (number, number + 2)], f"{number}.jsonl") for number in range(2)
    ]
    rows = [
        {"file": file, "line": line, "margin": 10 * number + line}
        for number, file in enumerate(files)
        for line in (1, 2)
    ]
    assert margins(write, ",".join(files), rows).values.tolist() == [1, 2, 11, 12]
    short = [row | {"file": Path(row["file"]).name} for row in rows]
    assert margins(write, ",".join(files), short).values.tolist() == [1, 2, 11, 12]
    with pytest.raises(UserError, match="which of 2 files"):
        margins(write, ",".join(files), [{"line": 1, "margin": 1}])


def test_margins_about_nothing_are_counted_and_left_out(write: Write) -> None:
    rows = [shown(n, "ann", "x", False) for n in range(2)]
    found = margins(write, rows, "comparison_id,margin\nc0,1\nother,5\nc1,2\nmore,1\n")
    assert found.values.tolist() == [1, 2]
    assert found.notes[0].endswith(
        "2 of 4 rows name no comparison with labels, the first in line 3: 'other'; they are not used"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("comparison_id,margin\nc0,1\n", ["no margin for 1 of 2 comparisons: 'c1'"]),
        ("line,margin\n2,1\n", ["no margin for 1 of 2 comparisons: 'c0'"]),
        ("comparison_id,margin\nc0,1\nc1,nan\n", ["margins.csv, line 3", "margin is 'nan'"]),
        ("comparison_id,margin\nc0,1\nc1,-inf\n", ["margins.csv, line 3", "margin is '-inf'"]),
        ("comparison_id,margin\nc0,1\nc1,much\n", ["margins.csv, line 3", "margin is 'much'"]),
        ("comparison_id,margin\nc0,1\nc1,\n", ["margins.csv, line 3", "margin is ''"]),
        ("comparison_id,margin\nc0,1\n,2\n", ["margins.csv, line 3", "comparison_id is missing"]),
        ("comparison_id,margin\nc0,1\nc1,1\nc0,2\n", ["margins.csv, line 4", "margin 2.0 for 'c0'", "line 2 says 1.0"]),
        ("line,margin\n1,1\n2,1\n1,2\n", ["margins.csv, line 4", "line 2 says 1.0"]),
        ("line,margin\none,1\n", ["margins.csv, line 2", "line is 'one'"]),
        (f"line,margin\n{'9' * 5000},1\n", ["margins.csv, line 2", "not a line number"]),
        (f"comparison_id,margin\n{'9' * 5000},1\n{'9' * 5000},2\n", ["margin 2.0 for", "line 2 says 1.0"]),
        ("comparison_id,score\nc0,1\n", ["no column margin", "'score'"]),
        ("pair,margin\nc0,1\n", ["no column comparison_id or task or item", "line and margin"]),
        ("line,comparison_id,margin\n1,c0,1\n", ["both line and comparison_id"]),
        ("comparison_id,preference,margin\nc0,a,1\n", ["preference beside margin"]),
        ("task,item,margin\nc0,c0,1\n", ["task and item"]),
        ("", ["empty"]),
        ("comparison_id,margin\n", ["no rows"]),
    ],
)
def test_what_cannot_be_used_is_named(write: Write, content: str, words: list[str]) -> None:
    rows = [shown(n, "ann", "x", False) for n in range(2)]
    with pytest.raises(UserError) as caught:
        margins(write, rows, content)
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value)) < 1000


def test_a_line_with_several_labels_cannot_be_named_by_line(write: Write) -> None:
    nested = [
        {
            "comparison_id": f"c{number}",
            "text": "question",
            "completion_a": f"answer x {number}",
            "completion_b": f"answer y {number}",
            "normal_worker_annotations": [
                {"evaluator": name, "overall_pref": f"{side}-is-slightly-better"}
                for name, side in (("ann", "A"), ("bob", "B"))
            ],
        }
        for number in range(2)
    ]
    with pytest.raises(UserError, match="line 1: holds several labels"):
        margins(write, nested, "line,margin\n1,1\n2,1\n")
    assert margins(write, nested, "comparison_id,margin\nc0,1\nc1,2\n").values.tolist() == [1, 1, 2, 2]


def test_only_one_file_of_margins_is_taken(write: Write) -> None:
    table, names = read_both(write, [shown(n, "ann", "x", False) for n in range(2)])
    two = [write("comparison_id,margin\nc0,1\n", f"margins-{number}.csv") for number in range(2)]
    with pytest.raises(UserError, match="names 2 files"):
        read_margins(",".join(two), table, names)


def test_names_turn_with_the_first_row() -> None:
    first = {
        "comparison_id": ["p", "q", "r", "s"],
        "listed_first": ["a", "b", "", ""],
        "preference": ["b", "b", "a", "b"],
    }
    names = name_responses(pd.DataFrame(first))
    assert names["sign"].tolist() == [1, -1, 1, -1]
    assert names["a"].tolist() == ["response_a", "response_b", "chosen", "rejected"]
    assert names["b"].tolist() == ["response_b", "response_a", "rejected", "chosen"]
