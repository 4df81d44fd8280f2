"""From what the user names (paths, globs, folders, URIs) to single things to load. Opens no file."""

import difflib
import glob
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qsl

from repo.errors import UserError
from repo.uris import file_part, without_secrets

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Formats read; each also with .gz, .bz2, .xz, .zst or .zip behind it. A .zip archive's one file tells its format."""
HUB = "hf://"
_ZIP = ".zip"
_COMPRESSION = (".gz", ".bz2", ".xz", ".zst", _ZIP)
_REMEDY = "give a file, a glob, a folder, a URI such as s3://bucket/file.jsonl, or hf://owner/name"
_WEB = re.compile(r"https?://", re.IGNORECASE)
_SEPARATOR = re.compile(
    # The query of a web address may hold commas: there, one parts only before a blank, a line's end or another URI.
    r"(?P<item>https?://[^\s,?]*\?(?:[^\s,]|,(?![\s,]|$|[A-Za-z][A-Za-z0-9+.-]*://))+|[^,\n]+)(?:[,\n]|$)?",
    re.IGNORECASE,
)
_EXTRAS = {
    "s3": ("s3", "s3a"),
    "gcs": ("gs", "gcs"),
    "azure": ("abfs", "abfss", "az", "adl", "wasb", "wasbs"),
}


def expand_sources(source: str) -> list[str]:
    """Return the files, saved dataset folders and hub ids that a source names, in a stable order.

    A folder or glob means its visible files: nothing inside it whose name, or whose folder's name, begins with a dot
    (nor macOS's __MACOSX). Links are followed; a file with several names is read once.

    Args:
        source: one or several of them, separated by commas or new lines. A path that exists is taken as it stands.
            In a web address with a query, a comma separates only before a blank or another URI.

    Raises:
        UserError: something named is not there, a glob matches nothing, or nothing is named.
    """
    items = sources_in(source)
    if not items:
        raise UserError("no annotations named", _REMEDY)
    return _once(name for item in items for name in _expand(item))


def sources_in(source: str) -> list[str]:
    """Return what a source names, one by one and unexpanded: a path that exists as it stands, else what commas part."""
    return [source] if source.strip() and os.path.exists(source) else _split(source)


