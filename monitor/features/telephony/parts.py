"""The parts of the service for telephones, browsers and sirens, and their checks."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from monitor.api.app import SHORTEST_OUTAGE_S
from monitor.api.broker import KEYS_FILE, Keyring, find_access
from monitor.api.checks import BAD, Check, make_state
from monitor.api.database import Database
from monitor.api.hooks import ServicePart
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.telephony.modem import ModemWatch
from monitor.features.telephony.queries.devices import find_push_key, publish_push_key
from monitor.features.telephony.sirens import Sirens, list_topics
from monitor.features.telephony.web_push import find_key, find_public_key


def build_parts(
    db: Database,
    config: ServiceConfig,
    sites: Mapping[str, Site],
    clock: Callable[[], datetime],
) -> list[ServicePart]:
    """Return the publication of the push key and, if they are used, the modem and the listener to sirens."""
    parts = [ServicePart(follow=partial(publish_key, db, config, clock))]
    if config.sms.gateway == "modem":
        modem = ModemWatch(db, Path(config.sms.modem), clock)
        parts.append(ServicePart(follow=modem.follow, subjects=(modem,)))
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
        parts.append(ServicePart(sirens.start, sirens.stop, subjects=(sirens,)))
    return parts


def publish_key(db: Database, config: ServiceConfig, clock: Callable[[], datetime]) -> None:
    """Publish the public push key for the page, as soon as there is one."""
    private = find_key(Path(config.paths.state), config.push.key)
    if not private:
        return
    public = find_public_key(private)
    if public != db.run_read(find_push_key):
        db.run_write(publish_push_key, public, clock())


CHECKS: Final = (
    Check(
        "sms.modem",
        ModemWatch,
        BAD,
        "text messages are not sent: {trouble}",
        lambda m: make_state(is_wrong=bool(trouble := m.find_trouble()), trouble=trouble),
        alarm=2,
        after_s=SHORTEST_OUTAGE_S,
    ),
    Check(
        "siren.*",
        Sirens,
        BAD,
        "{trouble}",
        lambda h: (make_state(t, is_wrong=bool(why), trouble=why) for t, why in h.find_troubles().items()),
        alarm=2,
    ),
)
