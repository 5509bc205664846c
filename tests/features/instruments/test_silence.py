"""Reason and action of silent instruments: refused messages, wrong clocks, common causes, and a silent slope.

A wrong clock never delays the report of silence, and is reported in one notice.
"""

import math
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import select

from monitor.alerts.evaluate import Evaluator, evaluate_site
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import acknowledge
from monitor.alerts.queries.instruments import load_open_pages
from monitor.alerts.queries.maintenance import add_maintenance
from monitor.alerts.tables import alert
from monitor.api.decision import SILENT_SLOPE, health_alarm
from monitor.api.queries.alerts import notify_site
from monitor.features.instruments.battery import BatteryDay, expect_empty, find_new_battery, split_days
from monitor.features.instruments.findings import check_anomalies
from monitor.features.instruments.jobs import list_changes, run
from monitor.features.instruments.queries.board import load_board, load_present_board
from monitor.features.instruments.queries.readings import InstrumentAssessment
from monitor.features.instruments.states import RANKS
from monitor.features.movement.path import Path
from monitor.ingest.quality import FUTURE_TOLERANCE
from monitor.ingest.queries.messages import RejectedMessage, add_rejected
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.service_state import write_heartbeat
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from tests.data.site_text import along
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import SITE_TEXT, START
from tests.features.instruments.test_instruments import DAY, HEAD, HOUR, keys
from tests.fixtures.databases import ON_BOTH
from tests.fixtures.soak import with_soak
from tests.markup import flatten_html
from tests.tables import tabulated
from tests.web.served import serving

NOW = parse_time("2026-03-15T12:00:00Z")
SITE = parse_site(HEAD + along("G1", "10m", "30m") + along("G10", "10m", "30m"), "bench.toml")


def read_row(database, readings, refused):
    with database.write() as c:
        save_site(c, SITE, "test", "test", NOW - 12 * HOUR)
        add_observations(c, readings, NOW)
        add_rejected(c, refused)
    for hours in (12, 0):
        evaluate_site(database, SITE, NOW - hours * HOUR, "tick")
    return next(row for row in ask(database, load_board, "bench") if row["instrument"] == "G1")


def list_readings(until, wrong_by=timedelta(0)):
    """Return readings of ten hours, one each ten minutes, with times that are wrong by `wrong_by`."""
    came = [until - timedelta(minutes=10 * k) for k in range(60)]
    place = ("bench", "G1", "displacement_downslope", "mm")
    return [Observation(*place, at + wrong_by, at, k / 10.0) for k, at in enumerate(came)]


def refuse(station, minutes_ago, text, code="not_json"):
    at, topic = NOW - timedelta(minutes=minutes_ago), f"slopeward/v1/bench/{station}/obs"
    return RejectedMessage(at, topic, text.encode(), code, "no JSON", "logger")


@ON_BOTH
def test_refused_messages_are_counted_with_their_reason(database):
    refused = [refuse("G1", 5 * k, f"{{{k}") for k in range(12)] + [refuse("G10", 1, "{", "no_unit")]
    row = read_row(database, [], refused)
    said = "12 messages were received and refused, the last at 2026-03-15T12:00:00.000000Z: not_json"
    assert str(row["reason"]).endswith(said)
    assert "see the reason under Messages" in row["action"]


@pytest.mark.parametrize(("hours", "word"), [(-1, "earlier"), (-5, "earlier"), (2, "later")])
def test_readings_with_wrong_times_are_explained_by_the_clock(database, hours, word):
    readings = list_readings(NOW, hours * HOUR)
    if hours > 0:  # as they are marked where they come in
        late = NOW - 6 * HOUR
        readings = [replace(r, flags=("future",)) if r.observed_at > late else r for r in readings]
    row = read_row(database, readings, [])
    assert row["state"] == "stale"
    reason = (
        f"readings are received, the last at 2026-03-15T12:00:00.000000Z, but their times are {abs(hours)} h {word}"
    )
    assert reason in str(row["reason"])
    assert "check the clock and the time zone of the logger" in row["action"]


def test_silent_instrument_without_messages_needs_power_and_radio(database):
    row = read_row(database, list_readings(NOW - 2 * HOUR), [refuse("G1", 12 * 60, "{")])
    assert "are received" not in str(row["reason"])
    assert "refused" not in str(row["reason"])
    assert row["action"] == "check power, antenna and radio"


