"""The daily digest: once a local day, also when all is well, by the next channel where one refuses."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from monitor.config.service import parse_service
from monitor.config.site import parse_site
from monitor.domain.alert import AlertCategory
from monitor.errors import ConfigError, DeliveryError
from monitor.notify.digest import run
from monitor.store.alerting.duty import add_plan
from monitor.store.alerting.sites import save_site
from monitor.store.schema.views import load_view
from tests.integration.notify.test_duty import ADA, DAY, PEOPLE, PLAN, raise_alert, text_of

SEVEN = datetime(2026, 3, 6, 6, tzinfo=UTC)  # 07:00 in Zurich
CONFIG = parse_service('[web]\npublic_url = "https://slopes.example.org"\n', "test")


def site_of(more, channels='["log:room"]'):
    room = f'channels = {channels}\nlevels = ["red"]\n{more}'
    return parse_site(text_of({**PEOPLE, "control room": room}), "bench")


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records if "digest" in r.getMessage()]


def save(database, site):
    with database.write() as c:
        save_site(c, site, "ada", "test", SEVEN - DAY)
        add_plan(c, site.teams[0], PLAN, ADA, "spring", SEVEN - DAY)


def test_a_digest_comes_once_a_day_at_its_local_hour_also_when_all_is_well(database, said):
    site = site_of('digest = "07:00"')
    save(database, site)
    assert run(database, CONFIG, site, SEVEN - timedelta(minutes=1)) == "none due"
    assert run(database, CONFIG, site, SEVEN) == "1 sent"
    assert run(database, CONFIG, site, SEVEN + timedelta(minutes=1)) == "0 sent"
    (line,) = said()
    assert "daily digest, open alerts: 0" in line
    assert "on duty, geologists: R. Mori, A. Rossi" in line
    assert run(database, CONFIG, site, SEVEN + timedelta(hours=7)) == "none due"  # too late for this day
    with database.write() as c:
        raise_alert(c, 2, SEVEN + DAY - timedelta(hours=1), site=site)
        raise_alert(c, 1, SEVEN + DAY - timedelta(hours=1), "strange", AlertCategory.ADVICE, site=site)
    assert run(database, CONFIG, site, SEVEN + DAY) == "1 sent"
    text = said()[-1]
    assert "suggestions: 1" in text
    assert "Suggestion 2: moves" in text
    for part in (
        "daily digest, open alerts: 1",
        "Alert 1: moves",
        "on duty, geologists: nobody",
        "https://slopes.example.org/sites/bench",
        "This message comes every day at 07:00",
    ):
        assert part in text, part
    with database.read() as c:
        rows = load_view(c, "digests", order_by=("day",))
    assert [(r["day"], r["recipient"], r["state"], r["attempts"]) for r in rows] == [
        ("2026-03-06", "control room", "sent", 1),
        ("2026-03-07", "control room", "sent", 1),
    ]
    # summer time begins on the 29th of March
    assert run(database, CONFIG, site, datetime(2026, 3, 29, 5, tzinfo=UTC)) == "1 sent"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_channel_that_refuses_is_followed_by_the_next_one(database, said):
    site = site_of('digest = "07:00"', '["email:room@example.org", "voice:NUMBER", "log:room"]')
    save(database, site)
    with pytest.raises(DeliveryError, match="control room by email"):
        run(database, CONFIG, site, SEVEN)
    assert run(database, CONFIG, site, SEVEN + timedelta(minutes=1)) == "1 sent"
    assert len(said()) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_digest_goes_by_a_modem(database, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBER", "+41791234567")
    (tmp_path / "outbox").mkdir()
    site = site_of('digest = "07:00"', '["sms:NUMBER"]')
    save(database, site)
    config = parse_service(f'[sms]\ngateway = "modem"\nmodem = "{tmp_path}"\n', "test")
    assert run(database, config, site, SEVEN) == "1 sent"
    (text,) = (tmp_path / "outbox").iterdir()
    assert "daily digest" in text.read_text("utf-16")


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('digest = "25:00"', "no time of the day"),
        ('quiet = "22:00"', "two times of the day"),
        ('quiet = "22:00-22:00"', "two different times"),
    ],
)
def test_hours_that_are_none_are_refused(more, fault):
    with pytest.raises(ConfigError, match=fault):
        site_of(more)


def test_a_digest_of_the_evening_comes_after_midnight_too(database, said):
    site = site_of('digest = "23:30"')
    save(database, site)
    late = SEVEN.replace(hour=22, minute=30)  # 23:30 in Zurich
    assert run(database, CONFIG, site, late + timedelta(hours=2)) == "1 sent", "the mail server was away over midnight"
    assert run(database, CONFIG, site, late + timedelta(hours=3)) == "0 sent"
    assert run(database, CONFIG, site, late + timedelta(days=1)) == "1 sent"
    with database.read() as c:
        assert [r["day"] for r in load_view(c, "digests", order_by=("day",))] == ["2026-03-06", "2026-03-07"]
    assert len(said()) == 2
