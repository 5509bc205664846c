"""What core runs for telephones, browsers and sirens, and what of it is wrong at the moment."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from monitor.broker.access import find_access
from monitor.broker.signing import KEYS_FILE, Keyring
from monitor.checks.check import BAD, Check, found
from monitor.checks.live import AWAY_S
from monitor.config.service import ServiceConfig
from monitor.domain.extension import ServicePart
from monitor.domain.site import Site
from monitor.extensions.telephony.modem import ModemWatch
from monitor.extensions.telephony.sirens import Sirens, list_topics
from monitor.extensions.telephony.store.devices import publish_push_key
from monitor.extensions.telephony.web_push import find_key, find_public_key
from monitor.store.database.engine import Database


class ModemStatus(NamedTuple):
    """What `ModemWatch.find_trouble` says."""

    trouble: str


class SirenStatus(NamedTuple):
    """What `Sirens.find_troubles` says of each topic."""

    troubles: Mapping[str, str]


def build_parts(
    db: Database, config: ServiceConfig, sites: Mapping[str, Site], clock: Callable[[], datetime]
) -> list[ServicePart]:
    """The key of push messages, and where they are used the modem and the listener to sirens."""
    parts = [ServicePart(follow=PushKey(db, config, clock).follow)]
    if config.sms.gateway == "modem":
        modem = ModemWatch(db, Path(config.sms.modem), clock)
        parts.append(ServicePart(follow=modem.follow, list_seen=lambda: (ModemStatus(modem.find_trouble()),)))
    if topics := list_topics(sites.values()):
        sirens = Sirens(
            db,
            find_access(config.broker),
            clock,
            topics,
            Keyring(Path(config.paths.state) / KEYS_FILE, config.signing.keys).keys,
            config.siren.confirm_within_s,
            config.siren.valid_for_s,
            config.siren.sound_for_s,
        )
        parts.append(ServicePart(sirens.start, sirens.stop, list_seen=lambda: (SirenStatus(sirens.find_troubles()),)))
    return parts


class PushKey:
    """Lets the page know by which key browsers know this service, as soon as there is one."""

    def __init__(self, db: Database, config: ServiceConfig, clock: Callable[[], datetime]) -> None:
        self._db, self._config, self._clock, self._published = db, config, clock, ""

    def follow(self) -> None:
        """One look."""
        private = find_key(Path(self._config.paths.state), self._config.push.key)
        if private and private != self._published:
            with self._db.write() as c:
                publish_push_key(c, find_public_key(private), self._clock())
            self._published = private


CHECKS: Final = (
    Check(
        "sms.modem",
        ModemStatus,
        BAD,
        "text messages do not go out: {trouble}",
        lambda m: found(is_wrong=bool(m.trouble), trouble=m.trouble),
        alarm=2,
        after_s=AWAY_S,
    ),
    Check(
        "siren.*",
        SirenStatus,
        BAD,
        "{trouble}",
        lambda h: (found(t, is_wrong=bool(why), trouble=why) for t, why in h.troubles.items()),
        alarm=2,
    ),
)
