"""What stands on the board of a station that looks silent: what came, the one cause, and where somebody goes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.alerting.evaluate import evaluate_site
from monitor.config.service import parse_site
from monitor.domain.instants import format_iso, parse
from monitor.domain.language.catalogue import LANGUAGES
from monitor.domain.language.rendering import translate
from monitor.domain.observation import Observation
from monitor.extensions.instruments.findings import check_anomalies
from monitor.extensions.instruments.job import list_changes
from monitor.extensions.instruments.states import RANKS
from monitor.extensions.instruments.store.board import load_board
from monitor.extensions.instruments.store.readings import InstrumentAssessment
from monitor.store.alerting.sites import save_site
from monitor.store.readings.messages import RejectedMessage, add_rejected
from monitor.store.readings.observations import add_observations
from monitor.store.service_state import stamp
from tests.conftest import ON_BOTH
from tests.data.site_text import along
from tests.data.store_rows import ask, tell
from tests.extensions.instruments.test_instruments import HEAD, HOUR

NOW = parse("2026-03-15T12:00:00Z")
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
    """Every ten minutes for ten hours, each stamped wrongly by so much."""
    came = [until - timedelta(minutes=10 * k) for k in range(60)]
    place = ("bench", "G1", "displacement_downslope", "mm")
    return [Observation(*place, at + wrong_by, at, k / 10.0) for k, at in enumerate(came)]


def refuse(station, minutes_ago, text, code="not_json"):
    at, topic = NOW - timedelta(minutes=minutes_ago), f"slopeward/v1/bench/{station}/obs"
    return RejectedMessage(at, topic, text.encode(), code, "no JSON", "logger")


@ON_BOTH
def test_messages_that_are_refused_are_counted_with_their_reason(database):
    refused = [refuse("G1", 5 * k, f"{{{k}") for k in range(12)] + [refuse("G10", 1, "{", "no_unit")]
    row = read_row(database, [], refused)
    said = "12 messages came and were refused, the last at 2026-03-15T12:00:00.000000Z: not_json"
    assert str(row["reason"]).endswith(said)
    assert "look at the reason under Messages" in row["action"]


@pytest.mark.parametrize(("hours", "word"), [(-1, "before"), (-5, "before"), (2, "after")])
def test_readings_with_a_wrong_stamp_are_those_of_a_clock(database, hours, word):
    readings = list_readings(NOW, hours * HOUR)
    if hours > 0:  # as they are marked where they come in
        late = NOW - 6 * HOUR
        readings = [replace(r, flags=("future",)) if r.observed_at > late else r for r in readings]
    row = read_row(database, readings, [])
    assert row["state"] == "stale"
    said = f"readings arrive, the last at 2026-03-15T12:00:00.000000Z, stamped {abs(hours)} h {word} it"
    assert said in str(row["reason"])
    assert "look at the clock of the logger" in row["action"]


def test_one_that_is_silent_is_silent(database):
    row = read_row(database, list_readings(NOW - 2 * HOUR), [refuse("G1", 12 * 60, "{")])
    assert "arrive" not in str(row["reason"])
    assert "refused" not in str(row["reason"])
    assert row["action"] == "look at power, antenna and radio"


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
def test_what_the_broker_refused_stands_with_the_instrument_of_the_login(database, login, site, station, topic, is_its):
    facts = {"login": login, "site": site, "station": station, "topic": topic, "n": 7, "at": format_iso(NOW)}
    long_ago = facts | {"topic": f"{topic}/old", "n": 9, "at": format_iso(NOW - 12 * HOUR)}
    tell(database, stamp, "broker", {"denied": [facts, long_ago]}, NOW)
    row = read_row(database, list_readings(NOW), [])
    said = f"the broker refused 7 messages of it, the last at {format_iso(NOW)} on topic {topic}"
    assert (said in str(row["reason"])) is is_its
    assert ("correct the topic" in row["action"]) is is_its


TWENTY = [f"R{number:02d}" for number in range(20)]
ROVERS = [along(name, "1h", "3h", reference="BASE", logger=f"L{name}", power="PV1", gateway="W1") for name in TWENTY]
ALL = parse_site(
    HEAD + "".join(ROVERS) + along("G1", "1h", "3h", reference="OTHER", logger="LG1", power="PV2", gateway="W2"),
    "bench.toml",
)


def test_twenty_rovers_of_a_dead_base_are_one_group_with_one_act(database):
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
        ("base BASE", "look at power, antenna and radio of base BASE")
    }
    assert [r["parent"] for r in board if r["instrument"] == "G1"] == ["logger LG1"]
    acts = [r["action"] for r in board if r["instrument"] in TWENTY]
    assert all(translate(act, code) != act for act in acts for code in LANGUAGES if code != "en")


@pytest.mark.parametrize(
    ("state", "named"),
    [("solar", "power:PV1"), ("fix", "base:BASE"), ("signal", "gateway:W1"), ("battery", "power:PV1")],
)
def test_a_notice_names_the_parent_that_its_state_is_of(state, named):
    (change,) = list_changes(ALL, judge(state), {})
    assert change.key == f"health:instrument:{named}:{state}"
    kind, _, name = named.partition(":")
    assert change.reason.startswith(f"{'power supply' if kind == 'power' else kind} {name}: R00, ")


def judge(state):
    found = ((state, RANKS[state], NOW, "why", "do"),)
    return [InstrumentAssessment(n, found, None, None, None, "", None, None, None, None) for n in TWENTY]


def test_a_notice_that_is_open_goes_on_under_its_name():
    assert list_changes(ALL, judge("solar"), {"health:instrument:gateway:W1:solar": "why"}) == []


def test_a_changed_unit_asks_for_the_unit():
    """No reading is set aside by it."""
    (found,) = check_anomalies([("pore_pressure", "unit", NOW, None)])
    assert found.action == "see whether its unit changed, such as by a new firmware"
