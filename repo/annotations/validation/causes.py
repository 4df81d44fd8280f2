"""What rows are in quarantine for, and what is to be done about it where it is one thing."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from repo.annotations.quarantine import QuarantinedRow
from repo.annotations.reading.texts import CONTENT

FEW_BAD, ENOUGH, DECIDED = "Few rows are bad", "There are enough comparisons", "Not all votes are ties"
"""Expectations of a batch: the first two fail for want of good rows."""
LARGE_ENOUGH = (ENOUGH, DECIDED)
"""What may be asked of all batches together only."""
_MOST = 0.9
"""Share of bad rows that have a reason in common for it to be called the one reason."""
_SHOWN = 3
_MOST_VALUES = 8
_FOUND = re.compile(r""" is (?:'.*'|".*"), not """, re.DOTALL)
"""How a reader's reason names the value that it found."""
_UNREADABLE = {
    "message": "write the texts as plain text, or as lists of messages with role and content",
    "gold is neither": "give gold in these words or as the text of the better response, or leave it empty",
    "neither reply to the prompt": "where both responses are whole conversations, leave the prompt column out "
    "(data.ignore=[prompt]): what they share is the prompt then",
    "only text can be trained on": "leave these rows out",
    "(data.display)": "name by data.display the column whose codes are the vote's own, or say data.display=unknown",
    "there is no prompt column": "add a prompt column, or name the one there is in data.columns.prompt",
    " is missing": "fill in that column in these rows, or delete them; if it has another name in the file, map it in "
    "data.columns",
}
"""What a reader's reason says → its remedy; the first that fits."""
_ANY = "repair or delete these rows; where it is all of them, data.columns may name the wrong columns"


@dataclass(frozen=True)
class Cause:
    """A reason that rows share: in words, what to do, how many rows, and the first of them for a message."""

    reason: str
    remedy: str
    rows: int
    first: list[str]


def of_result(result: dict[str, Any], row_of: Callable[[int], QuarantinedRow]) -> Cause | None:
    """Return what one row expectation's result holds against rows; None where it holds nothing."""
    meta, entries = result["expectation_config"]["meta"], result["result"].get("unexpected_index_list") or []
    if not entries:
        return None
    column = result["expectation_config"]["kwargs"].get("column")
    values = Counter(str(entry.get(column))[:40] for entry in entries) if "{value}" in meta["reason"] else Counter()
    rows = [row_of(entry["row"]) for entry in entries[:_SHOWN]]
    reason = meta["reason"].format(value="unknown", place="another place")
    found = f"; found: {_counted(values)}" if values else ""
    return Cause(reason, meta["advice"] + found, len(entries), [_line(row) for row in rows])


def of_rejected(rejected: Iterable[QuarantinedRow]) -> list[Cause]:
    """Return what the reader held against rows; what differs in nothing but the value found is one reason."""
    rows: dict[str, list[QuarantinedRow]] = defaultdict(list)
    for row in rejected:
        for reason in dict.fromkeys(_FOUND.sub(" is unknown, not ", reason) for reason in row.reasons):
            rows[reason].append(row)
    return [Cause(reason, _remedy(reason), len(of), [_line(row) for row in of[:_SHOWN]]) for reason, of in rows.items()]


def the_one(causes: Sequence[Cause], bad: int) -> Cause | None:
    """Return the reason that nearly all of so many bad rows share, or None."""
    commonest = max(causes, key=lambda cause: cause.rows, default=None)
    return commonest if commonest and commonest.rows >= _MOST * bad else None


def _remedy(reason: str) -> str:
    column, _, said = reason.partition(" ")
    if column in CONTENT[1:] and said.startswith(("is ", "holds ", "has ")):
        return f"correct it, or, if {column} is no part of the prompt, data.ignore=[{column}]"
    return next((remedy for words, remedy in _UNREADABLE.items() if words in reason), _ANY)


def _line(row: QuarantinedRow) -> str:
    return f"{row.place}: {'; '.join(row.reasons)}"


def _counted(values: Counter[str]) -> str:
    named = ", ".join(f"{value!r} ({count:,} times)" for value, count in values.most_common(_MOST_VALUES))
    return named + (f" and {len(values) - _MOST_VALUES:,} more" if len(values) > _MOST_VALUES else "")
