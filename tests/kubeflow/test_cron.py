"""Six-field cron, as Kubeflow's controller reads it."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.kubeflow.cron import parse_cron
from repo.errors import UserError

THURSDAY = datetime(2026, 11, 26, 19, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("0 0 2 * * *", ["2026-11-27 02:00:00", "2026-11-28 02:00:00", "2026-11-29 02:00:00"]),
        ("@daily", ["2026-11-27 00:00:00", "2026-11-28 00:00:00", "2026-11-29 00:00:00"]),
        ("@hourly", ["2026-11-26 20:00:00", "2026-11-26 21:00:00", "2026-11-26 22:00:00"]),
        ("0 30 19 ? * MON-FRI", ["2026-11-26 19:30:00", "2026-11-27 19:30:00", "2026-11-30 19:30:00"]),
        ("*/20 10 19 * * *", ["2026-11-26 19:10:40", "2026-11-27 19:10:00", "2026-11-27 19:10:20"]),
        ("0 0 22/1 * * *", ["2026-11-26 22:00:00", "2026-11-26 23:00:00", "2026-11-27 22:00:00"]),
        ("0 0 0 29 feb ?", ["2028-02-29 00:00:00"]),
        # Day of month and day of week: one of them suffices where both are restricted.
        ("0 0 0 1 * 0", ["2026-11-29 00:00:00", "2026-12-01 00:00:00", "2026-12-06 00:00:00"]),
        ("0 0 0 */2 * sun", ["2026-11-29 00:00:00", "2026-12-13 00:00:00", "2026-12-27 00:00:00"]),
        ("0 0 6,18-19 31 12,JAN *", ["2026-12-31 06:00:00", "2026-12-31 18:00:00", "2026-12-31 19:00:00"]),
    ],
)
def test_the_next_times(expression: str, times: list[str]) -> None:
    following = islice(parse_cron(expression).after(THURSDAY), 3)
    assert [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in following] == times


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("0 2 * * *", '"0 0 2 * * *"'),
        ("0 2 * *", "4 fields"),
        ("", "0 fields"),
        ("@every 1h", "@every 1h: unknown"),
        ("0 60 2 * * *", "minute 60: out of bounds"),
        ("0 0 2 * * 7", "day of week 7: out of bounds"),
        ("0 0 2 * * mo", "day of week mo: out of bounds"),
        ("0 0 2 0 * *", "day of month 0: out of bounds"),
        ("0 0 5-2 * * *", "hour 5-2: is empty"),
        ("0 */0 2 * * *", "minute */0: is empty"),
        ("0 0 2 L * *", "day of month L: out of bounds"),
        ("0 0 2,,3 * * *", "hour : cannot be read"),
        ("0 0 2 30 2 *", "such a day never comes"),
    ],
)
def test_what_cannot_be_meant_is_told_with_a_remedy(expression: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        parse_cron(expression)
    assert told in str(error.value)
    assert error.value.remedy


def test_the_spelling_that_is_offered_for_five_fields_is_the_crontabs() -> None:
    with pytest.raises(UserError) as error:
        parse_cron("30 4 * * 1")
    offered = parse_cron(error.value.remedy.strip('"'))
    assert next(offered.after(THURSDAY)) == datetime(2026, 11, 30, 4, 30, tzinfo=UTC)


def test_times_are_those_of_the_zones_clocks() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    first, second = islice(parse_cron("0 0 4 * * *").after(before), 2)
    assert (first.hour, second.hour) == (4, 4)
    assert second.astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=24)
    assert first.astimezone(UTC).hour == 3  # the clocks went back in between


FIELD = st.one_of(
    st.just("*"),
    st.integers(1, 6).map(str),
    st.tuples(st.integers(1, 3), st.integers(3, 6)).map("{0[0]}-{0[1]}".format),
)


@given(st.tuples(*[FIELD] * 6), st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_times_go_upwards_and_fit_every_field(fields: tuple[str, ...], moment: datetime) -> None:
    times = list(islice(parse_cron(" ".join(fields)).after(moment), 5))
    assert times == sorted(set(times))
    assert all(time > moment for time in times)
    for time in times:
        parts = (time.second, time.minute, time.hour, time.month)
        for part, field in zip(parts, (*fields[:3], fields[4]), strict=True):
            low, _, high = field.partition("-")
            assert field == "*" or int(low) <= part <= int(high or low)
