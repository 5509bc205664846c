"""What calculated channels of one site cost another site: time to a red alert, and time to a stored reading.

    pytest -q -s -p no:randomly --timeout=1800 tests/bench/service/bench_calculated.py

The service runs with a real broker, on SQLite and on PostgreSQL.

`red`: one site has 80 stations that send a reading every second, 2,000 stored readings of each, and with calculated
channels one of eleven rates for each station; the values of the stored readings are still to be computed. Other sites
receive a reading that raises red. The figure is the time from publishing to the stored alert, with and without the
channels. `newest_value_age_s` is the age of the newest calculated value of the busy site at that time.

`reading`: a site with 43,200 readings receives a `rate()` over 33 hours. Another site sends five readings a second. The
figure is the time from publishing to the stored reading while the past is computed.
"""

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import in_chunks
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat
from tests.bench.record import SERVICE_RESULTS
from tests.bench.service.slopes import close_client, open_client
from tests.data.running import Service
from tests.data.site_text import criterion, head, series, station, table

STATIONS = int(os.environ.get("BENCH_STATIONS", "80"))
HISTORY = int(os.environ.get("BENCH_HISTORY", "2000"))
REDS = int(os.environ.get("BENCH_REDS", "8"))
READINGS = int(os.environ.get("BENCH_READINGS", "43200"))
WINDOWS = ("3m", "5m", "7m", "9m", "11m", "14m", "17m", "20m", "24m", "28m", "32m")  # eleven, up to 1,920 readings
MOST_RED_S = 10.0
MOST_READING_S = 2.0


def write_busy_site(*, with_channels: bool) -> str:
    """Return a site of stations that send every second, each with a channel of eleven rates."""
    parts = [head("busy", timezone="UTC", levels={"names": ["green", "yellow"]}, fusion={"top_needs": 1})]
    parts += [station(f"S{k}", series("tilt_x", "mrad", "1s", max_silence="1h")) for k in range(STATIONS)]
    for k in range(STATIONS) if with_channels else ():
        rates = " + ".join(f"rate(S{k}.tilt_x, '{window}')" for window in WINDOWS)
        how = {"station": f"S{k}", "quantity": "crack_opening", "unit": "mm"}
        parts.append(table("[[derived]]", expression=f"({rates}) * '1 m' * '1 h'", **how))
    return "".join(parts)


def write_other_site(name: str) -> str:
    """Return a site whose water level crosses its bound."""
    parts = head(name, timezone="UTC", levels={"names": ["green", "red"]}, fusion={"top_needs": 1})
    parts += station("P", series("pore_pressure", "kPa", "1s", max_silence="1h"))
    over = {"series": "P.pore_pressure", "red": {"over": 100.0}, "dwell": {"hits": 1, "of": 1}}
    return parts + criterion("level", **over, author="bench", reason="latency")


def store_history(db: Database, site_text: str, rows: list[Observation]) -> None:
    """Store readings as an import does while the service is stopped, without computing what follows from them."""
    site = parse_site(site_text, "bench.toml")
    with db.write() as c:
        save_site(c, site, "bench", "bench", datetime.now(UTC))
    pipeline = Pipeline(db, {site.id: site}, lambda: datetime.now(UTC))
    for chunk in in_chunks(rows):
        pipeline.store_rows(chunk, [])


class Sender(threading.Thread):
    """Publishes messages at a steady pace until it is stopped."""

    def __init__(
        self, broker_url: str, every_s: float, make: Callable[[int], list[tuple[str, Mapping[str, Any]]]]
    ) -> None:
        super().__init__(daemon=True)
        self.client = open_client(int(broker_url.rpartition(":")[2]), 2000)
        self.stopping = threading.Event()
        self._every_s, self._make = every_s, make

    def run(self) -> None:
        """Publish the messages of each step when it is due."""
        begun_s, step, sent = time.monotonic(), 0, None
        while not self.stopping.wait(max(0.0, begun_s + step * self._every_s - time.monotonic())):
            for topic, body in self._make(step):
                sent = self.client.publish(topic, json.dumps(body), qos=1)
            step += 1
        if sent is not None:
            sent.wait_for_publish(10.0)
        close_client(self.client)


@contextmanager
def sending(*given: Any) -> Iterator[Sender]:
    """A sender that runs meanwhile."""
    sender = Sender(*given)
    sender.start()
    try:
        yield sender
    finally:
        sender.stopping.set()
        sender.join()


def wait_for_alert(db: Database, site: str, limit_s: float = 120.0) -> float:
    """Return the monotonic time at which a site has a hazard alert."""
    query = text("SELECT 1 FROM alert WHERE ledger = 'hazard' AND site = :site")
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with db.read() as c:
            if c.execute(query, {"site": site}).first() is not None:
                return time.monotonic()
        time.sleep(0.01)
    return time.monotonic()


