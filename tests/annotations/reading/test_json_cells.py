import csv
import json

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from repo.annotations.reading import rows as packing
from repo.annotations.reading.loading import load
from repo.annotations.reading.reader import read_annotations
from repo.errors import UserError
from repo.settings import DataSettings

MESSAGES = [{"role": "user", "content": 'a "quoted", question\n'}, {"role": "assistant", "content": "名 😀"}]
CALLS = [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"id": 12345678901234567890}}}]}]
SHAREGPT = [{"from": "human", "value": "hello"}]


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def as_texts(row):
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}


def in_every_format(folder, rows):
    """Write rows whose lists are JSON text as formats that have no lists, or are written without them."""
    write_csv(folder / "x.csv", rows)
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table, folder / "x.parquet")
    datasets.Dataset(table).save_to_disk(str(folder / "saved"))
    return [str(folder / name) for name in ("x.csv", "x.parquet", "saved")]


@pytest.mark.parametrize("value", [MESSAGES, CALLS, SHAREGPT, MESSAGES[0], [*MESSAGES, *CALLS]])
def test_a_column_of_message_lists_is_the_same_in_every_format(tmp_path, value):
    rows = [{"id": str(number), "chosen": value, "plain": "[1]"} for number in range(3)]
    for name in in_every_format(tmp_path, [row | {"chosen": json.dumps(value)} for row in rows]):
        assert load(name).rows == rows, name


def test_the_table_is_the_same_whatever_the_format(tmp_path, write):
    def talk(reply):
        return [MESSAGES[0], {"role": "assistant", "content": reply}]

    rows = [
        {"chosen": talk(f"good {number}"), "rejected": talk(f"bad {number}"), "annotator_id": "ann"}
        for number in range(3)
    ]
    texts = [as_texts(row) for row in rows]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "lists.parquet")
    expected = read_annotations(write(rows), DataSettings()).annotations.drop(columns=["file", "line"])
    assert expected["messages"].all()
    for name in [*in_every_format(tmp_path, texts), str(tmp_path / "lists.parquet")]:
        assert read_annotations(name, DataSettings()).annotations.drop(columns=["file", "line"]).equals(expected), name


@pytest.mark.parametrize(
    "other",
    [
        "text",
        '{"role": "user"}',
        "[1]",
        "[[]]",
        "{'role': 'user', 'content': open('x')}",
        "[" * 2000 + "]" * 2000,
        '{"role": "a", "role": "b", "content": "c"}',
    ],
)
def test_a_text_that_happens_to_be_json_stays_text_among_others(tmp_path, other):
    rows = [{"prompt": json.dumps(MESSAGES), "id": "1"}, {"prompt": other, "id": "2"}]
    for name in in_every_format(tmp_path, rows):
        assert load(name).rows == rows, name


def test_lists_as_python_prints_them_are_read_too(tmp_path):
    turns = [{"role": "user", "content": 'it\'s "so"\n'}, {"role": "assistant", "content": "名 [1]", "weight": None}]
    rows = [{"chosen": turns}, {"chosen": MESSAGES}]
    for name in in_every_format(tmp_path, [{"chosen": str(row["chosen"])} for row in rows]):
        assert load(name).rows == rows, name


@pytest.mark.parametrize(
    "broken",
    [
        '[{"role": "user", "content": "cut',
        '[{"role": "user", "content": "x"}, 1]',
        "[{'role': 'user', 'content': 'x'}\n {'role': 'assistant', 'content': 'as numpy prints it'}]",
        "[{'content': len('x'), 'role': 'user'}]",
        '[{"from": "human", "value": "twice", "value": "twice"}]',
        '[{"from": "human", "text": "x"}]',
        "[{'id': 1, 'role': 'user', 'content': 'x'}\n {'id': 2, 'role': 'assistant', 'content': 'numpy, again'}]",
    ],
)
def test_a_list_of_messages_that_cannot_be_read_is_refused_by_line(tmp_path, broken):
    cells = [json.dumps(MESSAGES), "", broken, json.dumps(SHAREGPT), broken]
    for path in in_every_format(tmp_path, [{"prompt": "a\nb", "chosen": cell} for cell in cells]):
        line = 6 if path.endswith(".csv") else 3
        with pytest.raises(UserError, match=f"^{path}, line {line}: chosen begins like a list of messages") as caught:
            load(path)
        assert "json.dumps" in caught.value.remedy


