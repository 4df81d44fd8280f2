"""The row layouts that are read, told apart by their columns, and how a row of each becomes a canonical row."""

import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from repo.annotations.reading.columns import (
    UNKNOWN,
    looks_like_a_vote,
    names_of,
    rename,
    root_of,
    suggest,
    with_content,
)
from repo.annotations.reading.dialogues import is_dialogue
from repo.annotations.reading.loading import LoadedFile
from repo.annotations.reading.multipref import READ as MULTIPREF
from repo.annotations.reading.multipref import is_multipref, unfold
from repo.annotations.reading.rows import Row, Rows
from repo.annotations.reading.side_files import TASK
from repo.annotations.reading.texts import CONTENT, BadRowError, kind_of, read_pair, same_reply
from repo.annotations.reading.values import is_blank
from repo.annotations.reading.vote_codes import SKIP, VoteCodes, check_codes
from repo.annotations.schema import VIRTUAL_ANNOTATOR, Text, encode_text, flip, pair_digest
from repo.errors import UserError
from repo.files import text_digest
from repo.ids import code_text, id_text
from repo.settings import DataSettings

Layout: TypeAlias = Literal["paired", "trl"]

PAIRED = ("prompt", "response_a", "response_b", "preference")
TRL = ("chosen", "rejected")
OPTIONAL = ("annotator_id", "comparison_id", "created_at", "gold")
DISPLAY = "displayed_first"
"""What the column that data.display names is called here."""
KNOWN = tuple(dict.fromkeys((*PAIRED, *TRL, *OPTIONAL, *CONTENT)))
_TEXTS = ("prompt", "response_a", "response_b", "chosen", "rejected", "context")
_PROMPTS = tuple(name for name in CONTENT if name not in ("system", "tools"))
_LAYOUTS = (
    "prompt, chosen, rejected (TRL); or prompt, response_a, response_b, preference; or MultiPref's text, completion_a, "
    "completion_b, normal_worker_annotations, expert_worker_annotations"
)


@dataclass(frozen=True)
class Reading:
    """How a file's rows are understood.

    Attributes:
        layout: paired, or trl where the rows name the two responses chosen and rejected.
        columns: our names of the columns read → the file's.
        left_over: columns of the file that hold something and are not read, none that data.ignore names.
        codes: what the votes' words and codes mean.
        display: `first`, `unknown`, or `column`: what tells which response was displayed first.
    """

    layout: Layout
    columns: Mapping[str, str]
    left_over: Sequence[str]
    codes: VoteCodes
    display: Literal["first", "unknown", "column"]


@dataclass(frozen=True)
class _Pair:
    """What a row says, in the order in which the file names the responses."""

    prompt: Text
    first: Text
    second: Text
    preference: str


def recognise(loaded: LoadedFile, settings: DataSettings) -> tuple[LoadedFile, Reading]:
    """Rename columns, unfold MultiPref, and tell the layout; only columns that we know are kept.

    Raises:
        UserError: a mapped column is not there, no layout fits, a column that looks like the vote would not be read,
            most votes are codes of unknown meaning, or a column holds what it cannot hold.
    """
    original = loaded
    mapping = _mapping(loaded, settings)
    loaded = rename(loaded, mapping, (*KNOWN, DISPLAY) if DISPLAY in mapping else KNOWN)
    unfolded = is_multipref(loaded.columns)
    loaded = unfold(loaded) if unfolded else loaded
    columns = [name for name in loaded.columns if name in mapping or name not in settings.ignore]
    loaded = replace(loaded, columns=columns)
    layout = _layout_of(loaded)
    kept = [name for name in columns if name in KNOWN or name in mapping]
    names = {name: mapping.get(name, name) for name in kept}
    read = {*names.values(), *(MULTIPREF if unfolded else ()), *settings.ignore}
    left_over = with_content(original, [name for name in original.columns if not _is_read(name, read)])
    reading = Reading(layout, names, left_over, VoteCodes.of(settings), _display(layout, settings))
    _refuse_unread_vote(original, reading)
    loaded = replace(loaded, columns=kept, rows=loaded.rows.map(lambda chunk: [_only(row, kept) for row in chunk]))
    loaded = _without_skipped(loaded, reading)
    _check_kinds(loaded)
    return replace(loaded, notes=[*loaded.notes, *_notes(loaded.name, reading)]), reading


