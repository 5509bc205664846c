"""How long a live reading waits for its commit while a backup runs, while it is proven, and while retention runs.

    python -m tests.bench.service.bench_upkeep --rows 1000000 --folder /var/tmp

A real Mosquitto, ingest and upkeep in one process as in the service, 100 messages a second. SQLite, and PostgreSQL with
`fsync`. Measured from the callback of the MQTT client to the commit.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from monitor.broker.access import Access
from monitor.ingest.broker import ManagedBroker
from monitor.ingest.service import Ingest, IngestContext
from monitor.store.database.engine import Database
from monitor.store.upkeep import migrate
from monitor.store.upkeep.copies import make_copy
from monitor.store.upkeep.prune import RetentionLimits, RetentionRun, Thinning
from tests.bench.record import record
from tests.bench.service import bench_views
from tests.bench.service.bench_ingest import spell_door
from tests.conftest import PostgresServer, free_port, wait_for
from tests.end_to_end.ingest_only import make_site

RATE = 100
QUIET_S = 15.0
SEND = """
import sys, json, time
from datetime import datetime, timezone
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
door, rate = json.loads(sys.argv[1]), int(sys.argv[2])
client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
client.username_pw_set(door["username"], door["password"])
client.connect(*door["target"])
client.loop_start()
start, i = time.monotonic(), 0
while True:
    at = datetime.now(timezone.utc).isoformat()
    said = json.dumps({"time": at, "displacement_east_mm": i * 0.01})
    client.publish(f"slopeward/v1/north/G{i % 8 + 1}/obs", said, qos=1)
    i += 1
    time.sleep(max(0.0, start + i / rate - time.monotonic()))
"""


def measure(db: Database, broker: ManagedBroker, gateway: Access, folder: Path, rows: int) -> dict[str, Any]:
    """Waits in ms by phase."""
    waits: list[float] = []
    where = SimpleNamespace(mode="managed", data=broker.folder, client_id="slopeward", username="", password="")
    ingest = Ingest(
        IngestContext(
            db,
            SimpleNamespace(broker=where),
            {"north": make_site("north")},
            lambda _: None,
            lambda _: None,
            lambda: datetime.now(UTC),
        )
    )
    store = ingest._pipeline.store

    def timed_store(messages: Any, **how: Any) -> Any:
        outcome = store(messages, **how)
        now = datetime.now(UTC)
        waits.extend((now - one.received_at).total_seconds() * 1000 for one in messages)
        return outcome

    ingest._pipeline.store = timed_store  # type: ignore[method-assign]
    ingest.start()
    wait_for(lambda: ingest.status()["connected"]["live"], 30)
    sender = subprocess.Popen([sys.executable, "-c", SEND, spell_door(gateway), str(RATE)])
    figures: dict[str, Any] = {}

    def phase(name: str, act: Callable[[], object]) -> None:
        waits.clear()
        start = time.perf_counter()
        found = act()
        seen = sorted(waits)
        figures[name] = {
            "seconds": round(time.perf_counter() - start, 1),
            "messages": len(seen),
            "p50_ms": round(statistics.median(seen), 1),
            "p99_ms": round(seen[int(0.99 * len(seen))], 1),
            "longest_ms": round(seen[-1], 1),
        }
        print(f"{datetime.now(UTC):%H:%M:%S} {name}: {figures[name]} {found or ''}", file=sys.stderr)

    at = bench_views.NOW - timedelta(hours=rows // 100 * 2 // 3)
    thinned = {"displacement_north": Thinning(at, 86400), "displacement_east": Thinning(at, 0)}

    def prune() -> str:
        sweep = RetentionRun(db, RetentionLimits(None, None, quantities=thinned), datetime.now(UTC))
        longest = max(one.longest_s for one in sweep.run().values())
        return f"{sweep.removed()}, longest transaction {longest * 1000:.0f} ms"

    try:
        time.sleep(3.0)
        phase("nothing beside it", lambda: time.sleep(QUIET_S))
        phase("backup", lambda: make_copy(db, folder, 1, datetime.now(UTC), is_proven=False).state)
        phase("backup and proof", lambda: make_copy(db, folder, 1, datetime.now(UTC), is_proven=True).state)
        phase("retention", prune)
    finally:
        sender.kill()
        sender.wait()
        ingest.stop()
    return figures


def main() -> None:
    """Both databases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    folder.chmod(0o755)
    (folder / "pg").mkdir(mode=0o755)
    server = PostgresServer(folder / "pg", durable=True)
    figures: dict[str, Any] = {"rows": options.rows, "messages_per_s": RATE}
    try:
        server.execute("CREATE DATABASE upkeep")
        for kind, url in (("sqlite", f"sqlite:///{folder}/upkeep.db"), ("postgresql", server.url("upkeep"))):
            broker = ManagedBroker(folder / f"broker-{kind}", free_port())
            login, password = broker.book.issue("north")
            broker.start()
            with Database(url) as db:
                migrate.upgrade(db)
                with db.write() as c:
                    bench_views.fill_history(c, options.rows)
                    c.exec_driver_sql("DELETE FROM offset_entry")  # of nobody: a proof would name them
                gateway = Access(port=broker.port, username=login.name, password=password)
                figures[kind] = measure(db, broker, gateway, folder / "copies", options.rows)
            broker.stop()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(record("upkeep", "python -m tests.bench.service.bench_upkeep", figures))


if __name__ == "__main__":
    main()