@pytest.mark.parametrize(
    ("login", "site", "station", "topic", "is_its"),
    [
        ("bench.G1", "bench", "G1", "slopeward/v1/bench/G1//obs", True),
        ("mast", "bench", "G1", "slopeward/v1/other/G7/obs", True),
        ("bench", "bench", "", "slopeward/v1/Bench/g1/obs", True),
        ("bench", "bench", "", "slopeward/v1/bench/G10//obs", False),
        ("bench.G10", "bench", "G10", "slopeward/v1/bench/G1/obs", False),
        ("other", "other", "", "slopeward/v1/bench/G1/obs", False),
        ("auto-1", "", "", "slopeward/v1/Bench/G1/obs/", True),
        ("auto-1", "", "", "slopeward/v1/other/G1/obs", False),
    ],
)
def test_messages_refused_by_the_broker_are_shown_with_their_instrument(database, login, site, station, topic, is_its):
    facts = {"login": login, "site": site, "station": station, "topic": topic, "n": 7, "at": format_iso(NOW)}
    long_ago = facts | {"topic": f"{topic}/old", "n": 9, "at": format_iso(NOW - 12 * HOUR)}
    tell(database, write_heartbeat, "broker", {"denied": [facts, long_ago]}, NOW)
    row = read_row(database, list_readings(NOW), [])
    said = f"the broker refused 7 of its messages, the last at {format_iso(NOW)} on topic {topic}"
    assert (said in str(row["reason"])) is is_its
    assert ("correct the topic" in row["action"]) is is_its


def test_silent_slope_is_reported_before_advice_about_power(database):
    """The slope may have failed: nobody is sent there to check the power supply. Controls are not affected."""
    site = parse_site(HEAD + along("G1", "10m", "30m") + along("C1", "10m", "30m", on_slope=False), "bench.toml")
    readings = [replace(reading, station=name) for name in ("G1", "C1") for reading in list_readings(NOW - 2 * HOUR)]
    with database.write() as c:
        save_site(c, site, "test", "test", NOW - 12 * HOUR)
        add_observations(c, readings, NOW)
    for hours in (12, 0):
        evaluate_site(database, site, NOW - hours * HOUR, "tick")
    silence = "all 1 instruments on the slope have been silent"
    with database.write() as c:
        notify_site(c, site, [health_alarm(SILENT_SLOPE, 2, silence, is_open=True)], NOW, "1")
        number = c.execute(select(alert.c.id).where(alert.c.key == SILENT_SLOPE)).scalar_one()
    actions = {row["instrument"]: str(row["action"]) for row in ask(database, load_present_board, "bench", NOW)}
    assert f"keep everybody out until the slope was seen from a safe place (alert {number})" in actions["G1"]
    assert actions["C1"] == "check power, antenna and radio"
    with serving(database, NOW) as client:
        page = flatten_html(client.get("/sites/bench/instruments").text)
    assert page.index("keep everybody out") < page.index("check power, antenna and radio")

    with database.write() as c:
        notify_site(c, site, [health_alarm(SILENT_SLOPE, 0, "over", is_open=False)], NOW, "1")
        acknowledge(c, number, Actor("bo"), "seen", NOW)
    actions = {str(row["action"]) for row in ask(database, load_present_board, "bench", NOW)}
    assert actions == {"check power, antenna and radio"}


TWENTY = [f"R{number:02d}" for number in range(20)]
ROVERS = [along(name, "1h", "3h", reference="BASE", logger=f"L{name}", power="PV1", gateway="W1") for name in TWENTY]
ALL = parse_site(
    HEAD + "".join(ROVERS) + along("G1", "1h", "3h", reference="OTHER", logger="LG1", power="PV2", gateway="W2"),
    "bench.toml",
)


def test_rovers_of_a_dead_base_are_one_group_with_one_action(database):
    ended = NOW - 6 * HOUR
    rows = [
        Observation("bench", name, "displacement_downslope", "mm", at, at, 1.0 + hours % 5 / 10.0)
        for name in [*TWENTY, "G1"]
        for hours in range(48)
        if (at := NOW - hours * HOUR) <= ended or name == "G1"
    ]
    with database.write() as c:
        save_site(c, ALL, "test", "test", NOW - 48 * HOUR)
        add_observations(c, rows, NOW)
    evaluate_site(database, ALL, NOW, "tick")
    board = ask(database, load_board, "bench")
    assert {(r["parent"], r["action"]) for r in board if r["instrument"] in TWENTY} == {
        ("base BASE", "check power, antenna and radio of base BASE")
    }
    assert [r["parent"] for r in board if r["instrument"] == "G1"] == ["logger LG1"]


