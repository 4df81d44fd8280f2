"""A file's columns: which are read under which name, which are left over, and which may be meant."""

import difflib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from repo.annotations.reading.chunks import Chunk
from repo.annotations.reading.loading import LoadedFile
from repo.annotations.reading.rows import Row
from repo.annotations.reading.values import is_blank, parsed
from repo.errors import UserError

UNKNOWN = "YOUR_COLUMN"
"""Stands in a hint for a column that cannot be told for certain. No file has it, so the hint can do no harm."""
_RESPONSES = {"response", "answer", "completion", "output", "conversation", "reply", "generation", "summary", "text"}
_VOTES = {
    "preference", "preferred", "pref", "winner", "vote", "label", "choice", "better", "best", "selected", "verdict",
    "judgment", "judgement",
}  # fmt: skip


_PEOPLE = {"annotator", "worker", "judge", "rater", "evaluator", "labeler", "labeller", "pid"}


def rename(loaded: LoadedFile, columns: Mapping[str, str], known: Sequence[str]) -> LoadedFile:
    """Give columns our names.

    Args:
        loaded: a file's rows.
        columns: our name → the file's; a dotted path reaches into nested values (info.post, summaries.0.text).
        known: the names we have.

    Raises:
        UserError: a name is none of ours, or the file has no such column or no value at such a path.
    """
    for ours, theirs in columns.items():
        if ours not in known:
            near = difflib.get_close_matches(ours, known, n=1)
            raise UserError(
                f"data.columns: '{ours}' is no column of ours" + (f", did you mean '{near[0]}'?" if near else ""),
                f"map one of {', '.join(known)} to the file's name",
            )
        if root_of(theirs, loaded.columns) is None:
            problem = f"{loaded.name}: no column '{theirs}' (data.columns.{ours})"
            raise UserError(problem, f"the file's columns are {names_of(loaded)}")
    if not columns:
        return loaded
    taken = set(columns.values()) | set(columns)
    found: set[str] = set()

    def renamed(row: Row) -> Row:
        mapped = {ours: _value_at(row, theirs) for ours, theirs in columns.items()}
        found.update(ours for ours, value in mapped.items() if value is not None)
        return {name: value for name, value in row.items() if name not in taken} | mapped

    def changed(chunk: Chunk) -> Chunk:
        if any(theirs not in chunk.columns or chunk.columns[theirs].gaps for theirs in columns.values()):
            return Chunk.of([renamed(row) for row in chunk.rows()])
        found.update(columns)
        others = {name: column for name, column in chunk.columns.items() if name not in taken}
        return Chunk(chunk.size, others | {ours: chunk.columns[theirs] for ours, theirs in columns.items()})

    rows = loaded.rows.convert(changed)
    for ours, theirs in columns.items():
        if ours not in found and theirs not in loaded.columns:
            root = str(root_of(theirs, loaded.columns))
            problem = f"{loaded.name}: nothing stands at '{theirs}' in any row (data.columns.{ours})"
            raise UserError(problem, f"in the first row {root} is {_shown(loaded.rows[0].get(root))}")
    return replace(loaded, columns=[*(c for c in loaded.columns if c not in taken), *columns], rows=rows)


def unreached(loaded: LoadedFile, columns: Mapping[str, str]) -> list[str]:
    """Return the lists that paths reach into and of which some row holds more entries than any path names."""
    named: dict[str, set[int]] = defaultdict(set)
    for path in columns.values():
        parts = path.split(".")
        for place, part in enumerate(parts):
            if part.isdecimal() and path not in loaded.columns:
                named[".".join(parts[:place])].add(int(part))
    return [
        parent for parent, entries in named.items() if any(_holds_more(row, parent, entries) for row in loaded.rows)
    ]


def _holds_more(row: Row, parent: str, entries: Collection[int]) -> bool:
    value = parsed(_value_at(row, parent))
    return isinstance(value, list) and not set(range(len(value))) <= set(entries)


def looks_like_ties(name: str) -> bool:
    """Tell by a column's name whether it may say that neither response is better."""
    return bool({"tie", "ties", "tied"} & set(_words(name)))


def looks_like_a_person(name: str) -> bool:
    """Tell by a column's name whether it may say who judged."""
    return bool(_PEOPLE & set(_words(name)))


def root_of(path: str, columns: Sequence[str]) -> str | None:
    """Return the column that a name or a dotted path begins with, or None."""
    if path in columns:
        return path
    return next((name for name in columns if path.startswith(f"{name}.")), None)


def with_content(loaded: LoadedFile, columns: Sequence[str]) -> list[str]:
    """Return those of some columns that hold something in some row."""
    return [name for name in columns if any(not is_blank(value) for value, _ in loaded.rows.counts(name))]


def looks_like_a_vote(name: str) -> bool:
    """Tell by a column's name whether it may say which response is better."""
    return bool(_VOTES & set(_words(name)))


def suggest(missing: Sequence[str], columns: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Return for each missing column which of the file's it is, as far as that is certain, else UNKNOWN.

    The two responses are found as a pair whose names differ in nothing but a and b, or chosen and rejected. What is
    called 1 and 2 may have been shown in either order: no pair is made of it.
    """
    free = [name for name in columns if name not in known]
    found = dict.fromkeys(missing, UNKNOWN)
    for one, other in (("response_a", "response_b"), ("chosen", "rejected")):
        if one in missing and other in missing:
            pairs = _pairs(free, one.removeprefix("response_"), other.removeprefix("response_"))
            if len(pairs) == 1:
                found[one], found[other] = pairs[0]
    votes = [name for name in free if looks_like_a_vote(name)]
    if "preference" in missing and len(votes) == 1:
        found["preference"] = votes[0]
    free = [name for name in free if name not in found.values()]
    if "prompt" in missing and (near := difflib.get_close_matches("prompt", free, n=1, cutoff=0.6)):
        found["prompt"] = near[0]
    return found


def names_of(loaded: LoadedFile, most: int = 30) -> str:
    """Return a file's columns for a message."""
    shown = ", ".join(repr(name[:80]) for name in loaded.columns[:most])
    return shown + (f" and {len(loaded.columns) - most} more" if len(loaded.columns) > most else "")


def _pairs(names: Sequence[str], one: str, other: str) -> list[tuple[str, str]]:
    """Return the columns of responses that are called the same but for one word."""
    words = {name: _words(name) for name in names}
    pairs = []
    for name, own in words.items():
        if own.count(one) == 1 and (one == "chosen" or _RESPONSES & set(own)):
            partner = [other if word == one else word for word in own]
            pairs += [(name, found) for found, words_of_it in words.items() if words_of_it == partner]
    return pairs


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name)]


def _value_at(row: Row, path: str) -> Any:
    """Return the value at a column or dotted path; None where there is none. JSON in a text is looked into."""
    root = root_of(path, list(row))
    if root is None or root == path:
        return row.get(path)
    value = row[root]
    for key in path.removeprefix(f"{root}.").split("."):
        value = _step(value, key)
    return value


def _step(value: Any, key: str) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        value = parsed(value)
    if isinstance(value, dict):
        return value.get(key)
    if isinstance(value, list) and key.isdecimal():
        return value[int(key)] if int(key) < len(value) else None
    return None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, list(value)[:20]))}"
    return f"a list of {len(value)}" if isinstance(value, list) else repr(value)[:80]
