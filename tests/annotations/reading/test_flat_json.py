"""Blocks of flat JSON lines: Arrow reads them as json_rows does, or not at all."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repo.annotations.reading import loading
from repo.annotations.reading.flat_json import read_block
from repo.annotations.reading.json_rows import parse_lines, without_lone_surrogates
from repo.errors import UserError

_VALUES = st.one_of(
    st.sampled_from(["x", "", "名前", "\n", "2024-01-01 00:00:00", "\u2028", "null", "{", "\ud83d", "😀"]),
    st.sampled_from([1, 0, -7, 2**63, 1.0, float("nan"), True, None, [], {"a": 1}]),
)
_LINES = st.one_of(
    st.tuples(
        st.dictionaries(st.sampled_from(["a", "b", "名"]), _VALUES),
        st.booleans(),
        st.sampled_from(["", " ", "\r", "}"]),
    ).map(lambda made: json.dumps(made[0], ensure_ascii=made[1]) + made[2]),
    st.text(alphabet='{}[]",:\\ua1-0e.\t\r\x00', max_size=12),
    st.sampled_from(
        ["", '{"a": "x"}', '{"a": "x", "a": "y"}', '{"a": "x"}{"a": "y"}', '{"a": "x"', '{"a": "\x01"}', "[]"]
    ),
)


@given(st.lists(_LINES, min_size=1, max_size=4).map("\n".join))
@example('{"a": "x"}{"a": "y"}\n{"a": "z"\n}\n')
@example('{"a": "x"}{"a": "y"}\n\n')
@example('{"a": -0}\n{"a": 01}')
@example('{"\\u0061": "\\u0000\\/"}\n')
def test_a_block_is_read_as_its_lines_are_or_not_at_all(text: str) -> None:
    block = text.encode("utf-8", "surrogatepass")
    chunk = read_block(block)
    if chunk is not None:
        read = list(
            parse_lines(
                "f", block.decode("utf-8").splitlines(keepends=True) if "\u2028" not in text else text.split("\n")
            )
        )
        assert ascii(chunk.rows()) == ascii([row for _, row, _ in read])
        assert all(without_lone_surrogates(row) == (row, 0) for _, row, _ in read)


def test_flat_lines_are_read_at_once_and_line_breaks_at_the_end_make_no_difference() -> None:
    row = {"a": "x", "n": 7, "yes": True}
    for end in ("", "\n"):
        chunk = read_block(f"{json.dumps(row)}\n{json.dumps(row)}{end}".encode())
        assert chunk is not None
        assert ascii(chunk.rows()) == ascii([row, row])


def test_from_the_first_other_line_on_each_line_is_read_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "CHUNK", 2)
    texts = ['{"a": "x"}', '{"a": "y"}', "", '{"a": null, "b": 1.0}', '{"a": "z"}']
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(texts), encoding="utf-8")
    loaded = loading.load(str(path))
    assert list(loaded.rows) == [{"a": "x"}, {"a": "y"}, {"a": None, "b": 1.0}, {"a": "z"}]
    assert list(loaded.lines) == [1, 2, 4, 5]
    assert loaded.columns == ["a", "b"]
    path.write_text("\n".join([*texts, "{"]), encoding="utf-8")
    with pytest.raises(UserError, match="line 6"):
        loading.load(str(path))
