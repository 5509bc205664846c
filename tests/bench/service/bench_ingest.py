"""Messages per second that ingest acknowledges after their commit, as a ratio to a bare paho subscriber.

    python -m tests.bench --only ingest-live --only ingest-drain

`live`: the publisher sends as fast as it can while the subscriber is connected. `drain`: the subscriber connects when
the broker holds the queue. Publisher, subscriber and broker are processes of their own. The broker is the managed one,
with a login for each side and its access lists, and all subscribers connect by its socket.

Three subscribers take turns:

* The bare subscriber is paho with the session and Receive Maximum of the service and automatic acknowledgements. Its
  callback counts and does nothing else. It makes eight system calls for each message.
* Ingest reads many messages at once and acknowledges many at once, so that a ratio above 1 is possible.
* The session of ingest alone acknowledges what arrived every 50 ms and stores nothing. It is the upper bound: the
  difference to ingest is the cost of decoding and storing.

After a drain, `measure_bare_insert` stores the same readings once more, without a broker and without decoding.

On a machine with other load, compare the processor time of each message instead of the rate. If the publisher is
slower than the subscribers, all rates of `live` are about the same.
"""

import json
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from sqlalchemy import delete, insert, select

from monitor.broker.access import Access, find_access
from monitor.ingest.broker_process import ManagedBroker, find_mosquitto
from monitor.ingest.message import BATCH_MESSAGES
from monitor.readings.tables import observation
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from tests.data.servers.mqtt_client import calling
from tests.fixtures.waiting import free_port

ENTRY = Path(__file__).parents[2] / "end_to_end" / "ingest_only.py"
BARE = """
import sys, time, json
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
count = 0
def count_message(c, u, m):
    global count
    count += 1
door = json.loads(sys.argv[1])
v5 = MQTTProtocolVersion.MQTTv5
client = Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=v5, transport=door["by"])
client.username_pw_set(door["username"], door["password"])
client.on_message = count_message
client.on_connect = lambda c, *_: c.subscribe([("slopeward/v1/+/+/obs", 1)])
p = Properties(PacketTypes.CONNECT); p.SessionExpiryInterval = 0xFFFFFFFF; p.ReceiveMaximum = 4000
def report():
    status = {"messages": count, "connected": {"live": client.is_connected()}}
    print(json.dumps({"at": time.monotonic(), "cpu_s": time.process_time(), **status}), flush=True)
# A short queue may arrive before the first report of the loop.
report()
client.connect(*door["target"], clean_start=False, properties=p)
client.loop_start()
while True:
    report()
    time.sleep(0.05)
"""
SESSION = """
import sys, time, json
from collections import deque
from datetime import UTC, datetime
from monitor.broker.access import Access
from monitor.ingest.mqtt import BrokerSession
from monitor.ingest.mqtt import MqttSession
door = json.loads(sys.argv[1])
place = {"socket": door["target"][0]} if door["by"] == "unix" else dict(zip(("host", "port"), door["target"]))
access = Access(username=door["username"], password=door["password"], **place)
came, count = deque(), 0
session = MqttSession(
    BrokerSession("live", "session", ("slopeward/v1/+/+/obs",)), access, came.append, lambda _: None,
    lambda: datetime.now(UTC),
)
def report():
    status = {"messages": count, "connected": {"live": session.listening}}
    print(json.dumps({"at": time.monotonic(), "cpu_s": time.process_time(), **status}), flush=True)
# A short queue may arrive before the first report of the loop.
report()
session.start()
while True:
    batch = [came.popleft() for _ in range(len(came))]
    session.acknowledge(batch)
    count += len(batch)
    report()
    time.sleep(0.05)
"""
SEND = """
import sys, json, time
from datetime import datetime, timedelta, timezone
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
door, count = json.loads(sys.argv[1]), int(sys.argv[2])
client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
client.username_pw_set(door["username"], door["password"])
client.max_inflight_messages_set(2000)
client.connect(*door["target"])
client.loop_start()
start = datetime(2026, 3, 1, tzinfo=timezone.utc) + timedelta(days=int(sys.argv[3]))
last = []
for i in range(count):
    payload = json.dumps({
        "time": (start + timedelta(seconds=i)).isoformat(), "source": "l", "boot_id": int(sys.argv[3]), "seq": i,
        "displacement_east_mm": i * 0.01,
    })
    last.append(client.publish(f"slopeward/v1/north/G{i % 8 + 1}/obs", payload, qos=1))
    if i % 1000 == 999:
        last[-1000].wait_for_publish(30)
for info in last[-1000:]:
    info.wait_for_publish(60)
"""


