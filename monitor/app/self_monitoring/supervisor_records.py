"""Write heartbeats, alarms and refused messages of the supervisor to the database."""

import logging
import os
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Required, TypedDict

from sqlalchemy import Connection

from monitor.alerts.acts.change_control import load_in_force
from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.alerts.views import AlertRow
from monitor.app import heartbeats
from monitor.app.checks.live import BrokerClients, ProcessOutcomes
from monitor.app.children import BrokerChild, ProcessRestarter, PythonChild, make_quarantine_rows, read_sites
from monitor.app.self_monitoring.alarms import KEY_PREFIX, AlarmQueue
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.app.self_monitoring.core_watch import CoreWatch
from monitor.broker.broker_log import RefusedTopic
from monitor.canonical import code_version
from monitor.decision.changes import RESOLVED, AlertChange, health_alarm
from monitor.ingest.queries.messages import Quota, add_rejected
from monitor.settings.service import ServiceConfig
from monitor.sites.records import gather_recipients
from monitor.storage.actor import SERVICE_ACTOR, SERVICE_SITE
from monitor.storage.engine import Database
from monitor.storage.service_state import DeniedMessages, find_heartbeat, remove_heartbeat, write_heartbeat
from monitor.storage.views import load_view
from monitor.text.message import Template

_WITHOUT_OUTBOX: Final = Template(
    "service.notice.past_outbox",
    "cannot decide: {text}; people were notified without the outbox by {n} of {n2} channels",
)
log = logging.getLogger(__name__)
HEARTBEAT: Final = "supervisor"
BROKER_HEARTBEAT: Final = "broker"


class BrokerHeartbeat(TypedDict, total=False):
    """State of the broker that the supervisor runs, or the address of an external one."""

    mode: Required[str]
    url: str
    durable: bool
    alive: bool
    risk_s: float | None  # seconds of acknowledged messages that a crash of the broker can lose
    denied: list[DeniedMessages]


