"""Times of the page of a site of 100 stations, alone and under 20 readers, beside a static file of the same server.

    python -m tests.bench --only page

Times are what a reader waits on this machine, from the request to the last byte. `alone` are requests before anybody
else reads and anything is published. Under load, every reader sends a request each three seconds, for a page, a chart,
a refresh or another range, while messages arrive. The measurement starts when the core has computed trends, forecasts
and scores of the stored readings.
"""

import multiprocessing
import re
import statistics
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import text

from monitor.readings.tables import series
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from tests.bench.service import bench_service
from tests.data import site_text
from tests.data.running import Service

STATIONS, READERS, THINK_S = 100, 20, 3.0
MOST_SETTLING_S = 300
MOST_KB, MOST_MS = 300, 300
REPEATS = 9
# Sites that receive the messages.
SITES = 40
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


def fill(db: Database, now: datetime, years: int) -> None:
    """Store readings up to now, two years of movement, and evaluations of each minute for 60 days."""
    start = now - timedelta(days=365 * years)
    with db.write() as c:

        def put(sql: str, step_s: int, begin: datetime, **more: Any) -> None:
            count = int((now - begin).total_seconds() // step_s)
            numbers = f"WITH RECURSIVE n(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM n WHERE k < {count})"
            asked = sql.replace("STAMP", SPELLED[db.is_sqlite])
            head, _, rest = asked.strip().partition("\n")
            facts = {"start": begin.strftime("%Y-%m-%d %H:%M:%S"), "step": step_s, **more}
            c.execute(text(f"{head}\n{numbers}\n{rest}"), facts)

        for number, (station, quantity, unit, hours) in enumerate(SERIES, 1):
            row = {"id": number, "site": "big", "station": station, "quantity": quantity, "unit": unit}
            c.execute(series.insert().values(**row, created_at=start))
            values = OBSERVATIONS.replace("VALUE", FALLS if quantity == "rain" else MOVES)
            put(values, hours * 3600, start, id=number)
            c.execute(text(NEWEST), {"id": number})
            if quantity == "displacement":
                put(MOVEMENT, 21_600, now - timedelta(days=730), id=number)
        put(EVALUATIONS, 3600, start)
        put(EVALUATIONS, 60, now - timedelta(days=60))
        if not db.is_sqlite:
            c.execute(text("SELECT setval(pg_get_serial_sequence('series', 'id'), 1000)"))


QUESTIONS = {
    "page": "/sites/big",
    "chart, 30 days": "/api/v1/sites/big/panes/G001/displacement?span=30d",
    "refresh": "/live/sites/big?lang=en",
    "chart, 1 year": "/api/v1/sites/big/panes/G002/displacement?span=366d",
    "all stations, 30 days": "/api/v1/sites/big/compare/displacement?span=30d",
}
RARE = {
    "chart, whole record": "/api/v1/sites/big/panes/G001/displacement?span=36500d",
    "all stations, whole record": "/api/v1/sites/big/compare/displacement?span=36500d",
}


class Reader(threading.Thread):
    """Somebody who looks: asks one question after the other, with a pause."""

    def __init__(self, base: str, number: int, ends_at: float) -> None:
        super().__init__(daemon=True)
        self.base, self.number, self.ends_at = base, number, ends_at
        self.took: list[tuple[str, float]] = []
        self.failed: list[str] = []

    def run(self) -> None:
        # One reader also requests the whole record.
        names = [*QUESTIONS] if self.number else [*QUESTIONS, *RARE]
        with httpx.Client(base_url=self.base, timeout=30, trust_env=False) as client:
            time.sleep(THINK_S * self.number / READERS)
            turn = self.number
            while time.monotonic() < self.ends_at:
                name = names[turn % len(names)]
                begun = time.perf_counter()
                answer = client.get((QUESTIONS | RARE)[name])
                self.took.append((name, (time.perf_counter() - begun) * 1e3))
                if answer.status_code != 200:
                    self.failed.append(f"{name}: {answer.status_code} {answer.text[:100]}")
                turn += 1
                time.sleep(max(THINK_S - (time.perf_counter() - begun), 0.0))


def weigh(base: str) -> dict[str, float]:
    """Return the kilobytes transferred for the page, its first chart, and all scripts and styles that it names."""
    with httpx.Client(base_url=base, trust_env=False) as client:

        def size(path: str) -> float:
            with client.stream("GET", path) as answer:
                return sum(len(chunk) for chunk in answer.iter_raw()) / 1000

        page = client.get("/sites/big").text
        files = re.findall(r'(?:src|href)="(/(?:static|vendor)/[^"]+\.(?:js|css)[^"]*)"', page)
        weights = {"html": size("/sites/big"), "first chart": size(QUESTIONS["chart, 30 days"])}
        weights["scripts and styles"] = sum(size(path) for path in dict.fromkeys(files))
        weights["together"] = sum(weights.values())
    return {name: round(kb, 1) for name, kb in weights.items()}


def time_requests(client: httpx.Client, path: str) -> float:
    """Return the median milliseconds of several requests."""
    times_ms: list[float] = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        answer = client.get(path)
        times_ms.append((time.perf_counter() - started_s) * 1e3)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
    return statistics.median(times_ms)


def measure_page(url: str, broker_url: str, folder: Path, *, years: int, seconds: float) -> dict[str, Any]:
    """Return the milliseconds of each request, of a static file, and of the requests under load.

    Args:
        url: an empty database.
        broker_url: a broker without logins.
        folder: an empty folder for the service.
        years: length of the record.
        seconds: time with 20 readers.
    """
    with Database(url) as db:
        upgrade(db)
        fill(db, datetime.now(UTC).replace(microsecond=0), years)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            # PostgreSQL does this by itself some minutes later.
            c.execute(text("ANALYZE"))
    sites = {f"b{i}": bench_service.site_file(i) for i in range(SITES)}
    with Service(folder, url, broker_url, sites | {"big": big_site()}, tick="60s") as service:
        service.start()
        base = f"http://127.0.0.1:{service.port}"
        settled_s = _settle(service)
        with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
            page = client.get(QUESTIONS["page"]).text
            static_file = re.findall(r'href="(/(?:static|vendor)/[^"]+\.css[^"]*)"', page)[0]
            static_file_ms = time_requests(client, static_file)
            alone_ms = {name: time_requests(client, path) for name, path in (QUESTIONS | RARE).items()}
            web = psutil.Process(service.find_child("monitor.web.server"))
            before_s = sum(web.cpu_times()[:2])
            time_requests(client, QUESTIONS["page"])
            page_processor_ms = (sum(web.cpu_times()[:2]) - before_s) / REPEATS * 1e3
        weights_kb = weigh(base)
        started = multiprocessing.get_context("spawn")
        stopping, bare_ms = started.Event(), started.Queue()
        load = started.Process(
            target=bench_service.publish_load, args=(broker_url, SITES, stopping, bare_ms), daemon=True
        )
        load.start()
        time.sleep(3)
        taken = _count_ingested(base)
        began = time.monotonic()
        readers = [Reader(base, k, began + seconds) for k in range(READERS)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        taken_per_s = (_count_ingested(base) - taken) / (time.monotonic() - began)
        stopping.set()
        bare_ms.get(timeout=30)
        load.join()
    failed = [line for reader in readers for line in reader.failed]
    if failed:
        raise RuntimeError(f"{len(failed)} requests failed; the first: {failed[0]}")
    if not taken_per_s:
        raise RuntimeError("no message was stored while the readers read")
    if weights_kb["together"] > MOST_KB or page_processor_ms > MOST_MS:
        raise RuntimeError(
            f"the page takes {weights_kb['together']:.0f} kB and {page_processor_ms:.0f} ms of the processor; "
            f"the limits are {MOST_KB} kB and {MOST_MS} ms"
        )
    under_load_ms = {
        name: statistics.median(ms for reader in readers for read, ms in reader.took if read == name)
        for name in QUESTIONS
    }
    return {
        "settled_s": settled_s,
        "static_file_ms": static_file_ms,
        "alone_ms": alone_ms,
        "under_load_ms": under_load_ms,
        "messages_per_s_stored": taken_per_s,
        "page_processor_ms": page_processor_ms,
        "transferred_kb": weights_kb,
    }


def _settle(service: Service) -> int:
    """Wait until the core rests; seconds that it took."""
    core, begun = psutil.Process(service.find_child("monitor.app.core")), time.monotonic()
    while time.monotonic() - begun < MOST_SETTLING_S:
        before = sum(core.cpu_times()[:2])
        time.sleep(5)
        if sum(core.cpu_times()[:2]) - before < 1.0:
            return round(time.monotonic() - begun)
    raise TimeoutError(f"the core still works after {MOST_SETTLING_S} s")


def _count_ingested(base: str) -> int:
    """Messages that ingest has stored since its start, as the page's health says."""
    seen = httpx.get(f"{base}/health", trust_env=False).json()["ingest"]
    return int(seen["messages"])
