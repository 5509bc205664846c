"""Ten thousand damaged payloads of each decoder: none is lost, none stops a decoder, live messages come in as before.

    pytest -q -s --timeout=1800 tests/bench/service/bench_hostile.py    # ten minutes
    BENCH_HOSTILE=300 pytest ...                                                       # a minute, to see that it ends
    BENCH_HOSTILE_RATE=300 pytest ...                                                  # 18 minutes, rows of their own

The payloads are the published ones, damaged by a seed. First each decoder reads its own in this process. Then they are
sent to a running service, half of them on each database, by a process of its own that has drawn them before. A station
reports 50 times a second: alone, beside sound payloads, beside the damaged ones, and beside sound ones once more. It
has a history as long as any job reads, so that such a job costs as much in the first round as in the last. The arms
take turns in rounds, in an order drawn for each, so that the load of the machine meets all of them. Its latency is from
the instant of the reading to the committed row, seen from outside every 5 ms. What damage costs is the ratio to the
sound ones, both arms of them: any message costs something. Nothing sets the second sound ones apart from the first:
their ratio is what chance makes of it. The interval of a ratio (95 %) is of rounds drawn anew with replacement.

One stall of a third of a second is the p99 of a whole arm. So the p99 of a usual spell stands beside it: the median
over pieces of 120 messages, as long for each arm.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import text

from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.parsing import parse_site
from monitor.storage.engine import Database
from monitor.text.instants import format_iso, parse_time
from tests.bench.record import SERVICE_RESULTS
from tests.bench.service.slopes import close_client, open_client
from tests.data.payloads.hostile import damage
from tests.data.payloads.published import NOW, PUBLISHED, SITE, SITE_FILE
from tests.data.running import Service

EACH = int(os.environ.get("BENCH_HOSTILE", "10000"))
RATE = int(os.environ.get("BENCH_HOSTILE_RATE", "600"))
ROUNDS = min(10, max(2, EACH // 100))
LIVE_RATE = 50
HISTORY = 20_000  # readings of the station before the service starts: no job reads more
PIECE = 120  # live messages
SHARE = 0.2  # of the sound payloads in an arm, to the damaged ones
DRAWS = 1000
SOUND, AGAIN = "sound", "sound again"
KINDS = sorted({one.decoder for one in PUBLISHED})
FIGURES = SERVICE_RESULTS.load_figures("hostile") or {}
TOPIC = "slopeward/v1/north/L1/obs"
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


def say(rng, at):
    """What the station reports: it stands still, with the noise of an instrument."""
    return json.dumps({"time": at.isoformat(), "displacement_mm": round(rng.gauss(1.0, 0.1), 3)}).encode()


def remember(url):
    """Store what the station reported before, up to now."""
    rng, now = random.Random(0), datetime.now(UTC)
    with Database(url) as database:
        pipeline = Pipeline(database, {"north": parse_site(SITE_FILE + LIVE, "north.toml")}, lambda: now)
        for first in range(HISTORY, 0, -500):
            times = [now - timedelta(seconds=k / LIVE_RATE) for k in range(first, first - 500, -1)]
            outcome = pipeline.store([BrokerMessage(TOPIC, say(rng, at), now, "live", epoch=1) for at in times])
            assert outcome.added.stored == len(times)


def send(port):
    """Publish what standard input asks for: draw it, say so, and send it at the rate when told to."""
    client = open_client(port, 500)
    for line in sys.stdin:
        count, seed = line.split(maxsplit=1)
        streams = [draw(kind, int(count), seed.strip()) for kind in KINDS if kind != "rows"]
        drawn = [one for turn in zip(*streams, strict=True) for one in turn]
        print("drawn", flush=True)
        sys.stdin.readline()
        begun, last = time.monotonic(), []
        for number, (topic, raw) in enumerate(drawn):
            last.append(client.publish(topic, raw, qos=1))
            if len(last) > 1000:
                last.pop(0).wait_for_publish(60)
            time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        for info in last:
            info.wait_for_publish(60)
        print("sent", flush=True)
    close_client(client)


class Sender:
    """The process that publishes so many payloads of each decoder that a broker carries, turn by turn."""

    def __init__(self, port):
        words = [sys.executable, "-m", "tests.bench.service.bench_hostile", str(port)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def draw(self, count, seed):
        self._ask(f"{count} {seed}", "drawn")

    def send(self):
        self._ask("go", "sent")

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _ask(self, line, answer):
        print(line, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline().strip() == answer


class Live(threading.Thread):
    """A station that reports steadily, and what an onlooker sees of it."""

    def __init__(self, port, url):
        super().__init__(daemon=True)
        self.stopping, self.seen, self._url = threading.Event(), [], url
        self.client = open_client(port)

    def run(self):
        database, newest, due = Database(self._url), format_iso(datetime.now(UTC)), time.monotonic()
        rng = random.Random(1)
        query = text(
            "SELECT o.observed_at FROM observation o JOIN series s ON s.id = o.series_id"
            " WHERE s.station = 'L1' AND o.observed_at > :newest ORDER BY o.observed_at"
        )
        while not self.stopping.wait(0.005):
            if time.monotonic() >= due:
                self.client.publish(TOPIC, say(rng, datetime.now(UTC)), qos=1)
                due += 1 / LIVE_RATE
            with database.read() as c:
                seen = list(c.execute(query, {"newest": newest}).scalars())
            now = datetime.now(UTC)
            self.seen.extend((at, (now - at).total_seconds() * 1e3) for at in map(parse_time, seen))
            newest = seen[-1] if seen else newest
        close_client(self.client)
        database.close()

    def wait(self):
        """Until what came so far is stored, the quarantine with it: an arm leaves nothing to the next one."""
        begun, sent = time.monotonic(), datetime.now(UTC)
        while not self.seen or self.seen[-1][0] < sent:
            assert time.monotonic() - begun < 120
            time.sleep(0.02)
        with Database(self._url) as database:
            kept = None
            while kept != (now := self._count(database)):
                kept = now
                time.sleep(0.5)

    def _count(self, database):
        with database.read() as c:
            return c.execute(text("SELECT count(*), sum(times) FROM rejected_message")).one()

    def find(self, from_at, to_at):
        """Latencies of what was read between two instants, whenever its row came."""
        return [ms for at, ms in self.seen if from_at <= at < to_at]


def find_p99(rounds):
    ms = np.concatenate(rounds)
    at = int(len(ms) * 0.99)
    return float(np.partition(ms, at)[at])


def find_usual_p99(rounds):
    pieces = [some[at : at + PIECE] for some in rounds for at in range(0, max(1, len(some) - PIECE + 1), PIECE)]
    return float(np.median([find_p99([piece]) for piece in pieces]))


def describe(rounds):
    ms = sorted(one for some in rounds for one in some)
    return {
        "p50": round(ms[len(ms) // 2], 1),
        "p99": round(find_p99(rounds), 1),
        "usual_p99": round(find_usual_p99(rounds), 1),
        "messages": len(ms),
    }


def compare(find, heard):
    """Ratios of figures of arms, each with its interval: rounds are drawn anew, those of one number together."""

    def rate(rounds, others):
        chance, ratios = random.Random(7), []
        for _ in range(DRAWS):
            drawn = chance.choices(range(ROUNDS), k=ROUNDS)
            ratios.append(find([rounds[k] for k in drawn]) / find([others[k] for k in drawn]))
        low, high = np.quantile(ratios, (0.025, 0.975))
        return [round(float(x), 2) for x in (find(rounds) / find(others), low, high)]

    sound = [[*one, *other] for one, other in zip(heard[SOUND], heard[AGAIN], strict=True)]
    return {
        "damaged to sound": rate(heard["damaged"], sound),
        "sound again to sound": rate(heard[AGAIN], heard[SOUND]),
        "damaged to alone": rate(heard["damaged"], heard["alone"]),
    }


def test_every_decoder_reads_or_refuses_its_share():
    """Each payload is a row or waits with a reason, whatever came before it."""
    found = {}
    for kind in KINDS:
        pipeline, codes, slowest_ms = Pipeline(None, {"north": SITE}, lambda: NOW), Counter(), 0.0
        begun = time.process_time()
        for topic, raw in draw(kind, EACH, "alone"):
            before = time.process_time()
            decoded = pipeline.decode(BrokerMessage(topic, raw, NOW, "live", epoch=1))
            slowest_ms = max(slowest_ms, (time.process_time() - before) * 1e3)
            assert decoded.observations or decoded.faults or decoded.links or decoded.report or decoded.event
            codes["read" if not decoded.faults else decoded.faults[0].code] += 1
        assert codes["decoder_failed"] == 0
        found[kind] = {
            "payloads": codes.total(),
            "read": codes["read"],
            "reasons": len(codes) - 1,
            "us_each": round((time.process_time() - begun) / EACH * 1e6),
            "slowest_ms": round(slowest_ms),
        }
        print(f"\n{kind}: {found[kind]}")
    FIGURES["alone"] = found
    SERVICE_RESULTS.store("hostile", "make soak", FIGURES)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_live_messages_come_in_as_before(kind, request, mosquitto, tmp_path):
    url = request.getfixturevalue(f"{kind}_url")
    damaged = max(1, EACH // 2 // ROUNDS)
    sound = max(1, round(damaged * SHARE))
    remember(url)
    arms = {"alone": 0, SOUND: sound, "damaged": damaged, AGAIN: sound}
    with Service(tmp_path, url, mosquitto.url, {"north": SITE_FILE + LIVE}, tick="60s") as service:
        service.start()
        live, sender = Live(mosquitto.port, url), Sender(mosquitto.port)
        live.start()
        time.sleep(3)
        begun, load, spells = time.monotonic(), os.getloadavg()[0], []
        for number in range(ROUNDS):
            for name, count in random.Random(number).sample(list(arms.items()), len(arms)):
                if count:
                    sender.draw(count, number if name == "damaged" else SOUND)
                live.wait()
                from_at = datetime.now(UTC)
                if count:
                    sender.send()
                else:
                    time.sleep(sound * (len(KINDS) - 1) / RATE)
                spells.append((name, from_at, datetime.now(UTC)))
        live.wait()
        heard = {name: [live.find(*spell) for arm, *spell in spells if arm == name] for name in arms}
        seconds = time.monotonic() - begun
        sender.close()
        time.sleep(3)
        live.stopping.set()
        live.join()
        seen = json.loads(service.call("status", "--json").stdout)["processes"]["core"]["ingest"]
    sent = damaged * ROUNDS * (len(KINDS) - 1)
    FIGURES[f"{kind}, {RATE} a second"] = figures = {
        "live_ms": {name: describe(rounds) for name, rounds in heard.items()},
        "p99_ms_by_round": {name: [round(find_p99([ms])) for ms in rounds] for name, rounds in heard.items()},
        "damaged_sent": sent,
        "rounds": ROUNDS,
        "seconds": round(seconds),
        "load_at_begin": round(load, 1),
        "p99_ratio_low_high": compare(find_p99, heard),
        "usual_p99_ratio_low_high": compare(find_usual_p99, heard),
        "service": {name: seen[name] for name in ("messages", "stored", "duplicates", "rejected", "unkept", "lost")},
    }
    print(f"\n{kind}, {RATE} a second: {json.dumps(figures, indent=1)}")
    SERVICE_RESULTS.store("hostile", "make soak", FIGURES)
    assert seen["lost"] == 0
    assert seen["dropped_qos0"] == 0
    assert seen["messages"] >= sent


if __name__ == "__main__":
    send(int(sys.argv[1]))
