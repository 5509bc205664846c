"""Never lower, never one witness: the whole service, scripted from outside.

The climb to the top with its silence and the bad epoch run on both databases; each of the others takes one of the two,
and what it says about decisions is said on both in tests/alerts.
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
PAUSE_S = 0.2  # between two looks: the service judges once a second
OPEN: dict[str, Database] = {}  # what a test looks through, closed behind it


def site_file(stations: dict[str, str], max_silence: str = "20s", site: str = "s") -> str:
    """A site with one velocity criterion; stations: id -> reference."""
    moves = series("displacement", "mm", "15s", max_silence=max_silence, noise_floor_mm=0.5, verify_step_mm=20.0)
    over = {"direction": "norm", **bounds(yellow="50 2h", orange="200 2h", red="500 2h"), "dwell": {"hits": 2, "of": 3}}
    rules = criterion("velocity", stations=["G*"], **over, valid_for="1h", author="test", reason="scripted")
    rules += table("[fusion]", top_needs=2, hold_when_missing="1s", verify_within="1h")
    rules += table("[[recipient]]", name="duty", channels=["log"], levels=["yellow", "orange", "red"])
    begin = head(site, "Scripted", 46.2, 8.9, timezone="Europe/Zurich", levels=FOUR)
    return begin + rules + "".join(station(name, moves, reference=other) for name, other in stations.items())


def samples(
    station: str, end: datetime, rate_mm_per_day: float, since: timedelta, jump: Any = None, minutes: int = 240
) -> tuple[str, Any]:
    """Four hours of two-minute readings up to `end`, moving in the last part; `jump(at)` is added on top."""
    noise = random.Random(station)
    rows = []
    for i in range(minutes // 2, -1, -1):
        at = end - i * 2 * MINUTE
        moving_days = max(0.0, (at - (end - since)) / timedelta(days=1))
        value = rate_mm_per_day * moving_days + noise.gauss(0, 0.1) + (jump(at) if jump else 0.0)
        rows.append({"time": at.isoformat(), "displacement_mm": value})
    return f"slopeward/v1/s/{station}/obs", {"samples": rows}


@pytest.fixture
def service(database_url: str, mosquitto: Any, tmp_path: Path) -> Iterator[Any]:
    running: list[Service] = []

    def start(stations: dict[str, str], max_silence: str = "20s", *more: str) -> Service:
        sites = {"s": site_file(stations, max_silence)} | {n: site_file(stations, max_silence, n) for n in more}
        one = Service(tmp_path, database_url, mosquitto.url, sites, page=False)
        running.append(one)
        one.start()
        return one

    yield start
    for db in OPEN.values():
        db.close()
    OPEN.clear()
    for one in running:
        one.__exit__()


def wait_for(condition: Callable[[], object], timeout_s: float, what: str) -> object:
    return waiting.wait_for(condition, timeout_s, what, pause_s=PAUSE_S)


def look_at(database_url: str) -> Database:
    """One pool for all the looks of a test: a new engine at each of them costs more than the service itself."""
    if database_url not in OPEN:
        OPEN[database_url] = Database(database_url)
    return OPEN[database_url]


def status(database_url: str) -> dict[str, Any]:
    with look_at(database_url).read() as c:
        row = c.execute(text("SELECT * FROM site_status WHERE site = 's'")).mappings().first()
        return dict(row) if row else {"level": -1}


def alerts(database_url: str, ledger: str, site: str = "s") -> list[dict[str, Any]]:
    with look_at(database_url).read() as c:
        query = text(
            "SELECT h.*, (SELECT count(*) FROM notification_status n WHERE n.alert_id = h.alert_id) AS told"
            " FROM alert_history h WHERE site = :site AND ledger = :ledger"
        )
        return [dict(r) for r in c.execute(query, {"ledger": ledger, "site": site}).mappings()]


@ON_SQLITE
def test_two_witnesses_reach_the_top_and_silence_never_lowers_it(service, database_url, mosquitto):
    one = service({"G1": "BASE-A", "G2": "BASE-B"})
    now = datetime.now(UTC)
    publish(mosquitto.url, [samples(g, now, 1500.0, timedelta(hours=3)) for g in ("G1", "G2")])
    wait_for(lambda: status(database_url)["level"] == RED, 30, "red")
    assert all(a["told"] for a in alerts(database_url, "hazard"))
    # silence
    wait_for(lambda: status(database_url)["observability"] == "blind", 60, "blind to be reported")
    assert status(database_url)["level"] == RED
    wait_for(
        lambda: any("no valid readings behind red" in a["reason"] for a in alerts(database_url, "health")),
        30,
        "no readings",
    )
    # death and restart
    one.kill()
    one.start()
    wait_for(lambda: status(database_url)["evaluated_at"] > datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), 30, "tick")
    after = status(database_url)
    assert (after["level"], after["observability"]) == (RED, "blind")
    # only a person lowers it
    lower = ("level", "set", "s", "green", "--by", "ada", "--reason", "inspected on site")
    refused = one.call(*lower)
    assert refused.returncode == 1, refused.stdout
    assert "still request more" in refused.stderr
    assert status(database_url)["level"] == RED
    done = one.call(*lower, "--yes")
    assert done.returncode == 0, done.stderr
    assert (status(database_url)["level"], one.stop()) == (0, 0)


@pytest.mark.soak
@ON_SQLITE
def test_one_bad_epoch_of_two_stations_is_paged_and_raises_nothing_and_a_collapse_loses_one_epoch(
    service: Any, database_url: str, mosquitto: Any
) -> None:
    service({"G1": "BASE-A", "G2": "BASE-B"}, max_silence="1h")
    publish(mosquitto.url, [samples(g, datetime.now(UTC), 0.0, timedelta(0)) for g in ("G1", "G2")])
    wait_for(lambda: status(database_url).get("observability") == "full", 30, "an evaluation of both stations")

    def say(value: float) -> datetime:
        """One more epoch of both."""
        at = datetime.now(UTC)
        body = {"time": at.isoformat(), "displacement_mm": value}
        publish(mosquitto.url, [(f"slopeward/v1/s/{g}/obs", body) for g in ("G1", "G2")])
        return at

    def seconds_to_first(ledger: str, words: str, since: datetime) -> float:
        """From the epoch to the first message about it that has left."""

        def find_sent() -> list[str]:
            query = text(
                "SELECT n.sent_at FROM notification_status n JOIN alert_history h ON h.alert_id = n.alert_id"
                " WHERE h.site = 's' AND n.ledger = :ledger AND h.reason LIKE :words AND n.sent_at > :since"
            )
            which = {"ledger": ledger, "words": f"%{words}%", "since": since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
            with look_at(database_url).read() as c:
                return [str(r.sent_at) for r in c.execute(query, which)]

        wait_for(find_sent, 30, f"a message on {words!r}")
        return (min(map(datetime.fromisoformat, find_sent())) - since).total_seconds()

    asked_s = seconds_to_first("health", "verify now: G", say(500.0))
    back_s = seconds_to_first("health", "common disturbance: G1, G2", say(0.0))
    assert alerts(database_url, "hazard") == [], "one bad epoch of two stations raised a level"
    assert status(database_url)["level"] == 0
    again_s = seconds_to_first("health", "verify now: G", say(500.0))
    assert alerts(database_url, "hazard") == [], "believed before another epoch of each has come"
    red_s = seconds_to_first("hazard", "which is independent, jumped at the same time", say(501.0))
    assert status(database_url)["level"] == RED
    print(
        f"seconds to the first human message: verify now {asked_s:.1f} and {again_s:.1f}, common disturbance "
        f"{back_s:.1f}, red {red_s:.1f} after the second epoch of each"
    )


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_drift_of_one_reference_is_answered_and_a_poisoned_site_silences_nobody(service, database_url, mosquitto):
    one = service({"G1": "BASE", "G2": "BASE", "G3": "OTHER", "G4": "THIRD"}, "1h", "sick")
    wait_for(lambda: poison(database_url, "sick"), 30, "the memory of the site")
    started = status(database_url)["evaluated_at"]
    # the first look after a start takes what is there, a part of a burst too; those after it wait for all of it
    wait_for(lambda: status(database_url)["evaluated_at"] > started, 30, "a look behind the first")
    now = datetime.now(UTC)
    messages = [samples(g, now, 300.0, timedelta(hours=3)) for g in ("G1", "G2")]
    messages += [samples("G3", now, 0.0, timedelta(0)), samples("G4", now - timedelta(hours=4), 0.0, timedelta(0))]
    publish(mosquitto.url, messages)

    def asked() -> list[dict[str, Any]]:
        return [a for a in alerts(database_url, "health") if "move alike" in a["reason"] and a["told"]]

    wait_for(asked, 30, "verify")
    assert alerts(database_url, "hazard") == [], "a reference alone raises nothing within its clock"

    def told() -> bool:
        found = alerts(database_url, "health", "status")
        return any("sick cannot be evaluated" in a["reason"] and a["told"] for a in found)

    wait_for(told, 30, "the poisoned site to be told")
    for person in ("ada", "bob"):  # it asks for orange: one word alone hides no high level
        words = ("weather", "--by", person, "--reason", "ice on the mast")
        done = one.call("alerts", "verify", str(asked()[0]["alert_id"]), *words)
        assert done.returncode == 0, done.stderr
    wait_for(
        lambda: any('somebody answered "weather"' in a["reason"] for a in alerts(database_url, "health")), 10, "notice"
    )
    assert status(database_url)["level"] == 0
    # what moves elsewhere is no reference: the word of a person about one does not silence the slope
    later = datetime.now(UTC)
    # G3 contradicts now what it said before, of the same hours: a scatter, and what moves in it is not swallowed
    publish(mosquitto.url, [samples("G3", later, 300.0, timedelta(hours=3))])

    def undecided() -> list[dict[str, Any]]:
        return [a for a in alerts(database_url, "health") if a["reason"].startswith("verify now: G3: ") and a["told"]]

    wait_for(lambda: undecided() or status(database_url)["level"] == ORANGE, 30, "G3 to be asked about")
    publish(mosquitto.url, [samples("G4", later, 300.0, timedelta(hours=3))])
    wait_for(lambda: status(database_url)["level"] == ORANGE, 30, "orange while another site is poisoned")
    assert one.stop() == 0


def poison(database_url: str, site: str) -> bool:
    """Leave a memory that no evaluation can read; False where there is none yet."""
    with look_at(database_url).write() as c:
        found = c.execute(
            text("UPDATE site_state SET state = :state WHERE site = :site"), {"state": '{"votes": 7}', "site": site}
        )
        return found.rowcount == 1


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_acceleration_that_comes_late_after_a_gap_rises_and_a_label_changes_no_level(
    service: Any, database_url: str, mosquitto: Any
) -> None:
    one = service({"G1": "BASE-A", "G2": "BASE-B"}, max_silence="1h")
    now = datetime.now(UTC)
    before = now - timedelta(hours=7.5)
    publish(mosquitto.url, [samples(g, before, 0.0, timedelta(0)) for g in ("G1", "G2")])
    wait_for(lambda: status(database_url).get("observability") == "blind", 30, "silence to be seen")
    assert status(database_url)["level"] == 0, "silence raises nothing"

    def part(station: str, early: timedelta) -> tuple[str, Any]:
        """Ninety minutes of fast motion after six hours of nothing; the newest part comes first."""
        topic, body = samples(station, now, 1500.0, timedelta(hours=7.5), minutes=90)
        return topic, {"samples": [r for r in body["samples"] if (now - datetime.fromisoformat(r["time"]) > early)]}

    for early in (timedelta(minutes=40), timedelta(minutes=-1)):
        publish(mosquitto.url, [part(g, early) for g in ("G1", "G2")])
    wait_for(lambda: status(database_url)["level"] == RED, 30, "red after the gap")
    (alert,) = alerts(database_url, "hazard")
    for label, code in (("false_weather", 0), ("nonsense", 1)):
        done = one.call("alerts", "outcome", str(alert["alert_id"]), label, "--by", "ada", "--note", "what was found")
        assert done.returncode == code, done.stderr
    time_of_label = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    wait_for(lambda: status(database_url)["evaluated_at"] > time_of_label, 30, "an evaluation after the label")
    assert status(database_url)["level"] == RED, "what people write about an alert lowers nothing"
