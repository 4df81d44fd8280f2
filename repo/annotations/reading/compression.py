"""Compressed files → their plain content, told by the first bytes: names and servers are wrong about it."""

import bz2
import gzip
import lzma
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from repo.annotations.reading.sources import SUFFIXES, format_of, is_hidden
from repo.errors import UserError

_HEAD = 512
_CHUNK = 1 << 24
_OPENERS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (rb"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)", bz2.BZ2File),
    (rb"\xfd7zXZ\0", lzma.LZMAFile),
    (rb"\x28\xb5\x2f\xfd", lambda file: pa.CompressedInputStream(file, "zstd")),
)
_ZIP = rb"PK(?:\x03\x04|\x05\x06)"
_OTHERS = (
    (rb"%PDF-", "a PDF document", "export the table as CSV UTF-8"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and give the file inside"),
    (rb"Rar!\x1a\x07", "a RAR archive", "unpack it and give the file inside"),
    (rb"\x04\x22\x4d\x18", "lz4-compressed", "unpack it and give the file inside"),
    (rb".{257}ustar", "a tar archive", "unpack it and give the folder"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook or Word document", "save it as CSV UTF-8"),
    (rb"SQLite format 3\0", "an SQLite database", "export the table as CSV or JSONL"),
    (rb"ARROW1\0", "an Arrow file", "write it as Parquet, or give the folder from save_to_disk"),
)
_OFFICE = {"xl": "an Excel workbook", "word": "a Word document", "content.xml": "an OpenDocument file"}


def unpack(name: str, file_name: str, path: Path, folder: Path) -> tuple[Path, str]:
    """Return where a file's plain content lies (`path` or a file in `folder`), and the name that tells its format.

    Args:
        name: what the file is called in errors.
        file_name: its own name; a zip archive's member has another.
        path: where it lies.
        folder: takes what is unpacked.

    Raises:
        UserError: the content is damaged, an archive of several files, or of a kind that holds no table we read.
    """
    head = _head(path)
    plain, plain_name = folder / "plain", file_name
    if re.match(_ZIP, head):
        plain_name = _unzip(name, path, plain)
    elif opener := next((opener for magic, opener in _OPENERS if re.match(magic, head)), None):
        _decompress(name, path, opener, plain)
    else:
        plain = path
    _refuse_others(name, _head(plain), unpacked=plain != path)
    return plain, plain_name


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _decompress(name: str, path: Path, opener: Callable[[Any], Any], target: Path) -> None:
    try:
        with path.open("rb") as packed, opener(packed) as content, target.open("wb") as plain:
            shutil.copyfileobj(content, plain, _CHUNK)
    except Exception as error:  # each kind of compression raises its own kinds
        remedy = "is it complete? copy or download it again"
        raise UserError(f"{name}: the compressed file is damaged: {_reason(error)}", remedy) from error


def _unzip(name: str, path: Path, target: Path) -> str:
    """Write a zip archive's one readable member; returns its name."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = _member(name, [item.filename for item in archive.infolist() if not item.is_dir()])
            with archive.open(member) as content, target.open("wb") as plain:
                shutil.copyfileobj(content, plain, _CHUNK)
            return member
    except UserError:
        raise
    except Exception as error:  # zipfile's, zlib's, a password's and unknown methods' kinds
        remedy = "is it complete, and without a password? unpack it and give the file inside"
        raise UserError(f"{name}: the zip archive cannot be read: {_reason(error)}", remedy) from error


def _member(name: str, members: list[str]) -> str:
    for part, kind in _OFFICE.items():
        if any(member.split("/")[0] == part for member in members):
            raise UserError(f"{name}: is {kind}, no table of ours", "save it as CSV UTF-8")
    readable = [member for member in members if format_of(member) and not is_hidden(member)]
    if len(readable) == 1:
        return readable[0]
    problem = f"{name}: the zip archive holds {', '.join((readable or members)[:10]) or 'nothing'}"
    if readable:
        raise UserError(problem, "one file to read is expected: unpack it and give the folder")
    raise UserError(
        f"{problem}; none is a file that we read", f"put one file into it that ends in {', '.join(SUFFIXES)}"
    )


def _refuse_others(name: str, head: bytes, unpacked: bool) -> None:
    for magic, kind, remedy in _OTHERS:
        if re.match(magic, head, re.DOTALL):
            raise UserError(f"{name}: is {kind}, no table of ours", remedy)
    if unpacked and any(re.match(magic, head) for magic in (_ZIP, *(magic for magic, _ in _OPENERS))):
        raise UserError(f"{name}: is compressed twice", "unpack it once")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
