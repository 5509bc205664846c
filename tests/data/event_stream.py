"""A client of a stream of server-sent events, which reads in a thread of its own."""

import threading
import time
from typing import Any, NamedTuple, Self

import httpx

from tests.fixtures.waiting import wait_for


class ServerSentEvent(NamedTuple):
    """One event as a browser would dispatch it."""

    name: str
    event_id: str
    data: str
    received_s: float  # by the monotonic clock


class EventStreamClient:
    """Connect to a stream within `with`, and collect its events."""

    def __init__(self, url: str, path: str, last_event_id: str = "", cookies: Any = None) -> None:
        self.status = 0
        self.headers = httpx.Headers()
        self.retry_ms: int | None = None
        self.events: list[ServerSentEvent] = []
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False, verify=False, cookies=cookies)
        self._path = path
        self._request_headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._response: httpx.Response | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self.status, description="the answer of the server")
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()
        self._client.close()

    @property
    def is_ended(self) -> bool:
        """Whether the server ended the stream."""
        return not self._thread.is_alive()

    def count(self, name: str) -> int:
        """Return how many events of a name arrived."""
        return sum(event.name == name for event in self.events)

    def wait_for_event(self, name: str, count: int = 1) -> ServerSentEvent:
        """Return the `count`-th event of a name, and wait for it if necessary."""
        wait_for(lambda: self.count(name) >= count, description=f"event {count} named {name}")
        return [event for event in self.events if event.name == name][count - 1]

    def disconnect(self) -> None:
        """Close the connection, as a browser does when a page is left."""
        if self._response is not None:
            stream = self._response.extensions["network_stream"].get_extra_info("socket")
            if stream is not None and not self.is_ended:
                stream.shutdown(2)
        self._thread.join(10)

    def _read(self) -> None:
        try:
            with self._client.stream("GET", self._path, headers=self._request_headers) as response:
                self._response = response
                self.headers = response.headers
                self.status = response.status_code
                fields: dict[str, str] = {}
                for line in response.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "retry":
                        self.retry_ms = int(value)
                    if line:
                        fields[name] = value
                    elif "event" in fields:
                        event = (fields["event"], fields.get("id", ""), fields["data"])
                        self.events.append(ServerSentEvent(*event, time.monotonic()))
                        fields = {}
        except httpx.HTTPError:
            pass
