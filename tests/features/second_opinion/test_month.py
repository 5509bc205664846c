"""The report of a simulated month of shadow mode is true to the simulation, in which everything is known."""

import json
import random
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import acknowledge, load_alert_events, load_alerts, set_outcome
from monitor.cli.main import run_command
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.text.instants import format_iso, parse_time
from tests.data.watched_slope import HOUR, SITE_TEXT, START, write_service

DAY = timedelta(days=1)
ADA = Actor("Ada", "person", "page")
SHADOW_SITE = SITE_TEXT.replace("longitude = 8.9", "longitude = 8.9\nshadow = true").replace(
    'names = ["green", "yellow", "orange", "red"]',
    'names = ["green", "yellow", "orange", "red"]\nauto_lower = ["yellow", "orange", "red"]',
)
# Hours of motion since the start of the month and its rate at both stations, mm/day: three movements.
MOTIONS = ((72, 108, 40.0), (400, 440, 40.0), (560, 590, 40.0))
# The other system notices the first movement late, does not notice the second, and notices the third at its start. On
# day 11 it raises a false alarm.
OTHER = """Zeit;Stufe;Punkt;Meldung;Urteil
{late};2;P1;Grenzwert überschritten;
{wrong};1;P7;Prisma verdeckt;false_instrument
{soon};3;P1;Grenzwert überschritten;
{soon_again};3;P2;"Grenzwert; überschritten";
"""
TIMES = {"late": 72 + 60, "wrong": 264, "soon": 560, "soon_again": 570}


def find_rate(hour):
    return next((rate for first, last, rate in MOTIONS if first <= hour < last), 0.0)


def simulate(database):
    """A month of readings of a site in shadow mode, evaluated every six hours."""
    site = parse_site(SHADOW_SITE, "bench.toml")
    rng = random.Random(1)
    with database.write() as c:
        save_site(c, site, "test", "shadow mode", START)
    position = 0.0
    batch = []
    for hour in range(30 * 24):
        now = START + hour * HOUR
        position += find_rate(hour) / 24.0
        for station in ("G1", "G2"):
            value = position + rng.gauss(0.0, 0.3)
            batch.append(Observation("bench", station, "crack_opening", "mm", now, now, value))
        if hour % 6 == 5:
            with database.write() as c:
                add_observations(c, batch, now)
            batch = []
            evaluate_site(database, site, now, "data")
        if hour in ACTS:
            ACTS[hour](database, now)


def confirm(database, now):
    """The alert of the first movement is over. Ada acknowledges it and records that it was right."""
    with database.write() as c:
        (alert,) = load_alerts(c, "bench", ledger="hazard", open_only=True)
        acknowledge(c, alert.id, ADA, "seen", now)
        set_outcome(c, alert.id, "true", ADA, "the crack is wider", now)


def reject(database, now):
    """Ada records the cause of the second movement. The alert stays open, so the third movement raises it again."""
    with database.write() as c:
        (alert,) = load_alerts(c, "bench", ledger="hazard", open_only=True)
        set_outcome(c, alert.id, "false_work", ADA, "excavator", now)


ACTS = {200: confirm, 500: reject}


@pytest.fixture
def database(open_copy):
    return open_copy("sqlite", simulate)[0]


@pytest.fixture
def month(database, tmp_path, monkeypatch):
    """Return the folder of the service file and of the table of alarms."""
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database, SHADOW_SITE)))
    times = {name: f"{START + hour * HOUR:%Y-%m-%d %H:%M}" for name, hour in TIMES.items()}
    (tmp_path / "alarms.csv").write_text(OTHER.format(**times), encoding="cp1252")
    return tmp_path


IMPORT = [
    *("second-opinion", "import", "bench", "--delimiter", ";", "--encoding", "cp1252", "--zone", "UTC", "--by", "Ada"),
    *("--column", "time=Zeit", "--column", "level=Stufe", "--column", "station=Punkt", "--column", "text=Meldung"),
    *("--column", "outcome=Urteil"),
]
PERIOD = ["--since", format_iso(START), "--until", format_iso(START + 30 * DAY)]


