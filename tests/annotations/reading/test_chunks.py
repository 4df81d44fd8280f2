import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from repo.annotations.reading.canonical import canonical_row, canonical_table
from repo.annotations.reading.chunks import Chunk, Coded, once
from repo.annotations.reading.layouts import DISPLAY, TRL, Reading
from repo.annotations.reading.values import BadRowError
from repo.annotations.reading.vote_codes import VoteCodes
from repo.annotations.schema import empty_table
from repo.settings import DataSettings

_HALF = b"\x00\xd8".decode("utf-16-le", "surrogatepass")
_CELLS = st.one_of(
    st.sampled_from([None, "", " ", "a", "1", "1.0", "名前", _HALF]),
    st.sampled_from([1, 1.0, True, False, 0]),
    st.sampled_from([1.0, 0.0, -0.0, float("inf"), float("nan")]),
    st.sampled_from([[], ["a"], {}, {"a": 1}, datetime.date(2024, 1, 1)]),
)
_ROWS = st.one_of(
    st.lists(st.dictionaries(st.sampled_from("abc"), cells), min_size=1, max_size=12)
    for cells in (_CELLS, st.sampled_from([0.0, -0.0, None]))
)

_REPLY = {"role": "assistant", "content": "x"}
_TURN = st.sampled_from(["Hi", "Bye"]).map(lambda text: {"role": "user", "content": text})
_PLAIN = st.sampled_from(["x", "y", "", " x ", "名前", "\n\nHuman: x\n\nAssistant:", "\n\nHuman: x\n\nAssistant: y"])
_TEXTS = st.one_of(
    _PLAIN,
    st.lists(_TURN, max_size=2),
    st.lists(_TURN, max_size=1).map(lambda turns: [*turns, _REPLY]),
    st.sampled_from([None, 3, {"role": "user"}]),
)
_IDS = st.sampled_from([None, "", "7", "7.0", 7, 7.0, True, " 7 ", "NA", float("nan")])
_VOTES = st.sampled_from(["a", "A", "b", "left", "tie", 1, 1.0, True, "1", None, "", "other"])
_SIDES = st.sampled_from(
    ["a", "b", "chosen", "rejected", "x", None, "", "other", [{"role": "assistant", "content": "x"}]]
)
_COLUMNS = {
    "prompt": _TEXTS,
    "system": st.sampled_from([None, "", "s", 1]),
    "history": st.sampled_from([None, [], [["x", "y"]], "x"]),
    "comparison_id": _IDS,
    "created_at": _IDS,
    "gold": _SIDES,
}
"""Columns that a file may have or not."""


@st.composite
def _files(draw: st.DrawFn) -> tuple[Reading, list[dict[str, Any]]]:
    """Rows as recognise leaves them: all name the same columns, and annotators are text."""
    paired = draw(st.booleans())
    columns = {name: cells for name, cells in _COLUMNS.items() if draw(st.booleans())}
    columns |= dict.fromkeys(("response_a", "response_b") if paired else TRL, _TEXTS)
    columns |= {"preference": _VOTES} if paired else {}
    columns |= {"annotator_id": st.sampled_from(["", "ann"])} if draw(st.booleans()) else {}
    display = draw(st.sampled_from(["unknown", "column", "first"] if paired else ["unknown", "column"]))
    columns |= {DISPLAY: _SIDES.filter(lambda side: not isinstance(side, list))} if display == "column" else {}
    names = {name: name for name in columns}
    codes = VoteCodes.of(DataSettings(values={"a": [1]}))
    reading = Reading("paired" if paired else "trl", names, [], codes, display)
    return reading, draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=10))


@given(_ROWS)
def test_rows_of_any_kinds_come_out_as_they_went_in(rows: list[dict[str, Any]]) -> None:
    chunk = Chunk.of(rows)
    assert [_typed(row) for row in chunk.rows()] == [_typed(row) for row in rows]
    odd = np.arange(len(rows))[1::2]
    assert [_typed(row) for row in chunk.take(odd).rows()] == [_typed(row) for row in rows[1::2]]
    filled = [{name: row.get(name) for name in "ad"} for row in rows]
    assert [_typed(row) for row in chunk.only("ad").rows()] == [_typed(row) for row in filled]


def _typed(row: dict[str, Any]) -> dict[str, str]:
    """Tell 1 from 1.0 and True, which are equal."""
    return {name: ascii(row[name]) for name in sorted(row)}


@given(_ROWS)
def test_what_is_computed_once_is_what_every_row_gives(rows: list[dict[str, Any]]) -> None:
    columns = {name: Coded.of([row.get(name) for row in rows]) for name in "ab"}
    read = once(columns, ascii).values()
    assert read == [ascii({name: row.get(name) for name in "ab"}) for row in rows]


def test_equal_combinations_are_computed_once() -> None:
    seen: list[dict[str, Any]] = []
    columns = {"a": Coded.of(["x", "y", "x", "x"]), "b": Coded.of([1, 1, 1, 2])}
    once(columns, seen.append)
    assert seen == [{"a": "x", "b": 1}, {"a": "y", "b": 1}, {"a": "x", "b": 2}]


@given(st.lists(st.sampled_from(["x", "y", None, "名前", ""])))
def test_arrow_texts_are_coded_as_pythons_are(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.string())
    for same in (array, pa.chunked_array([array[:1], array[1:]]), array.cast(pa.large_string())):
        coded = Coded.of_arrow(same)
        assert coded.values() == texts
        assert coded.distinct == Coded.of(texts).distinct


@given(_files())
def test_a_table_is_what_its_rows_are_one_by_one(file: tuple[Reading, list[dict[str, Any]]]) -> None:
    reading, rows = file
    expected: list[dict[str, Any]] = []
    refused: dict[int, list[str]] = {}
    for number, row in enumerate(rows):
        try:
            expected.append(canonical_row(row, reading, "f", 2 * number))
        except BadRowError as error:
            refused[number] = error.reasons
    table, bad = canonical_table(Chunk.of(rows), reading, "f", range(0, 2 * len(rows), 2))
    assert {number: error.reasons for number, error in bad.items()} == refused
    empty = empty_table()
    wanted = pd.DataFrame(expected, columns=list(empty.columns)).astype(empty.dtypes.to_dict())
    pd.testing.assert_frame_equal(table, wanted)


@given(_PLAIN, _PLAIN, _PLAIN)
def test_plain_texts_are_read_as_they_are_beside_an_empty_column(prompt: str, first: str, second: str) -> None:
    reading = Reading("trl", {}, [], VoteCodes.of(DataSettings()), "unknown")
    row = {"prompt": prompt, "chosen": first, "rejected": second}
    assert _read(row, reading) == _read(row | {"system": None}, reading)


def _read(row: dict[str, Any], reading: Reading) -> Any:
    try:
        return canonical_row(row, reading, "f", 1)
    except BadRowError as error:
        return error.reasons