def canonical_row(row: Row, reading: Reading, file: str, line: int) -> dict[str, Any]:
    """Return a row of the canonical table: every annotation of a pair gets the same response_a, whatever was displayed.

    Raises:
        BadRowError: the row cannot be understood.
    """
    pair = _read_pair(row, reading)
    gold = _read_gold(row.get("gold"), pair, reading)
    prompt, first, second = (encode_text(text) for text in (pair.prompt, pair.first, pair.second))
    swapped = text_digest(first) > text_digest(second)
    turn = flip if swapped else str
    return {
        "comparison_id": id_text(row.get("comparison_id")) or pair_digest(prompt, first, second),
        "prompt": prompt,
        "response_a": second if swapped else first,
        "response_b": first if swapped else second,
        "messages": not isinstance(pair.prompt, str),
        "preference": turn(pair.preference),
        "annotator_id": row.get("annotator_id", VIRTUAL_ANNOTATOR),
        "gold": turn(gold),
        "shown_first": turn(_shown_first(row, reading)),
        "listed_first": turn("a") if reading.layout == "paired" else "",
        "weight": 1.0,
        "created_at": id_text(row.get("created_at")),
        "file": file,
        "line": line,
    }


def _mapping(loaded: LoadedFile, settings: DataSettings) -> dict[str, str]:
    """Return the columns to rename: data.columns, and the one that data.display names."""
    if settings.display in ("first", "unknown"):
        return settings.columns
    if root_of(settings.display, loaded.columns) is None:
        problem = f"{loaded.name}: no column '{settings.display}' (data.display)"
        raise UserError(problem, f"give first, unknown, or one of {names_of(loaded)}")
    return {**settings.columns, DISPLAY: settings.display}


def _display(layout: Layout, settings: DataSettings) -> Literal["first", "unknown", "column"]:
    if settings.display not in ("first", "unknown"):
        return "column"
    return "first" if settings.display == "first" and layout == "paired" else "unknown"


def _layout_of(loaded: LoadedFile) -> Layout:
    responses = PAIRED[1:3] if set(PAIRED[1:]) <= set(loaded.columns) else TRL
    missing = [name for name in responses if name not in loaded.columns]
    if not missing and _has_prompt(loaded, responses[0]):
        return "trl" if responses == TRL else "paired"
    raise _no_layout(loaded)


def _has_prompt(loaded: LoadedFile, response: str) -> bool:
    """Tell whether a column holds the prompt, or the responses are conversations that begin with it."""
    if set(_PROMPTS) & set(loaded.columns):
        return True
    first = next((row[response] for row in loaded.rows if not is_blank(row.get(response))), None)
    return not isinstance(first, str) or is_dialogue(first)


def _no_layout(loaded: LoadedFile) -> UserError:
    if {"worker", "label"} <= set(loaded.columns) and set(TASK) & set(loaded.columns):
        problem = f"{loaded.name}: a crowd table, labels of tasks without texts: there is nothing to train a policy on"
        return UserError(
            problem, f"repo-pipeline reliability --annotations {shlex.quote(loaded.name)} says whom to believe"
        )
    trl = sum(name in loaded.columns for name in TRL) > sum(name in loaded.columns for name in PAIRED[1:])
    missing = [name for name in (("prompt", *TRL) if trl else PAIRED) if name not in loaded.columns]
    found = suggest(missing, loaded.columns, KNOWN)
    example = ", ".join(f"{name}: {column}" for name, column in found.items())
    certain = "" if UNKNOWN not in found.values() else f", with the file's names for {UNKNOWN}"
    return UserError(
        f"{loaded.name}: columns {names_of(loaded)} fit no layout: {', '.join(missing)} missing\n"
        f"  accepted: {_LAYOUTS}",
        f"rename them, or map them in the configuration{certain}: data: {{columns: {{{example}}}}}",
    )


def _refuse_unread_vote(loaded: LoadedFile, reading: Reading) -> None:
    """Chosen and rejected say who won; where another column seems to say it as well, one of the two is wrong."""
    if reading.layout != "trl":
        return
    for column in filter(looks_like_a_vote, reading.left_over):
        counts = Counter(code_text(row.get(column)) for row in loaded.rows)
        counts.pop("", None)
        if len(counts) < 2:
            continue
        shown = ", ".join(f"{code[:80]!r} ({count:,} times)" for code, count in counts.most_common(4))
        chosen, rejected = reading.columns["chosen"], reading.columns["rejected"]
        raise UserError(
            f"{loaded.name}: column '{column}' looks like the vote and would not be read: {shown}, "
            f"while every row says that {chosen} is better than {rejected}",
            f"map it with the two responses it is about: data.columns={{prompt: {UNKNOWN}, response_a: {UNKNOWN}, "
            f"response_b: {UNKNOWN}, preference: {column}}}; or, if it is no vote, data.ignore=[{column}]",
        )


