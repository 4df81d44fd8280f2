"""The row layouts that are read, told apart by their columns, and how a row of each becomes a canonical row."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from repo.annotations.reading.loading import LoadedFile
from repo.annotations.reading.multipref import is_multipref, unfold
from repo.annotations.reading.rows import Row
from repo.annotations.reading.texts import BadRowError, kind_of, read_text, same_form, scalar_text, split_common_prefix
from repo.annotations.schema import VIRTUAL_ANNOTATOR, Text, encode_text, flip, pair_digest
from repo.errors import UserError
from repo.files import text_digest

Layout: TypeAlias = Literal["paired", "trl"]

PAIRED = ("prompt", "response_a", "response_b", "preference")
TRL = ("chosen", "rejected")
OPTIONAL = ("annotator_id", "comparison_id", "created_at", "gold")
KNOWN = tuple(dict.fromkeys((*PAIRED, *TRL, *OPTIONAL)))
_TEXTS = ("prompt", "response_a", "response_b", "chosen", "rejected")
_LAYOUTS = (
    "prompt, chosen, rejected (TRL); or prompt, response_a, response_b, preference; or MultiPref's text, completion_a, "
    "completion_b, normal_worker_annotations, expert_worker_annotations"
)


@dataclass(frozen=True)
class _Pair:
    """What a row says, in the order in which the responses were displayed."""

    prompt: Text
    first: Text
    second: Text
    preference: str
    shown_first: str


def recognise(loaded: LoadedFile, columns: Mapping[str, str]) -> tuple[LoadedFile, Layout]:
    """Rename columns, unfold MultiPref, and tell the layout; only columns that we know are kept.

    Args:
        loaded: a file's rows.
        columns: our name → the file's name, from the settings.

    Raises:
        UserError: a mapped column is not there, no layout fits, or a column holds what it cannot hold.
    """
    loaded = _rename(loaded, columns)
    if is_multipref(loaded.columns):
        loaded = unfold(loaded)
    layout = _layout_of(loaded)
    kept = [name for name in KNOWN if name in loaded.columns]
    rows = loaded.rows.map(lambda chunk: [{name: row.get(name) for name in kept} for row in chunk])
    loaded = replace(loaded, columns=kept, rows=rows)
    _check_kinds(loaded)
    return loaded, layout


def canonical_row(row: Row, layout: Layout, file: str, line: int) -> dict[str, Any]:
    """Return a row of the canonical table: every annotation of a pair gets the same response_a, whatever was displayed.

    Raises:
        BadRowError: the row cannot be understood.
    """
    pair = _read_pair(row, layout)
    gold = _read_gold(row.get("gold"), pair, layout)
    prompt, first, second = (encode_text(text) for text in (pair.prompt, pair.first, pair.second))
    swapped = text_digest(first) > text_digest(second)
    turn = flip if swapped else str
    return {
        "comparison_id": scalar_text(row.get("comparison_id")) or pair_digest(prompt, first, second),
        "prompt": prompt,
        "response_a": second if swapped else first,
        "response_b": first if swapped else second,
        "messages": not isinstance(pair.prompt, str),
        "preference": turn(pair.preference),
        "annotator_id": row.get("annotator_id", VIRTUAL_ANNOTATOR),
        "gold": turn(gold),
        "shown_first": turn(pair.shown_first),
        "weight": 1.0,
        "created_at": scalar_text(row.get("created_at")),
        "file": file,
        "line": line,
    }


def _rename(loaded: LoadedFile, columns: Mapping[str, str]) -> LoadedFile:
    for ours, theirs in columns.items():
        if ours not in KNOWN:
            near = difflib.get_close_matches(ours, KNOWN, n=1)
            raise UserError(
                f"data.columns: '{ours}' is no column of ours" + (f", did you mean '{near[0]}'?" if near else ""),
                f"map one of {', '.join(KNOWN)} to the file's name",
            )
        if theirs not in loaded.columns:
            problem = f"{loaded.name}: no column '{theirs}' (data.columns.{ours})"
            raise UserError(problem, f"the file's columns are {_names(loaded)}")
    if not columns:
        return loaded
    taken = set(columns.values()) | set(columns)

    def renamed(row: Row) -> Row:
        others = {name: value for name, value in row.items() if name not in taken}
        return others | {ours: row.get(theirs) for ours, theirs in columns.items()}

    rows = loaded.rows.map(lambda chunk: [renamed(row) for row in chunk])
    return replace(loaded, columns=[*(c for c in loaded.columns if c not in taken), *columns], rows=rows)


def _layout_of(loaded: LoadedFile) -> Layout:
    if set(PAIRED) <= set(loaded.columns):
        return "paired"
    if set(TRL) <= set(loaded.columns):
        return "trl"
    trl = sum(name in loaded.columns for name in TRL) > sum(name in loaded.columns for name in PAIRED[1:])
    missing = [name for name in (("prompt", *TRL) if trl else PAIRED) if name not in loaded.columns]
    example = ", ".join(f"{name}: {found}" for name, found in _nearest(missing, loaded.columns).items())
    raise UserError(
        f"{loaded.name}: columns {_names(loaded)} fit no layout: {', '.join(missing)} missing\n  accepted: {_LAYOUTS}",
        f"rename them, or map them in the configuration: data: {{columns: {{{example}}}}}",
    )


def _nearest(missing: list[str], columns: list[str]) -> dict[str, str]:
    """Guess for each missing column which of the file's other columns it might be, none of them twice."""
    free = [name for name in columns if name not in KNOWN]
    guesses = {}
    for name in missing:
        near = difflib.get_close_matches(name, free, n=1, cutoff=0.5)
        free = [other for other in free if other not in near]
        guesses[name] = near[0] if near else "YOUR_COLUMN"
    return guesses


