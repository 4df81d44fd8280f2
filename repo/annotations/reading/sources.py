"""From what the user names (paths, globs, folders, URIs) to single things to load. Opens no file."""

import difflib
import glob
import os
import re
from pathlib import Path

from repo.errors import UserError
from repo.uris import file_part, without_secrets

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")
"""Formats read; each also with .gz, .bz2, .xz or .zst behind it."""
HUB = "hf://"
_COMPRESSION = (".gz", ".bz2", ".xz", ".zst")
_REMEDY = "give a file, a glob, a folder, a URI such as s3://bucket/file.jsonl, or hf://owner/name"


def expand_sources(source: str) -> list[str]:
    """Return the files, saved dataset folders and hub ids that a source names, in a stable order.

    Args:
        source: one or several of them, separated by commas or new lines. A path that exists is taken as it stands.

    Raises:
        UserError: something named is not there, a glob matches nothing, or nothing is named.
    """
    items = (
        [source]
        if source.strip() and os.path.exists(source)
        else [item.strip() for item in re.split(r"[,\n]", source) if item.strip()]
    )
    if not items:
        raise UserError("no annotations named", _REMEDY)
    found = [name for item in items for name in _expand(item)]
    return list(dict.fromkeys(found))


def format_of(name: str) -> str:
    """Return a file's format by its name ('.jsonl', '.csv' ...), or '' where it is none of ours."""
    suffixes = [suffix.lower() for suffix in Path(file_part(name)).suffixes]
    if suffixes and suffixes[-1] in _COMPRESSION:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in SUFFIXES else ""


def is_saved_dataset(path: Path) -> bool:
    """Tell whether a folder was written by the `datasets` library's save_to_disk."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _expand(item: str) -> list[str]:
    if item.startswith(HUB):
        return [item]
    if "://" in item:
        return _expand_remote(item)
    path = os.path.expanduser(item)
    if os.path.isdir(path):
        folder = Path(path)
        return [path] if is_saved_dataset(folder) else _inside(item, [str(file) for file in folder.rglob("*")])
    if os.path.exists(path):
        return [path]
    if glob.has_magic(path):
        return _matched(item, [name for name in glob.glob(path, recursive=True) if os.path.isfile(name)])
    raise UserError(f"{item[:500]}: no such file", _nearest(Path(path)) or _REMEDY)


def _expand_remote(uri: str) -> list[str]:
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(uri)
        if glob.has_magic(path):
            return _matched(uri, [files.unstrip_protocol(name) for name in files.glob(path)])
        if files.isdir(path):
            return _inside(uri, [files.unstrip_protocol(name) for name in files.find(path)])
        exists = files.exists(path)
    except UserError:
        raise
    except Exception as error:  # every storage service raises its own kinds
        problem = without_secrets(str(error) or type(error).__name__, uri)
        raise UserError(f"{uri}: {problem}", "check the URI and your access to it") from error
    if not exists:
        raise UserError(f"{uri}: no such file", "check the URI and your access to it")
    return [uri]


def _matched(pattern: str, names: list[str]) -> list[str]:
    if not names:
        raise UserError(f"{pattern}: no file matches", "quote the pattern, and check it with ls")
    return sorted(names)


def _inside(folder: str, names: list[str]) -> list[str]:
    readable = [name for name in names if format_of(name) and not Path(name).name.startswith(".")]
    if not readable:
        raise UserError(f"{folder}: no file to read in this folder", f"put {', '.join(SUFFIXES)} files there")
    return sorted(readable)


def _nearest(path: Path) -> str:
    """Suggest a file of nearly this name."""
    names = os.listdir(path.parent) if os.path.isdir(path.parent) else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else ""
