import datetime

import pytest

from repo.annotations.reading import rows as module
from repo.annotations.reading.chunks import Chunk
from repo.annotations.reading.rows import Rows, in_chunks

ROWS = [
    {"text": "half \ud83d pair", "number": 12345678901234567890123},
    {"date": datetime.date(2024, 1, 1), "list": [{"role": "user"}], "nothing": None},
    {},
    {"text": "名前"},
    {"text": "last"},
]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)


def test_rows_come_out_as_they_went_in() -> None:
    rows = Rows.of(iter(ROWS))
    assert [len(chunk) for chunk in rows.chunks()] == [2, 2, 1]
    assert list(rows) == ROWS
    assert rows == ROWS
    assert [rows[place] for place in (4, 0, 3, -1)] == [ROWS[4], ROWS[0], ROWS[3], ROWS[4]]
    assert rows[1:4] == ROWS[1:4]
    with pytest.raises(IndexError):
        rows[5]


def test_other_rows_are_not_equal() -> None:
    assert Rows.of(ROWS) != ROWS[:4]
    assert Rows.of(ROWS) != [*ROWS[:4], {"text": "other"}]
    assert Rows() == []
    assert Rows() != 0


def test_rows_are_changed_and_added_a_chunk_at_a_time() -> None:
    rows = Rows.of(ROWS).map(lambda chunk: [{"keys": len(row)} for row in chunk])
    rows.append(Chunk.of([{"keys": 9}]))
    assert rows == [{"keys": keys} for keys in (2, 3, 0, 1, 1, 9)]


def test_chunks_hold_everything_once() -> None:
    assert list(in_chunks(range(5))) == [[0, 1], [2, 3], [4]]