class SupervisorRecords:
    """Alarms and heartbeats of the supervisor.

    `write` stores them. What cannot be stored is kept for the next call.

    `check` is called in the main thread, and `write` in a thread of its own, because the database may hang.

    Attributes:
        restarters: Set before the first call of `check`.
    """

    def __init__(self, config: ServiceConfig, core: PythonChild, broker: BrokerChild | None) -> None:
        self._config = config
        self._core = core
        self.broker = broker
        self.restarters: Sequence[ProcessRestarter] = ()
        self.alarms = AlarmQueue()
        self._conditions = AlarmConditions(self.alarms)
        self._quota = Quota.of_megabytes(config.limits.quarantine_mb, config.limits.quarantine_source_mb)
        # The two services of a pair use one database. An alarm of one must not be ended by the other.
        self._key_suffix = f":{config.service_name}" if config.standby.enabled else ""
        self._has_recalled = False
        self._has_written = False
        self._last_write_failed = False

    @property
    def is_urgent(self) -> bool:
        """Whether alarms are waiting. After a failure they wait for the next regular call."""
        return bool(self.alarms.pending()) and not self._last_write_failed

    def record_emergency_notice(self, trouble: str, accepted: int, addressed: int) -> None:
        """Add an outage of which people were notified without the database. They are not notified again."""
        text = _WITHOUT_OUTBOX(text=trouble, n=accepted, n2=addressed)
        facts = {"trouble": trouble, "channels_accepted": accepted, "channels_addressed": addressed}
        key = "health:decide"
        self.alarms.put(health_alarm(key, 2, text, is_open=True, evidence=facts, notify=False))
        self.alarms.put(health_alarm(key, 0, RESOLVED(text=text), is_open=False, evidence=facts, notify=False))

    def check(self) -> None:
        """Begin or end the alarms of processes that keep ending, and of clients whose messages may be lost."""
        facts: list[object] = [self._collect_outcomes()]
        if self.broker is not None:
            now = datetime.now(UTC)
            facts.append(BrokerClients(self.broker.list_contested(now), self.broker.list_oversized(now)))
        try:
            self._conditions.check(facts, time.monotonic())
        except Exception:  # The supervisor must survive an error of a check.
            log.exception("the processes and the clients of the broker were not checked")

    def _collect_outcomes(self) -> ProcessOutcomes:
        restarters = {f"{restarter.child.name}{self._key_suffix}": restarter for restarter in self.restarters}
        outcomes = {name: restarter.outcome for name, restarter in restarters.items() if restarter.outcome is not None}
        return ProcessOutcomes(restarters, outcomes)

    def _load_open_alarms(self, c: Connection) -> list[str]:
        """Return the keys of open alarms that this supervisor may end."""
        keys = [row["key"].removeprefix(KEY_PREFIX) for row in load_view(c, "active_alerts", AlertRow)]
        return [key for key in keys if key.endswith(self._key_suffix)]

    def write(self, core_watch: CoreWatch) -> None:
        """Store alarms, heartbeats and refused messages, and let `core_watch` load recipients and levels.

        The supervisor must survive every error of the database, so none is raised.
        """
        try:
            with Database(self._config.database.url) as db:
                # Read first: a database that rejects writes can still return the last levels.
                with db.read() as c:
                    core_watch.load_recipients_and_levels(c)
                    if not self._has_recalled:
                        self._conditions.recall(self._load_open_alarms(c))
                        self._has_recalled = True
                # A rejected alarm must not prevent the heartbeats. It is stored again at the next regular call.
                self._last_write_failed = not self.alarms.store_pending(partial(self._store_alarms, db))
                if not self._core.is_standby:
                    # The heartbeats of a pair of services are those of the active one.
                    self._store_heartbeats(db, core_watch)
        except Exception as error:
            self._last_write_failed = True
            log.warning("the heartbeat of the supervisor was not stored: %s", error)

    def _store_alarms(self, db: Database, alarms: list[AlertChange]) -> None:
        with db.write() as c:
            recipients = load_recipients(self._config, c)
            context = ChangeContext(SERVICE_SITE, None, recipients, SERVICE_ACTOR, datetime.now(UTC), code_version())
            apply_changes(c, alarms, context)

    def _store_heartbeats(self, db: Database, core_watch: CoreWatch) -> None:
        """Store the heartbeats of supervisor and broker, and the messages that the broker refused."""
        refused = [] if self.broker is None else self.broker.list_refused()
        now = datetime.now(UTC)
        with db.write() as c:
            before = find_heartbeat(c, HEARTBEAT)
            self._write_heartbeats(c, refused, now)
            add_rejected(c, make_quarantine_rows(refused), self._quota)
        if self.broker is not None:
            self.broker.note_stored(refused)
        if not self._has_written:
            self._has_written = True
            core_watch.unwatched.note_start(before and before[0])

    def _write_heartbeats(self, c: Connection, refused: Sequence[RefusedTopic], now: datetime) -> None:
        detail = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "failures_in_a_row": {restarter.child.name: restarter.failures for restarter in self.restarters},
        }
        remove_heartbeat(c, f"{heartbeats.STANDBY_PREFIX}{self._config.service_name}")
        write_heartbeat(c, HEARTBEAT, detail, now)
        write_heartbeat(c, BROKER_HEARTBEAT, self._describe_broker(refused), now)

    def _describe_broker(self, refused: Sequence[RefusedTopic]) -> BrokerHeartbeat:
        if self.broker is None:
            return {"mode": "external", "url": self._config.broker.url}
        return {
            "mode": self.broker.mode,
            "durable": self.broker.durable,
            "alive": not self.broker.is_starting and self.broker.poll(),
            "risk_s": self.broker.risk_s,
            "denied": self.broker.describe_denied(refused),
        }


def load_recipients(config: ServiceConfig, c: Connection) -> tuple[Any, ...]:
    """Return the recipients of the site files and of the versions in force.

    A person whom an edit removes is notified until the edit is approved.
    """
    return gather_recipients([*read_sites(config), *load_in_force(c)])
