import csv
import gzip
import io
import json
import math
import socket

import datasets
import pandas as pd
import pytest

from repo.annotations.reading.loading import load
from repo.errors import UserError


def as_csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_every_format_gives_the_same_rows(write, vote, tmp_path):
    rows = [vote(1), vote(2, preference="tie")]
    pd.DataFrame(rows).to_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    names = [
        write(rows, "x.jsonl"),
        write(json.dumps(rows, indent=1), "x.json"),
        write("\ufeff" + "\n".join(map(json.dumps, rows)), "bom.json"),
        write(as_csv(rows), "x.csv"),
        str(tmp_path / "x.parquet"),
        str(tmp_path / "x.jsonl.gz"),
    ]
    for name in names:
        assert load(name).rows == rows, name


def test_lines_are_those_of_the_file(write, vote):
    row = json.dumps(vote())
    assert list(load(write(f"\n{row}\n\n{row}\n")).lines) == [2, 4]
    text = as_csv([vote(1, prompt='two\nlines, "quoted"'), vote(2)]).replace("\r\n", "\n")
    loaded = load(write(text.replace("\nquestion 2", "\n\nquestion 2"), "x.csv"))
    assert list(loaded.lines) == [2, 5]
    assert loaded.rows[0]["prompt"] == 'two\nlines, "quoted"'


def test_csv_words_stay_words(write, vote):
    words = ["NA", "None", "null", "nan", "1.0", "007", "2024-01-01 00:00:00"]
    loaded = load(write(as_csv([vote(prompt=word) for word in words]), "x.csv"))
    assert [row["prompt"] for row in loaded.rows] == words


def test_csv_is_read_as_spreadsheets_write_it(write):
    loaded = load(write('\ufeff,prompt,annotator_id\r\n0,"nul\0byte, ""quoted""",\r\n1,plain,ann\r\n', "x.csv"))
    assert loaded.rows == [
        {"Unnamed: 0": "0", "prompt": 'nul\0byte, "quoted"', "annotator_id": ""},
        {"Unnamed: 0": "1", "prompt": "plain", "annotator_id": "ann"},
    ]


def test_json_values_are_not_guessed_at(write, vote):
    strange = [
        vote(annotator_id=12345678901234567890123),
        vote(annotator_id="2024-01-01 00:00:00"),
        vote(prompt="a\0b"),
    ]
    assert load(write(strange)).rows == strange


def test_half_a_surrogate_pair_is_replaced_and_said(write, vote):
    loaded = load(write([vote(prompt="broken \ud83d here"), vote(prompt="whole 😀")]))
    assert [row["prompt"] for row in loaded.rows] == ["broken \ufffd here", "whole 😀"]
    assert "1 halves" in loaded.notes[0]


def test_a_file_that_changed_is_read_again(write, vote):
    load(write([vote(1)]))
    assert load(write([vote(2)])).rows == [vote(2)]


def test_nothing_is_left_behind(write, vote, monkeypatch, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    load(write([vote()]))
    assert not list(temporary.iterdir())


def test_a_local_file_is_read_without_the_network(write, vote, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **options: asked.append(address) or [])
    for name in (write([vote()]), write(as_csv([vote()]), "x.csv"), write(json.dumps([vote()]), "x.json")):
        assert load(name).rows == [vote()]
    assert not asked


def test_the_progress_bars_of_others_are_left_as_they_were(write, vote):
    before = datasets.are_progress_bars_disabled()
    load(write([vote()]))
    assert datasets.are_progress_bars_disabled() == before


GOOD = '{"prompt": "a"}\n'


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("", "x.jsonl", "the file is empty"),
        ("\n \n", "x.jsonl", "holds no rows"),
        ("[]", "x.json", "holds no rows"),
        ("prompt,chosen,rejected\n", "x.csv", "holds no rows"),
        ("\n\n", "x.csv", "holds no rows"),
        (GOOD + '{"prompt": "b', "x.jsonl", r"line 2: not valid JSON .*cut off"),
        (GOOD + '{"prompt": \n' + GOOD, "x.jsonl", r"line 2: not valid JSON"),
        (GOOD + "3\n", "x.jsonl", "line 2: a JSON object is expected, found int"),
        ("[{}, 3]", "x.json", "record 2: a JSON object is expected"),
        ('[{"prompt": "a"},\n {"prom', "x.json", "line 2: not valid JSON"),
        ('{"data": [\n{"prompt": "a"}\n]}', "x.json", "neither JSON lines nor a JSON array"),
        ("a,a\n1,2\n", "x.csv", "occurs 2 times"),
        ("a,b\n1,2\n1,2,3\n", "x.csv", "line 3"),
        ("not parquet", "x.parquet", "not a readable Parquet file"),
        ("text", "x.docx", "unknown file format"),
        ("text", "x.zip", "unknown file format"),
        (
            GOOD + '{"prompt": "b", "id": ' + "9" * 5000 + "}\n",
            "x.jsonl",
            "line 2: holds a number of thousands of digits",
        ),
        ('[{"prompt": "a"},\n\n{"id": ' + "9" * 5000 + "}]", "x.json", "line 3: holds a number of thousands of digits"),
        (GOOD + '{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "x.jsonl", "line 2: nested more than 100 deep"),
        (GOOD + '{"prompt": ' + "[" * 500 + "]" * 500 + "}\n", "x.jsonl", "line 2: nested more than 100 deep"),
        ("[" * 100_000, "x.json", "line 1: nested more than 100 deep"),
        ('{"a":' * 100_000, "x.jsonl", "line 1: nested more than 100 deep"),
        (GOOD + '{"prompt": "raw \0"}\n', "x.jsonl", "line 2: not valid JSON .Invalid control character"),
        (GOOD + '{"vote": "a", "vote": "b"}\n', "x.jsonl", "line 2: the key 'vote' occurs twice"),
        ("[{}]\n\n[{}]\n", "x.jsonl", "line 3: something follows the array"),
        ("[{},\n]", "x.json", "line 2: not valid JSON .Expecting value"),
        ("[{}\n{}]", "x.json", "line 2: not valid JSON .Expecting ',' delimiter"),
    ],
)
def test_an_unreadable_file_is_named_with_the_place_and_a_remedy(write, content, name, words):
    path = write(content, name)
    with pytest.raises(UserError, match=words) as caught:
        load(path)
    assert path in str(caught.value)
    assert caught.value.remedy


def test_json_words_beside_the_standard_are_read(write):
    first, second = load(write('{"margin": NaN, "id": 1e999}\n{"margin": -Infinity, "id": ' + "9" * 400 + "}\n")).rows
    assert math.isnan(first["margin"])
    assert (first["id"], second["margin"], second["id"]) == (math.inf, -math.inf, int("9" * 400))
