"""What the broker would do in an outage, and whether it lets strangers in: tried, not read."""

import os
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from forecasting.message import Figure, Template, error_text
from monitor.broker.access import HOW_TO_INSTALL, find_access, open_access
from monitor.broker.probe import KEEPS, BrokerFacts, RefusedLoginError, connected, probe_broker
from monitor.checks.check import BAD, WARN, Check, SubjectState, found
from monitor.checks.live import AWAY_S, HOW_TO_CLOSE
from monitor.config.service import ServiceConfig
from monitor.ingest.broker import find_mosquitto

LEAST_S: Final = 7 * 86400.0  # that a session should last
_LOSES: Final = Template(
    "check.broker.loses", "the broker would lose readings in an outage, or has dropped some; see slopeward doctor"
)()
_SILENT: Final = Template("check.broker.silent", "{url} does not answer: {problem}")
_START: Final = Template("check.broker.start", "start it, or mend broker.url")()
_RUN: Final = Template("check.broker.run", "slopeward run starts it")()
_NO_SESSION: Final = Template("check.queue.no_session", "not known: nothing is kept without a session")()
_ALLOW: Final = Template("check.broker.allow", "allow persistent sessions")()
_KEPT: Final = Template("check.queue.kept", "of {n} messages for an absent client the broker kept {kept}")
_KEEP_ALL: Final = Template(
    "check.queue.keep_all",
    "max_queued_messages 0, max_queued_bytes 0, and no per_listener_settings (deploy/mosquitto.conf)",
)()
_UNCOUNTED: Final = Template("check.dropped.unknown", "the broker does not say how many messages it dropped")()
_LET_READ: Final = Template(
    "check.dropped.let_read", "let the service read $SYS/# (its access list: slopeward broker acl)"
)()
_DROPPED: Final = Template("check.dropped.grown", "the broker dropped {n} messages since the last look")
_QUEUE_ALL: Final = Template(
    "check.dropped.queue_all",
    "set max_queued_messages 0 and max_queued_bytes 0; a client that is slow or away was too far behind",
)()
_CLOSE: Final = Template("check.logins.close", "slopeward broker acl, and deploy/mosquitto.conf")()
_OPEN: Final = Template("check.logins.open", "{url} lets in clients without a login")
_CLOSED: Final = Template("check.logins.closed", "{url} lets nobody in without a login")
_UNTRIED: Final = Template("check.logins.untried", "not tried: {url} does not answer: {problem}")
_SEE_ABOVE: Final = Template("check.logins.see_above", "see broker above")()


class RunningBroker:
    """The broker of the service file, come to as a client."""

    def __init__(self, service: ServiceConfig) -> None:
        self.service, self.mode = service, service.broker.mode
        self.access = find_access(service.broker)
        self.is_missing = self.mode == "managed" and find_mosquitto() is None
        folder = service.broker.data
        self.is_closed = self.mode == "managed" and Path(folder).is_dir() and not os.access(folder, os.R_OK)

    @cached_property
    def facts(self) -> BrokerFacts | str:
        """What it keeps, or why that is not known."""
        if self.is_missing or self.is_closed or self.mode == "demo":
            return ""
        try:
            return probe_broker(self.access)
        except OSError as error:
            return _SILENT(url=self.access.url, problem=error_text(error))


class DroppedMessages(NamedTuple):
    """How many messages the broker dropped; None: it does not say."""

    dropped: float | None
    before: float | None


def _answers(broker: RunningBroker) -> Iterator[SubjectState]:
    if not broker.facts:
        return
    is_external = broker.mode == "external"
    todo = _START if is_external else _RUN
    why = broker.facts if isinstance(broker.facts, str) else ""
    level = BAD if is_external else WARN
    yield found(is_wrong=bool(why), level=level, why=why, todo=todo, url=broker.access.url)


def _expiry(facts: BrokerFacts) -> Iterator[SubjectState]:
    if facts.session_expiry_s is not None and facts.session_expiry_s < LEAST_S:
        yield found(s=facts.session_expiry_s)