def count_rows(db: Database, site: str, quantity: str) -> int:
    """Return how many readings or values of a quantity of a site are stored."""
    query = text(
        "SELECT count(*) FROM observation o JOIN series s ON s.id = o.series_id "
        "WHERE s.site = :site AND s.quantity = :q"
    )
    with db.read() as c:
        return int(c.execute(query, {"site": site, "q": quantity}).scalar_one())


def find_lag_s(db: Database, station_id: str) -> float:
    """Return the age of the newest calculated value of a station of the busy site, which sends every second."""
    query = text(
        "SELECT max(o.observed_at) FROM observation o JOIN series s ON s.id = o.series_id "
        "WHERE s.site = 'busy' AND s.quantity = 'crack_opening' AND s.station = :station"
    )
    time.sleep(0.3)
    with db.read() as c:
        newest = c.execute(query, {"station": station_id}).scalar_one()
    return (datetime.now(UTC) - datetime.fromisoformat(str(newest))).total_seconds() if newest else float("inf")


def list_slow_writes(db: Database) -> dict[str, Any]:
    """Return the write transactions of the core that held the lock for more than a second."""
    with db.read() as c:
        stamp = find_heartbeat(c, "core")
    return {} if stamp is None else dict(stamp[1].get("slow_writes", {}))


def make_busy(broker_url: str) -> tuple[str, float, Callable[[int], list[tuple[str, Mapping[str, Any]]]]]:
    """Return what the stations of the busy site send each second."""

    def make(step: int) -> list[tuple[str, Mapping[str, Any]]]:
        now = datetime.now(UTC).replace(microsecond=0).isoformat()
        return [
            (f"slopeward/v1/busy/S{k}/obs", {"time": now, "tilt_x_mrad": 10.0 + (step * (k + 1) % 7) * 0.01})
            for k in range(STATIONS)
        ]

    return broker_url, 1.0, make


def measure_reds(folder: Path, url: str, broker_url: str, *, with_channels: bool) -> dict[str, Any]:
    """Return the times to a red alert of other sites."""
    folder.mkdir()
    others = [f"o{k}" for k in range(REDS)]
    busy = write_busy_site(with_channels=with_channels)
    sites = {"busy": busy} | {name: write_other_site(name) for name in others}
    with Service(folder, url, broker_url, sites, tick="60s") as service:
        service.start()
        service.stop()
        now = datetime.now(UTC).replace(microsecond=0)
        rows = [
            Observation("busy", f"S{k}", "tilt_x", "mrad", at, now, 10.0 + ((i * (k + 1)) % 7) * 0.01)
            for i in range(HISTORY, 0, -1)
            for at in [now - timedelta(seconds=i)]
            for k in range(STATIONS)
        ]
        store_history(service.database, busy, rows)
        service.start()
        took_s: list[float] = []
        client = open_client(int(broker_url.rpartition(":")[2]))
        with sending(*make_busy(broker_url)):
            time.sleep(10.0)
            for name in others:
                for pause_s in (1.0, 0.0):  # one reading alone raises nothing
                    begun_s = time.monotonic()
                    body = {"time": datetime.now(UTC).isoformat(), "pore_pressure_kpa": 150.0}
                    client.publish(f"slopeward/v1/{name}/P/obs", json.dumps(body), qos=1)
                    time.sleep(pause_s)
                took_s.append(wait_for_alert(service.database, name) - begun_s)
            lags_s = (
                [find_lag_s(service.database, f"S{k % STATIONS}") for k in range(0, 200, 7)] if with_channels else []
            )
            values = count_rows(service.database, "busy", "crack_opening")
            live = count_rows(service.database, "busy", "tilt_x") - len(rows)
            slow = list_slow_writes(service.database)
        close_client(client)
    found = {"red_s": {"median": round(statistics.median(took_s), 2), "max": round(max(took_s), 2)}}
    lag = {"median": round(statistics.median(lags_s), 1), "max": round(max(lags_s), 1)} if lags_s else {}
    more = {"newest_value_age_s": lag, "values": values, "live_readings": live} if with_channels else {}
    return {**found, **more, "slow_writes": slow}


FIGURES: dict[str, Any] = {}


