"""Send messages through a real broker and ingest, with a clock that the test sets, and count calls of a webhook."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import paho.mqtt.client as mqtt

from monitor.decision.changes import AlertChange
from monitor.ingest.service import Ingest, IngestContext
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.engine import Database


@dataclass
class Clock:
    """A clock that changes only when the test sets it."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


class Listener:
    """A webhook that records received messages and their idempotency keys."""

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


@dataclass
class Player:
    """Publish messages to a separate ingest, which stores them."""

    db: Database
    broker_url: str
    sites: dict[str, Site]
    clock: Clock
    client_id: str = "player"
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

    @staticmethod
    def _wait(condition: Any, what: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited in vain for {what}")
            time.sleep(0.002)
