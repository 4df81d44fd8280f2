"""`created_at` as files write it → a point in time that can be compared with others of its kind."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PER_SECOND = {Decimal(1): 10**6, Decimal(1000): 10**3}
"""Units of an epoch number in a second → microseconds in one of them."""
_FIRST, _LAST = Decimal(946_684_800), Decimal(4_102_444_800)
"""The years 2000 to 2099: a number outside of them is no epoch time but, say, 20230501."""


class Moment(NamedTuple):
    """Microseconds since 1970; only moments of the same `kind` ('date', 'local' or 'absolute') can be compared."""

    kind: str
    microseconds: float


def read_moment(text: str) -> Moment | None:
    """Return the time that a text names: an ISO date, an ISO time with or without zone, or an epoch number (s, ms)."""
    try:
        return _epoch(Decimal(text))
    except InvalidOperation:
        pass
    try:
        return _moment("date", datetime.combine(date.fromisoformat(text), datetime.min.time()))
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _moment("local" if time.tzinfo is None else "absolute", time)


def _epoch(number: Decimal) -> Moment | None:
    for per_second, microseconds in _PER_SECOND.items():
        if number.is_finite() and _FIRST * per_second <= number < _LAST * per_second:
            return Moment("absolute", float(number * microseconds))
    return None


def _moment(kind: str, time: datetime) -> Moment:
    return Moment(kind, ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) / _MICROSECOND)
