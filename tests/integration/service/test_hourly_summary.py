"""The log says once an hour what was done, and a job that says what it said before is no news."""

import logging
from datetime import UTC, datetime

from monitor.config.service import ServiceConfig, parse_site
from monitor.service.hourly_summary import MOST, HourlySummary, count_sent
from monitor.service.schedule import Schedule
from monitor.store.alerting.sites import save_site
from tests.data.watched_slope import SITE_TEXT, START, WatchedSlope

INGEST = {"messages": 40, "stored": 90, "rejected": 2, "connected": {}}


def test_the_first_call_counts_and_the_next_says_what_came_since(database, caplog):
    caplog.set_level(logging.INFO)
    WatchedSlope(database)
    summary = HourlySummary(database)
    summary.write(INGEST, 3)
    assert not caplog.messages
    summary.write({**INGEST, "messages": 52, "stored": 136, "rejected": 3}, 4)
    (line,) = caplog.messages
    assert line.startswith("the last hour: 12 messages in, 46 readings stored, 1 refused; 1 messages to people; bench ")


def test_a_process_of_ingest_that_began_anew_takes_nothing_back(database, caplog):
    caplog.set_level(logging.INFO)
    summary = HourlySummary(database)
    summary.write(INGEST, 3)
    summary.write({**INGEST, "messages": 1}, 3)
    assert caplog.messages == [
        "the last hour: 0 messages in, 0 readings stored, 0 refused; 0 messages to people; no site"
    ]


def test_of_many_sites_some_are_named(database, caplog):
    caplog.set_level(logging.INFO)
    with database.write() as c:
        for n in range(MOST + 5):
            name = f"s{n:02d}"
            save_site(
                c, parse_site(SITE_TEXT.replace('id = "bench"', f'id = "{name}"'), f"{name}.toml"), "t", "t", START
            )
    summary = HourlySummary(database)
    for _ in range(2):
        summary.write({}, 0)
    assert caplog.messages[-1].endswith("s19 not evaluated yet; 5 more")


def test_what_a_channel_took_is_sent():
    assert count_sent({"states": {"delivered": 3, "confirmed": 1, "queued": 7}}) == 4


def test_a_job_that_says_what_it_said_is_no_news(database, caplog, monkeypatch):
    slope = WatchedSlope(database)
    schedule = Schedule(database, ServiceConfig(), [slope.site], lambda: datetime.now(UTC), lambda *_: None)
    told = iter(["no team", "no team", "Ada, until 20:00"])
    monkeypatch.setattr(schedule, "_call", lambda _: ("done", next(told), True))
    key = next(key for key in schedule._entries if key.startswith("duty"))
    caplog.set_level(logging.DEBUG, "monitor.service.schedule")
    for _ in range(3):
        schedule._run(key)
    assert [r.levelno for r in caplog.records if "job duty" in r.getMessage()] == [
        logging.INFO,
        logging.DEBUG,
        logging.INFO,
    ]
