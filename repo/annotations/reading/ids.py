"""Ids as people read them: alike to the eye, and numbered anew by every file."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_MOST_NAMED = 5
_IN = " in "
_LEADING_ZEROS = re.compile(r"0+(?=[0-9]+$)")


def case_notes(ids: Iterable[str], secret: bool) -> list[str]:
    """Return a note on annotator ids that look alike, or none where there are no such ids.

    They differ in nothing but case, leading zeros (which spreadsheets strip), signs that are not seen, or the way in
    which the same letters are encoded.

    Args:
        ids: all annotator ids, as people wrote them.
        secret: whether ids are kept back: then the note names none.
    """
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in ids:
        spellings[_seen(name)].add(name)
    alike = sorted(sorted(names) for names in spellings.values() if len(names) > 1)
    if not alike:
        return []
    if secret:
        return [f"{sum(map(len, alike))} annotator ids look like another; each counts as a person"]
    named = [f"{_names(names)} count as {_number(len(names))} people" for names in alike[:_MOST_NAMED]]
    more = f"; and {len(alike) - _MOST_NAMED} more" if len(alike) > _MOST_NAMED else ""
    return [f"annotator ids that look alike (in case, leading zeros or unseen signs): {'; '.join(named)}{more}"]


def _seen(name: str) -> str:
    """Return what is seen of an id, the same for ids that look alike."""
    letters = name if name.isascii() else unicodedata.normalize("NFKC", name)
    shown = "".join(letter for letter in letters if letter.isascii() or unicodedata.category(letter) != "Cf")
    return _LEADING_ZEROS.sub("", shown.casefold())


def _names(names: list[str]) -> str:
    same = len({unicodedata.normalize("NFKC", name) for name in names}) < len(names)
    return " and ".join(map(ascii if same else repr, names))


def _number(count: int) -> str:
    return "two" if count == 2 else str(count)


def file_labels(files: Iterable[str]) -> dict[str, str]:
    """Return file → its path without the folders that all files share, whatever their order."""
    parts = {name: name.split("/") for name in files}
    shortest = min((len(path) for path in parts.values()), default=1)
    shared = 0
    while shared < shortest - 1 and len({path[shared] for path in parts.values()}) == 1:
        shared += 1
    return {name: "/".join(path[shared:]) for name, path in parts.items()}


def id_in_file(name: str, label: str) -> str:
    """Return the comparison id that stands for `name` where every file numbers its own comparisons."""
    return f"{name}{_IN}{label}"


def ids_in_files(ids: Iterable[str], files: Iterable[str]) -> dict[str, dict[str, str]]:
    """Undo id_in_file: return each such id as its files have it → file → the id that it got.

    Args:
        ids: the comparison id of each row of a canonical table.
        files: each row's file.
    """
    rows = {(full, file) for full, file in zip(ids, files, strict=True) if _IN in full}
    paths = [file.split("/") for _, file in rows]
    labels = {"/".join(path[start:]) for path in paths for start in range(len(path))}
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for full, file in sorted(rows):
        parts = full.split(_IN)
        for cut in range(1, len(parts)):
            if _IN.join(parts[cut:]) in labels:
                found[_IN.join(parts[:cut])][file] = full
    return found
