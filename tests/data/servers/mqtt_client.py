"""A client of a broker as a test or an attacker would write one: it remembers all that the broker answers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from monitor.broker.access import Access
from tests.fixtures.waiting import wait_for


class Caller:
    """Connects, publishes and listens; `answers` are the reasons of the broker, `heard` what it delivered."""

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
        """Whether the broker let it in."""
        return self.answers[0] == "Success"

    def publish(self, topic: str, payload: str | bytes = b"{}", *, retain: bool = False) -> str:
        """Publish at QoS 1 and return the broker's reason; `Success` also where nobody listens."""
        mid = self.client.publish(topic, payload, qos=1, retain=retain).mid
        self.wait(lambda: mid in self.published, f"an answer to {topic}")
        return self.published[mid].replace("No matching subscribers", "Success")

    def listen(self, *filters: str) -> None:
        """Subscribe and return when the broker has confirmed it."""
        self.client.subscribe([(one, 1) for one in filters])
        self.wait(lambda: self.subscribed, "the subscription")

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Until it is true; fails when it never is."""
        wait_for(condition, description=what)

    def break_off(self) -> None:
        """Vanish as a broken line does: the broker sends the last will."""
        self.client.loop_stop()
        self.client._sock_close()

    def close(self) -> None:
        """Leave in order."""
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def calling(access: Access, client_id: str = "", **more: Any) -> Iterator[Caller]:
    """A caller that leaves at the end."""
    caller = Caller(access, client_id, **more)
    try:
        yield caller
    finally:
        caller.close()