@pytest.mark.parametrize(
    ("state", "named"),
    [("solar", "power:PV1"), ("fix", "base:BASE"), ("signal", "gateway:W1"), ("battery", "power:PV1")],
)
def test_notice_names_the_parent_that_causes_its_state(state, named):
    (change,) = list_changes(ALL, judge(state), {})
    assert change.key == f"health:instrument:{named}:{state}"
    kind, _, name = named.partition(":")
    assert change.reason.startswith(f"{'power supply' if kind == 'power' else kind} {name}: R00, ")


def judge(state):
    found = ((state, RANKS[state], NOW, "why", "do"),)
    return [InstrumentAssessment(n, found, None, None, None, "", None, None, None, None) for n in TWENTY]


def test_open_notice_keeps_its_key():
    assert list_changes(ALL, judge("solar"), {"health:instrument:gateway:W1:solar": "why"}) == []


def test_changed_unit_has_its_own_action():
    """No reading is set aside by it."""
    (found,) = check_anomalies([("pore_pressure", "unit", NOW, None)])
    assert found.action == "check whether its unit changed, for example by new firmware"


READINGS = 8
FUTURE_S = FUTURE_TOLERANCE.total_seconds()


@dataclass(frozen=True)
class Story:
    """G1 sends some readings by its clock and falls silent; core looks every tick and may be started anew."""

    interval_s: int
    allowed_s: int
    tick_s: int
    restart_s: float | None  # after the last reception; two looks then drain


def watch(database, name, story, shift_s, drift=0.0):
    """(seconds after its last reception, state) of every look from the last reading but two on."""
    text = SITE_TEXT.replace('id = "bench"', f'id = "{name}"')
    text = text.replace('interval = "1h"', f'interval = "{story.interval_s}s"')
    site = parse_site(text.replace('max_silence = "6h"', f'max_silence = "{story.allowed_s}s"'), f"{name}.toml")
    last = START + READINGS * timedelta(seconds=story.interval_s)
    tell(database, save_site, site, "test", "test", START)
    seen, draining, evaluate, sent = [], 0, Evaluator(), 0
    for after_s in range(-2 * story.interval_s, story.allowed_s + 6 * story.tick_s, story.tick_s):
        now = last + timedelta(seconds=after_s)
        with database.write() as c:
            while sent <= READINGS and (at := START + sent * timedelta(seconds=story.interval_s)) <= now:
                ahead = timedelta(seconds=shift_s + drift * sent * story.interval_s)
                flags = ("future",) if ahead > FUTURE_TOLERANCE else ()
                row = (name, "G1", "crack_opening", "mm", at + ahead, at, 0.1 * (sent % 3))
                add_observations(c, [Observation(*row, flags=flags)], at)
                sent += 1
        if story.restart_s is not None and after_s >= story.restart_s and draining < 2:
            evaluate, draining = (Evaluator() if draining == 0 else evaluate), draining + 1
            evaluate(database, site, now, "start", draining=True)
        else:
            evaluate(database, site, now, "tick", draining=False)
        (row,) = ask(database, load_view, "station_health", site=name, station="G1")
        seen.append((after_s, row["state"]))
    return seen


def silent_from(seen):
    return next((after_s for k, (after_s, _) in enumerate(seen) if all(s == "silent" for _, s in seen[k:])), None)


def draw(luck):
    interval_s = luck.choice((60, 120, 300))
    tick_s = 60
    allowed_s = interval_s * luck.randint(2, 6)
    return Story(interval_s, allowed_s, tick_s, luck.choice((None, luck.uniform(0, allowed_s), allowed_s + tick_s)))