def test_report_of_a_simulated_month_is_true_to_the_simulation(month, database, capsys):
    assert run_command([*IMPORT, str(month / "alarms.csv")]) == 0
    with database.read() as c:
        alerts = load_alerts(c, "bench", ledger="hazard")[::-1]
        events = [event for alert in alerts for event in load_alert_events(c, alert.id)]
        assert c.execute(select(notification.c.id)).first() is None, "nobody takes part in this trial"
    assert all(event.shadow for event in events)
    # The level rises from the lowest once for each movement, within a day of its start.
    raised = [event for event in events if not event.from_level and event.to_level]
    starts = [START + first * HOUR for first, _, _ in MOTIONS]
    assert len(raised) == len(starts)
    for event, start in zip(raised, starts, strict=True):
        assert start < event.at < start + DAY
    capsys.readouterr()
    assert run_command(["second-opinion", "report", "bench", *PERIOD, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [report[key] for key in ("episodes", "both", "own_alone", "other_alone")] == [4, 2, 1, 1]
    assert report["agreement"] == 0.5
    assert [(bool(e["own"]), len(e["other"]), e["verdict"]) for e in report["list"]] == [
        (True, 1, "true"),
        (False, 1, "false"),
        (True, 0, "false"),
        (True, 2, "not recorded"),
    ]
    leads_s = [
        (START + TIMES[name] * HOUR - event.at).total_seconds()
        for name, event in (("late", raised[0]), ("soon", raised[2]))
    ]
    assert leads_s[0] > 0 > leads_s[1]
    assert [report["lead_longest_s"], report["lead_shortest_s"]] == leads_s
    assert report["lead_median_s"] == sum(leads_s) / 2
    assert [report[key] for key in ("own_false", "own_recorded", "own_episodes")] == [1, 2, 3]
    assert [report[key] for key in ("other_false", "other_recorded", "other_episodes")] == [1, 2, 3]
    assert report["shadow"] is True
    # The first evaluation is in the sixth hour of the month.
    assert report["evaluated_s"] == pytest.approx((30 * 24 - 5) * 3600.0, abs=60.0)


def test_text_states_definitions_and_what_is_not_recorded(month, capsys, tmp_path):
    run_command([*IMPORT, str(month / "alarms.csv")])
    capsys.readouterr()
    out = tmp_path / "report.md"
    assert run_command(["second-opinion", "report", "bench", *PERIOD, "--out", str(out)]) == 0
    text = out.read_text()
    assert capsys.readouterr().out == text
    assert "| recorded as false alarms | 1 of 2; 1 not recorded | 1 of 2; 1 not recorded |" in text
    assert "**Agreement**: 2 of 4 episodes" in text
    assert "with a gap of at most 1d form one episode" in text
    assert text.index("Slopeward evaluated the site in 715.0 of 720.0 h") > text.index("## How it was counted")
    assert "**Limit**" not in text
    assert "Without an outcome, the episode is not recorded" in text
    assert "P7 Prisma verdeckt" in text


def test_window_levels_and_period_are_those_of_the_options(month, capsys):
    run_command([*IMPORT, str(month / "alarms.csv")])
    capsys.readouterr()

    def report(*options):
        assert run_command(["second-opinion", "report", "bench", *PERIOD, "--json", *options]) == 0
        return json.loads(capsys.readouterr().out)

    assert report("--window", "1h")["episodes"] > 4
    assert report("--other-level", "1")["other_episodes"] == 1
    assert report("--level", "red")["own_episodes"] == 0
    half = report("--until", format_iso(START + 9 * DAY))
    assert [half[key] for key in ("both", "own_alone", "other_alone")] == [1, 0, 0]


def test_backtest_shows_the_alarms_of_both_systems(month, capsys):
    run_command([*IMPORT, str(month / "alarms.csv")])
    capsys.readouterr()
    assert run_command(["backtest", "--site", "bench", "--until", "2026-03-08", "--known", "observed", "--json"]) == 0
    (episode,) = json.loads(capsys.readouterr().out)["other_system"]["A"]
    assert [alarm["text"] for alarm in episode["other"]] == ["Grenzwert überschritten"]
    assert episode["own"]
    assert episode["lead_s"] == (START + TIMES["late"] * HOUR - parse_time(episode["own"][0]["at"])).total_seconds()
