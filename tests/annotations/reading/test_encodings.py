import codecs
import json
import subprocess
from pathlib import Path

import pytest

from repo.annotations.reading.loading import load
from repo.errors import UserError

ROWS = [{"prompt": "café Ωμέγα 😀", "annotator_id": "Zoë"}, {"prompt": "two\u2028lines", "annotator_id": "b"}]
CSV = "".join(
    f"{row['prompt']},{row['annotator_id']}\r\n"
    for row in ({"prompt": "prompt", "annotator_id": "annotator_id"}, *ROWS)
)
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
MARKED = [
    ("utf-8-sig", b""),
    ("utf-16-le", codecs.BOM_UTF16_LE),
    ("utf-16-be", codecs.BOM_UTF16_BE),
    ("utf-32-le", codecs.BOM_UTF32_LE),
    ("utf-32-be", codecs.BOM_UTF32_BE),
]


@pytest.mark.parametrize(("encoding", "mark"), [*MARKED, ("utf-8", b""), ("utf-16-le", b""), ("utf-16-be", b"")])
@pytest.mark.parametrize(("name", "text"), [("x.csv", CSV), ("x.jsonl", LINES), ("x.json", json.dumps(ROWS, indent=1))])
def test_a_text_is_read_in_the_encoding_that_it_shows(
    tmp_path: Path, encoding: str, mark: bytes, name: str, text: str
) -> None:
    (tmp_path / name).write_bytes(mark + text.encode(encoding))
    assert load(str(tmp_path / name)).rows == ROWS


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert str(path) in caught.value.problem
    return caught.value


@pytest.mark.parametrize("name", ["x y.jsonl", "x.csv"])
def test_what_windows_wrote_is_named_by_line_and_byte_with_a_conversion_that_works(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes('{"prompt": "a"}\n{"prompt": "café – “bar”"}\n'.encode("cp1252"))
    error = refusal(path)
    assert "line 2: not UTF-8 (byte 32 of the file)" in error.problem
    command = error.remedy.partition("iconv")[2].partition(" > NEW")[0]
    done = subprocess.run(f"iconv{command}", shell=True, capture_output=True, check=True)
    assert "café – “bar”" in done.stdout.decode("utf-8")


@pytest.mark.parametrize(
    "content",
    [
        "prompt\ncafé\n".encode() + "Zoë\n".encode("latin-1"),  # one bad line: all others would be spoilt
        b"prompt\ncaf\xe9\n\x81\n",  # no letter of cp1252
        b"prompt\ncaf\xe9\n\x00\x01\n",
        LINES.encode()[: LINES.encode().index("é".encode()) + 1] + b"\n" + "Ω\n".encode(),
    ],
)
def test_no_conversion_is_named_that_fails_or_spoils_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    error = refusal(tmp_path / "x.csv")
    assert "not UTF-8" in error.problem
    assert "iconv" not in error.remedy
    assert error.remedy


@pytest.mark.parametrize(("encoding", "mark"), MARKED[1:])
def test_a_cut_or_broken_file_of_wide_letters_is_named_by_line_and_byte(
    tmp_path: Path, encoding: str, mark: bytes
) -> None:
    content = mark + CSV.encode(encoding)
    (tmp_path / "x.csv").write_bytes(content + b"\x00")
    problem = refusal(tmp_path / "x.csv").problem
    assert f"line 4: not {encoding[:6].upper()} (byte {len(content) + 1} of the file)" in problem


def test_the_line_of_a_bad_byte_is_found_far_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"prompt\n" + b"plain\n" * 400_000 + b"caf\xe9\n")
    assert "line 400002: not UTF-8 (byte 2400011 of the file)" in refusal(tmp_path / "x.csv").problem
