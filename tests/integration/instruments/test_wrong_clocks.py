"""A clock that is wrong is one notice with one act, whatever hangs on its logger; a backlog is no wrong clock."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.alerting.evaluate import evaluate_site
from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.alert import Actor
from monitor.domain.instants import parse
from monitor.domain.observation import Observation
from monitor.jobs.instruments.run import run
from monitor.store.alerting.maintenance import add_maintenance
from monitor.store.alerting.sites import save_site
from monitor.store.instrument_board import load_board
from monitor.store.readings.instruments import load_open_pages
from monitor.store.readings.observations import add_observations
from monitor.store.schema import tables as t
from tests.data.site_text import along
from tests.data.store_rows import ask, tell
from tests.integration.alerting.test_instruments import DAY, HEAD, HOUR, keys

NOW = parse("2026-03-15T12:00:00Z")
INTERVALS = {"G1": ("30m", "2h"), "G2": ("30m", "2h"), "G3": ("1h", "6h"), "G4": ("6h", "1d")}
SITE = parse_site(HEAD + "".join(along(name, *how, logger="L1") for name, how in INTERVALS.items()), "bench.toml")
LOOK = HOUR / 4


def list_readings(wrong_by, since, *, names=tuple(INTERVALS)):
    """Nine days, with stamps that are wrong since an instant."""
    found = []
    for name in names:
        every = HOUR / 2 if name in {"G1", "G2"} else HOUR if name == "G3" else 6 * HOUR
        at = NOW - 9 * DAY
        while at <= NOW + DAY:
            stamp, received = at + (wrong_by if at > since else timedelta(0)), at + timedelta(seconds=20)
            flags = ("future",) if stamp > received + HOUR / 12 else ()
            value = 1.0 + (at.minute + at.hour) % 7 / 10.0
            place = ("bench", name, "displacement_downslope", "mm")
            found.append(Observation(*place, stamp, received, value, flags=flags))
            at += every
    return found


def play(database, readings, begin, end, seen=lambda _: None):
    tell(database, save_site, SITE, "test", "test", begin)
    waiting, at = sorted(readings, key=lambda o: o.received_at), begin
    while at <= end:
        batch = [o for o in waiting if o.received_at <= at]
        waiting = waiting[len(batch) :]
        tell(database, add_observations, batch, at)
        evaluate_site(database, SITE, at, "tick")
        run(database, ServiceConfig(), SITE, at)
        seen(at)
        at += LOOK


def list_told(database):
    with database.read() as c:
        rows = c.execute(select(t.alert.c.key).join(t.notification, t.notification.c.alert_id == t.alert.c.id))
        return sorted(set(rows.scalars()))


@pytest.mark.parametrize("wrong_by", [HOUR, -timedelta(weeks=1024)])
def test_one_wrong_clock_is_one_notice_with_one_act(database, wrong_by):
    play(database, list_readings(wrong_by, NOW), NOW - LOOK, NOW + 4 * HOUR)
    told = [k for k in list_told(database) if k != "health:site:reachable"]
    assert told == ["health:instrument:logger:L1:clock"], "neither one for each, nor one of silence"
    acts = {r["instrument"]: (r["state"], r["action"]) for r in ask(database, load_board, "bench")}
    assert acts["G1"] == ("stale", "set the clock of the logger")


def test_who_is_under_work_or_silent_divides_no_cause(database):
    def declare(at):
        if at == NOW - HOUR:
            tell(database, add_maintenance, "bench", "G1", at, NOW + DAY, Actor("anna"), "mast", at)

    rows = [o for o in list_readings(HOUR, NOW) if o.station != "G3" or o.received_at < NOW - 2 * DAY]
    twin = [replace(o, station="G4") for o in list_readings(HOUR, NOW, names=("G2",))]
    rows = [o for o in rows if o.station != "G4"] + twin
    play(database, rows, NOW - HOUR, NOW + HOUR, declare)
    assert {k for k in keys(database) if k.endswith("clock")} == {"health:instrument:logger:L1:clock"}


def test_a_clock_of_one_instrument_is_that_of_its_own(database):
    rows = list_readings(timedelta(0), NOW, names=("G2", "G3", "G4")) + list_readings(HOUR, NOW, names=("G1",))
    play(database, rows, NOW - HOUR, NOW + HOUR)
    assert {k for k in keys(database) if k.endswith("clock")} == {"health:instrument:G1:clock"}


def test_a_clock_that_was_set_is_well_after_a_few_readings(database):
    rows = list_readings(timedelta(0), NOW, names=("G2", "G3", "G4")) + list_readings(HOUR, NOW, names=("G1",))
    mended = [o for o in list_readings(timedelta(0), NOW, names=("G1",)) if o.observed_at > NOW + 3 * HOUR]
    rows = [o for o in rows if o.station != "G1" or o.received_at <= NOW + 2 * HOUR] + mended
    play(database, rows, NOW - HOUR, NOW + 7 * HOUR)
    assert ask(database, load_open_pages, "bench", ("clock",)) == {}
    assert "health:instrument:G1:clock" in list_told(database)


def test_the_backlog_of_a_gateway_is_no_late_clock(database):
    """Three days, the oldest first, within three hours, and live readings behind them."""
    gone, back, found = NOW - 4 * DAY, NOW - DAY, set()
    rows = []
    for one in list_readings(timedelta(0), NOW, names=("G1", "G2", "G3")):
        at, received = one.observed_at, one.received_at
        if gone < at <= back:
            received = back + (at - gone) / (back - gone) * 3 * HOUR
        elif at > back:
            received = max(received, back + 3 * HOUR)
        rows.append(replace(one, received_at=received))
    play(database, rows, back, back + 5 * HOUR, lambda _: found.update(k for k in keys(database) if "clock" in k))
    assert found == set()