@pytest.mark.parametrize("with_channels", [False, True])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_red_of_another_site(
    kind: str, request: pytest.FixtureRequest, mosquitto: Any, tmp_path: Path, *, with_channels: bool
) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))
    figures = measure_reds(tmp_path / "service", url, mosquitto.url, with_channels=with_channels)
    name = "with" if with_channels else "without"
    print(f"red, {kind}, {name} channels: {json.dumps(figures)}")
    FIGURES.setdefault(kind, {}).setdefault("red", {})[name] = figures
    SERVICE_RESULTS.store("calculated", "make soak", FIGURES)
    reds = FIGURES[kind]["red"]
    if len(reds) == 2:
        assert reds["with"]["red_s"]["max"] <= reds["without"]["red_s"]["max"] + MOST_RED_S
        assert not any("derived" in name or "ingest" in name for name in reds["with"]["slow_writes"])


def write_long_site(*, with_rate: bool) -> str:
    """Return a site with one station that is read every minute, and a rate over 33 hours."""
    text_ = head("long", timezone="UTC", levels={"names": ["green", "yellow"]}, fusion={"top_needs": 1})
    text_ += station("L", series("tilt_x", "mrad", "1m", max_silence="1d"))
    how = {"station": "L", "quantity": "crack_opening", "unit": "mm"}
    expression = "rate(L.tilt_x, '33h') * '1 m' * '1 h'"
    return text_ + (table("[[derived]]", expression=expression, **how) if with_rate else "")


def measure_readings(
    service: Service, broker_url: str, least_s: float, most_s: float, is_done: Callable[[], bool]
) -> dict[str, Any]:
    """Return the time from publishing to storing for readings of the other site."""
    sent_s: dict[str, float] = {}
    seen_s: dict[str, float] = {}

    def make(_step: int) -> list[tuple[str, Mapping[str, Any]]]:
        at = datetime.now(UTC)
        sent_s[f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"] = time.monotonic()
        return [("slopeward/v1/other/P/obs", {"time": at.isoformat(), "pore_pressure_kpa": 50.0})]

    query = text(
        "SELECT o.observed_at FROM observation o JOIN series s ON s.id = o.series_id "
        "WHERE s.site = 'other' ORDER BY o.observed_at DESC LIMIT 50"
    )

    def look() -> None:
        with service.database.read() as c:
            found = [str(at) for at in c.execute(query).scalars()]
        for at in found:
            seen_s.setdefault(at, time.monotonic())

    begun_s = checked_s = time.monotonic()
    has_ended = False
    with sending(broker_url, 0.2, make):
        while not has_ended and time.monotonic() < begun_s + most_s:
            look()
            if time.monotonic() > checked_s + 1.0:
                checked_s = time.monotonic()
                has_ended = checked_s > begun_s + least_s and is_done()
            time.sleep(0.01)
        took = checked_s - begun_s
    deadline = time.monotonic() + 10.0
    while len(seen_s) < len(sent_s) and time.monotonic() < deadline:
        look()
    took_s = sorted(seen_s[at] - sent_s[at] for at in sent_s if at in seen_s)
    return {
        "readings": f"{len(took_s)} of {len(sent_s)}",
        "median_s": round(statistics.median(took_s), 3),
        "p99_s": round(took_s[int(len(took_s) * 0.99)], 3),
        "max_s": round(took_s[-1], 3),
        "after_s": round(took, 1),
        "load": round(os.getloadavg()[0], 1),
    }


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_reading_of_another_site(kind: str, request: pytest.FixtureRequest, mosquitto: Any, tmp_path: Path) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))
    sites = {"long": write_long_site(with_rate=False), "other": write_other_site("other")}
    with Service(tmp_path, url, mosquitto.url, sites, tick="60s") as service:
        service.start()
        service.stop()
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        rows = [
            Observation("long", "L", "tilt_x", "mrad", now - timedelta(minutes=i), now, 10.0 + (i % 7) * 0.01)
            for i in range(READINGS, 0, -1)
        ]
        store_history(service.database, sites["long"], rows)
        service.start()
        without = measure_readings(service, mosquitto.url, 40.0, 60.0, lambda: True)
        service.stop()
        (tmp_path / "sites" / "long.toml").write_text(write_long_site(with_rate=True))
        service.start()

        def is_computed() -> bool:
            return count_rows(service.database, "long", "crack_opening") >= READINGS - 2000

        with_rate = measure_readings(service, mosquitto.url, 40.0, 300.0, is_computed)
        values = count_rows(service.database, "long", "crack_opening")
        slow = list_slow_writes(service.database)
    figures = {"without": without, "with": with_rate, "values": values, "slow_writes": slow}
    print(f"reading, {kind}: {json.dumps(figures)}")
    FIGURES.setdefault(kind, {})["reading"] = figures
    SERVICE_RESULTS.store("calculated", "make soak", FIGURES)
    assert values >= READINGS - 2000
    assert with_rate["max_s"] <= without["max_s"] + MOST_READING_S
    assert not any("derived" in name or "ingest" in name for name in slow)
