"""The dispatcher delivers the outbox: it starts a worker for each channel with due messages, and escalates alerts.

The path of a message: a change of an alert writes a row of the outbox in its transaction
(`monitor.alerts.queries.alerts`). The dispatcher queues further rows when a stage is due (`monitor.delivery.stages`).
The worker of the channel applies the holding rules (`holding`), leases a message (`queries.outbox`), renders it in the
language of its recipient (`message`) and sends it by the channel (`notifiers`). A provider may report later that the
device has it (`queries.receipts`). When the recipient acknowledges the alert (`monitor.alerts.acts.on_alerts`), the
dispatcher marks the message as confirmed and no further stage is due.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.queries.alerts import (
    ChangeContext,
    apply_changes,
    deliver_after_shadow,
    load_sites_with_shadow_alerts,
)
from monitor.alerts.queries.answers import load_confirmed, load_states, load_unconfirmed
from monitor.alerts.queries.recipients import list_addressees, list_chain
from monitor.alerts.records import UNCONFIRMED
from monitor.canonical import code_version
from monitor.decision.changes import AlertChange
from monitor.delivery.notifier import open_notifier
from monitor.delivery.present_reason import add_reasons, renew_message
from monitor.delivery.queries import outbox
from monitor.delivery.queries.receipts import load_tested
from monitor.delivery.stages import find_due_rows, mark_subject
from monitor.delivery.unconfirmed import Alarm, end_unconfirmed, find_alarms
from monitor.delivery.worker import ChannelWorker, DeliveryContext
from monitor.errors import ConfigError, StoreBusyError
from monitor.sites.records import Recipient
from monitor.storage.actor import SERVICE_ACTOR

_LOG = logging.getLogger(__name__)
POLL_S: Final = 0.5
ESCALATE_EVERY_S: Final = 5.0
# Represents all sites in `Dispatcher.failing`.
ALL_SITES: Final = "all sites"
# A channel gets no new worker while this many of its former workers still hang.
MAX_ABANDONED_WORKERS: Final = 3
# Invalid settings of a channel are checked again after this time, because a person may have corrected them.
_CHECK_SETTINGS_EVERY_S: Final = 60.0
# An urgent message that failed and is not delivered after this time is reported by other channels. A server that hangs
# after it received a mail gets it again only after a minute, so three failed attempts would take too long.
URGENT_LATE_S: Final = 40.0
# After the clock was set back, leases contain times of the former clock. They are not given back for this long.
LEASES_INVALID_S: Final = 15.0


@dataclass(eq=False)
class Dispatcher(DeliveryContext):
    """Delivers the outbox.

    A planner thread loads the channels with due messages every half second, and when `wake()` is called. It starts a
    worker for each of these channels, unless the channel has one already, and wakes the worker. It also gives expired
    leases back, replaces a worker whose delivery takes longer than two leases, escalates alerts that nobody
    acknowledged, and confirms messages whose recipient has responded to the alert.

    Args:
        poll_s: Seconds between two rounds of the planner.
    """

    poll_s: float = POLL_S

    def __post_init__(self) -> None:
        self._workers: dict[str, ChannelWorker] = {}
        self._workers_lock = threading.Lock()
        # Workers by channel that were replaced because they hung.
        self._abandoned: dict[str, list[ChannelWorker]] = {}
        self._progress: dict[str, datetime] = {}
        # Channels whose settings are valid, so that they are not checked again.
        self._checked_channels: set[str] = set()
        # By other channels: when their settings were last checked (monotonic clock), and the problem.
        self._settings_problems: dict[str, tuple[float, str]] = {}
        # Sites that cannot be escalated, or `ALL_SITES`.
        self.failing: frozenset[str] = frozenset()
        self._escalated_at: datetime | None = None
        self._planned_at = self.clock()
        self._leases_valid_from_s = 0.0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the planner thread."""
        self._progress["dispatcher"] = self.clock()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop after the deliveries in progress, or after the timeout.

        A message whose outcome is not stored by then is sent again when its lease expires.
        """
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        for worker in self._workers.values():
            worker.stop()
        until = self.clock() + timedelta(seconds=timeout_s)
        for worker in self._workers.values():
            worker.join(max((until - self.clock()).total_seconds(), 0.05))

    def wake(self) -> None:
        """Start the next round at once, because a message was queued."""
        self._wake.set()

    def forget_times(self) -> None:
        """Discard times of the former clock after the clock was set: pauses of channels and of the escalation."""
        self._escalated_at = None
        for worker in self._workers.values():
            worker.circuit.end_pause()
        self.wake()

    def progress(self) -> dict[str, datetime]:
        """Return when the planner finished its last round. Workers are left out: a slow channel needs no restart."""
        return dict(self._progress)

    def status(self) -> dict[str, Any]:
        """Return the number of messages in each state, and the condition of each channel."""
        now = self.clock()
        states = self.db.run_read(outbox.count_states)
        channels = {
            name: {
                "failures": worker.circuit.failures,
                "failing_since": worker.circuit.failing_since,
                "resting": worker.circuit.is_open(now),
                "hanging": worker.is_stuck(),
                "last_error": worker.last_error,
            }
            for name, worker in self._workers.items()
        }
        return {"states": states, "channels": channels}

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.plan_once()
            except StoreBusyError as error:
                _LOG.warning("%s", error)
            except Exception:  # delivery continues with the next round
                _LOG.exception("dispatcher")
            self._progress["dispatcher"] = self.clock()
            self._wake.wait(self.poll_s)
            self._wake.clear()

    def plan_once(self) -> set[str]:
        """Run one round of the planner and return the channels that were woken."""
        now = self.clock()
        if now < self._planned_at - outbox.CLOCK_MARGIN:
            self._leases_valid_from_s = time.monotonic() + LEASES_INVALID_S
        self._planned_at = now
        with self.db.read() as c:
            due = outbox.load_due_channels(c, now)
            has_expired_leases = outbox.has_expired_leases(c, now)
        if has_expired_leases and time.monotonic() >= self._leases_valid_from_s:
            with self.db.write() as c:
                _LOG.warning("%d leases expired; their messages are sent again", outbox.release_expired_leases(c, now))
                due = outbox.load_due_channels(c, now)
        if self._escalated_at is None or now - self._escalated_at >= timedelta(seconds=ESCALATE_EVERY_S):
            self._escalated_at = now
            try:
                self.escalate_once(now)
            except StoreBusyError:
                raise
            except Exception:  # waiting messages are sent nevertheless
                _LOG.exception("escalation")
                self.failing = frozenset({ALL_SITES})
            # An old message may never become due, because its row contains a wrong time. Its worker tries it anyway.
            for channel in self.db.run_read(outbox.load_old_channels, now):
                self._find_worker(channel)
        for channel in due:
            self._find_worker(channel).wake()
        return due

    def escalate_once(self, now: datetime) -> int:
        """Queue the messages of all stages that are due, and confirm messages whose recipient has responded.

        An urgent alert that reached nobody, or that nobody confirmed, raises an alarm of its own. If it reached nobody,
        the alarm goes to the people of all sites, unless its site is in shadow mode.

        If a site has left shadow mode, its recipients are notified of the alerts that are still open.

        Returns:
            The number of queued messages.
        """
        self._deliver_after_shadow(now)
        with self.db.read() as c:
            alerts = [alert for alert in outbox.load_unacknowledged(c) if not self._is_left_in_shadow(alert)]
            responses = outbox.load_responses(c, now - timedelta(days=1))
            confirmed = load_confirmed(c, {alert.event_id for alert in alerts})
            open_alarms = load_unconfirmed(c)
            states = load_states(c, {int(key.removeprefix(UNCONFIRMED)) for _, key in open_alarms})
        ended = end_unconfirmed(open_alarms, states, confirmed, now, self.limits)
        sites = (
            {alert.site for alert in alerts} | {response.site for response in responses} | {site for site, _ in ended}
        )
        queued = 0
        failing = set()
        for site in sorted(sites):
            alerts_of_site = [alert for alert in alerts if alert.site == site]
            ended_of_site = {alarm: change for alarm, change in ended.items() if alarm[0] == site}
            responses_of_site = [response for response in responses if response.site == site]
            try:
                queued += self._escalate_site(
                    site, alerts_of_site, confirmed, open_alarms, ended_of_site, responses_of_site, now
                )
            except StoreBusyError:
                raise
            except Exception:  # a fault at one site does not stop the escalation of the others
                _LOG.exception("escalation of %s", site)
                failing.add(site)
        self.failing = frozenset(failing)
        return queued

    def _deliver_after_shadow(self, now: datetime) -> None:
        with self.db.read() as c:
            site_ids = load_sites_with_shadow_alerts(c)
        for site_id in sorted(site_ids):
            site = self.sites.get(site_id)
            if site is None or site.shadow:
                continue
            with self.db.write() as c:
                count = deliver_after_shadow(c, site, now)
            _LOG.warning("%s has left shadow mode; its recipients are notified of %d open alerts", site_id, count)

    def _is_left_in_shadow(self, alert: outbox.OpenAlert) -> bool:
        """Return whether only people of a trial know of an alert whose site has left shadow mode.

        Its condition is over, otherwise `_deliver_after_shadow` would have notified the recipients.
        """
        site = self.sites.get(alert.site)
        return alert.is_shadow and site is not None and not site.shadow

    def _escalate_site(
        self,
        site: str,
        alerts: Sequence[outbox.OpenAlert],
        confirmed: Collection[int],
        open_alarms: Collection[Alarm],
        ended: Mapping[Alarm, AlertChange],
        responses: Iterable[outbox.MessageResponse],
        now: datetime,
    ) -> int:
        recipients = self.list_recipients(site)
        with self.db.read() as c:
            # The people who are on duty now, who may differ from those at the first message.
            chain = list_chain(c, recipients, now) if alerts else []
            addressees = list_addressees(c, recipients, now) if any(alert.is_back for alert in alerts) else []
        due = [(alert, row) for alert in alerts for row in find_due_rows(alert, chain, addressees, now, self.limits)]
        confirmations = [response for response in responses if self._is_by_recipient(response)]
        site_name = self.sites[site].name if site in self.sites else site
        unconfirmed, unreached = find_alarms(alerts, chain, site_name, confirmed, now, self.limits)
        changes = [change for alarm, change in (unconfirmed | unreached).items() if alarm not in open_alarms]
        changes += ended.values()
        if not due and not confirmations and not changes:
            return 0
        # The texts are composed before the write transaction, because evaluations wait for it.
        with self.db.read() as c:
            changes = [add_reasons(c, change, now) for change in changes]
            texts = [renew_message(c, alert, mark_subject(row.stage, alert, now), now) for alert, row in due]
        with self.db.write() as c:
            self._write_changes(c, site, changes, unreached, now)
            for response in confirmations:
                outbox.mark_confirmed(c, response.notification_id, response.at, response.by, response.via)
            queued = 0
            for (alert, row), (subject, body) in zip(due, texts, strict=True):
                repeated = replace(alert, body=body)
                queued += outbox.add_escalation(c, repeated, row.recipient, row.channel, subject, now)
            outbox.merge_alarms(c, site, now)
            return queued

    def _write_changes(
        self, c: Connection, site: str, changes: Iterable[AlertChange], unreached: Collection[Alarm], now: datetime
    ) -> None:
        """Write the alarms of the escalation.

        An alarm in `unreached` goes to the recipients of all sites, unless the site is in shadow mode.
        """
        is_shadow = site in self.sites and self.sites[site].shadow
        for change in changes:
            to_all_sites = (site, change.key) in unreached and not is_shadow
            recipients = self.list_recipients("" if to_all_sites else site)
            context = ChangeContext(site, self.sites.get(site), recipients, SERVICE_ACTOR, now, code_version())
            apply_changes(c, [change], context)

    def _is_by_recipient(self, response: outbox.MessageResponse) -> bool:
        """Return whether the person who acted is the recipient of the message, or acts for the recipient."""
        # The site file may no longer declare the recipient.
        former = Recipient(response.recipient, (), ())
        declared = [
            recipient for recipient in self.list_recipients(response.site) if recipient.is_person(response.recipient)
        ]
        return any(recipient.is_person(response.by) for recipient in (former, *declared))

    def find_hanging(self) -> set[str]:
        """Return the channels that hang and get no new worker, because `MAX_ABANDONED_WORKERS` workers hang already."""
        stuck = [name for name, worker in [*self._workers.items()] if worker.is_stuck()]
        return {name for name in stuck if self._count_hanging(name) >= MAX_ABANDONED_WORKERS}

    def list_channels(self) -> list[str]:
        """Return the channels that had a message since the start of the service."""
        return [*self._workers]

    def find_undelivered(self, channels: Collection[str]) -> dict[str, str]:
        """Return the channels that do not deliver messages, each with the reason.

        The reason is one of these: a setting is missing, the last message was refused for good, three attempts in a row
        failed, or an urgent message failed and still waits after `URGENT_LATE_S`. A delivered message ends the problem.
        A successful channel test ends it if a message was refused for good.
        """
        problems = {channel: self._check_settings(channel) for channel in channels}
        undelivered = {channel: problem for channel, problem in problems.items() if problem}
        workers = {channel: worker for channel, worker in [*self._workers.items()] if channel in channels}
        failing = [channel for channel, worker in workers.items() if worker.circuit.failing_since is not None]
        if failing:
            late_before = self.clock() - timedelta(seconds=URGENT_LATE_S)
            for channel in self.db.run_read(outbox.find_late_urgent, failing, late_before):
                undelivered[channel] = workers[channel].last_error or ""
        broken = {channel: worker for channel, worker in workers.items() if worker.circuit.is_broken}
        if any(worker.circuit.refused_at for worker in broken.values()):
            for channel, test in self.db.run_read(load_tested, broken).items():
                circuit = broken[channel].circuit
                if circuit.refused_at is not None and test.good_at is not None and test.good_at > circuit.refused_at:
                    circuit.refused_at = None
        for channel, worker in broken.items():
            if worker.circuit.is_broken:
                undelivered[channel] = worker.last_error or ""
        return undelivered

    def _check_settings(self, channel: str) -> str:
        """Return the problem of the settings of a channel; empty if they are valid."""
        if channel in self._checked_channels:
            return ""
        checked_s, problem = self._settings_problems.get(channel, (-inf, ""))
        if time.monotonic() - checked_s < _CHECK_SETTINGS_EVERY_S:
            return problem
        try:
            open_notifier(channel, self.environ, self.db)
        except ConfigError as error:
            self._settings_problems[channel] = (time.monotonic(), error.message)
            return error.message
        except Exception:  # the same fault fails the next delivery, and is reported then
            _LOG.exception("channel %s", channel.partition(":")[0])
            self._settings_problems[channel] = (time.monotonic(), "")
            return ""
        self._checked_channels.add(channel)
        with self.db.read() as c:
            has_failed = outbox.find_channel_failure(c, channel).error is not None
        # The failures happened before this process started.
        if has_failed:
            self._find_worker(channel).resume()
        return ""

    def _count_hanging(self, channel: str) -> int:
        """Return how many replaced workers of a channel still hang."""
        alive = [worker for worker in self._abandoned.get(channel, []) if not worker.join(0.0)]
        self._abandoned[channel] = alive
        return len(alive)

    def _find_worker(self, channel: str) -> ChannelWorker:
        """Return the worker of a channel; start one if there is none, or if it hangs or died."""
        # Called by the planner, and by the checks of channels in another thread.
        with self._workers_lock:
            worker = self._workers.get(channel)
            if worker is not None and worker.is_stuck() and self._count_hanging(channel) < MAX_ABANDONED_WORKERS:
                _LOG.error("channel %s hangs; a new worker replaces its worker", channel.partition(":")[0])
                worker.stop()
                self._abandoned[channel].append(worker)
                worker = None
            # The threads of a worker end only when it is stopped, or by a fault.
            if worker is None or worker.join(0.0):
                worker = ChannelWorker(channel, self)
                worker.start()
                self._workers[channel] = worker
            return worker
