"""Channel `mqtt:TOPIC`: one QoS 1 message per notification; also the small client of the state publisher."""

import threading
import uuid
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from monitor.domain.alert import Notification
from monitor.errors import ConfigError, DeliveryError
from monitor.notify.notifiers.webhook import payload

TIMEOUT_S: Final = 8.0


class MqttPublisher:
    """Publishes and waits for the broker's acknowledgement; connects by itself, again and again."""

    def __init__(
        self,
        url: str,
        username: str = "",
        password: str = "",
        *,
        ca_file: str = "",
        will: tuple[str, str] | None = None,
        name: str = "notify",
    ) -> None:
        parsed = urlsplit(url)
        if parsed.scheme not in {"mqtt", "mqtts"} or not parsed.hostname:
            raise ConfigError("broker url must look like mqtt://host:1883 or mqtts://host:8883")
        self._host, self._port = parsed.hostname, parsed.port or (8883 if parsed.scheme == "mqtts" else 1883)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"slopeward-{name}-{uuid.uuid4().hex[:8]}")
        user, secret = username or unquote(parsed.username or ""), password or unquote(parsed.password or "")
        if user:
            self._client.username_pw_set(user, secret)
        if parsed.scheme == "mqtts":
            self._client.tls_set(ca_certs=ca_file or None)
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=True)
        self._client.reconnect_delay_set(1, 15)
        self._client.connect_timeout = 5.0
        self._connected = threading.Event()
        self.connections = 0
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._started = False

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            self.connections += 1
            self._connected.set()

    def _on_disconnect(self, *_: Any) -> None:
        self._connected.clear()

    def publish(self, topic: str, content: str, *, retain: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        """Publish at QoS 1 and return when the broker has acknowledged.

        Raises:
            DeliveryError: not connected, or no acknowledgement in time.
        """
        if not self._started:
            self._client.connect_async(self._host, self._port, keepalive=30)
            self._client.loop_start()
            self._started = True
        if not self._connected.wait(timeout_s):
            raise DeliveryError("mqtt: no connection to the broker")
        info = self._client.publish(topic, content, qos=1, retain=retain)
        try:
            info.wait_for_publish(timeout_s)
        except (RuntimeError, ValueError) as error:
            raise DeliveryError(f"mqtt: {error}") from error
        if not info.is_published():
            raise DeliveryError("mqtt: the broker did not acknowledge in time")

    def close(self) -> None:
        """Disconnect in order: the last will is not sent."""
        if self._started:
            self._client.disconnect()
            self._client.loop_stop()


class MqttNotifier:
    """Publishes the webhook's JSON on a topic of the broker named by `SLOPEWARD_BROKER__URL` and its password."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        if not address or any(sign in address for sign in "+#"):
            raise ConfigError(f"channel mqtt:{address}: name one topic, without + and #")
        self._topic = address
        self._publisher = MqttPublisher(
            environ.get("SLOPEWARD_BROKER__URL", "mqtt://127.0.0.1:1883"),
            environ.get("SLOPEWARD_BROKER__USERNAME", ""), environ.get("SLOPEWARD_BROKER__PASSWORD", ""),
            ca_file=environ.get("SLOPEWARD_BROKER__CA_FILE", ""),
        )  # fmt: skip

    def deliver(self, notification: Notification) -> None:
        """Publish and wait for the broker."""
        self._publisher.publish(self._topic, payload(notification))
