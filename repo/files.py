"""Small things every step needs from the file system: digests, and files that are either whole or not there."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def text_digest(*texts: str) -> str:
    """Return the SHA-256 (hex) of the texts; their boundaries count, so ("ab", "c") differs from ("a", "bc")."""
    return texts_digest(texts)


def texts_digest(texts: Iterable[str]) -> str:
    """Return text_digest of texts that come one by one."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def tree_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, or of a directory's relative paths and contents."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(text_digest(file_path.relative_to(path).as_posix(), tree_digest(file_path)).encode())
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)
    # mkstemp keeps its file from everybody else; this one is as readable as any other file.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)
    os.replace(name, path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON (no NaN: a consumer that is not Python must be able to read it)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Read one JSON object a line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
