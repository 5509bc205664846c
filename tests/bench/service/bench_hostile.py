"""Ten thousand damaged payloads of each decoder: none is lost, none stops a decoder, live messages come in as before.

    pytest -q -s --timeout=1800 tests/bench/service/bench_hostile.py        # BENCH_HOSTILE=1000 for a shorter one

The payloads are the published ones, damaged by a seed. First each decoder reads its own in this process. Then all are
sent to a running service by a process of their own, in spells. A station reports 20 times a second: alone, beside as
many sound payloads, and beside the damaged ones. Its latency is from the instant of the reading to the committed row,
seen from outside every 5 ms. What damage costs is the ratio to the sound ones: any message costs something. The sound
ones are sent a second time, which nothing sets apart from the first: their ratio is what chance makes of it.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest
from sqlalchemy import text

from monitor.domain.instants import parse
from monitor.ingest.message import Message
from monitor.ingest.pipeline import Pipeline
from monitor.store.database.engine import Database
from tests.bench.record import read_figures, record
from tests.data.payloads.hostile import damage
from tests.data.payloads.published import NOW, PUBLISHED, SITE, SITE_FILE
from tests.data.running import Service

EACH = int(os.environ.get("BENCH_HOSTILE", "10000"))
RATE = int(os.environ.get("BENCH_HOSTILE_RATE", "500"))
SPELLS = 3
LIVE_RATE = 20
SOUND, AGAIN = "sound", "sound again"
KINDS = sorted({one.decoder for one in PUBLISHED})
FIGURES = read_figures("hostile") or {}
LIVE = """
[[station]]
id = "L1"
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1s"
"""


def draw(kind, count, seed):
    """Damaged payloads of one decoder, with their topics."""
    rng = random.Random(f"{kind} {seed}")
    mine = [one for one in PUBLISHED if one.decoder == kind]
    turns = (mine[k % len(mine)] for k in range(count))
    return ((one.topic, damage(rng, one.payload) if seed != SOUND else one.payload) for one in turns)


def send(port, count, seed):
    """Publish so many payloads of each decoder that a broker carries, turn by turn, at the rate; damaged by a seed."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.max_inflight_messages_set(500)
    client.connect("127.0.0.1", port)
    client.loop_start()
    streams = [draw(kind, count, seed) for kind in KINDS if kind != "rows"]
    begun, last = time.monotonic(), []
    for number, (topic, raw) in enumerate(one for turn in zip(*streams, strict=True) for one in turn):
        last.append(client.publish(topic, raw, qos=1))
        if len(last) > 1000:
            last.pop(0).wait_for_publish(60)
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
    for info in last:
        info.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def publish(port, count, seed):
    """The same in a process of its own."""
    words = [sys.executable, "-m", "tests.bench.service.bench_hostile", str(port), str(count), str(seed)]
    subprocess.run(words, check=True)


class Live(threading.Thread):
    """A station that reports steadily, and what an onlooker sees of it."""

    def __init__(self, port, url):
        super().__init__(daemon=True)
        self.stopping, self.ms, self._url = threading.Event(), [], url
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def run(self):
        database, newest, due = Database(self._url), "", time.monotonic()
        query = text(
            "SELECT o.observed_at FROM observation o JOIN series s ON s.id = o.series_id"
            " WHERE s.station = 'L1' AND o.observed_at > :newest ORDER BY o.observed_at"
        )
        while not self.stopping.wait(0.005):
            if time.monotonic() >= due:
                body = {"time": datetime.now(UTC).isoformat(), "displacement_mm": 1.0}
                self.client.publish("slopeward/v1/north/L1/obs", json.dumps(body), qos=1)
                due += 1 / LIVE_RATE
            with database.read() as c:
                seen = list(c.execute(query, {"newest": newest}).scalars())
            now = datetime.now(UTC)
            self.ms += [(now - parse(at)).total_seconds() * 1e3 for at in seen]
            newest = seen[-1] if seen else newest
        self.client.disconnect()
        self.client.loop_stop()
        database.close()


def quantiles(ms):
    ms = sorted(ms)
    return {"p50": round(ms[len(ms) // 2], 1), "p99": round(ms[int(len(ms) * 0.99)], 1), "messages": len(ms)}


def test_every_decoder_reads_or_refuses_its_share():
    """Each payload is a row or waits with a reason, whatever came before it."""
    found = {}
    for kind in KINDS:
        pipeline, codes, slowest_ms = Pipeline(None, {"north": SITE}, lambda: NOW), Counter(), 0.0
        begun = time.process_time()
        for topic, raw in draw(kind, EACH, "alone"):
            before = time.process_time()
            decoded = pipeline.decode(Message(topic, raw, NOW, "live", epoch=1))
            slowest_ms = max(slowest_ms, (time.process_time() - before) * 1e3)
            assert decoded.observations or decoded.faults or decoded.links or decoded.report or decoded.event
            codes["read" if not decoded.faults else decoded.faults[0].code] += 1
        assert codes["decoder_failed"] == 0
        found[kind] = {
            "payloads": codes.total(), "read": codes["read"], "reasons": len(codes) - 1,
            "us_each": round((time.process_time() - begun) / EACH * 1e6), "slowest_ms": round(slowest_ms),
        }  # fmt: skip
        print(f"\n{kind}: {found[kind]}")
    FIGURES["alone"] = found
    record("hostile", "make bench", FIGURES)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_live_messages_come_in_as_before(kind, request, mosquitto, tmp_path):
    url = request.getfixturevalue(f"{kind}_url")
    heard = {"alone": [], SOUND: [], "damaged": [], AGAIN: []}
    with Service(tmp_path, url, mosquitto.url, {"north": SITE_FILE + LIVE}, tick="60s") as service:
        service.start()
        live = Live(mosquitto.port, url)
        live.start()
        time.sleep(3)

        def listen(name, act):
            live.ms = []
            act()
            heard[name] += live.ms

        for spell in range(SPELLS):
            listen("alone", lambda: time.sleep(20))
            listen(SOUND, lambda: publish(mosquitto.port, EACH // SPELLS // 4, SOUND))
            listen("damaged", lambda spell=spell: publish(mosquitto.port, EACH // SPELLS, spell))
            listen(AGAIN, lambda: publish(mosquitto.port, EACH // SPELLS // 4, SOUND))
        time.sleep(3)
        live.stopping.set()
        live.join()
        seen = json.loads(service.call("status", "--json").stdout)["processes"]["core"]["ingest"]
    sent = EACH // SPELLS * SPELLS * (len(KINDS) - 1)
    live_ms = {name: quantiles(ms) for name, ms in heard.items()}
    FIGURES[f"{kind}, {RATE} a second"] = figures = {
        "live_ms": live_ms, "damaged_sent": sent,
        "p99_damaged_to_sound": round(live_ms["damaged"]["p99"] / live_ms[SOUND]["p99"], 2),
        "p99_sound_again_to_sound": round(live_ms[AGAIN]["p99"] / live_ms[SOUND]["p99"], 2),
        "p99_damaged_to_alone": round(live_ms["damaged"]["p99"] / live_ms["alone"]["p99"], 2),
        "service": {name: seen[name] for name in ("messages", "stored", "duplicates", "rejected", "unkept", "lost")},
    }  # fmt: skip
    print(f"\n{kind}, {RATE} a second: {json.dumps(figures, indent=1)}")
    record("hostile", "make bench", FIGURES)
    assert seen["lost"] == 0
    assert seen["dropped_qos0"] == 0
    assert seen["messages"] >= sent


if __name__ == "__main__":
    send(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
