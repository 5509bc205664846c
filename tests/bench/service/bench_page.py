"""The page of a site of 100 stations and ten years, under 20 readers while ingest takes 1,000 messages a second.

    pytest -q -s --timeout=1800 tests/bench/service/bench_page.py        # BENCH_SECONDS=120 for a longer one

Times are what a reader waits on this machine, from the request to the last byte; `alone` is the same question before
anybody else asks and nothing is published; `processor` is what the web process worked for it. Sizes are what is
transferred, packed by the server. A reader asks for something every three seconds: page, chart, refresh, another range.
Readers begin when the core has looked through the ten years once (`settled_s`): trends, forecasts and scores stand.
"""

import json
import multiprocessing
import os
import re
import statistics
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from monitor.readings.tables import series
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from tests.bench.record import SERVICE_RESULTS
from tests.bench.service import bench_service
from tests.data import site_text
from tests.data.running import Service

STATIONS, YEARS, READERS, THINK_S = 100, 10, 20, 3.0
MOST_SETTLING_S = 300
SECONDS = int(os.environ.get("BENCH_SECONDS", "60"))
MOST_KB, MOST_MS = 300, 300
SERIES = [
    *((f"G{k:03d}", "displacement", "mm", 1 if k <= 10 else 6) for k in range(1, STATIONS + 1)),
    ("R1", "rain", "mm", 1),
    ("P1", "pore_pressure", "kPa", 1),
]


def big_site() -> str:
    """100 stations that move, a rain gauge and a piezometer."""
    fast = {"yellow": {"over": 20.0, "window": "7d"}, "red": {"over": 100.0, "window": "2d"}}
    text = site_text.head("big", "Big slope", 46.2, 8.9, timezone="Europe/Zurich", levels=site_text.THREE)
    text += site_text.criterion("velocity", stations=["G*"], **fast, author="bench", reason="bench")
    for k, (station, quantity, unit, hours) in enumerate(SERIES):
        measured = site_text.series(quantity, unit, f"{hours}h", max_silence="30d")
        text += site_text.station(station, measured, latitude=46.2 + 1e-4 * k, longitude=8.9 + 1e-4 * (k % 10))
    return text


OBSERVATIONS = """
INSERT INTO observation(series_id, observed_at, revision, received_at, value_raw, flags)
SELECT :id, STAMP, 0, STAMP, VALUE, '' FROM n"""
NEWEST = """
INSERT INTO series_latest(series_id, observed_at, revision, received_at, value_raw, flags)
SELECT series_id, observed_at, revision, received_at, value_raw, flags FROM observation
WHERE series_id = :id ORDER BY observed_at DESC LIMIT 1"""
MOVEMENT = """
INSERT INTO movement(series_id, at, data_until, stage, trend, velocity_mm_per_day, reasons, state)
SELECT :id, STAMP, STAMP, 'creep', 'linear', 1.0 + k % 5, '', '{}' FROM n"""
EVALUATIONS = """
INSERT INTO evaluation(site, at, trigger, level, observability, reachable_level, config_sha256, digest)
SELECT 'big', STAMP, 'tick', CASE WHEN k % 900 < 30 THEN 1 ELSE 0 END, 'full', 2, 'x', '' FROM n"""
SPELLED = {
    True: "strftime('%Y-%m-%dT%H:%M:%S', :start, '+'||(k * :step)||' seconds')||'.000000Z'",
    False: "to_char(CAST(:start AS timestamp) + k * :step * interval '1 second',"
    " 'YYYY-MM-DD\"T\"HH24\\:MI\\:SS')||'.000000Z'",
}
MOVES = "k * :step / 864000.0 + ((k * 7919 + (k % 977) * (k % 911) + :id * 131) % 65521) / 32760.0"
FALLS = "CASE WHEN k % 40 < 4 THEN 1.5 ELSE 0 END"


