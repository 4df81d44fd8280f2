"""`created_at` as files write it → a point in time that can be compared with others of its kind."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PER_SECOND = {
    Decimal(1): Decimal(10**6),
    Decimal(10**3): Decimal(10**3),
    Decimal(10**6): Decimal(1),
    Decimal(10**9): Decimal("0.001"),
}
"""Units of an epoch number in a second → microseconds in one of them."""
_FIRST, _LAST = Decimal(946_684_800), Decimal(4_102_444_800)
"""The years 2000 to 2099: a number outside of them is no epoch time but, say, 20230501."""
_ZONES = {"UTC": "+0000", "GMT": "+0000", "PST": "-0800", "PDT": "-0700"}
_MTURK = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) (\d\d:\d\d:\d\d) (UTC|GMT|PST|PDT) (\d{4})")
"""Tue Mar 05 10:02:00 PST 2024, as Mechanical Turk and Unix's date write it."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_YEAR_FIRST = re.compile(r"(\d{4})/(\d\d)/(\d\d)(?=$|[ T])")


class Moment(NamedTuple):
    """Microseconds since 1970; only moments of the same `kind` ('date', 'local' or 'absolute') can be compared."""

    kind: str
    microseconds: float


def read_moment(text: str) -> Moment | None:
    """Return the time that a text names: an ISO date, an ISO time with or without zone, or an epoch number (s to ns).

    ISO's dates may have strokes, its times end in UTC; Mechanical Turk's times are read too. 5/1/2024 is not read: it
    may be in January or in May.
    """
    try:
        return _epoch(Decimal(text))
    except InvalidOperation:
        pass
    text = _as_iso(text)
    try:
        return _moment("date", datetime.combine(date.fromisoformat(text), datetime.min.time()))
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _moment("local" if time.tzinfo is None else "absolute", time)


def _as_iso(text: str) -> str:
    """Return a time in ISO's spelling, where it is one that can be read in one way only."""
    if (found := _MTURK.fullmatch(text)) and found[1] in _MONTHS:
        month, day, clock, zone, year = found.groups()
        return f"{year}-{_MONTHS.index(month) + 1:02}-{int(day):02}T{clock}{_ZONES[zone]}"
    text = _YEAR_FIRST.sub(r"\1-\2-\3", text)
    return re.sub(r"(?<=\d) ?(?:UTC|GMT)$", "Z", text) if ":" in text else text


def _epoch(number: Decimal) -> Moment | None:
    for per_second, microseconds in _PER_SECOND.items():
        if number.is_finite() and _FIRST * per_second <= number < _LAST * per_second:
            return Moment("absolute", float(number * microseconds))
    return None


def _moment(kind: str, time: datetime) -> Moment:
    return Moment(kind, ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) / _MICROSECOND)
