"""Measured records through the real path: broker, ingest, evaluation and delivery, on a clock that the test moves."""

import json
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from typing import Any, Self

import paho.mqtt.client as mqtt

from monitor.alerting.evaluate import evaluate_site
from monitor.config.service import ServiceConfig
from monitor.domain.alert import AlertChange
from monitor.domain.instants import format_iso
from monitor.domain.observation import Observation
from monitor.domain.site import Site
from monitor.ingest.service import Ingest, IngestContext
from monitor.notify.dispatcher import Dispatcher
from monitor.store.database.engine import Database


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


class Listener:
    """A webhook that counts what it gets by idempotency key."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.keys.append(self.headers["Idempotency-Key"])
                outer.bodies.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def payloads(observations: Iterable[Observation]) -> list[tuple[str, bytes]]:
    """One message per station and epoch, in the native payload; components of displacement travel as one gnss block."""
    messages = []
    order = sorted(observations, key=lambda o: (o.observed_at, o.station, o.quantity))
    for (at, station, site), group in groupby(order, key=lambda o: (o.observed_at, o.station, o.site)):
        values = {o.quantity: o for o in group}
        body: dict[str, Any] = {"time": format_iso(at)}
        parts = [values.pop(f"displacement_{p}", None) for p in ("east", "north", "up")]
        if all(parts):
            body["gnss"] = {
                "enu_mm": [p.value for p in parts if p],
                "cov_mm2": [*((p.sigma or 0.0) ** 2 for p in parts if p), 0.0, 0.0, 0.0],
                "epoch0": "2000-01-01T00:00:00Z",
                "frame": "NAM08",
                "solution": "final",
            }
        if values:
            body["values"] = {q: {"value": o.value, "unit": o.unit} for q, o in values.items()}
        messages.append((f"slopeward/v1/{site}/{station}/obs", json.dumps(body).encode()))
    return messages


@dataclass
class Player:
    """Publishes records in order of time and evaluates after each block, as the service would have done then."""

    db: Database
    broker_url: str
    sites: dict[str, Site]
    clock: Clock
    client_id: str = "player"
    levels: list[tuple[datetime, str, int]] = field(default_factory=list)
    alarms: list[AlertChange] = field(default_factory=list)
    published: int = 0

    def __enter__(self) -> Self:
        config = ServiceConfig.model_validate(
            {"broker": {"mode": "external", "url": self.broker_url, "client_id": self.client_id}}
        )
        self.ingest = Ingest(IngestContext(self.db, config, self.sites, lambda _: None, self.alarms.append, self.clock))
        self.ingest.start()
        self._publisher = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"{self.client_id}-pub", protocol=mqtt.MQTTv5)
        host, port = self.broker_url.removeprefix("mqtt://").split(":")
        self._publisher.connect(host, int(port))
        self._publisher.loop_start()
        self._wait(lambda: all(self.ingest.status()["connected"].values()), "sessions")
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.disconnect()
        self._publisher.loop_stop()
        self.ingest.stop(10)

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish at QoS 1 and wait until each message was stored or rejected."""
        for topic, body in messages:
            self._publisher.publish(topic, body, qos=1)
        self.published += len(messages)
        self._wait(lambda: self.ingest.status()["messages"] >= self.published, "messages to be stored")

    def play(self, site: Site, observations: Sequence[Observation], block: timedelta) -> None:
        """Play a record in blocks of time: move the clock to the end of the block, publish it, evaluate."""
        order = sorted(observations, key=lambda o: o.observed_at)
        start = order[0].observed_at
        for index, group in groupby(order, key=lambda o: (o.observed_at - start) // block):
            self.clock.now = start + (index + 1) * block - timedelta(minutes=1)
            self.publish(payloads(group))
            result = evaluate_site(self.db, site, self.clock.now, "data")
            if not self.levels or self.levels[-1][1:] != (site.id, result.level):
                self.levels.append((self.clock.now, site.id, result.level))

    @staticmethod
    def _wait(condition: Any, what: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited in vain for {what}")
            time.sleep(0.002)


def deliver_all(db: Database, sites: dict[str, Site], clock: Clock, environ: dict[str, str]) -> None:
    """Run the dispatcher until nothing is left to send."""
    from sqlalchemy import func, select

    from monitor.store.schema.tables import notification

    dispatcher = Dispatcher(db, sites, clock, environ=environ, jitter=lambda: 0.0, poll_s=0.05)
    dispatcher.start()
    try:
        deadline = time.monotonic() + 60
        waiting = select(func.count()).where(notification.c.state.in_(["queued", "claimed", "failed_retry"]))
        while time.monotonic() < deadline:
            with db.read() as c:
                if c.execute(waiting).scalar() == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError("notifications are left in the outbox")
    finally:
        dispatcher.stop(10)
