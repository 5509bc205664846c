"""Channel `mqtt:TOPIC`: one message at QoS 1. `MqttPublisher` is also the client of the state publisher and sirens."""

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
    """MQTT client that publishes and waits for the acknowledgement of the broker. It reconnects by itself.

    Args:
        will: Topic and content of the last will, which is retained.
        name: Part of the client id.
        filters: Topics to subscribe to.
        on_message: Called in the network thread with topic, payload and whether the message was retained.
    """

    def __init__(
        self,
        access: Access,
        *,
        will: tuple[str, str] | None = None,
        name: str = "notify",
        filters: Sequence[str] = (),
        on_message: Callable[[str, bytes, bool], None] | None = None,
    ) -> None:
        self._access = access
        self._filters = filters
        self._on_message = on_message
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
                client.subscribe([(topic_filter, 1) for topic_filter in self._filters])
            self.connections += 1
            self._connected.set()

    def _receive(self, _client: Any, _userdata: Any, message: Any) -> None:
        if self._on_message is not None:
            self._on_message(message.topic, bytes(message.payload), bool(message.retain))

    def _on_disconnect(self, *_: Any) -> None:
        self._connected.clear()

    def listen(self) -> None:
        """Start to connect, unless that was done before. Messages of the filters arrive from now on."""
        if not self._started:
            self._client.connect_async(*self._access.target, keepalive=30)
            self._client.loop_start()
            self._started = True

    def publish(self, topic: str, content: str, *, retain: bool = False, timeout_s: float | None = None) -> None:
        """Publish at QoS 1 and return when the broker has acknowledged.

        Args:
            timeout_s: For the connection and again for the acknowledgement; default `TIMEOUT_S`.

        Raises:
            DeliveryError: There was no connection, or no acknowledgement in time.
        """
        timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
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
        """Disconnect. The broker does not publish the last will."""
        if self._started:
            self._client.disconnect()
            self._client.loop_stop()


class MqttNotifier:
    """Publishes the JSON of a webhook on a topic of the broker of the service."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        if fault := find_topic_fault(f"mqtt:{address}"):
            raise ConfigError(f"channel {fault}")
        self._topic = address
        self._publisher = MqttPublisher(read_access(environ))
        state = environ.get("SLOPEWARD_PATHS__STATE", "")
        self._keyring = Keyring(Path(state) / KEYS_FILE, environ.get("SLOPEWARD_SIGNING__KEYS", "")) if state else None

    def deliver(self, notification: Notification) -> None:
        """Publish the message, signed if there are keys, and wait for the acknowledgement."""
        keys = self._keyring.readable_keys() if self._keyring is not None else ()
        content = sign(self._topic, payload(notification), keys, datetime.now(UTC))
        self._publisher.publish(self._topic, content)
