"""What a file's words and codes for a vote mean. Words are known, numbers never: they differ from set to set."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from repo.errors import UserError
from repo.ids import code_text, id_text
from repo.settings import DataSettings

SKIP = "skip"
_WORDS = {
    "a": ("a", "left", "model_a", "response_a", "first"),
    "b": ("b", "right", "model_b", "response_b", "second"),
    "tie": ("tie", "tie (bothbad)", "both_bad"),
}
_MOST_SHOWN = 8
_LONGEST_CODE = 80
_WHOLE = re.compile("0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class VoteCodes:
    """Code, as code_text writes it → 'a', 'b', 'tie' or 'skip'."""

    meanings: Mapping[str, str]

    @classmethod
    def of(cls, settings: DataSettings) -> "VoteCodes":
        """Return the known words, the file's own names of the two responses, and what data.values says, which wins."""
        words = {word: side for side, words in _WORDS.items() for word in words}
        names = {
            code_text(settings.columns[name]): name[-1]
            for name in ("response_a", "response_b")
            if name in settings.columns
        }
        given = {code_text(code): side for side, codes in settings.values.items() for code in codes}
        return cls(words | names | given)

    def read(self, value: Any) -> str:
        """Return what a value means, or, where it is unknown, the value itself as text."""
        return self.meanings.get(code_text(value), id_text(value))


def code_counts(values: Iterable[tuple[Any, int]]) -> Counter[str]:
    """Return how often each code occurs, of values and how often each does."""
    counts: Counter[str] = Counter()
    for value, times in values:
        counts[code_text(value)] += times
    return counts


def check_codes(place: str, column: str, values: Iterable[tuple[Any, int]], codes: VoteCodes) -> None:
    """Refuse a column of votes most of which have no known meaning.

    Args:
        place: the file, for the message.
        column: the column, as the file calls it.
        values: what stands there, and in how many rows; a value may come more than once.
        codes: what is known.

    Raises:
        UserError: it shows the codes found, their counts, and what to write.
    """
    counts = code_counts(values)
    missing = counts.pop("", 0)
    unknown = Counter({code: count for code, count in counts.items() if code not in codes.meanings})
    if 2 * unknown.total() <= counts.total():
        return
    shown = ", ".join(f"{code[:80]!r} ({count:,} times)" for code, count in unknown.most_common(_MOST_SHOWN))
    more = f" and {len(unknown) - _MOST_SHOWN:,} more" if len(unknown) > _MOST_SHOWN else ""
    blank = f"; {missing:,} rows are blank" if missing else ""
    problem = f"{place}: what does {column} mean by {shown}{more}?{blank}"
    raise UserError(problem, describe_setting(list(unknown)))


def describe_setting(codes: list[str]) -> str:
    """Return how to say what codes mean. Which one means what is never guessed."""
    if len(codes) > _MOST_SHOWN or max(map(len, codes)) > _LONGEST_CODE:
        return "say which column is the vote: data.columns={preference: ...}; codes are explained by data.values"
    if len(codes) == 2:
        one, other = sorted(codes)
        first, second = _setting(a=[one], b=[other]), _setting(a=[other], b=[one])
        return f"{first} if {one!r} means that response_a is better, {second} if it means response_b"
    template = "--set 'data.values={a: [CODE, ...], b: [CODE, ...], tie: [CODE, ...], skip: [CODE, ...]}'"
    return f"put every code where it belongs, leaving out what does not occur (skip is for no vote): {template}"


def _setting(**codes: list[str]) -> str:
    values = {side: [_as_yaml(code) for code in given] for side, given in codes.items()}
    text = yaml.safe_dump(values, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True).strip()
    return f"--set {shlex.quote(f'data.values={text}')}"


def _as_yaml(code: str) -> Any:
    """Return a code as the number that it is, to spare the reader quotation marks."""
    return int(code) if _WHOLE.fullmatch(code) else code