def _queue(facts: BrokerFacts) -> Iterator[SubjectState]:
    if not facts.session_present:
        yield found(level=WARN, text=_NO_SESSION, todo=_ALLOW)
        return
    text = _KEPT(n=Figure(KEEPS, "d"), kept=Figure(facts.kept, "d"))
    yield found(is_wrong=facts.kept < KEEPS, figure=(facts.kept, None), text=text, todo=_KEEP_ALL, n=Figure(KEEPS, "d"))


def _dropped(seen: DroppedMessages) -> Iterator[SubjectState]:
    dropped, before = seen
    if dropped is None:
        yield found(level=WARN, figure=(before, None), text=_UNCOUNTED, todo=_LET_READ)
        return
    # after a restart of the broker it counts anew
    grown = dropped - (before if before is not None and before <= dropped else 0.0)
    text, todo = _DROPPED(n=Figure(grown, ".0f")), _QUEUE_ALL
    is_wrong = before is not None and grown > 0
    yield found(is_wrong=is_wrong, figure=(dropped, None), text=text, todo=todo, dropped=Figure(dropped or 0.0, ".0f"))


def _logins(broker: RunningBroker) -> Iterator[SubjectState]:
    section = broker.service.broker
    if broker.mode == "demo" or (broker.mode == "managed" and not os.access(section.data, os.R_OK)):
        return  # the look at the broker says why
    door = open_access(section.instruments_url or section.url, ca_file=section.ca_file)
    try:
        with connected(door, f"slopeward-doctor-{uuid.uuid4().hex[:8]}", expiry_s=0):
            pass
        yield found(text=_OPEN(url=door.url), todo=HOW_TO_CLOSE if broker.mode == "managed" else _CLOSE)
    except RefusedLoginError:
        yield found(is_wrong=False, text=_CLOSED(url=door.url))
    except OSError as error:
        yield found(level=WARN, text=_UNTRIED(url=door.url, problem=error_text(error)), todo=_SEE_ABOVE)


# an alarm that what the broker keeps in an outage is not enough
_OUTAGE: Final[dict[str, Any]] = {"alarm": 1, "reason": _LOSES, "after_s": AWAY_S, "degrades": True}
CHECKS: Final = (
    Check(
        "broker.installed",
        RunningBroker,
        BAD,
        "Mosquitto is not installed: the broker forgets at restart",
        lambda b: found(is_wrong=b.is_missing),
        HOW_TO_INSTALL,
    ),
    Check(
        "broker.demo",
        RunningBroker,
        WARN,
        "broker.mode = demo: what it holds is lost at restart",
        lambda b: found(is_wrong=b.mode == "demo"),
        "broker.mode = managed or external",
    ),
    Check(
        "broker.closed",
        RunningBroker,
        WARN,
        "not tried: {folder} is open to the account of the service alone",
        lambda b: found(is_wrong=b.is_closed and not b.is_missing, folder=b.service.broker.data),
        "run doctor as that account",
    ),
    Check("broker.answers", RunningBroker, BAD, "{why}", _answers, "{todo}", fine="{url} answers"),
    Check(
        "broker.expiry",
        BrokerFacts,
        WARN,
        "the broker forgets an absent client after {s} s",
        _expiry,
        "raise it (Mosquitto: persistent_client_expiration), else an outage longer than that loses data",
    ),
    Check(
        "broker.session",
        BrokerFacts,
        BAD,
        "the broker keeps no session for an absent client",
        lambda f: found(is_wrong=not f.session_present),
        _ALLOW,
        fine="a client that came back found its session",
        key="check:broker.session",
        **_OUTAGE,
    ),
    Check(
        "broker.queue",
        BrokerFacts,
        BAD,
        "{text}",
        _queue,
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
        _dropped,
        "{todo}",
        fine="{dropped} messages dropped since it started",
        key="check:broker.dropped",
        **_OUTAGE,
    ),
    Check("logins", RunningBroker, BAD, "{text}", _logins, "{todo}", fine="{text}"),
)
