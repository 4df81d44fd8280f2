"""How a row becomes a row of the canonical table: every annotation of a pair gets the same response_a."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repo.annotations.reading.chunks import Chunk, Coded, once
from repo.annotations.reading.layouts import DISPLAY, Reading
from repo.annotations.reading.rows import Row
from repo.annotations.reading.texts import CONTENT, are_plain, read_pair, same_reply
from repo.annotations.reading.values import BadRowError
from repo.annotations.schema import COLUMNS, VIRTUAL_ANNOTATOR, Text, encode_text, flip, pair_digest
from repo.files import text_digest
from repo.ids import code_text, id_text

_OTHERS = frozenset(CONTENT) - {"prompt"}
_SIDES = ("preference", "gold", DISPLAY)
"""What _read_sides reads."""
_ASKED = "comparison"
"""What gold may be a text of."""


class _Pair(NamedTuple):
    """A prompt and two responses, in the order in which the file names the responses."""

    prompt: Text
    first: Text
    second: Text


class _Comparison(NamedTuple):
    """A pair as the canonical table has it; swapped where the file's first response is response_b."""

    pair: _Pair
    prompt: str
    response_a: str
    response_b: str
    swapped: bool

    @classmethod
    def of(cls, pair: _Pair) -> "_Comparison":
        prompt, first, second = (encode_text(text) for text in (pair.prompt, pair.first, pair.second))
        if text_digest(first) > text_digest(second):
            return cls(pair, prompt, second, first, swapped=True)
        return cls(pair, prompt, first, second, swapped=False)

    @property
    def messages(self) -> bool:
        return not isinstance(self.pair.prompt, str)

    def digest(self) -> str:
        """Return the comparison id of data that has none."""
        return pair_digest(self.prompt, self.response_a, self.response_b)


class _Sides(NamedTuple):
    """What a row says of its two responses, by 'a' and 'b'."""

    preference: str
    gold: str
    shown_first: str
    listed_first: str

    def turned(self, swapped: bool) -> "_Sides":
        """Return the same of the canonical table's two responses."""
        return _Sides(*map(flip, self)) if swapped else self


def canonical_row(row: Row, reading: Reading, file: str, line: int) -> dict[str, Any]:
    """Return a row of the canonical table: every annotation of a pair gets the same response_a, whatever was displayed.

    Raises:
        BadRowError: the row cannot be understood.
    """
    comparison = _Comparison.of(_read_pair(row, reading))
    sides = _read_sides(row, comparison.pair, reading)
    return {
        "comparison_id": id_text(row.get("comparison_id")) or comparison.digest(),
        "prompt": comparison.prompt,
        "response_a": comparison.response_a,
        "response_b": comparison.response_b,
        "messages": comparison.messages,
        **sides.turned(comparison.swapped)._asdict(),
        "annotator_id": row.get("annotator_id", VIRTUAL_ANNOTATOR),
        "weight": 1.0,
        "created_at": id_text(row.get("created_at")),
        "file": file,
        "line": line,
    }


def canonical_table(
    chunk: Chunk, reading: Reading, file: str, lines: Sequence[int]
) -> tuple[pd.DataFrame, dict[int, BadRowError]]:
    """Return what canonical_row makes of every row, and of those that it refuses their number in the chunk and why.

    Rows that agree in some columns are read once in what depends on these alone.
    """
    columns = {name: column.unpack() for name, column in chunk.columns.items()}
    comparisons = once(_some(columns, (*CONTENT, *reading.responses)), partial(_try_comparison, reading=reading))
    asked = comparisons if "gold" in columns else Coded.repeated(None, chunk.size)
    sides = once({**_some(columns, _SIDES), _ASKED: asked}, partial(_try_sides, reading=reading))
    bad = {**_errors(sides), **_errors(comparisons)}
    good = np.setdiff1d(np.arange(chunk.size), list(bad))
    if bad:
        comparisons, sides = comparisons.take(good), sides.take(good)
        columns = {name: coded.take(good) for name, coded in columns.items()}
    size = len(good)
    swapped = comparisons.map(attrgetter("swapped"))
    turned = once({"sides": sides, "swapped": swapped}, lambda row: row["sides"].turned(row["swapped"]))
    texts = {
        "comparison_id": _comparison_ids(columns.get("comparison_id"), comparisons),
        **{name: comparisons.map(attrgetter(name)) for name in ("prompt", "response_a", "response_b")},
        **{name: turned.map(attrgetter(name)) for name in _Sides._fields},
        "annotator_id": columns.get("annotator_id", Coded.repeated(VIRTUAL_ANNOTATOR, size)),
        "created_at": columns.get("created_at", Coded.repeated("", size)).map(id_text),
        "file": Coded.repeated(file, size),
    }
    messages = comparisons.map(lambda comparison: comparison.messages).values()
    others = {
        "messages": np.array(messages, np.bool_),
        "weight": np.ones(size),
        "line": np.array(lines, np.int64)[good],
    }
    table = {name: coded.texts() for name, coded in texts.items()} | others
    return pd.DataFrame({name: table[name] for name in COLUMNS}), bad


def _some(columns: Mapping[str, Coded], names: Collection[str]) -> dict[str, Coded]:
    return {name: coded for name, coded in columns.items() if name in names}


def _try_comparison(row: Row, reading: Reading) -> _Comparison | BadRowError:
    try:
        return _Comparison.of(_read_pair(row, reading))
    except BadRowError as error:
        return error


def _try_sides(row: Row, reading: Reading) -> _Sides | BadRowError:
    asked = row.pop(_ASKED)
    if isinstance(asked, BadRowError):
        return asked
    try:
        return _read_sides(row, asked.pair if asked else None, reading)
    except BadRowError as error:
        return error


def _errors(read: Coded) -> dict[int, BadRowError]:
    """Return the rows that cannot be understood, and why."""
    errors = [place for place, value in enumerate(read.distinct) if isinstance(value, BadRowError)]
    rows = np.flatnonzero(np.isin(read.places, errors))
    return dict(zip(rows.tolist(), read.values(rows), strict=True))


def _comparison_ids(given: Coded | None, comparisons: Coded) -> Coded:
    if given is None:
        return comparisons.map(_Comparison.digest)
    ids = given.map(id_text)
    if "" not in ids.distinct:
        return ids
    return once({"id": ids, _ASKED: comparisons}, lambda row: row["id"] or row[_ASKED].digest())


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


def _read_pair(row: Row, reading: Reading) -> _Pair:
    responses = reading.responses
    pair = _Pair(row.get("prompt"), row.get(responses[0]), row.get(responses[1]))  # type: ignore[arg-type]
    # Most files hold nothing but texts, which read_pair would return as they are, at several times the cost.
    if _OTHERS.isdisjoint(row) and are_plain(*pair):
        return pair
    return _Pair(*read_pair(row, *responses))


def _read_sides(row: Row, pair: _Pair | None, reading: Reading) -> _Sides:
    """Return what is said in the order in which the file names the responses; of the pair only gold may ask."""
    paired = reading.layout == "paired"
    return _Sides(
        preference=reading.codes.read(row["preference"]) if paired else "a",
        gold=_read_gold(row["gold"], pair, reading) if pair and "gold" in row else "",
        shown_first=_shown_first(row, reading),
        listed_first="a" if paired else "",
    )


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
