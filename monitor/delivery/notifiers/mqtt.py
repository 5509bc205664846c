"""Channel `mqtt:TOPIC`: one QoS 1 message per notification; also the small client of the state publisher."""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from monitor.alerts.notification import Notification
from monitor.broker.access import Access, read_access
from monitor.broker.signing import KEYS_FILE, Keyring, sign
from monitor.delivery.notifiers.webhook import payload
from monitor.errors import ConfigError, DeliveryError
from monitor.sites.channels import find_topic_fault
from monitor.text.message import Template

TIMEOUT_S: Final = 8.0
_NO_CONNECTION: Final = Template("delivery.mqtt.no_connection", "mqtt: no connection to the broker")
_NOT_IN_TIME: Final = Template("delivery.mqtt.not_in_time", "mqtt: the broker did not acknowledge in time")


class MqttPublisher:
    """Publishes and waits for the broker's acknowledgement; connects by itself, again and again."""

    def __init__(
        self,
        access: Access,
        *,
        will: tuple[str, str] | None = None,
        name: str = "notify",
        filters: Sequence[str] = (),
        on_message: Callable[[str, bytes, bool], None] | None = None,
    ) -> None:
        self._access, self._filters, self._on_message = access, filters, on_message
        self._client = access.open_client(f"slopeward-{name}-{uuid.uuid4().hex[:8]}", mqtt5=False)
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=True)
        self._client.reconnect_delay_set(1, 15)
        self._client.connect_timeout = 5.0
        self._connected = threading.Event()
        self.connections = 0
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._receive
        self._started = False

    def _on_connect(self, client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            if self._filters:
                client.subscribe([(one, 1) for one in self._filters])
            self.connections += 1
            self._connected.set()

    def _receive(self, _client: Any, _userdata: Any, message: Any) -> None:
        if self._on_message is not None:
            self._on_message(message.topic, bytes(message.payload), bool(message.retain))

    def _on_disconnect(self, *_: Any) -> None:
        self._connected.clear()

    def listen(self) -> None:
        """Connect, if that was not done yet: what the filters name is heard from now on."""
        if not self._started:
            self._client.connect_async(*self._access.target, keepalive=30)
            self._client.loop_start()
            self._started = True

    def publish(self, topic: str, content: str, *, retain: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        """Publish at QoS 1 and return when the broker has acknowledged.

        Raises:
            DeliveryError: not connected, or no acknowledgement in time.
        """
        self.listen()
        if not self._connected.wait(timeout_s):
            raise DeliveryError(_NO_CONNECTION())
        info = self._client.publish(topic, content, qos=1, retain=retain)
        try:
            info.wait_for_publish(timeout_s)
        except (RuntimeError, ValueError) as error:
            raise DeliveryError(f"mqtt: {error}") from error
        if not info.is_published():
            raise DeliveryError(_NOT_IN_TIME())

    def close(self) -> None:
        """Disconnect in order: the last will is not sent."""
        if self._started:
            self._client.disconnect()
            self._client.loop_stop()


class MqttNotifier:
    """Publishes the webhook's JSON on a topic of the broker named by `SLOPEWARD_BROKER__URL` and its password."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        if fault := find_topic_fault(f"mqtt:{address}"):
            raise ConfigError(f"channel {fault}")
        self._topic = address
        self._publisher = MqttPublisher(read_access(environ))
        state = environ.get("SLOPEWARD_PATHS__STATE", "")
        self._keyring = Keyring(Path(state) / KEYS_FILE, environ.get("SLOPEWARD_SIGNING__KEYS", "")) if state else None

    def deliver(self, notification: Notification) -> None:
        """Publish, signed where there are keys, and wait for the broker."""
        keys = self._keyring.known() if self._keyring is not None else ()
        content = sign(self._topic, payload(notification), keys, datetime.now(UTC))
        self._publisher.publish(self._topic, content)