def _names(loaded: LoadedFile, most: int = 30) -> str:
    shown = ", ".join(repr(name[:80]) for name in loaded.columns[:most])
    return shown + (f" and {len(loaded.columns) - most} more" if len(loaded.columns) > most else "")


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
    if column in _TEXTS and kind in ("text", "a list") and kind != (first := kinds.setdefault(column, kind)):
        problem = f"{name}, line {line}: {column} is {kind} here but {first} in the rows before"
        return UserError(problem, "write the whole column as text, or the whole column as message lists")
    return None


def _read_pair(row: Row, layout: Layout) -> _Pair:
    if layout == "paired":
        prompt, first, second = same_form(*_read_texts(row, ("prompt", "response_a", "response_b")))
        return _Pair(prompt, first, second, _vote(row["preference"]), "a")
    if "prompt" in row:
        prompt, first, second = same_form(*_read_texts(row, ("prompt", "chosen", "rejected")))
    else:
        prompt, first, second = split_common_prefix(*_read_texts(row, ("chosen", "rejected")))
    return _Pair(prompt, first, second, "a", "")


def _read_texts(row: Row, columns: tuple[str, ...]) -> list[Text]:
    """Read several texts, collecting the reasons of all."""
    texts: list[Text] = []
    reasons: list[str] = []
    for column in columns:
        try:
            texts.append(read_text(row[column], column))
        except BadRowError as error:
            reasons.extend(error.reasons)
    if reasons:
        raise BadRowError(*reasons)
    return texts


def _vote(value: Any) -> str:
    """Return 'a', 'b' or 'tie' where it is one of them, else the value as given: validation will judge it."""
    text = scalar_text(value)
    known = text.strip().lower()
    return known if known in ("a", "b", "tie") else text


def _read_gold(value: Any, pair: _Pair, layout: Layout) -> str:
    sides = {"a": "a", "b": "b"} if layout == "paired" else {"chosen": "a", "rejected": "b"}
    text = scalar_text(value)
    if not text:
        return ""
    if (side := text.strip().lower()) in sides:
        return sides[side]
    for side, response in (("a", pair.first), ("b", pair.second)):
        if value == response or [value] == [turn["content"] for turn in response if isinstance(turn, dict)]:
            return side
    raise BadRowError(f"gold is neither {' nor '.join(sides)} nor the text of one of the responses")