def format_of(name: str) -> str:
    """Return a file's format by its name ('.jsonl', '.csv' ...), or '' where it is none of ours.

    It is '.zip' where only the archive's file can tell.
    """
    suffixes = [suffix.lower() for suffix in Path(file_part(name)).suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in _COMPRESSION else ""
    if suffixes and suffixes[-1] in SUFFIXES:
        return suffixes[-1]
    return packed if packed == _ZIP else ""


def is_saved_dataset(path: Path) -> bool:
    """Tell whether a folder was written by the `datasets` library's save_to_disk."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def is_hidden(name: str, named: str = "") -> bool:
    """Tell whether a path holds a part that is hidden or macOS's own, and that `named` does not name."""
    parts = set(PurePath(name).parts) - set(PurePath(named).parts)
    return any(_is_hidden_part(part) for part in parts)


def files_in(folder: str) -> list[str]:
    """Return the visible files of a local or remote folder, whatever their kind, in a stable order; maybe none.

    Raises:
        UserError: there is no such folder, or it cannot be listed.
    """
    if "://" not in folder:
        path = os.path.expanduser(folder)
        if not os.path.isdir(path):
            problem = "is a file, not a folder" if os.path.exists(path) else "no such folder"
            raise UserError(
                f"{folder}: {problem}", _nearest(Path(path)) or "give the folder that files are dropped into"
            )
        return sorted(_visible_files(path))
    with _reachable(folder):
        import fsspec

        files, path = fsspec.core.url_to_fs(folder)
        if "file" in files.protocol:
            return files_in(path)
        if files.isdir(path):
            return sorted(_addresses(files, files.find(path), path))
    raise UserError(f"{folder}: no such folder", "check the URI and your access to it")


def hub_parts(address: str) -> tuple[str, str, str]:
    """Return the repository, configuration and split of hf://owner/name?config=NAME&split=NAME ('' where not named).

    The split may also stand behind a colon: hf://owner/name:split.

    Raises:
        UserError: something else is asked for.
    """
    path, _, query = address.removeprefix(HUB).removeprefix("datasets/").partition("?")
    repository, _, split = path.partition(":")
    options = parse_qsl(query, keep_blank_values=True)
    given = dict(options)
    unknown = [key for key in given if key not in ("config", "split")]
    if unknown or len(given) < len(options) or (query and not all(given.values())) or (split and "split" in given):
        problem = f"hf://{repository}: cannot be asked for '{', '.join(unknown) or query}'"
        raise UserError(problem, "behind the id stand ?config=NAME, ?split=NAME, or ?config=NAME&split=NAME, each once")
    return repository, given.get("config", ""), split or given.get("split", "")


def driver_remedy(uri: str, error: Exception) -> str:
    """Return how to install what reads a kind of storage, where the error says that it is missing; else ''."""
    if not isinstance(error, ImportError):
        return ""
    scheme = uri.partition("://")[0].rpartition("::")[2].lower()
    extra = next((name for name, schemes in _EXTRAS.items() if scheme in schemes), "")
    return f'pip install "repo-pipeline[{extra}]"' if extra else f"install the driver of {scheme}:// that fsspec names"


def _split(source: str) -> list[str]:
    items = [found["item"].strip() for found in _SEPARATOR.finditer(source)]
    return [item for item in items if item]


def _once(names: Iterable[str]) -> list[str]:
    """Leave out the second name of a file, a local one also under another path."""
    files: dict[str, str] = {}
    for name in names:
        files.setdefault(name if "://" in name else os.path.realpath(name), name)
    return list(files.values())


def _expand(item: str) -> list[str]:
    if item.startswith(HUB):
        hub_parts(item)
        return [item]
    if "://" in item:
        return _expand_remote(item)
    path = os.path.expanduser(item)
    if os.path.isdir(path):
        return [path] if is_saved_dataset(Path(path)) else _readable(item, _visible_files(path))
    if os.path.exists(path):
        return [path]
    if glob.has_magic(path):
        found = [name for name in glob.glob(path, recursive=True) if os.path.isfile(name) and not is_hidden(name, path)]
        return sorted(_once(sorted(_matched(item, found), key=os.path.islink)))
    raise UserError(f"{item[:500]}: no such file", _nearest(Path(path)) or _REMEDY)


def _visible_files(folder: str) -> list[str]:
    """Return the files under a folder that are not hidden, each once: under its own name where that is among them."""
    files: dict[str, str] = {}
    seen: set[str] = set()
    # Links wait until everything is seen under its own name; a folder seen once ends every circle.
    waiting = deque([folder])
    while waiting:
        path = waiting.popleft()
        if os.path.realpath(path) in seen:
            continue
        if not os.path.isdir(path):
            files.setdefault(os.path.realpath(path), path)
            continue
        seen.add(os.path.realpath(path))
        inside = sorted(os.path.join(path, name) for name in os.listdir(path) if not _is_hidden_part(name))
        waiting.extend(name for name in inside if os.path.islink(name))
        waiting.extendleft(name for name in inside if not os.path.islink(name))
    return [path for path in files.values() if os.path.isfile(path)]


def _expand_remote(uri: str) -> list[str]:
    with _reachable(uri):
        import fsspec

        files, path = fsspec.core.url_to_fs(uri)
        if "file" in files.protocol:
            return _expand(path)
        if _WEB.match(uri) and ("?" in uri or format_of(uri)):
            # A query's question mark is no pattern, and to ask a server for a list of this file's would fetch it.
            found = [uri] if files.exists(path) else []
        elif files.isdir(path):
            return _readable(uri, _addresses(files, files.find(path), path))
        elif glob.has_magic(path) and not files.exists(path):
            return _matched(uri, _addresses(files, files.glob(path), path))
        else:
            found = [uri] if files.exists(path) else []
    if not found:
        raise UserError(f"{uri}: no such file", "check the URI and your access to it")
    return found


@contextmanager
def _reachable(uri: str) -> Iterator[None]:
    """Turn whatever a storage service raises into a user's error: each has kinds of its own."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        problem = without_secrets(str(error) or type(error).__name__, uri)
        remedy = driver_remedy(uri, error) or "check the URI and your access to it"
        raise UserError(f"{uri}: {problem}", remedy) from error


def _addresses(files: Any, names: Iterable[str], named: str) -> list[str]:
    return [files.unstrip_protocol(name) for name in names if not is_hidden(name, named)]


def _matched(pattern: str, names: list[str]) -> list[str]:
    if not names:
        raise UserError(f"{pattern}: no file matches", "quote the pattern, and check it with ls")
    return sorted(names)


def _readable(folder: str, names: list[str]) -> list[str]:
    readable = [name for name in names if format_of(name)]
    if not readable:
        raise UserError(f"{folder}: no file to read in this folder", f"put {', '.join(SUFFIXES)} files there")
    return sorted(readable)


def _is_hidden_part(name: str) -> bool:
    return (name.startswith(".") and name not in (".", "..")) or name == "__MACOSX"


def _nearest(path: Path) -> str:
    """Suggest a file of nearly this name."""
    names = os.listdir(path.parent) if os.path.isdir(path.parent) else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else ""
