"""Periods of reports follow the clock of the site: no hour is in two reports, none is in none, in any zone."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config.service import parse_service
from monitor.domain.errors import ConfigError
from monitor.extensions.reports.period import (
    DAILY,
    KINDS,
    SHIFT,
    WEEKLY,
    find_before,
    find_newest,
    read_times,
    split_days,
)

ZONES = ["UTC", "Europe/Zurich", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"]
TIMES = st.lists(st.times().map(lambda t: t.replace(second=0, microsecond=0)), min_size=1, max_size=4, unique=True)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    times=TIMES,
    weekday=st.integers(0, 6),
    now=st.datetimes(datetime(2026, 1, 20), datetime(2027, 1, 1), timezones=st.just(UTC)),
)
def test_each_period_begins_where_the_one_before_ended(kind, zone, times, weekday, now):
    times = sorted(times) if kind == SHIFT else times[:1]
    newest = find_newest(kind, now, zone, times, weekday)
    assert newest.from_at < newest.to_at <= now
    before = find_newest(kind, newest.to_at - timedelta(seconds=1), zone, times, weekday)
    assert before.to_at == newest.from_at
    hours = (newest.to_at - newest.from_at) / timedelta(hours=1)
    longest = {DAILY: 25, WEEKLY: 169, SHIFT: 25}[kind]
    assert hours <= longest
    if kind != SHIFT:
        assert hours >= longest - 2
    days = split_days(newest, zone)
    assert days[0][1] == newest.from_at
    assert days[-1][2] == newest.to_at
    assert all(one[2] == other[1] for one, other in pairwise(days))


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime(2026, 3, 29, 10), 23), (datetime(2026, 10, 25, 10), 25), (datetime(2026, 7, 1), 24)]
)
def test_a_day_of_another_length_is_a_day(day, hours):
    zone = ZoneInfo("Europe/Zurich")
    period = find_before(DAILY, day.replace(tzinfo=UTC), zone)
    assert period.to_at - period.from_at == timedelta(hours=hours)
    assert find_before(SHIFT, period.to_at, zone, 12).from_at == period.to_at - timedelta(hours=12)


def test_the_service_file_says_when_and_to_whom():
    shift = '[[report]]\nkind = "shift"\nat = ["22:00", "6:00"]\nto = ["email:a@b.org"]\n'
    text = f'{shift}[[report]]\nkind = "daily"\nat = "7:30"\n'
    plans = parse_service(text, "x").report
    assert read_times(plans[0].at) == (time(6), time(22))
    assert (plans[1].at, plans[1].form, plans[1].sites) == (("7:30",), "pdf", ("*",))
    for wrong, said in (
        ('kind = "yearly"', "daily"),
        ('kind = "daily"\nat = "25:00"', "07:00"),
        ('kind = "daily"\nat = ["6:00", "7:00"]', "one time"),
        ('kind = "daily"\nto = ["webhook:X"]', "email:ADDRESS"),
        ('kind = "daily"\nweekday = "someday"', "monday"),
        ('kind = "daily"\nlanguage = "fr"', "'fr' is unknown"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse_service(f"[[report]]\n{wrong}\n", "x")