@pytest.mark.parametrize("seed", with_soak(0, 1))
def test_shifted_clock_never_delays_the_report_of_silence(database, seed):
    luck = Random(seed)
    story = draw(luck)
    right = silent_from(watch(database, "right", story, 0.0))
    assert right is not None
    assert right <= story.allowed_s + 5 * story.tick_s
    clocks = {
        "ahead": (240.0, 0.0),
        "atmost": (FUTURE_S, 0.0),
        "some": (luck.uniform(0.0, FUTURE_S), 0.0),
        "behind": (-240.0, 0.0),
        "refused": (59 * 60.0, 0.0),
        "zone": (-3600.0, 0.0),
        "drifts": (0.0, FUTURE_S / (READINGS * story.interval_s)),
    }
    for name, (shift_s, drift) in clocks.items():
        seen = watch(database, name, story, shift_s, drift)
        found = silent_from(seen)
        assert found is not None, (name, story, seen)
        assert found <= right + story.tick_s, (name, story, seen)
        if 0.0 <= shift_s <= FUTURE_S:
            assert found == right, (name, story, seen)
            alive = [state for after_s, state in seen if after_s <= 0]
            assert set(alive) <= {"ok", "unknown"}, (name, story, seen)
            quiet = [state for after_s, state in seen if after_s >= right]
            assert set(quiet) == {"silent"}, (name, story, seen)


def test_movement_of_a_clock_ahead_is_as_old_as_its_reception():
    path = Path((0.0, 240.0), (0.0, 0.0), (0.1, 0.1), 0, stuck=False, silence_s=60.0, ahead_s=240.0)
    assert path.is_fresh(60.0)
    assert not path.is_fresh(61.0)


INTERVALS = {"G1": ("30m", "2h"), "G2": ("30m", "2h"), "G3": ("1h", "6h"), "G4": ("6h", "1d")}
SITE_CLOCK = parse_site(HEAD + "".join(along(name, *how, logger="L1") for name, how in INTERVALS.items()), "bench.toml")
LOOK = HOUR / 4


def list_readings_clock(wrong_by, since, *, names=tuple(INTERVALS)):
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
    tell(database, save_site, SITE_CLOCK, "test", "test", begin)
    waiting, at = sorted(readings, key=lambda o: o.received_at), begin
    while at <= end:
        batch = [o for o in waiting if o.received_at <= at]
        waiting = waiting[len(batch) :]
        tell(database, add_observations, batch, at)
        evaluate_site(database, SITE_CLOCK, at, "tick")
        run(database, ServiceConfig(), SITE_CLOCK, at)
        seen(at)
        at += LOOK


def list_told(database):
    with database.read() as c:
        rows = c.execute(select(alert.c.key).join(notification, notification.c.alert_id == alert.c.id))
        return sorted(set(rows.scalars()))


@pytest.mark.soak
@pytest.mark.parametrize("wrong_by", with_soak(-timedelta(weeks=1024), HOUR))
def test_wrong_clock_of_a_logger_is_one_notice(database, wrong_by):
    play(database, list_readings_clock(wrong_by, NOW), NOW - LOOK, NOW + 4 * HOUR)
    told = [k for k in list_told(database) if k != "health:site:reachable"]
    assert told == ["health:instrument:logger:L1:clock"], "neither one for each, nor one of silence"
    acts = {r["instrument"]: (r["state"], r["action"]) for r in ask(database, load_board, "bench")}
    assert acts["G1"] == ("stale", "set the clock of the logger")


@pytest.mark.soak
def test_instruments_in_maintenance_or_silent_do_not_prevent_a_common_notice(database):
    def declare(at):
        if at == NOW - HOUR:
            tell(database, add_maintenance, "bench", "G1", at, NOW + DAY, Actor("anna"), "mast", at)

    rows = [o for o in list_readings_clock(HOUR, NOW) if o.station != "G3" or o.received_at < NOW - 2 * DAY]
    twin = [replace(o, station="G4") for o in list_readings_clock(HOUR, NOW, names=("G2",))]
    rows = [o for o in rows if o.station != "G4"] + twin
    play(database, rows, NOW - HOUR, NOW + HOUR, declare)
    assert {k for k in keys(database) if k.endswith("clock")} == {"health:instrument:logger:L1:clock"}


@pytest.mark.soak
def test_wrong_clock_of_one_instrument_is_a_notice_about_it(database):
    rows = list_readings_clock(timedelta(0), NOW, names=("G2", "G3", "G4")) + list_readings_clock(
        HOUR, NOW, names=("G1",)
    )
    play(database, rows, NOW - HOUR, NOW + HOUR)
    assert {k for k in keys(database) if k.endswith("clock")} == {"health:instrument:G1:clock"}


