"""Kubeflow's cron expressions: six fields, seconds first, as robfig/cron v1 reads them, and the times they mean."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import product

from repo.errors import UserError

_NAMES = {
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "day of week": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
_FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
)
_DESCRIPTORS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_ITEM = re.compile(r"(?:(?P<any>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)
_CLASSIC = 5
"""Fields of a crontab's line."""
_HORIZON = timedelta(days=5 * 366)
"""As far as robfig/cron looks."""
_EXAMPLE = 'as in "0 0 2 * * *": second, minute, hour, day of month, month, day of week'


@dataclass(frozen=True)
class Cron:
    """The times at which a schedule fires.

    Attributes:
        expression: six fields, as Kubeflow is given them.
    """

    expression: str
    _sets: tuple[frozenset[int], ...]
    _either_day: bool
    """Day of month and of week are both restricted: then one of them suffices."""

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times after a moment, to the second, in its zone; none beyond five years."""
        wall = moment.replace(tzinfo=None)
        seconds, minutes, hours = (sorted(chosen) for chosen in self._sets[:3])
        for days in range(_HORIZON.days):
            day = wall.date() + timedelta(days=days)
            if not self._is_on(day):
                continue
            for hour, minute, second in product(hours, minutes, seconds):
                time = datetime(day.year, day.month, day.day, hour, minute, second)
                if time > wall:
                    yield time.replace(tzinfo=moment.tzinfo)

    def _is_on(self, day: date) -> bool:
        of_month, months, of_week = self._sets[3:]
        fits = (day.day in of_month, day.isoweekday() % 7 in of_week)
        return day.month in months and (any(fits) if self._either_day else all(fits))


def parse_cron(expression: str) -> Cron:
    """Read a cron expression, or one of @yearly, @monthly, @weekly, @daily and @hourly.

    Raises:
        UserError: it has not six fields, one of them cannot be read, or it never comes.
    """
    text = _DESCRIPTORS.get(expression.strip().lower(), expression)
    fields = text.split()
    if text.startswith("@") or len(fields) != len(_FIELDS):
        raise _no_six(expression, fields)
    cron = Cron(" ".join(fields), tuple(map(_numbers, fields, _FIELDS)), not any(map(_is_any, (fields[3], fields[5]))))
    if next(cron.after(datetime(2000, 1, 1)), None) is None:
        raise UserError(f"--cron {expression}: such a day never comes", "check day and month")
    return cron


def _no_six(expression: str, fields: list[str]) -> UserError:
    if expression.startswith("@"):
        return UserError(
            f"--cron {expression}: unknown", f"one of {', '.join(_DESCRIPTORS)}; or six fields, {_EXAMPLE}"
        )
    problem = f"--cron {expression}: {len(fields)} fields, and Kubeflow's cron has six, seconds first"
    return UserError(problem, f'"0 {" ".join(fields)}"' if len(fields) == _CLASSIC else f"six fields, {_EXAMPLE}")


def _is_any(field: str) -> bool:
    """Tell whether a field restricts nothing; as in robfig/cron v1 a step, */2, does not count as a restriction."""
    return any(item[:1] in ("*", "?") for item in field.split(","))


def _numbers(field: str, of: tuple[str, int, int]) -> frozenset[int]:
    return frozenset(number for item in field.split(",") for number in _item(item, *of))


def _item(item: str, name: str, lowest: int, highest: int) -> range:
    found = _ITEM.fullmatch(item)
    if found is None:
        raise UserError(f"--cron: {name} {item}: cannot be read", f"six fields, {_EXAMPLE}")
    first = lowest if found["any"] else _number(found["first"], name, lowest, highest)
    if found["any"] or (found["step"] and not found["last"]):
        last = highest
    else:
        last = _number(found["last"] or found["first"], name, lowest, highest)
    step = int(found["step"] or 1)
    if first > last or step == 0:
        raise UserError(f"--cron: {name} {item}: is empty", "a range goes upwards, and a step is at least 1")
    return range(first, last + 1, step)


def _number(text: str, name: str, lowest: int, highest: int) -> int:
    named = _NAMES.get(name, ())
    if text.lower() in named:
        return named.index(text.lower()) + lowest
    if not text.isdigit() or not lowest <= int(text) <= highest:
        also = f" or {named[0]} to {named[-1]}" if named else ""
        raise UserError(f"--cron: {name} {text}: out of bounds", f"{lowest} to {highest}{also}")
    return int(text)
