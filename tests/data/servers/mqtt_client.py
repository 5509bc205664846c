"""Client of a broker for tests, which records the answers and messages of the broker."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from monitor.broker.access import Access
from tests.fixtures.waiting import wait_for


class Caller:
    """Connects, publishes and subscribes.

    Attributes:
        answers: Reason codes of connections.
        ends: Reason codes of disconnections.
        published: Reason codes of published messages, by packet identifier.
        heard: Topic and payload of received messages.
        subscribed: Number of confirmed subscriptions.
    """

    def __init__(
        self,
        access: Access,
        client_id: str = "",
        *,
        clean: bool = True,
        expiry_s: int = 0,
        will: tuple[str, str] | None = None,
    ) -> None:
        self.answers: list[str] = []
        self.ends: list[str] = []
        self.published: dict[int, str] = {}
        self.heard: list[tuple[str, bytes]] = []
        self.subscribed = 0
        self.client = access.open_client(client_id, mqtt5=True)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self.answers.append(str(reason))
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self.ends.append(str(reason))
        self.client.on_publish = lambda _c, _u, mid, reason, _p: self.published.update({mid: str(reason)})
        self.client.on_message = lambda _c, _u, m: self.heard.append((m.topic, bytes(m.payload)))
        self.client.on_subscribe = lambda *_: setattr(self, "subscribed", self.subscribed + 1)
        if will is not None:
            self.client.will_set(*will, qos=1, retain=True)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = expiry_s
        self.client.connect(*access.target, clean_start=clean, properties=properties)
        self.client.loop_start()
        self.wait(lambda: self.answers, "an answer to the connection")

    @property
    def is_in(self) -> bool:
        """Whether the broker accepted the connection."""
        return self.answers[0] == "Success"

    def publish(self, topic: str, payload: str | bytes = b"{}", *, retain: bool = False) -> str:
        """Publish with QoS 1 and return the reason code. It is `Success` also if no client has subscribed."""
        mid = self.client.publish(topic, payload, qos=1, retain=retain).mid
        self.wait(lambda: mid in self.published, f"an answer to {topic}")
        return self.published[mid].replace("No matching subscribers", "Success")

    def listen(self, *filters: str) -> None:
        """Subscribe and wait for the confirmation of the broker."""
        self.client.subscribe([(topic_filter, 1) for topic_filter in filters])
        self.wait(lambda: self.subscribed, "the subscription")

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until a condition is true. Fail if it stays false."""
        wait_for(condition, description=what)

    def break_off(self) -> None:
        """Close the socket without a DISCONNECT, so that the broker sends the last will."""
        self.client.loop_stop()
        self.client._sock_close()

    def close(self) -> None:
        """Disconnect in the regular way."""
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def calling(access: Access, client_id: str = "", **more: Any) -> Iterator[Caller]:
    """Yield a connected client and disconnect it at the end."""
    caller = Caller(access, client_id, **more)
    try:
        yield caller
    finally:
        caller.close()