def fill(db: Database, now: datetime) -> int:
    """Ten years of readings up to now, two of movement, evaluations of each minute for 60 days; how many readings."""
    start, total = now - timedelta(days=365 * YEARS), 0
    with db.write() as c:

        def put(sql: str, step_s: int, begin: datetime, **more: Any) -> int:
            count = int((now - begin).total_seconds() // step_s)
            numbers = f"WITH RECURSIVE n(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM n WHERE k < {count})"
            asked = sql.replace("STAMP", SPELLED[db.is_sqlite])
            head, _, rest = asked.strip().partition("\n")
            facts = {"start": begin.strftime("%Y-%m-%d %H:%M:%S"), "step": step_s, **more}
            c.execute(text(f"{head}\n{numbers}\n{rest}"), facts)
            return count + 1

        for number, (station, quantity, unit, hours) in enumerate(SERIES, 1):
            row = {"id": number, "site": "big", "station": station, "quantity": quantity, "unit": unit}
            c.execute(series.insert().values(**row, created_at=start))
            values = OBSERVATIONS.replace("VALUE", FALLS if quantity == "rain" else MOVES)
            total += put(values, hours * 3600, start, id=number)
            c.execute(text(NEWEST), {"id": number})
            if quantity == "displacement":
                put(MOVEMENT, 21_600, now - timedelta(days=730), id=number)
        put(EVALUATIONS, 3600, start)
        put(EVALUATIONS, 60, now - timedelta(days=60))
        if not db.is_sqlite:
            c.execute(text("SELECT setval(pg_get_serial_sequence('series', 'id'), 1000)"))
    return total


QUESTIONS = {
    "page": "/sites/big",
    "chart, 30 days": "/api/v1/sites/big/panes/G001/displacement?span=30d",
    "refresh": "/live/sites/big?lang=en",
    "chart, 1 year": "/api/v1/sites/big/panes/G002/displacement?span=366d",
    "all stations, 30 days": "/api/v1/sites/big/compare/displacement?span=30d",
}
RARE = {
    "chart, 10 years": "/api/v1/sites/big/panes/G001/displacement?span=36500d",
    "all stations, 10 years": "/api/v1/sites/big/compare/displacement?span=36500d",
}


class Reader(threading.Thread):
    """Somebody who looks: asks one question after the other, with a pause."""

    def __init__(self, base: str, number: int, ends_at: float) -> None:
        super().__init__(daemon=True)
        self.base, self.number, self.ends_at = base, number, ends_at
        self.took: list[tuple[str, float]] = []
        self.failed: list[str] = []

    def run(self) -> None:
        asked = [*QUESTIONS] if self.number else [*QUESTIONS, *RARE]  # one of them looks back ten years
        with httpx.Client(base_url=self.base, timeout=30, trust_env=False) as client:
            time.sleep(THINK_S * self.number / READERS)
            turn = self.number
            while time.monotonic() < self.ends_at:
                name = asked[turn % len(asked)]
                begun = time.perf_counter()
                answer = client.get((QUESTIONS | RARE)[name])
                self.took.append((name, (time.perf_counter() - begun) * 1e3))
                if answer.status_code != 200:
                    self.failed.append(f"{name}: {answer.status_code} {answer.text[:100]}")
                turn += 1
                time.sleep(max(THINK_S - (time.perf_counter() - begun), 0.0))


def weigh(base: str) -> dict[str, float]:
    """Kilobytes transferred for the page, its first chart, and all scripts and styles that it names."""
    with httpx.Client(base_url=base, trust_env=False) as client:

        def size(path: str) -> float:
            with client.stream("GET", path) as answer:
                return sum(len(chunk) for chunk in answer.iter_raw()) / 1000

        page = client.get("/sites/big").text
        files = re.findall(r'(?:src|href)="(/(?:static|vendor)/[^"]+\.(?:js|css)[^"]*)"', page)
        weights = {"html": size("/sites/big"), "first chart": size(QUESTIONS["chart, 30 days"])}
        weights["scripts and styles"] = sum(size(path) for path in dict.fromkeys(files))
        weights["together"] = sum(weights.values())
        for name in ("all stations, 30 days", *RARE):
            weights[name] = size((QUESTIONS | RARE)[name])
    return {name: round(kb, 1) for name, kb in weights.items()}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_page_figures(kind: str, request: pytest.FixtureRequest, mosquitto: Any, tmp_path: Path) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))
    db = Database(url)
    upgrade(db)
    begun = time.perf_counter()
    rows = fill(db, datetime.now(UTC).replace(microsecond=0))
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        c.execute(text("ANALYZE"))  # as the database does by itself some minutes later
    db.close()
    print(f"{kind}: {rows} readings in {time.perf_counter() - begun:.0f} s")
    sites = {f"b{i}": bench_service.site_file(i) for i in range(bench_service.SITES)}
    with Service(tmp_path, url, mosquitto.url, sites | {"big": big_site()}, tick="60s") as service:
        service.start()
        base = f"http://127.0.0.1:{service.port}"
        settled_s = _settle(service)
        alone: dict[str, float] = {}
        worked: dict[str, float] = {}  # by the web process: the same on a busy machine
        web = psutil.Process(service.find_child("monitor.web.server"))
        with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
            for name, path in (QUESTIONS | RARE).items():
                times, before = list[float](), sum(web.cpu_times()[:2])
                for _ in range(5):
                    begun = time.perf_counter()
                    answer = client.get(path)
                    times.append((time.perf_counter() - begun) * 1e3)
                    assert answer.status_code == 200, (name, answer.text[:300])
                alone[name] = round(statistics.median(times), 1)
                worked[name] = round((sum(web.cpu_times()[:2]) - before) / len(times) * 1e3, 1)
        weights = weigh(base)
        print(json.dumps({"alone_ms": alone, "processor_ms": worked, "transferred_kb": weights}, indent=1))
        started = multiprocessing.get_context("spawn")
        stopping = started.Event()
        load = started.Process(target=_publish, args=(mosquitto.url, stopping), daemon=True)
        load.start()
        time.sleep(3)
        taken = _count_ingested(base)
        began = time.monotonic()
        readers = [Reader(base, k, began + SECONDS) for k in range(READERS)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        taken = (_count_ingested(base) - taken) / (time.monotonic() - began)
        stopping.set()
        load.join()
    failed = [line for reader in readers for line in reader.failed]
    under: dict[str, dict[str, float]] = {}
    for name in QUESTIONS | RARE:
        times = sorted(ms for reader in readers for asked, ms in reader.took if asked == name)
        if times:
            middle, slow = times[len(times) // 2], times[int(len(times) * 0.95)]
            under[name] = {"n": len(times), "p50": round(middle, 1), "p95": round(slow, 1)}
    figures = {
        "database": kind,
        "readings": rows,
        "stations": STATIONS,
        "years": YEARS,
        "readers": READERS,
        "think_s": THINK_S,
        "settled_s": settled_s,
        "messages_per_s_stored": round(taken),
        "alone_ms": alone,
        "processor_ms": worked,
        "under_load_ms": under,
        "transferred_kb": weights,
    }
    print(json.dumps(figures, indent=1))
    SERVICE_RESULTS.store(f"page-{kind}", "make bench", figures)
    assert failed == []
    assert taken > 0  # else nobody published
    assert weights["together"] <= MOST_KB
    assert worked["page"] <= MOST_MS


def _settle(service: Service) -> int:
    """Wait until the core rests; seconds that it took."""
    core, begun = psutil.Process(service.find_child("monitor.app.core")), time.monotonic()
    while time.monotonic() - begun < MOST_SETTLING_S:
        before = sum(core.cpu_times()[:2])
        time.sleep(5)
        if sum(core.cpu_times()[:2]) - before < 1.0:
            return round(time.monotonic() - begun)
    raise TimeoutError(f"the core still works after {MOST_SETTLING_S} s")


def _publish(broker_url: str, stopping: Any) -> None:
    """Load from a process of its own: in that of the readers each answer would wait for its interpreter lock."""
    load = bench_service.Load(broker_url, 1000)
    load.stopping = stopping
    load.run()


def _count_ingested(base: str) -> int:
    """Messages that ingest has stored since its start, as the page's health says."""
    seen = httpx.get(f"{base}/health", trust_env=False).json()["ingest"]
    return int(seen["messages"])