def test_it_is_decided_over_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "CHUNK", 2)
    rows = [{"prompt": json.dumps(SHAREGPT)}] * 5
    write_csv(tmp_path / "all.csv", rows)
    write_csv(tmp_path / "but-one.csv", [*rows, {"prompt": "hello"}])
    assert load(str(tmp_path / "all.csv")).rows[4] == {"prompt": SHAREGPT}
    assert load(str(tmp_path / "but-one.csv")).rows[0] == rows[0]


def test_empty_cells_are_missing_and_empty_lists_are_empty(tmp_path):
    rows = [("[]", "[]", ""), (json.dumps(MESSAGES), "[]", ""), (" ", "", "")]
    write_csv(tmp_path / "x.csv", [dict(zip("abc", row, strict=True)) for row in rows])
    assert load(str(tmp_path / "x.csv")).rows == [
        {"a": [], "b": "[]", "c": ""},
        {"a": MESSAGES, "b": "[]", "c": ""},
        {"a": None, "b": "", "c": ""},
    ]


def test_half_a_surrogate_pair_in_a_cell_is_replaced_and_said(tmp_path):
    write_csv(tmp_path / "x.csv", [{"prompt": '[{"role": "user", "content": "broken \\ud83d"}]'}])
    loaded = load(str(tmp_path / "x.csv"))
    assert loaded.rows[0]["prompt"] == [{"role": "user", "content": "broken \ufffd"}]
    assert "1 halves" in loaded.notes[0]


def test_the_votes_of_multipref_are_read_from_csv(tmp_path, write):
    row = {
        "comparison_id": "1",
        "text": "question",
        "completion_a": "one",
        "completion_b": "two",
        "normal_worker_annotations": [{"evaluator": "n1", "overall_pref": "Tie"}],
        "expert_worker_annotations": [{"evaluator": "e1", "overall_pref": "A-is-clearly-better"}],
    }
    rows = [row, row | {"comparison_id": "2", "normal_worker_annotations": []}]
    texts = [as_texts(row) for row in rows]
    expected = read_annotations(write(rows), DataSettings()).annotations.drop(columns=["file", "line"])
    assert len(expected) == 3
    for name in in_every_format(tmp_path, texts):
        found = read_annotations(name, DataSettings()).annotations.drop(columns=["file", "line"])
        assert found.equals(expected), name


def test_texts_of_a_json_file_are_texts(write):
    rows = [{"prompt": json.dumps(MESSAGES)}]
    assert load(write(rows)).rows == rows


def test_backslashes_in_a_list_as_python_prints_it_are_read_without_warnings(write, recwarn):
    loaded = load(write("""prompt,x\n"[{'role': 'user', 'content': '\\d'}]",1\n""", "x.csv"))
    assert loaded.rows[0]["prompt"] == [{"role": "user", "content": "\\d"}]
    assert not recwarn.list


def test_what_python_prints_is_read_as_far_as_json_can_hold_it(write):
    cells = ["[{'role': 'user', 'content': 'x', 1: (2, None)}]", "({'role': 'user', 'content': 'y'},)"]
    text = "prompt,x\n" + "".join(f'"{cell}",1\n' for cell in cells)
    assert [row["prompt"] for row in load(write(text, "x.csv")).rows] == cells
    assert load(write(f'prompt,x\n"{cells[0]}",1\n', "x.csv")).rows[0]["prompt"] == [
        {"role": "user", "content": "x", "1": [2, None]}
    ]
    for odd in ("b'x'", "{'x'}", "...", "1j", "{(1, 2): 3}", "[" * 150 + "]" * 150):
        with pytest.raises(UserError, match="line 2: prompt begins like a list of messages and cannot be read as one"):
            load(write(f"""prompt,x\n"[{{'role': 'user', 'content': 'x', 'y': {odd}}}]",1\n""", "x.csv"))


@pytest.mark.parametrize("word", ["nan", "None", "NULL"])
def test_a_word_for_nothing_among_messages_is_nothing(tmp_path, word):
    write_csv(tmp_path / "x.csv", [{"chosen": json.dumps(MESSAGES)}, {"chosen": word}])
    assert [row["chosen"] for row in load(str(tmp_path / "x.csv")).rows] == [MESSAGES, None]
    write_csv(tmp_path / "x.csv", [{"chosen": "a text"}, {"chosen": word}])
    assert [row["chosen"] for row in load(str(tmp_path / "x.csv")).rows] == ["a text", word]
