"""What the commands on schedules show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from pipelines.kubeflow.cron import parse_cron
from pipelines.kubeflow.schedules import Replaced, Schedule
from repo.errors import UserError

_TIMES = 3


@dataclass(frozen=True)
class Row:
    """A schedule as it is listed.

    Attributes:
        line: the registered model.
        name: the recurring run's.
        cron: six fields.
        enabled: whether it fires.
        next: when it fires next; '' where it does not.
        last: the state of its newest run; '' where it has not run.
        inbox: where it looks.
    """

    line: str
    name: str
    cron: str
    enabled: bool
    next: str
    last: str
    inbox: str


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        UserError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise UserError(f"--timezone {name}: unknown", "a name such as UTC or Europe/Berlin") from None


def describe_put(done: Replaced, expression: str, zone: ZoneInfo) -> str:
    """Say what was done to a line's schedule, and when it fires next."""
    lines = [f"{done.name}: {'unchanged' if done.unchanged else 'created' if done.created else 'enabled'}"]
    lines += [f"removed: {name}" for name in done.removed]
    return "\n".join([*lines, "next times, if Kubeflow's clock is on " + f"{zone}:", *next_times(expression, zone)])


def next_times(expression: str, zone: ZoneInfo) -> list[str]:
    """Return the next three times in words."""
    now = datetime.now(zone)
    return [
        f"  {in_words(time)}, in {_distance(time - now)}" for time in islice(parse_cron(expression).after(now), _TIMES)
    ]


def in_words(time: datetime) -> str:
    """Return a time with its day of the week and zone."""
    return f"{time:%A %d %B %Y, %H:%M:%S %Z}"


def row_of(schedule: Schedule, last: str, zone: ZoneInfo) -> Row:
    """Return a schedule as it is listed."""
    following = next(parse_cron(schedule.cron).after(datetime.now(zone)), None) if schedule.enabled else None
    return Row(
        line=schedule.line,
        name=schedule.name,
        cron=schedule.cron,
        enabled=schedule.enabled,
        next=following.astimezone(UTC).isoformat() if following else "",
        last=last,
        inbox=schedule.inbox,
    )


def table(rows: Sequence[Row], zone: ZoneInfo) -> str:
    """Return the schedules as text, and what is odd about them."""
    if not rows:
        return "no schedules yet: `repo-pipeline schedule create` makes one"
    lines = [line for row in rows for line in _lines(row, zone)]
    several = sorted({row.line for row in rows if sum(other.line == row.line for other in rows) > 1})
    odd = [f"{line}: has several schedules; `repo-pipeline schedule create` again leaves one" for line in several]
    return "\n".join(lines + odd)


def _lines(row: Row, zone: ZoneInfo) -> list[str]:
    fires = in_words(datetime.fromisoformat(row.next).astimezone(zone)) if row.next else "paused"
    last = row.last.lower() if row.last else "none yet"
    return [f"{row.line}  {row.name}", f"  {row.cron}  next: {fires}  last run: {last}", f"  inbox: {row.inbox}"]


def _distance(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"
