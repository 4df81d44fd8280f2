"""Text files in the encodings that programs write → text; what is none of them is refused by line and byte."""

import codecs
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from repo.errors import UserError

_MARKS = (
    # UTF-32's mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_LETTERS = 8
"""First bytes that tell UTF-16: column names and JSON begin with four Latin letters or signs."""
_CHUNK = 1 << 20
_SAVE_AGAIN = "save it again as UTF-8 with the program that wrote it (Excel: CSV UTF-8)"
_CONTROLS = frozenset(range(32)) - set(b"\t\n\r\f")


@contextmanager
def open_text(name: str, path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file in its own encoding: UTF-8, or what its byte order mark or its zero bytes tell.

    Raises:
        UserError: something read while it is open is no text of that encoding.
    """
    encoding = encoding_of(path)
    try:
        with path.open(encoding=encoding, newline=newline) as file:
            yield file
    except UnicodeDecodeError:
        raise _not_text(name, path, encoding) from None


def encoding_of(path: Path) -> str:
    """Return the encoding that a file's first bytes tell, 'utf-8' where they tell none."""
    with path.open("rb") as file:
        head = file.read(_LETTERS)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2], head[1::2]
    if len(head) == _LETTERS and not any(odd) and all(even):
        return "utf-16-le"
    if len(head) == _LETTERS and not any(even) and all(odd):
        return "utf-16-be"
    return "utf-8"


def _not_text(name: str, path: Path, encoding: str) -> UserError:
    line, byte = _first_error(path, encoding)
    problem = f"{name}, line {line}: not {encoding.upper().removesuffix('-SIG')} (byte {byte} of the file)"
    return UserError(problem, _remedy(name, path) if encoding.startswith("utf-8") else _SAVE_AGAIN)


def _first_error(path: Path, encoding: str) -> tuple[int, int]:
    """Return the line and the place in the file, both counted from 1, of the first byte that is no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(encoding, errors="ignore")
                return line + before.count("\n"), file.tell() - len(error.object) + error.start + 1
            if not chunk:
                raise AssertionError(f"{path} is {encoding}")


def _remedy(name: str, path: Path) -> str:
    """Say what to do with a file that is not UTF-8; a conversion is named only where it works and may be the right one.

    A file in which some letters are UTF-8 would be spoilt by one.
    """
    may_be_cp1252 = True
    with path.open("rb") as file:
        for line in file:
            if any(ord(letter) > 127 and not "\udc80" <= letter <= "\udcff" for letter in _escaped(line)):
                return "other letters of it are UTF-8: repair that line; is the file complete?"
            may_be_cp1252 = may_be_cp1252 and _is_cp1252(line)
    if not may_be_cp1252:
        return _SAVE_AGAIN
    file_name = shlex.quote(name) if Path(name) == path else "FILE"
    return (
        f"{_SAVE_AGAIN}; or, if Windows in Western Europe wrote it (Excel's plain CSV): "
        f"iconv -f cp1252 -t utf-8 {file_name} > NEW, then look at the letters with accents"
    )


def _escaped(line: bytes) -> str:
    return "" if line.isascii() else line.decode("utf-8", errors="surrogateescape")


def _is_cp1252(line: bytes) -> bool:
    try:
        line.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return _CONTROLS.isdisjoint(line)