@pytest.mark.soak
def test_finding_of_a_clock_ends_after_a_few_right_readings(database):
    rows = list_readings_clock(timedelta(0), NOW, names=("G2", "G3", "G4")) + list_readings_clock(
        HOUR, NOW, names=("G1",)
    )
    mended = [o for o in list_readings_clock(timedelta(0), NOW, names=("G1",)) if o.observed_at > NOW + 3 * HOUR]
    rows = [o for o in rows if o.station != "G1" or o.received_at <= NOW + 2 * HOUR] + mended
    play(database, rows, NOW - HOUR, NOW + 7 * HOUR)
    assert ask(database, load_open_pages, "bench", ("clock",)) == {}
    assert "health:instrument:G1:clock" in list_told(database)


@pytest.mark.soak
def test_backlog_of_a_gateway_is_not_a_late_clock(database):
    """Three days, the oldest first, within three hours, and live readings behind them."""
    gone, back, found = NOW - 4 * DAY, NOW - DAY, set()
    rows = []
    for one in list_readings_clock(timedelta(0), NOW, names=("G1", "G2", "G3")):
        at, received = one.observed_at, one.received_at
        if gone < at <= back:
            received = back + (at - gone) / (back - gone) * 3 * HOUR
        elif at > back:
            received = max(received, back + 3 * HOUR)
        rows.append(replace(one, received_at=received))
    play(database, rows, back, back + 5 * HOUR, lambda _: found.update(k for k in keys(database) if "clock" in k))
    assert found == set()


# ---- a battery with a panel that was swapped ------------------------------------------------------------------------
HOUR_S = 3600.0


def spell_hours(swapped_at, until, *, fall, swing, seed=3):
    """Each hour of a battery that loses `fall` V a day under changing clouds, and of the one after it."""
    draw = random.Random(seed)
    clouds = [draw.random() for _ in range(until // 24 + 1)]
    found = []
    for hour in range(until):
        sun = swing * clouds[hour // 24] * max(0.0, math.sin((hour % 24 - 6) / 12 * math.pi))
        volts = 12.5 - fall * hour / 24 if hour < swapped_at else 12.9 - fall * (hour - swapped_at) / 24
        volts += sun + draw.gauss(0.0, 0.005)
        found.append(BatteryDay(hour * HOUR_S, volts, volts))
    return found


def expects_an_end(hours):
    now_s = hours[-1].at_s
    return expect_empty(split_days(hours[find_new_battery(hours) :], now_s), 11.0, now_s).empty_s is not None


@tabulated("at", [0, 6, 11, 15])
@tabulated("swing", [0.0, 0.3, 0.5])
def test_estimate_of_a_replaced_battery_is_removed_after_two_readings(at, swing):
    swapped_at = 24 * 13 + at
    hours = spell_hours(swapped_at, swapped_at + 48, fall=0.1, swing=swing)
    assert expects_an_end(hours[:swapped_at])
    assert not [n for n in range(2, 48) if expects_an_end(hours[: swapped_at + n])]


def test_sunshine_after_clouds_is_not_a_new_battery():
    for seed in range(10):
        hours = spell_hours(999, 24 * 14, fall=0.05, swing=0.6, seed=seed)
        assert not [n for n in range(24 * 8, len(hours), 3) if find_new_battery(hours[:n])]


def test_single_reading_of_zero_does_not_empty_a_battery():
    hours = spell_hours(999, 24 * 10, fall=0.02, swing=0.3)
    glitch = [*hours[:-3], BatteryDay(hours[-3].at_s, 0.0, hours[-3].high), *hours[-2:]]
    assert expect_empty(split_days(glitch, hours[-1].at_s), 11.0, hours[-1].at_s).method == (
        expect_empty(split_days(hours, hours[-1].at_s), 11.0, hours[-1].at_s).method
    )
    dead = [*hours[:-2], *(BatteryDay(h.at_s, 0.0, 0.0) for h in hours[-2:])]
    assert expect_empty(split_days(dead, hours[-1].at_s), 11.0, hours[-1].at_s).empty_s == hours[-1].at_s
    young = expect_empty(split_days(hours[:3], hours[2].at_s), 11.0, hours[2].at_s)
    assert (young.empty_s, str(young.method)) == (None, "voltages of only 1 day; 5 days are needed")
