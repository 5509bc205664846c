"""The level never falls by itself and never rises by one witness: tests of the whole running service.

The rise to the highest level with the following silence runs on both databases. Each of the other tests runs on one
database; tests/alerts checks their decisions on both.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor.storage.engine import Database
from tests.data.running import Service, publish
from tests.data.site_text import FOUR, bounds, criterion, head, series, station, table
from tests.fixtures import waiting
from tests.fixtures.databases import ON_SQLITE

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]
MINUTE = timedelta(minutes=1)
ORANGE, RED = 2, 3
PAUSE_S = 0.2  # between two checks of a condition; the service evaluates once a second
OPEN_DATABASES: dict[str, Database] = {}  # connections of the current test by URL


def site_file(stations: dict[str, str], max_silence: str = "20s", site: str = "s") -> str:
    """Return a site file with one velocity criterion. `stations` maps the id of a station to its reference."""
    displacement_series = series(
        "displacement", "mm", "15s", max_silence=max_silence, noise_floor_mm=0.5, verify_step_mm=20.0
    )
    bounds_and_dwell = {
        "direction": "norm",
        **bounds(yellow="50 2h", orange="200 2h", red="500 2h"),
        "dwell": {"hits": 2, "of": 3},
    }
    rules = criterion("velocity", stations=["G*"], **bounds_and_dwell, valid_for="1h", author="test", reason="scripted")
    rules += table("[fusion]", top_needs=2, hold_when_missing="1s", verify_within="1h")
    rules += table("[[recipient]]", name="duty", channels=["log"], levels=["yellow", "orange", "red"])
    begin = head(site, "Scripted", 46.2, 8.9, timezone="Europe/Zurich", levels=FOUR)
    return (
        begin
        + rules
        + "".join(station(name, displacement_series, reference=reference) for name, reference in stations.items())
    )


def samples(
    station: str, end: datetime, rate_mm_per_day: float, since: timedelta, jump: Any = None, minutes: int = 240
) -> tuple[str, Any]:
    """Return topic and body with readings every two minutes for four hours up to `end`.

    The station moves only in the last part, `since` long. `jump(time)` is added to each value.
    """
    noise = random.Random(station)
    rows = []
    for index in range(minutes // 2, -1, -1):
        observed_at = end - index * 2 * MINUTE
        moving_days = max(0.0, (observed_at - (end - since)) / timedelta(days=1))
        value = rate_mm_per_day * moving_days + noise.gauss(0, 0.1) + (jump(observed_at) if jump else 0.0)
        rows.append({"time": observed_at.isoformat(), "displacement_mm": value})
    return f"slopeward/v1/s/{station}/obs", {"samples": rows}


@pytest.fixture
def service(database_url: str, mosquitto: Any, tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts the service."""
    started_services: list[Service] = []

    def start(stations: dict[str, str], max_silence: str = "20s", *other_sites: str) -> Service:
        sites = {"s": site_file(stations, max_silence)} | {
            other_site: site_file(stations, max_silence, other_site) for other_site in other_sites
        }
        new_service = Service(tmp_path, database_url, mosquitto.url, sites, page=False)
        started_services.append(new_service)
        new_service.start()
        return new_service

    yield start
    for opened in OPEN_DATABASES.values():
        opened.close()
    OPEN_DATABASES.clear()
    for new_service in started_services:
        new_service.__exit__()


def wait_for(condition: Callable[[], object], timeout_s: float, what: str) -> object:
    return waiting.wait_for(condition, timeout_s, what, pause_s=PAUSE_S)


def open_database(database_url: str) -> Database:
    """Return the database with one pool for all queries of a test.

    A new engine for each query would need more processor time than the service.
    """
    if database_url not in OPEN_DATABASES:
        OPEN_DATABASES[database_url] = Database(database_url)
    return OPEN_DATABASES[database_url]


def load_status(database_url: str) -> dict[str, Any]:
    with open_database(database_url).read() as connection:
        row = connection.execute(text("SELECT * FROM site_status WHERE site = 's'")).mappings().first()
        return dict(row) if row else {"level": -1}


def load_alert_rows(database_url: str, ledger: str, site: str = "s") -> list[dict[str, Any]]:
    with open_database(database_url).read() as connection:
        query = text(
            "SELECT h.*, (SELECT count(*) FROM notification_status n WHERE n.alert_id = h.alert_id) AS told"
            " FROM alert_history h WHERE site = :site AND ledger = :ledger"
        )
        return [dict(row) for row in connection.execute(query, {"ledger": ledger, "site": site}).mappings()]


