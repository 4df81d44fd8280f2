"""Text made fit for a page: any string a file may hold becomes something that can be shown, encoded and kept short."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Bidirectional overrides: they could make a text read as another one."""


@dataclass(frozen=True)
class CutText:
    """A text for the page: its beginning, the rest (folded away) and the number of characters left out altogether."""

    start: str
    rest: str
    left_out: int


def showable(text: str) -> str:
    """Return text with control characters and lone surrogates replaced (U+FFFD) and direction overrides spelt out."""
    text = _DIRECTION.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _UNSHOWABLE.sub("\ufffd", text)


def invisible(text: str) -> bool:
    """Tell whether a text has nothing to see: only white space, zero-width and control characters, or no character."""
    return all(unicodedata.category(character)[0] in "CZ" for character in text)


def encodable(text: str) -> str:
    """Return text with lone surrogates replaced by '?', so that it can be written as UTF-8; nothing else changes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def short(text: str, length: int = 48) -> str:
    """Return an identifier on one line, cut to `length` characters with an ellipsis."""
    line = text.replace("\r\n", "↵").replace("\n", "↵").replace("\r", "↵")
    return line if len(line) <= length else line[: length - 1] + "…"


def cut(text: str, shown: int = 600, folded: int = 6000) -> CutText:
    """Cut a long text at a word: `shown` characters at once, the rest up to `folded` more on request."""
    if len(text) <= shown + shown // 4:
        return CutText(text, "", 0)
    space = text.rfind(" ", shown - 40, shown)
    at = space if space > 0 else shown
    rest = text[at : at + folded]
    return CutText(text[:at], rest, len(text) - at - len(rest))


def cell(text: str) -> str:
    """Return text that cannot end a table's cell."""
    return text.replace("|", "\\|")


def count(number: int, noun: str, plural: str = "") -> str:
    """Return '1 label', '1,300 labels'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def percent(share: float) -> str:
    """Return a share as '12%'; what is neither none nor all never reads 0% or 100%."""
    rounded = round(100 * share)
    if rounded == 0 and share > 0:
        return "<1%"
    if rounded == 100 and share < 1:
        return ">99%"
    return f"{rounded}%"


def interval(bounds: Sequence[float]) -> str:
    """Return '0.91–0.97'; three decimals where two would hide the width."""
    low, high = bounds
    digits = 2 if high - low >= 0.015 else 3
    return f"{low:.{digits}f}–{high:.{digits}f}"


def signed(value: float) -> str:
    """Return '+0.12', '−0.12' or '0.00'."""
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def decimal(value: float | None) -> str:
    """Return '0.912', or that there is no such number."""
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.3f}"


def with_interval(figure: Mapping[str, float | None]) -> str:
    """Return a figure and its interval in words; a single prompt or comparison leaves it none."""
    if figure["value"] is not None and figure["low"] is None and figure["high"] is None:
        return f"{decimal(figure['value'])} (no interval)"
    return f"{decimal(figure['value'])} ({decimal(figure['low'])} to {decimal(figure['high'])})"