class Subscriber:
    """A child that prints its count every 50 ms."""

    def __init__(self, words):
        self.lines = []
        self.child = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.append(json.loads(line))

    def wait(self, condition):
        deadline = time.monotonic() + 300
        while not any(condition(line) for line in self.lines[-3:]):
            assert time.monotonic() < deadline, self.lines[-1:]
            time.sleep(0.02)

    def measure(self, count):
        """Messages per second, and microseconds of processor time for each, between the first and the last percent."""
        self.wait(lambda line: line.get("messages", 0) >= count)
        points = [(line["at"], line["messages"], line["cpu_s"]) for line in self.lines if "messages" in line]
        first = next(p for p in points if p[1] > 0)
        last = next(p for p in points if p[1] >= count)
        before = max((p for p in points if p[1] == 0), default=first)
        messages = last[1] - before[1]
        return messages / (last[0] - before[0]), (last[2] - before[2]) / messages * 1e6

    def stop(self):
        self.child.terminate()
        self.child.wait(20)
        self.reader.join()
        self.child.stdout.close()


@contextmanager
def open_broker(folder):
    """Provide the managed broker: its folder, the access of the service, and the login of a gateway."""
    if find_mosquitto() is None:
        raise RuntimeError("Mosquitto is not installed; run `make servers`")
    child = ManagedBroker(folder / "broker", free_port())
    login, password = child.book.issue("north")
    child.start()
    access = find_access(SimpleNamespace(mode="managed", data=child.folder))
    gateway = Access(port=child.port, username=login.name, password=password)
    try:
        yield SimpleNamespace(folder=child.folder, access=access, gateway=gateway)
    finally:
        child.stop()


def spell_door(access):
    by = "unix" if access.socket else "tcp"
    return json.dumps({"by": by, "target": access.target, "username": access.username, "password": access.password})


def send(broker, day, count):
    subprocess.run([sys.executable, "-c", SEND, spell_door(broker.gateway), str(count), str(day)], check=True)


def measure(words, broker, mode, day, messages):
    subscriber = Subscriber(words)
    try:
        subscriber.wait(lambda line: line.get("connected", {}).get("live"))
        time.sleep(0.3)
        if mode == "drain":
            subscriber.stop()
            send(broker, day, messages)
            subscriber = Subscriber(words)
        else:
            send(broker, day, messages)
        return subscriber.measure(messages)
    finally:
        subscriber.stop()


def measure_ingest(url, folder, mode, messages, rounds):
    """Return the rates of ingest, of the bare subscriber and of the session alone, from the round of median ratio.

    Args:
        url: an empty database.
        folder: an empty folder for the broker.
        mode: `live` or `drain`.
        messages: number of messages of a round.
        rounds: number of rounds.
    """
    with Database(url) as db:
        upgrade(db)
    ratios, rates = [], []
    with open_broker(folder) as broker:
        for day in range(rounds):
            bare, _ = measure(["-c", BARE, spell_door(broker.access)], broker, mode, day, messages)
            clear(broker.access, "bare")
            bound, _ = measure(["-c", SESSION, spell_door(broker.access)], broker, mode, day, messages)
            clear(broker.access, "session")
            ingest, _ = measure([str(ENTRY), url, str(broker.folder)], broker, mode, day, messages)
            clear(broker.access, "slopeward")
            ratios.append(ingest / bare)
            rates.append({"messages_per_s": ingest, "bare_messages_per_s": bare, "session_messages_per_s": bound})
    return rates[ratios.index(statistics.median_low(ratios))]


def measure_bare_insert(url):
    """Return how many stored readings per second plain `executemany` inserts again, a transaction per batch."""
    with Database(url) as db:
        with db.write() as c:
            rows = [dict(row) for row in c.execute(select(observation)).mappings()]
            c.execute(delete(observation))
        started_s = time.perf_counter()
        for first in range(0, len(rows), BATCH_MESSAGES):
            with db.engine.begin() as c:
                c.execute(insert(observation), rows[first : first + BATCH_MESSAGES])
        return len(rows) / (time.perf_counter() - started_s)


def clear(access, client_id):
    """Let the broker forget a session, so that it does not queue for a client that is gone."""
    with calling(access, client_id):
        pass
