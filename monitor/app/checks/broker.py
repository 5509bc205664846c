"""Checks that probe the broker: what it keeps during an outage of the service, and what other clients may do."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from monitor.app.checks.live import HOW_TO_CLOSE, SHORTEST_OUTAGE_S
from monitor.broker.access import HOW_TO_INSTALL, find_access, parse_access
from monitor.broker.access_probe import BrokerProbeResult, try_anonymous, try_foreign
from monitor.broker.audit import OutageLimit
from monitor.broker.logins import LoginBook
from monitor.broker.probe import PROBE_MESSAGES, BrokerFacts, probe_broker
from monitor.ingest.broker_process import find_mosquitto
from monitor.settings.service import ServiceConfig
from monitor.sites.files import scan_sites
from monitor.storage.check import BAD, OK, WARN, Check, SubjectState, make_state
from monitor.text.message import Duration, Figure, Message, NameList, Template, error_text

# A session should last at least this long.
LEAST_SESSION_S: Final = 7 * 86400.0
# Outages of an hour are common, so a buffer for less is bad. A buffer for less than a day is a warning.
SHORT_S: Final = 3600.0
LONG_S: Final = 86400.0
_LOSES: Final = Template(
    "check.broker.loses", "the broker would lose readings in an outage, or has dropped some; see slopeward doctor"
)()
_SILENT: Final = Template("check.broker.silent", "{url} does not answer: {problem}")
_START: Final = Template("check.broker.start", "start it, or correct broker.url")()
_RUN: Final = Template(
    "check.broker.run", "start the service (slopeward run); if another program uses the port, change broker.url"
)()
_NO_SESSION: Final = Template("check.queue.no_session", "unknown: nothing is kept without a session")()
_ALLOW: Final = Template("check.broker.allow", "allow persistent sessions")()
_KEPT: Final = Template("check.queue.kept", "of {n} messages for an absent client the broker kept {kept}")
_KEEP_ALL: Final = Template(
    "check.queue.keep_all",
    "max_queued_messages 0, max_queued_bytes 0, and no per_listener_settings (deploy/mosquitto.conf)",
)()
_UNCOUNTED: Final = Template("check.dropped.unknown", "the broker does not report how many messages it dropped")()
_LET_READ: Final = Template(
    "check.dropped.let_read", "let the service read $SYS/# (its access list: slopeward broker acl)"
)()
_DROPPED: Final = Template("check.dropped.grown", "the broker dropped {n} messages since the last check")
_QUEUE_ALL: Final = Template(
    "check.dropped.queue_all",
    "A slow or absent client had more messages waiting than the broker keeps, so readings may be lost. Set "
    "max_queued_messages 0 and max_queued_bytes 0 in the configuration of the broker",
)()
_BRIDGES: Final = "bridges an outage of {long} at {rate}; then {why}"
_ASSUMED: Final = Template("check.bridge.assumed", "1 message a second, because none was counted yet")()
_COUNTED: Final = Template("check.bridge.counted", "{n} messages a second")
_AT_LEAST: Final = Template(
    "check.bridge.at_least",
    "{why}; this is tested with {n} messages only, its max_queued_messages and max_queued_bytes may allow more",
)
_CLOSE: Final = Template("check.logins.close", "slopeward broker acl, and deploy/mosquitto.conf")()
_OPEN: Final = Template("check.logins.open", "{url} lets in clients without a login")
_CLOSED: Final = Template("check.logins.closed", "{url} refuses clients without a login")
_NO_PASSWORD: Final = Template(
    "check.logins.no_password",
    "what one login can do to another was not tried: the password of the login for this test cannot be read",
)()
_MAKE_PASSWORD: Final = Template(
    "check.logins.make_password", "slopeward broker acl creates it; run doctor as the account of the service"
)()
_UNTRIED: Final = Template("check.logins.untried", "not tried: {url} or {own} does not answer: {problem}")
_SEE_ABOVE: Final = Template("check.logins.see_above", "see broker above")()
_UNKNOWN_LOGIN: Final = Template(
    "check.logins.unknown",
    "what one login can do to another was not tried: the broker refuses the login for this test",
)()
_LET_KNOW: Final = Template("check.logins.let_know", "let it read the files of slopeward broker acl")()
_ANONYMOUS: Final = Template("check.logins.anonymous", "a client without a login")()
_FOREIGN: Final = Template("check.logins.foreign", "an instrument with a login for something else")()
_CAN: Final = Template("check.logins.can", "{who} can {act}")
_CAN_NOTHING: Final = Template(
    "check.logins.can_nothing", "{who} can publish for no site, not as the service, and take no session of it"
)
_PUBLISH: Final = Template("check.logins.publish", "publish readings of {names}")
_PUBLISH_OWN: Final = Template("check.logins.publish_own", "publish as the service ({names})")
_TAKE_SESSION: Final = Template("check.logins.take_session", "take a session of the service (client id {name})")


class RunningBroker:
    """The broker of the service file, reached as a client."""

    def __init__(self, service: ServiceConfig) -> None:
        self.service = service
        self.mode = service.broker.mode
        self.access = find_access(service.broker)
        self.is_missing = self.mode == "managed" and find_mosquitto() is None
        folder = service.broker.data
        self.is_closed = self.mode == "managed" and Path(folder).is_dir() and not os.access(folder, os.R_OK)

    @cached_property
    def facts(self) -> BrokerFacts | str:
        """What the broker keeps, or why this is unknown; empty if it was not probed."""
        if self.is_missing or self.is_closed or self.mode == "demo":
            return ""
        try:
            return probe_broker(self.access)
        except OSError as error:
            return _SILENT(url=self.access.url, problem=error_text(error))


class DroppedMessages(NamedTuple):
    """Messages that the broker dropped: now and at the last check; None if it does not report them."""

    dropped: float | None
    before: float | None


class OutageBuffer(NamedTuple):
    """How long an outage may last before the broker loses readings."""

    limit: OutageLimit
    rate_hz: float | None
    is_lower_bound: bool  # the settings of the broker may allow more than the probe has shown


def _check_answer(broker: RunningBroker) -> Iterator[SubjectState]:
    if not broker.facts:
        return
    is_external = broker.mode == "external"
    todo = _START if is_external else _RUN
    why = broker.facts if isinstance(broker.facts, str) else ""
    level = BAD if is_external else WARN
    yield make_state(is_wrong=bool(why), level=level, why=why, todo=todo, url=broker.access.url)


def _check_session_expiry(facts: BrokerFacts) -> Iterator[SubjectState]:
    if facts.session_expiry_s is not None and facts.session_expiry_s < LEAST_SESSION_S:
        yield make_state(s=facts.session_expiry_s)


def _check_queue(facts: BrokerFacts) -> Iterator[SubjectState]:
    if not facts.session_present:
        yield make_state(level=WARN, text=_NO_SESSION, todo=_ALLOW)
        return
    text = _KEPT(n=Figure(PROBE_MESSAGES, "d"), kept=Figure(facts.kept_messages, "d"))
    yield make_state(
        is_wrong=facts.kept_messages < PROBE_MESSAGES,
        figure=(facts.kept_messages, None),
        text=text,
        todo=_KEEP_ALL,
        n=Figure(PROBE_MESSAGES, "d"),
    )


def _check_dropped(messages: DroppedMessages) -> Iterator[SubjectState]:
    dropped, before = messages
    if dropped is None:
        yield make_state(level=WARN, figure=(before, None), text=_UNCOUNTED, todo=_LET_READ)
        return
    # The broker counts from zero again after a restart.
    grown = dropped - (before if before is not None and before <= dropped else 0.0)
    yield make_state(
        is_wrong=before is not None and grown > 0,
        figure=(dropped, None),
        text=_DROPPED(n=Figure(grown, ".0f")),
        todo=_QUEUE_ALL,
        dropped=Figure(dropped, ".0f"),
    )


def _check_bridge(buffer: OutageBuffer) -> Iterator[SubjectState]:
    limit = buffer.limit
    rate_hz = buffer.rate_hz
    level = BAD if limit.seconds < SHORT_S else WARN if limit.seconds < LONG_S else OK
    rate = _ASSUMED if rate_hz is None else _COUNTED(n=Figure(rate_hz, ".3g"))
    why = _AT_LEAST(why=limit.why, n=Figure(PROBE_MESSAGES, "d")) if buffer.is_lower_bound else limit.why
    yield make_state(
        is_wrong=level != OK,
        level=level,
        figure=(round(limit.seconds / 3600, 1), "h"),
        long=Duration(limit.seconds, "about"),
        rate=rate,
        why=why,
        setting=limit.setting,
    )


def _check_logins(broker: RunningBroker) -> Iterator[SubjectState]:
    """Test whether another client can publish for a site or as the service, or take its sessions."""
    section = broker.service.broker
    if broker.mode == "demo" or (broker.mode == "managed" and not os.access(section.data, os.R_OK)):
        # Another check of the broker reports the reason.
        return
    own = broker.access
    door = parse_access(section.instruments_url or section.url, ca_file=section.ca_file)
    todo = HOW_TO_CLOSE if broker.mode == "managed" else _CLOSE
    sites = [site.id for site in scan_sites(broker.service.paths.sites)[0]]
    try:
        nobody = try_anonymous(own, door, sites, section.client_id)
        if nobody.could_connect:
            yield make_state(text=_OPEN(url=door.url), todo=todo)
            yield from _list_breaches(_ANONYMOUS, nobody, section.client_id, todo)
        else:
            yield make_state(is_wrong=False, text=_CLOSED(url=door.url))
        password = LoginBook(Path(section.data)).doctor_password()
        if not password:
            yield make_state(level=WARN, text=_NO_PASSWORD, todo=_MAKE_PASSWORD)
            return
        foreign = try_foreign(own, door, password, sites, section.client_id)
    except OSError as error:
        text = _UNTRIED(url=door.url, own=own.url, problem=error_text(error))
        yield make_state(level=WARN, text=text, todo=_SEE_ABOVE)
        return
    if foreign.could_connect:
        yield from _list_breaches(_FOREIGN, foreign, section.client_id, todo)
    else:
        yield make_state(level=WARN, text=_UNKNOWN_LOGIN, todo=_LET_KNOW)


def _list_breaches(who: Message, probe: BrokerProbeResult, client_id: str, todo: str) -> Iterator[SubjectState]:
    what = [
        *([_PUBLISH(names=NameList(tuple(probe.writable_sites)))] if probe.writable_sites else []),
        *(
            [_PUBLISH_OWN(names=NameList(tuple(probe.writable_service_topics)))]
            if probe.writable_service_topics
            else []
        ),
        *([_TAKE_SESSION(name=client_id)] if probe.could_take_session else []),
    ]
    for act in what:
        yield make_state(text=_CAN(who=who, act=act), todo=todo)
    if not what:
        yield make_state(is_wrong=False, text=_CAN_NOTHING(who=who))


# Fields of the checks whose alarm is that the broker would lose readings in an outage.
_OUTAGE: Final[dict[str, Any]] = {"alarm": 1, "reason": _LOSES, "after_s": SHORTEST_OUTAGE_S, "degrades": True}
CHECKS: Final = (
    Check(
        "broker.installed",
        RunningBroker,
        BAD,
        "Mosquitto is not installed: the broker loses its messages at a restart",
        lambda b: make_state(is_wrong=b.is_missing),
        HOW_TO_INSTALL,
    ),
    Check(
        "broker.demo",
        RunningBroker,
        WARN,
        "broker.mode = demo: its messages are lost at a restart",
        lambda b: make_state(is_wrong=b.mode == "demo"),
        "broker.mode = managed or external",
    ),
    Check(
        "broker.closed",
        RunningBroker,
        WARN,
        "not tried: only the account of the service may read {folder}",
        lambda b: make_state(is_wrong=b.is_closed and not b.is_missing, folder=b.service.broker.data),
        "run doctor as that account",
    ),
    Check("broker.answers", RunningBroker, BAD, "{why}", _check_answer, "{todo}", fine="{url} answers"),
    Check(
        "broker.expiry",
        BrokerFacts,
        WARN,
        "the broker forgets an absent client after {s} s",
        _check_session_expiry,
        "raise this limit (Mosquitto: persistent_client_expiration), because a longer outage loses data",
    ),
    Check(
        "broker.session",
        BrokerFacts,
        BAD,
        "the broker keeps no session for an absent client",
        lambda f: make_state(is_wrong=not f.session_present),
        _ALLOW,
        fine="the session of a client that reconnects is kept",
        key="check:broker.session",
        **_OUTAGE,
    ),
    Check(
        "broker.queue",
        BrokerFacts,
        BAD,
        "{text}",
        _check_queue,
        "{todo}",
        fine="keeps at least {n} messages for an absent client",
        key="check:broker.queue",
        **_OUTAGE,
    ),
    Check(
        "broker.dropped",
        DroppedMessages,
        BAD,
        "{text}",
        _check_dropped,
        "{todo}",
        fine="{dropped} messages dropped since it started",
        key="check:broker.dropped",
        **_OUTAGE,
    ),
    Check(
        "broker.bridge",
        OutageBuffer,
        BAD,
        _BRIDGES,
        _check_bridge,
        "change {setting}",
        fine=_BRIDGES,
        key="check:broker.bridge",
        **_OUTAGE,
    ),
    Check("logins", RunningBroker, BAD, "{text}", _check_logins, "{todo}", fine="{text}"),
)
