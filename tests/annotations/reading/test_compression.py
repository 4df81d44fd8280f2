import bz2
import gzip
import json
import lzma
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from packing import COMPRESSIONS, zipped, zstd

from repo.annotations.reading.loading import load
from repo.errors import UserError

ROWS = [{"prompt": f"question {number}", "annotator_id": "ann"} for number in range(500)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = pd.DataFrame(ROWS).to_csv(index=False).encode()


def write(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


@pytest.mark.parametrize("compress", [*COMPRESSIONS.values(), lambda content: content])
@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst", ".GZ"])
@pytest.mark.parametrize(("name", "content"), [("x.jsonl", LINES), ("x.csv", CSV)])
def test_content_tells_the_compression_whatever_the_name_says(tmp_path, compress, suffix, name, content):
    assert load(write(tmp_path, name + suffix, compress(content))).rows == ROWS


@pytest.mark.parametrize("compress", COMPRESSIONS.values())
def test_parts_compressed_one_behind_the_other_are_one_file(tmp_path, compress):
    half = len(LINES) // 2
    assert load(write(tmp_path, "x.jsonl", compress(LINES[:half]) + compress(LINES[half:]))).rows == ROWS


def test_parquet_is_told_by_its_content(tmp_path):
    parquet = pd.DataFrame(ROWS).to_parquet()
    for name in ("x.parquet", "x.csv", "x", "x.parquet.gz"):
        content = gzip.compress(parquet) if name.endswith(".gz") else parquet
        assert load(write(tmp_path, name, content)).rows == ROWS


@pytest.mark.parametrize("name", ["x.zip", "x.csv.zip", "x.jsonl"])
def test_a_zip_archive_of_one_file_is_that_file(tmp_path, name):
    members = {
        "votes/": b"",
        "votes/june.csv": CSV,
        "__MACOSX/votes/._june.csv": b"\0",
        "read.me": b"hello",
        ".x.csv": b"",
    }
    assert load(write(tmp_path, name, zipped(members))).rows == ROWS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped({"a.csv": CSV, "b.csv": CSV}), "holds a.csv, b.csv"),
        (zipped({"read.me": b"hello"}), "holds read.me; none is a file that we read"),
        (zipped({}), "holds nothing"),
        (zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "is an Excel workbook"),
        (zipped({"a.csv": CSV})[:-30], "the zip archive cannot be read"),
        (gzip.compress(LINES, mtime=0)[:-20], "compressed file is damaged"),
        (bz2.compress(LINES)[:-20], "compressed file is damaged"),
        (lzma.compress(LINES)[:-20], "compressed file is damaged"),
        (zstd(LINES)[:-20], "compressed file is damaged"),
        (gzip.compress(LINES, mtime=0)[:40] + b"\0" * 40, "compressed file is damaged"),
        (gzip.compress(gzip.compress(LINES, mtime=0), mtime=0), "is compressed twice"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "is a 7z archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "is an old Excel workbook"),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl.gz", "x.zip", "x.xlsx"])
def test_what_cannot_be_unpacked_is_named_with_a_remedy(tmp_path, content, words, name):
    path = write(tmp_path, name, content)
    with pytest.raises(UserError, match=words) as caught:
        load(path)
    assert path in caught.value.problem
    assert caught.value.remedy


def test_a_tar_archive_is_named_also_when_it_is_compressed(tmp_path):
    write(tmp_path, "a.csv", CSV)
    with tarfile.open(tmp_path / "x.csv.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.csv", "a.csv")
    with pytest.raises(UserError, match="is a tar archive"):
        load(str(tmp_path / "x.csv.gz"))
