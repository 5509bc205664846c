"""Channel `siren:TOPIC`: a signed order to a siren or sign by MQTT, which the device confirms."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from forecasting.message import Template
from monitor.broker.access import read_access
from monitor.broker.signing import KEYS_FILE, Keyring, sign
from monitor.domain.alert import Notification
from monitor.domain.canonical import canonical_json
from monitor.domain.duty.channels import find_topic_fault
from monitor.domain.errors import ConfigError, DeliveryError
from monitor.domain.instants import format_iso
from monitor.extensions.telephony.store.siren_orders import SirenOrder, make_order
from monitor.notify.notifiers.mqtt import MqttPublisher
from monitor.store.database.engine import Database

SOUND_FOR_S: Final = 180.0
VALID_FOR_S: Final = 300.0
_NO_RECIPIENT: Final = Template("delivery.siren.no_recipient", "siren: the site file names no such recipient any more")


class SirenNotifier:
    """Orders at the levels that the recipient names, and ends it below them; taken is an order when the broker has it.

    Settings: the broker, the keys of the signatures, SLOPEWARD_SIREN__VALID_FOR_S and SOUND_FOR_S.
    """

    def __init__(self, address: str, environ: Mapping[str, str], db: Database | None) -> None:
        if fault := find_topic_fault(f"siren:{address}"):
            raise ConfigError(f"channel {fault}")
        self._topic, self._db = address, db
        self._publisher = MqttPublisher(read_access(environ), name="siren")
        state = Path(environ.get("SLOPEWARD_PATHS__STATE", "var"))
        self._keyring = Keyring(state / KEYS_FILE, environ.get("SLOPEWARD_SIGNING__KEYS", ""))
        self._valid_for = timedelta(seconds=float(environ.get("SLOPEWARD_SIREN__VALID_FOR_S", VALID_FOR_S)))
        self._sound_s = float(environ.get("SLOPEWARD_SIREN__SOUND_FOR_S", SOUND_FOR_S))

    def deliver(self, notification: Notification) -> str:
        """Write the order down, publish it, and wait for the broker."""
        n, now = notification, datetime.now(UTC)
        if n.id and n.ledger != "hazard":
            raise DeliveryError("siren: takes hazards alone", permanent=True)
        if n.id and n.sounds_from is None and n.level > 0:
            raise DeliveryError(_NO_RECIPIENT(), permanent=True)
        if self._db is None:
            raise DeliveryError("siren: orders are kept in the database, which is away", permanent=True)
        keys = self._keyring.known()
        if not keys:
            raise DeliveryError("siren: there is no key to sign with; see `slopeward broker keys`")
        order = self._db.do(make_order, self._topic, n, now, self._valid_for)
        content = format_order(order, self._sound_s)
        self._publisher.publish(self._topic, sign(self._topic, content, keys, now))
        return f"siren {order.sequence}"


def format_order(order: SirenOrder, sound_s: float) -> str:
    """The order as JSON, not signed yet."""
    return canonical_json(
        {
            "sequence": order.sequence,
            "wanted": order.wanted,
            "site": order.site,
            "level": order.level,
            "level_name": order.level_name,
            "exercise": order.exercise,
            "sound_s": sound_s,
            "ordered_at": format_iso(order.ordered_at),
            "valid_until": format_iso(order.valid_until),
        }
    )
