import pytest

from repo.annotations.reading.loading import load
from repo.errors import UserError

AB = [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a,b\n1,2\n3,4\n", [2, 3]),
        ("a,b\n1,2,\n3,4,\n", [2, 3]),
        ("a,b\n1,2\n3,4,, ,\n", [2, 3]),
        ("a,b,\n1,2,\n3,4\n", [2, 3]),
        ("a,b,,\n1,2,,\n3,4,\n", [2, 3]),
        (",a,b\n,1,2\n,3,4\n", [2, 3]),
        ('\n""\na,b\n\n1,2\n""\n  \n3,4\n""\n', [5, 8]),
        ("a,b\r1,2\r\r3,4", [2, 4]),
        ("a,b\r\r\n1,2\r\r\n3,4\r\r\n", [3, 5]),
        ('"a","b"\n"1","2"\n"3","4"\n', [2, 3]),
        ("a;b\n1;2\n3;4\n", [2, 3]),
        ('"a";"b"\n"1";"2"\n"3";"4"\n', [2, 3]),
        ("a\tb\n1\t2\n3\t4\n", [2, 3]),
        ("a|b\n1|2\n3|4\n", [2, 3]),
        ("sep=;\na;b\n1;2\n3;4\n", [3, 4]),
        ("sep=,\r\na,b\r\n1,2\r\n3,4\r\n", [3, 4]),
    ],
)
def test_the_same_table_in_every_shape_has_the_same_rows(write, text, lines):
    loaded = load(write(text, "x.csv"))
    assert loaded.columns == ["a", "b"]
    assert loaded.rows == AB
    assert list(loaded.lines) == lines


def test_tabs_are_what_separates_a_tsv_file(write):
    loaded = load(write("a, or b\tc\n1,2\t3;4\n", "x.tsv"))
    assert loaded.rows == [{"a, or b": "1,2", "c": "3;4"}]
    assert load(write("a,b\n1,2\n3,4\n", "x.tsv")).rows == AB


def test_one_quoted_column_is_one_column(write):
    assert load(write('"a;b"\n1\n""\n\n"x;y"\n', "x.csv")).rows == [{"a;b": "1"}, {"a;b": ""}, {"a;b": "x;y"}]


def test_an_unnamed_column_is_kept_where_it_holds_something(write):
    loaded = load(write("a,,b,\n1, ,2,\n3, ,4,x\n", "x.csv"))
    assert loaded.columns == ["a", "b", "Unnamed: 3"]
    assert loaded.rows[1] == {"a": "3", "b": "4", "Unnamed: 3": "x"}


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 fields, the header has 2", "quotes around fields that hold commas"),
        ("a;b\n1;2;3\n", "line 2: 3 fields, the header has 2", "quotes around fields that hold semicolons"),
        ("a,b\n1,2,,3\n", "line 2: 4 fields, the header has 2", "quotes around"),
        ('a,b\n"1\n1",2\n\n3\n', "line 5: 1 fields, the header has 2", "complete or delete that line"),
        ("a,b,\n1\n", "line 2: 1 fields, the header has 3", "complete or delete that line"),
        ('a,b\n1,2\n"3,4\n5,6\n', "line 3: not valid CSV", "never closed"),
        ('a,b\n1,2\n"3"x,4\n', "line 3: not valid CSV", "double the quotes"),
        ("a,b,a\n1,2,3\n", "the column name 'a' occurs 2 times", "rename"),
    ],
)
def test_fields_that_are_not_the_headers_are_refused_by_line(write, text, words, remedy):
    path = write(text, "x.csv")
    with pytest.raises(UserError, match=f"^{path}.*{words}") as caught:
        load(path)
    assert remedy in caught.value.remedy


def test_a_table_without_a_header_whose_texts_repeat_is_refused_in_a_line(write):
    text = "word " * 5000
    with pytest.raises(UserError, match="occurs 2 times") as caught:
        load(write(f"{text},{text},other\n", "x.csv"))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("first", [0, 1])
def test_row_numbers_without_a_column_are_not_taken_for_a_comma_too_many(tmp_path, first):
    path = tmp_path / "x.csv"
    rows = [f"{first + n},question {n},GOOD,BAD,ann," for n in range(3)]
    path.write_text("\n".join(["prompt,chosen,rejected,annotator_id,note", *rows]))
    with pytest.raises(UserError, match="begins with its own number") as caught:
        load(str(path))
    assert "put a comma before the header's first name" in caught.value.remedy
    path.write_text("," + path.read_text())
    assert [row["chosen"] for row in load(str(path)).rows] == ["GOOD"] * 3


def test_a_header_that_stands_again_is_no_row(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("prompt,chosen,rejected\nq,x,y\nprompt,chosen,rejected\nr,x,y\n")
    loaded = load(str(path))
    assert ([row["prompt"] for row in loaded.rows], list(loaded.lines)) == (["q", "r"], [2, 4])
    assert loaded.notes == [f"{path}: the header stands again in line 3, and is no row there"]
