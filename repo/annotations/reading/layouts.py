"""The row layouts that are read: which one a file has, told by its columns, and what of the file is read."""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import yaml

from repo.annotations.reading.columns import (
    UNKNOWN,
    looks_like_a_person,
    looks_like_a_vote,
    looks_like_ties,
    names_of,
    rename,
    root_of,
    suggest,
    unreached,
    with_content,
)
from repo.annotations.reading.dialogues import is_dialogue
from repo.annotations.reading.loading import LoadedFile
from repo.annotations.reading.multipref import READ as MULTIPREF
from repo.annotations.reading.multipref import is_multipref, unfold
from repo.annotations.reading.rows import Row, Rows
from repo.annotations.reading.side_files import TASK
from repo.annotations.reading.texts import CONTENT
from repo.annotations.reading.values import is_blank, kind_name, kind_of
from repo.annotations.reading.vote_codes import SKIP, VoteCodes, check_codes, code_counts
from repo.errors import UserError
from repo.settings import DataSettings

Layout: TypeAlias = Literal["paired", "trl"]
PAIRED = ("prompt", "response_a", "response_b", "preference")
TRL = ("chosen", "rejected")
OPTIONAL = ("annotator_id", "comparison_id", "created_at", "gold")
DISPLAY = "displayed_first"
"""What the column that data.display names is called here."""
KNOWN = tuple(dict.fromkeys((*PAIRED, *TRL, *OPTIONAL, *CONTENT)))
_UNUSED = {"trl": PAIRED[1:], "paired": TRL}
"""Layout → columns of the other one: they are left over, and a vote among them is refused."""
_TEXTS = ("prompt", "response_a", "response_b", "chosen", "rejected", "context")
_PROMPTS = tuple(name for name in CONTENT if name not in ("system", "tools"))
_NESTED = {"a list", "an object"}
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

    @property
    def responses(self) -> tuple[str, str]:
        """Our names of the columns of the two responses, in the file's order."""
        return ("response_a", "response_b") if self.layout == "paired" else TRL


def recognise(loaded: LoadedFile, settings: DataSettings) -> tuple[LoadedFile, Reading]:
    """Rename columns, unfold MultiPref, and tell the layout; only columns that we know are kept.

    Raises:
        UserError: a mapped column is not there, no layout fits, a column that looks like the vote would not be read,
            most votes are codes of unknown meaning, or a column holds what it cannot hold.
    """
    _refuse_whole_table(loaded)
    original = loaded
    mapping = _mapping(loaded, settings)
    loaded = rename(loaded, mapping, (*KNOWN, DISPLAY) if DISPLAY in mapping else KNOWN)
    unfolded = is_multipref(loaded.columns)
    loaded = unfold(loaded) if unfolded else loaded
    columns = [name for name in loaded.columns if name in mapping or name not in settings.ignore]
    loaded = replace(loaded, columns=columns)
    layout = _layout_of(loaded, settings)
    kept = [name for name in columns if (name in KNOWN or name in mapping) and name not in _UNUSED[layout]]
    names = {name: mapping.get(name, name) for name in kept}
    read = {*names.values(), *(MULTIPREF if unfolded else ()), *settings.ignore}
    left_over = with_content(original, [name for name in original.columns if not _is_read(name, read)])
    reading = Reading(layout, names, left_over, VoteCodes.of(settings), _display(layout, settings))
    _refuse_unread_vote(original, reading)
    loaded = replace(loaded, columns=kept, rows=loaded.rows.convert(lambda chunk: chunk.only(kept)))
    loaded = _without_skipped(loaded, reading)
    _check_kinds(loaded)
    return replace(loaded, notes=[*loaded.notes, *_notes(original, reading, mapping)]), reading


def _refuse_whole_table(loaded: LoadedFile) -> None:
    """Refuse a file whose only object is no row: it holds a table's columns, or its rows under a name."""
    if len(loaded.rows) != 1:
        return
    row = loaded.rows[0]
    values = list(row.values())
    if values and all(isinstance(value, dict) and value and all(map(str.isdecimal, value)) for value in values):
        problem = f"{loaded.name}: one object that holds columns, each with a value for every row number"
        raise UserError(problem, 'write one object a row; with pandas: to_json(FILE, orient="records", lines=True)')
    if len(values) == 1 and isinstance(values[0], list) and values[0] and isinstance(values[0][0], dict):
        raise UserError(f"{loaded.name}: one object that holds rows under {next(iter(row))!r}", "write that list alone")


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


def _layout_of(loaded: LoadedFile, settings: DataSettings) -> Layout:
    responses = PAIRED[1:3] if set(PAIRED[1:]) <= set(loaded.columns) else TRL
    missing = [name for name in responses if name not in loaded.columns]
    if not missing and _has_prompt(loaded, responses[0]):
        return "trl" if responses == TRL else "paired"
    raise _no_layout(loaded, settings)


def _has_prompt(loaded: LoadedFile, response: str) -> bool:
    """Tell whether a column holds the prompt, or the responses are conversations that begin with it."""
    if set(_PROMPTS) & set(loaded.columns):
        return True
    return _begins_with_prompt(loaded, response)


def _begins_with_prompt(loaded: LoadedFile, response: str) -> bool:
    """Tell whether a column of responses holds whole conversations."""
    if response not in loaded.columns:
        return False
    first = next((value for value, _ in loaded.rows.counts(response) if not is_blank(value)), None)
    return not isinstance(first, str) or is_dialogue(first)