def _without_skipped(loaded: LoadedFile, reading: Reading) -> LoadedFile:
    """Leave out the rows that are no vote; refuse votes of unknown meaning."""
    if reading.layout != "paired":
        return loaded
    check_codes(loaded.name, reading.columns["preference"], (r["preference"] for r in loaded.rows), reading.codes)
    if SKIP not in reading.codes.meanings.values():
        return loaded
    lines: list[int] = []

    def votes() -> Iterator[Row]:
        for line, row in zip(loaded.lines, loaded.rows, strict=True):
            if reading.codes.read(row["preference"]) != SKIP:
                lines.append(line)
                yield row

    rows = Rows.of(votes())
    if not rows:
        raise UserError(f"{loaded.name}: data.values skips every row", "correct data.values.skip")
    skipped = len(loaded.rows) - len(rows)
    note = f"{loaded.name}: {skipped:,} rows are no vote (data.values.skip)"
    return replace(loaded, rows=rows, lines=lines, notes=[*loaded.notes, *([note] if skipped else [])])


def _notes(name: str, reading: Reading) -> list[str]:
    if not reading.left_over:
        return []
    return [f"{name}: columns not read: {', '.join(reading.left_over)} (data.ignore=[...] for those meant to be)"]


def _is_read(name: str, read: Collection[str]) -> bool:
    """A column is read too where only a path into it is."""
    return name in read or any(path.startswith(f"{name}.") for path in read)


def _only(row: Row, columns: Sequence[str]) -> Row:
    return {name: row.get(name) for name in columns}


def _shown_first(row: Row, reading: Reading) -> str:
    """Return 'a', 'b' or '': which response, in the file's order, was displayed first."""
    if reading.display != "column":
        return "a" if reading.display == "first" else ""
    value = row.get(DISPLAY)
    code = code_text(value)
    side = {"chosen": "a", "rejected": "b"}.get(code, "") if reading.layout == "trl" else reading.codes.read(value)
    if code and side not in ("a", "b"):
        expected = "chosen or rejected" if reading.layout == "trl" else "one of the responses (data.values)"
        raise BadRowError(f"{reading.columns[DISPLAY]} (data.display) is {code[:80]!r}, not {expected}")
    return side


def _check_kinds(loaded: LoadedFile) -> None:
    """Refuse a column that is text in some rows and messages in others, and ids that are no plain values."""
    kinds: dict[str, str] = {}
    errors: dict[str, UserError] = {}
    for line, row in zip(loaded.lines, loaded.rows, strict=True):
        for column in loaded.columns:
            if column not in errors and (error := _wrong_kind(loaded.name, line, column, kind_of(row[column]), kinds)):
                errors[column] = error
    for column in loaded.columns:
        if column in errors:
            raise errors[column]


def _wrong_kind(name: str, line: int, column: str, kind: str, kinds: dict[str, str]) -> UserError | None:
    """Return what is wrong with a value of this kind; `kinds` remembers the first kind of each column of texts."""
    if column in OPTIONAL[:3] and kind in ("a list", "an object"):
        return UserError(f"{name}, line {line}: {column} is {kind}", "give a text or a number")
    if column not in _TEXTS or kind not in ("text", "a list", "an object"):
        return None
    first = kinds.setdefault(column, kind)
    # A single message is a list of one.
    if (kind == "text") != (first == "text"):
        problem = f"{name}, line {line}: {column} is {kind} here but {first} in the rows before"
        return UserError(problem, "write the whole column as text, or the whole column as message lists")
    return None


def _read_pair(row: Row, reading: Reading) -> _Pair:
    if reading.layout == "paired":
        return _Pair(*read_pair(row, "response_a", "response_b"), reading.codes.read(row["preference"]))
    return _Pair(*read_pair(row, *TRL), "a")


def _read_gold(value: Any, pair: _Pair, reading: Reading) -> str:
    sides = {"chosen": "a", "rejected": "b"} if reading.layout == "trl" else {"a": "a", "b": "b"}
    code = code_text(value)
    if not code:
        return ""
    side = sides.get(code) if reading.layout == "trl" else reading.codes.read(value)
    if side in ("a", "b"):
        return side
    for side, response in (("a", pair.first), ("b", pair.second)):
        if same_reply(value, response):
            return side
    raise BadRowError(f"gold is neither {' nor '.join(sides)} nor the text of one of the responses")
