"""Whatever a program writes comes back as it was, or is refused by name; so is whatever else lies there."""

import codecs
import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import packing
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from repo.annotations.reading.loading import LoadedFile, load
from repo.annotations.reading.sources import SUFFIXES
from repo.errors import UserError

NAMES = st.text("abcxyz_ é名", min_size=1, max_size=6).filter(str.strip)
TEXTS = st.text(
    st.one_of(st.sampled_from(",;\t|\"\n '\\[]{}:0\u2028\ufeff"), st.characters(exclude_categories=["Cs"])), max_size=12
)
ENCODINGS = (
    ("utf-8", b""),
    ("utf-8-sig", b""),
    ("utf-16", b""),
    ("utf-16-le", codecs.BOM_UTF16_LE),
    ("utf-16-be", codecs.BOM_UTF16_BE),
)


COMPRESSIONS = {"": bytes, **packing.COMPRESSIONS}
PACKERS = {**COMPRESSIONS, ".zip": lambda content: packing.zipped({"inside.csv": content, "__MACOSX/inside.csv": b""})}


def load_bytes(content: bytes, name: str) -> LoadedFile | UserError:
    """Load a file of these bytes; a refusal names it and says what to do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return load(str(path))
        except UserError as error:
            refused = error
    assert str(path) in refused.problem
    assert refused.remedy
    return refused


def tables(cells: st.SearchStrategy[Any], least_columns: int = 1) -> st.SearchStrategy[list[dict[str, Any]]]:
    def rows(columns: list[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
        return st.lists(st.fixed_dictionaries(dict.fromkeys(columns, cells)), min_size=1, max_size=5)

    return st.lists(NAMES, min_size=least_columns, max_size=4, unique=True).flatmap(rows)


@settings(deadline=None, max_examples=300)
@given(
    rows=tables(TEXTS, least_columns=2),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\r\n", "\n", "\r", "\n\n"]),
    encoding=st.sampled_from(ENCODINGS),
    compression=st.sampled_from(list(PACKERS)),
)
def test_what_the_csv_module_writes_comes_back(rows, separator, quoting, end, encoding, compression):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    content = encoding[1] + text.getvalue().encode(encoding[0])
    loaded = load_bytes(PACKERS[compression](content), f"x.csv{compression}")
    unquoted_breaks = any(set("\r\n") & set(value) for row in rows for value in row.values()) and end != "\r\n"
    if quoting == csv.QUOTE_MINIMAL and unquoted_breaks:
        # The module quotes the line ends that it writes itself only: such a file says something else.
        return
    assert isinstance(loaded, LoadedFile)
    assert loaded.columns == list(rows[0])
    assert loaded.rows == rows


@settings(deadline=None, max_examples=200)
@given(
    rows=tables(TEXTS, least_columns=2),
    changed=st.integers(0, 4),
    change=st.sampled_from([lambda row: row[:-1], lambda row: [*row, "x"], lambda row: [*row, "", "x"]]),
)
def test_a_row_of_other_fields_is_refused_by_its_line(rows, changed, change):
    changed %= len(rows)
    records = [list(row.values()) for row in rows]
    records[changed] = ["x", *records[changed][1:]]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(rows[0])
    writer.writerows(records[:changed])
    line = len(text.getvalue().splitlines(keepends=False)) if text.getvalue().isascii() else None
    writer.writerow(change(records[changed]))
    writer.writerows(records[changed + 1 :])
    refused = load_bytes(text.getvalue().encode(), "x.csv")
    assert isinstance(refused, UserError)
    assert f"{len(change(records[changed]))} fields, the header has {len(rows[0])}" in refused.problem
    if line is not None and not set("\x0b\x0c\x1c\x1d\x1e") & set(text.getvalue()):
        assert f"line {line + 1}:" in refused.problem


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(
    rows=st.lists(st.dictionaries(TEXTS, JSON, max_size=4), min_size=1, max_size=5),
    array=st.booleans(),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
    encoding=st.sampled_from(ENCODINGS),
    compression=st.sampled_from(list(COMPRESSIONS)),
)
def test_what_the_json_module_writes_comes_back(rows, array, ascii_only, indent, encoding, compression):
    if array:
        text = json.dumps(rows, ensure_ascii=ascii_only, indent=indent)
    else:
        text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    content = encoding[1] + text.encode(encoding[0])
    loaded = load_bytes(COMPRESSIONS[compression](content), f"x.json{compression}")
    assert isinstance(loaded, LoadedFile)
    assert loaded.rows == rows
    assert list(loaded.lines) == list(range(1, len(rows) + 1))


@settings(deadline=None, max_examples=100)
@given(
    rows=tables(TEXTS | st.none())
    | tables(st.lists(st.fixed_dictionaries({"role": TEXTS, "content": TEXTS | st.none()})) | st.none())
    | tables(st.integers(-(2**63), 2**63 - 1) | st.none())
    | tables(st.floats(allow_nan=False) | st.none())
    | tables(st.datetimes()),
    compression=st.sampled_from(list(COMPRESSIONS)),
)
def test_what_pyarrow_writes_comes_back(rows, compression):
    table = pa.Table.from_pylist(rows)
    written = io.BytesIO()
    parquet.write_table(table, written)
    loaded = load_bytes(COMPRESSIONS[compression](written.getvalue()), f"x.parquet{compression}")
    assert isinstance(loaded, LoadedFile)
    assert loaded.rows == rows


PACKED = (b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PK\x05\x06")
HEADS = (b"", *PACKED, b"PAR1", b"[", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b'{"a":', b"a,b\n", b'"', b"%PDF-")
TAILS = (b"", b"PAR1", b"]", b"}")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".jsonl.gz", ".csv.zst", ".zip", ".csv.bz2", ".json.xz"])
@settings(deadline=None, max_examples=60)
@given(
    head=st.sampled_from(HEADS), content=st.binary(max_size=200) | TEXTS.map(str.encode), tail=st.sampled_from(TAILS)
)
def test_any_bytes_are_a_table_or_refused(suffix, head, content, tail):
    assert isinstance(load_bytes(head + content + tail, f"x{suffix}"), LoadedFile | UserError)


@pytest.mark.parametrize("compression", list(PACKERS))
@settings(deadline=None, max_examples=60)
@given(place=st.integers(0), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_a_table_or_refused(compression, place, byte, cut):
    table = pa.table({"prompt": [f"question {number}" for number in range(30)]})
    written = io.BytesIO()
    parquet.write_table(table, written)
    for plain in ("prompt,vote\n" + "question,a\n" * 30).encode(), written.getvalue():
        content = bytearray(PACKERS[compression](plain))
        at = place % len(content)
        content[at] = byte
        damaged = bytes(content[:at]) if cut else bytes(content)
        assert isinstance(load_bytes(damaged, f"x.csv{compression}"), LoadedFile | UserError)
