"""Times of schedules, over changes of clocks too."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from orchestration.language.cron import CronError, cron_of


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(words, zone, after, count=3):
    cron = cron_of(words, zone)
    return [f"{at:%m-%d %H:%M}" for at in islice(cron.between(moment(after), moment("2200-01-01")), count)]


@pytest.mark.parametrize(
    ("words", "zone", "after", "expected"),
    [
        ("0 8 1 * *", "Europe/Berlin", "2026-02-15", ["03-01 07:00", "04-01 06:00", "05-01 06:00"]),
        ("*/20 9-10 * * mon-fri", "UTC", "2026-01-02T10:30", ["01-02 10:40", "01-05 09:00", "01-05 09:20"]),
        ("0 0 13 * 5", "UTC", "2026-02-01", ["02-06 00:00", "02-13 00:00", "02-20 00:00"]),
        ("@weekly", "UTC", "2026-01-01", ["01-04 00:00", "01-11 00:00", "01-18 00:00"]),
        ("0 0 * * 7", "UTC", "2026-01-01", ["01-04 00:00", "01-11 00:00", "01-18 00:00"]),
        ("0 0 29 2 *", "UTC", "2026-01-01", ["02-29 00:00"] * 3),
        ("15 12 * * *", "Asia/Kathmandu", "2026-01-01", ["01-01 06:30", "01-02 06:30", "01-03 06:30"]),
        # Berlin, 29 March 2026: 02:00 to 03:00 are left out. What was due then comes at 03:00, 01:00 UTC.
        ("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("*/15 2 * * *", "Europe/Berlin", "2026-03-29T00:00", ["03-29 01:00", "03-30 00:00", "03-30 00:15"]),
        ("30 * * * *", "Europe/Berlin", "2026-03-29T00:00", ["03-29 00:30", "03-29 01:30", "03-29 02:30"]),
        # Berlin, 25 October 2026: 02:00 to 03:00 come twice. Once; or every real hour.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30", "10-27 01:30"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T00:00", ["10-25 00:30", "10-25 01:30", "10-25 02:30"]),
        ("0 */2 * * *", "Europe/Berlin", "2026-10-24T22:30", ["10-25 00:00", "10-25 01:00", "10-25 03:00"]),
        # New York, 8 March and 1 November 2026.
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00", ["03-08 07:00", "03-09 06:30", "03-10 06:30"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["11-01 05:30", "11-02 06:30", "11-03 06:30"]),
        # Lord Howe goes by half an hour: 4 October 2026, 02:00 to 02:30; 5 April, 01:30 to 02:00 twice.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T12:00", ["10-02 15:45", "10-03 15:30", "10-04 15:15"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T12:00", ["04-03 14:45", "04-04 14:45", "04-05 15:15"]),
        ("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:31", ["04-04 14:45", "04-04 15:00", "04-04 15:15"]),
        # Cairo changes at midnight: 24 April 2026 begins at 01:00.
        ("0 0 * * *", "Africa/Cairo", "2026-04-22T23:00", ["04-23 22:00", "04-24 21:00", "04-25 21:00"]),
        # Apia had no 30 December 2011.
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-29", ["12-30 10:00", "12-29 22:00", "12-29 22:00"]),
    ],
)  # fmt: skip
def test_the_next_times(words, zone, after, expected):
    assert times(words, zone, after) == expected


def test_the_last_of_many_missed_times_are_found_without_going_through_all():
    cron = cron_of("* * * * *", "UTC")
    now = moment("2026-06-01T12:00")
    assert cron.latest(moment("1996-01-01"), now, 1) == [now]
    assert cron.latest(moment("1996-01-01"), now, 100)[0] == now - timedelta(minutes=99)
    assert cron_of("0 0 1 1 *", "UTC").latest(moment("2020-06-01"), now, 3) == [
        moment(f"{year}-01-01") for year in (2024, 2025, 2026)
    ]
    assert cron.latest(now, now, 5) == []


@pytest.mark.parametrize(
    ("words", "zone", "expected"),
    [
        ("", "UTC", "'' is not five fields"),
        ("* * * *", "UTC", "is not five fields"),
        ("0 8 * * * *", "UTC", "is not five fields"),
        ("@reboot", "UTC", "is not five fields"),
        ("60 * * * *", "UTC", "'60' is no minute: it is from 0 to 59"),
        ("* 24 * * *", "UTC", "'24' is no hour: it is from 0 to 23"),
        ("* * 0 * *", "UTC", "'0' is no day: it is from 1 to 31"),
        ("* * * 13 *", "UTC", "'13' is no month: it is from 1 to 12"),
        ("* * * * 8", "UTC", "'8' is no weekday: it is from 0 to 7"),
        ("* * * * frei", "UTC", "'frei' is no weekday"),
        ("5-1 * * * *", "UTC", "the range ends before it begins"),
        ("*/0 * * * *", "UTC", "a step is from 1 to 59"),
        ("*/99999999999999999999 * * * *", "UTC", "a step is from 1 to 59"),
        (f"*/{'9' * 5000} * * * *", "UTC", "it has more than 200 signs"),
        ("1,,2 * * * *", "UTC", "'' is no minute"),
        ("٣ * * * *", "UTC", "'٣' is no minute"),
        ("* * L * *", "UTC", "'L' is no day"),
        ("0 0 31 2 *", "UTC", "names no day that there is"),
        ("* * * * *", "Europe/Berln", "There is no time zone 'Europe/Berln'"),
        ("* * * * *", "../etc/passwd", "There is no time zone"),
    ],
)
def test_nonsense_is_refused_in_words(words, zone, expected):
    with pytest.raises(CronError) as caught:
        cron_of(words, zone)
    assert expected in str(caught.value)