@pytest.mark.soak
@ON_SQLITE
def test_two_witnesses_reach_the_highest_level_and_silence_does_not_lower_it(service, database_url, mosquitto):
    running = service({"G1": "BASE-A", "G2": "BASE-B"})
    now = datetime.now(UTC)
    publish(mosquitto.url, [samples(station_id, now, 1500.0, timedelta(hours=3)) for station_id in ("G1", "G2")])
    wait_for(lambda: load_status(database_url)["level"] == RED, 30, "red")
    assert all(row["told"] for row in load_alert_rows(database_url, "hazard"))
    # silence
    wait_for(lambda: load_status(database_url)["observability"] == "blind", 60, "blind to be reported")
    assert load_status(database_url)["level"] == RED
    wait_for(
        lambda: any("no valid readings behind red" in row["reason"] for row in load_alert_rows(database_url, "health")),
        30,
        "no readings",
    )
    # kill and restart
    running.kill()
    running.start()
    wait_for(
        lambda: load_status(database_url)["evaluated_at"] > datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), 30, "tick"
    )
    status_after = load_status(database_url)
    assert (status_after["level"], status_after["observability"]) == (RED, "blind")
    # only a person lowers it
    lower_command = ("level", "set", "s", "green", "--by", "ada", "--reason", "inspected on site")
    refused = running.call(*lower_command)
    assert refused.returncode == 1, refused.stdout
    assert "requests for a higher level remain" in refused.stderr
    assert load_status(database_url)["level"] == RED
    confirmed = running.call(*lower_command, "--yes")
    assert confirmed.returncode == 0, confirmed.stderr
    assert (load_status(database_url)["level"], running.stop()) == (0, 0)