def _no_layout(loaded: LoadedFile, settings: DataSettings) -> UserError:
    if {"worker", "label"} <= set(loaded.columns) and set(TASK) & set(loaded.columns):
        problem = f"{loaded.name}: a crowd table, labels of tasks without texts: there is nothing to train a policy on"
        return UserError(
            problem, f"repo-pipeline reliability --annotations {shlex.quote(loaded.name)} says whom to believe"
        )
    trl = sum(name in loaded.columns for name in TRL) > sum(name in loaded.columns for name in PAIRED[1:])
    missing = [name for name in (("prompt", *TRL) if trl else PAIRED) if name not in loaded.columns]
    if ignored := [name for name in missing if name in settings.ignore]:
        problem = f"{loaded.name}: data.ignore leaves out {', '.join(ignored)}, which no layout can do without"
        return UserError(problem, "take the name out of data.ignore, or map another column in data.columns")
    found = suggest(missing, loaded.columns, KNOWN)
    if _begins_with_prompt(loaded, found.get("response_a", UNKNOWN)):
        found.pop("prompt", None)
    example = yaml.safe_dump(found, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True).strip()
    certain = "" if UNKNOWN not in found.values() else f", with the file's names for {UNKNOWN}"
    return UserError(
        f"{loaded.name}: columns {names_of(loaded)} fit no layout: {', '.join(missing)} missing\n"
        f"  accepted: {_LAYOUTS}",
        f"rename them, or map them in the configuration{certain}: data: {{columns: {example}}}",
    )


def _refuse_unread_vote(loaded: LoadedFile, reading: Reading) -> None:
    """Chosen and rejected say who won; where another column seems to say it as well, one of the two is wrong."""
    if reading.layout == "paired":
        _refuse_unread_ties(loaded, reading)
        return
    for column in filter(looks_like_a_vote, reading.left_over):
        counts = code_counts(loaded.rows.counts(column))
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


def _refuse_unread_ties(loaded: LoadedFile, reading: Reading) -> None:
    """Where each outcome has a column of its own, a vote read from one of them takes ties for votes."""
    votes = code_counts(loaded.rows.counts(root_of(reading.columns["preference"], loaded.columns) or ""))
    if len(votes) != 2 or any(reading.codes.read(code) == "tie" for code in votes):
        return
    for column in filter(looks_like_ties, reading.left_over):
        if len(counts := code_counts(loaded.rows.counts(column))) > 1:
            shown = ", ".join(f"{code[:80]!r} ({count:,} times)" for code, count in counts.most_common(4))
            raise UserError(
                f"{loaded.name}: column '{column}' looks like the vote's ties and would not be read: {shown}, "
                f"while {reading.columns['preference']} knows two outcomes only",
                "write one column that says a, b or tie in every row, and map it to preference; or, if it is no vote, "
                f"data.ignore=[{column}]",
            )


def _without_skipped(loaded: LoadedFile, reading: Reading) -> LoadedFile:
    """Leave out the rows that are no vote; refuse votes of unknown meaning."""
    if reading.layout != "paired":
        return loaded
    check_codes(loaded.name, reading.columns["preference"], loaded.rows.counts("preference"), reading.codes)
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


def _notes(loaded: LoadedFile, reading: Reading, mapping: Mapping[str, str]) -> list[str]:
    """Say what is not read."""
    notes = []
    if reading.left_over:
        left = ", ".join(reading.left_over)
        notes.append(f"{loaded.name}: columns not read: {left} (data.ignore=[...] for those meant to be)")
    if beyond := unreached(loaded, mapping):
        notes.append(f"{loaded.name}: some rows hold more entries than data.columns names, in {', '.join(beyond)}")
    people = [name for name in reading.left_over if looks_like_a_person(name)]
    if people and "annotator_id" not in reading.columns:
        notes.append(f"{loaded.name}: is {people[0]} who judged? then data.columns={{annotator_id: {people[0]}}}")
    return notes


def _is_read(name: str, read: Collection[str]) -> bool:
    """A column is read too where only a path into it is."""
    return name in read or any(path.startswith(f"{name}.") for path in read)


def _check_kinds(loaded: LoadedFile) -> None:
    """Refuse a column that is text in some rows and messages in others, and ids that are no plain values."""
    if not any(_may_be_wrong(column, _kinds_in(loaded, column)) for column in loaded.columns):
        return
    kinds: dict[str, str] = {}
    errors: dict[str, UserError] = {}
    for line, row in zip(loaded.lines, loaded.rows, strict=True):
        for column in loaded.columns:
            if column not in errors and (error := _wrong_kind(loaded.name, line, column, kind_of(row[column]), kinds)):
                errors[column] = error
    for column in loaded.columns:
        if column in errors:
            raise errors[column]


def _may_be_wrong(column: str, kinds: set[str]) -> bool:
    """Tell whether a column of values of these kinds has to be looked at row by row."""
    return (column in OPTIONAL[:3] and bool(kinds & _NESTED)) or (
        column in _TEXTS and "text" in kinds and bool(kinds & _NESTED)
    )


def _kinds_in(loaded: LoadedFile, column: str) -> set[str]:
    return {kind_name(kind) for chunk in loaded.rows.packed for kind in chunk.columns[column].kinds}


def _wrong_kind(name: str, line: int, column: str, kind: str, kinds: dict[str, str]) -> UserError | None:
    """Return what is wrong with a value of this kind; `kinds` remembers the first kind of each column of texts."""
    if column in OPTIONAL[:3] and kind in _NESTED:
        return UserError(f"{name}, line {line}: {column} is {kind}", "give a text or a number")
    if column not in _TEXTS or kind not in {"text", *_NESTED}:
        return None
    first = kinds.setdefault(column, kind)
    # A single message is a list of one.
    if (kind == "text") != (first == "text"):
        problem = f"{name}, line {line}: {column} is {kind} here but {first} in the rows before"
        return UserError(problem, "write the whole column as text, or the whole column as message lists")
    return None
