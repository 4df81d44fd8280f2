"""Times as tools write them."""

import pytest

from repo.annotations.validation.times import read_moment

TEN = read_moment("2024-03-05T10:02:00Z")


@pytest.mark.parametrize(
    "same",
    [
        "2024-03-05 10:02:00 UTC",
        "2024/03/05 10:02:00 GMT",
        "Tue Mar 05 02:02:00 PST 2024",
        "Tue Mar 5 10:02:00 UTC 2024",
        "2024-03-05T11:02:00+01:00",
        "1709632920",
        "1709632920.0",
        "1709632920000",
        "1709632920000000",
        "1709632920000000000",
    ],
)
def test_one_moment_has_many_spellings(same: str) -> None:
    assert TEN is not None
    assert read_moment(same) == TEN


def test_summer_time_is_an_hour_earlier() -> None:
    assert read_moment("Wed May 01 03:00:00 PDT 2024") == read_moment("2024-05-01T10:00:00Z")


def test_strokes_change_nothing() -> None:
    assert read_moment("2024/05/01") == read_moment("2024-05-01")
    assert read_moment("2024/05/01 10:00:00") == read_moment("2024-05-01T10:00:00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5/1/2024",
        "01.05.2024 10:00",
        "20230501",
        "45413.4",
        "2024/13/01",
        "Tue Foo 05 10:02:00 PST 2024",
        "10 UTC",
        "Tue Mar 45 10:02:00 PST 2024",
        "Tue Mar 05 10:02:00 CST 2024",
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_no_time(text: str) -> None:
    assert read_moment(text) is None