@pytest.mark.soak
@ON_SQLITE
def test_bad_epoch_of_two_stations_raises_no_level_and_second_epoch_confirms_a_collapse(
    service: Any, database_url: str, mosquitto: Any
) -> None:
    service({"G1": "BASE-A", "G2": "BASE-B"}, max_silence="1h")
    publish(mosquitto.url, [samples(station_id, datetime.now(UTC), 0.0, timedelta(0)) for station_id in ("G1", "G2")])
    wait_for(lambda: load_status(database_url).get("observability") == "full", 30, "an evaluation of both stations")

    def publish_epoch(value: float) -> datetime:
        """Publish one more epoch of both stations and return its time."""
        observed_at = datetime.now(UTC)
        body = {"time": observed_at.isoformat(), "displacement_mm": value}
        publish(mosquitto.url, [(f"slopeward/v1/s/{station_id}/obs", body) for station_id in ("G1", "G2")])
        return observed_at

    def seconds_to_first(ledger: str, text_part: str, since: datetime) -> float:
        """Return the time in seconds from the epoch to the first sent message about it."""

        def find_sent() -> list[str]:
            query = text(
                "SELECT n.sent_at FROM notification_status n JOIN alert_history h ON h.alert_id = n.alert_id"
                " WHERE h.site = 's' AND n.ledger = :ledger AND h.reason LIKE :words AND n.sent_at > :since"
            )
            parameters = {"ledger": ledger, "words": f"%{text_part}%", "since": since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
            with open_database(database_url).read() as connection:
                return [str(row.sent_at) for row in connection.execute(query, parameters)]

        wait_for(find_sent, 30, f"a message on {text_part!r}")
        return (min(map(datetime.fromisoformat, find_sent())) - since).total_seconds()

    asked_s = seconds_to_first("health", "verify now: G", publish_epoch(500.0))
    disturbance_s = seconds_to_first("health", "common disturbance: G1, G2", publish_epoch(0.0))
    assert load_alert_rows(database_url, "hazard") == [], "one bad epoch of two stations raised a level"
    assert load_status(database_url)["level"] == 0
    asked_again_s = seconds_to_first("health", "verify now: G", publish_epoch(500.0))
    assert load_alert_rows(database_url, "hazard") == [], "believed before another epoch of each has come"
    red_s = seconds_to_first("hazard", "which is independent, jumped at the same time", publish_epoch(501.0))
    assert load_status(database_url)["level"] == RED
    print(
        f"seconds to the first human message: verify now {asked_s:.1f} and {asked_again_s:.1f}, common disturbance "
        f"{disturbance_s:.1f}, red {red_s:.1f} after the second epoch of each"
    )


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_drift_of_a_reference_is_answered_and_a_site_with_unreadable_memory_affects_no_other(
    service, database_url, mosquitto
):
    running = service({"G1": "BASE", "G2": "BASE", "G3": "OTHER", "G4": "THIRD"}, "1h", "sick")
    wait_for(lambda: store_unreadable_memory(database_url, "sick"), 30, "the memory of the site")
    first_evaluated_at = load_status(database_url)["evaluated_at"]
    # The first evaluation after a start may read a part of a burst. Later evaluations wait for the whole burst.
    wait_for(
        lambda: load_status(database_url)["evaluated_at"] > first_evaluated_at, 30, "an evaluation after the first one"
    )
    now = datetime.now(UTC)
    messages = [samples(station_id, now, 300.0, timedelta(hours=3)) for station_id in ("G1", "G2")]
    messages += [samples("G3", now, 0.0, timedelta(0)), samples("G4", now - timedelta(hours=4), 0.0, timedelta(0))]
    publish(mosquitto.url, messages)

    def load_questions() -> list[dict[str, Any]]:
        return [row for row in load_alert_rows(database_url, "health") if "move alike" in row["reason"] and row["told"]]

    wait_for(load_questions, 30, "verify")
    assert load_alert_rows(database_url, "hazard") == [], "drift of one reference raised a level before its deadline"

    def is_reported() -> bool:
        rows = load_alert_rows(database_url, "health", "status")
        return any("sick cannot be evaluated" in row["reason"] and row["told"] for row in rows)

    wait_for(is_reported, 30, "the notification about the unreadable site")
    for person in ("ada", "bob"):  # the question requests orange: one person alone cannot hide a high level
        arguments = ("weather", "--by", person, "--reason", "ice on the mast")
        result = running.call("alerts", "verify", str(load_questions()[0]["alert_id"]), *arguments)
        assert result.returncode == 0, result.stderr
    wait_for(
        lambda: any('somebody answered "weather"' in row["reason"] for row in load_alert_rows(database_url, "health")),
        10,
        "notice",
    )
    assert load_status(database_url)["level"] == 0
    # The answer about one reference must not hide motion that has another reference.
    later = datetime.now(UTC)
    # G3 reports other values for the same hours. This is scatter, and the motion in it must not be lost.
    publish(mosquitto.url, [samples("G3", later, 300.0, timedelta(hours=3))])

    def undecided() -> list[dict[str, Any]]:
        return [
            row
            for row in load_alert_rows(database_url, "health")
            if row["reason"].startswith("verify now: G3: ") and row["told"]
        ]

    wait_for(lambda: undecided() or load_status(database_url)["level"] == ORANGE, 30, "a question about G3")
    publish(mosquitto.url, [samples("G4", later, 300.0, timedelta(hours=3))])
    wait_for(
        lambda: load_status(database_url)["level"] == ORANGE,
        30,
        "orange while the memory of another site is unreadable",
    )
    assert running.stop() == 0


def store_unreadable_memory(database_url: str, site: str) -> bool:
    """Store a memory that no evaluation can read. Return False if the site has no memory yet."""
    with open_database(database_url).write() as connection:
        result = connection.execute(
            text("UPDATE site_state SET state = :state WHERE site = :site"), {"state": '{"votes": 7}', "site": site}
        )
        return result.rowcount == 1


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_late_acceleration_after_a_gap_raises_the_level_and_an_outcome_label_does_not_lower_it(
    service: Any, database_url: str, mosquitto: Any
) -> None:
    running = service({"G1": "BASE-A", "G2": "BASE-B"}, max_silence="1h")
    now = datetime.now(UTC)
    quiet_end = now - timedelta(hours=7.5)
    publish(mosquitto.url, [samples(station_id, quiet_end, 0.0, timedelta(0)) for station_id in ("G1", "G2")])
    wait_for(lambda: load_status(database_url).get("observability") == "blind", 30, "silence to be detected")
    assert load_status(database_url)["level"] == 0, "silence raised a level"

    def make_part(station: str, cut_off: timedelta) -> tuple[str, Any]:
        """Return ninety minutes of fast motion after six hours without readings, without the last `cut_off`."""
        topic, body = samples(station, now, 1500.0, timedelta(hours=7.5), minutes=90)
        return topic, {
            "samples": [row for row in body["samples"] if (now - datetime.fromisoformat(row["time"]) > cut_off)]
        }

    for cut_off in (timedelta(minutes=40), timedelta(minutes=-1)):
        publish(mosquitto.url, [make_part(station_id, cut_off) for station_id in ("G1", "G2")])
    wait_for(lambda: load_status(database_url)["level"] == RED, 30, "red after the gap")
    (alert,) = load_alert_rows(database_url, "hazard")
    for label, exit_status in (("false_weather", 0), ("nonsense", 1)):
        result = running.call(
            "alerts", "outcome", str(alert["alert_id"]), label, "--by", "ada", "--note", "what was found"
        )
        assert result.returncode == exit_status, result.stderr
    labelled_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    wait_for(lambda: load_status(database_url)["evaluated_at"] > labelled_at, 30, "an evaluation after the label")
    assert load_status(database_url)["level"] == RED, "what people write about an alert lowers nothing"
