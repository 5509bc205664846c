"""The dispatcher: sees what is due, keeps one worker per channel, escalates; never sends anything itself."""

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.alerts.queries.answers import load_confirmed, load_states, load_unconfirmed
from monitor.alerts.queries.recipients import list_addressees, list_chain
from monitor.alerts.records import UNCONFIRMED
from monitor.canonical import code_version
from monitor.decision.changes import AlertChange
from monitor.delivery import escalated
from monitor.delivery.notifier import open_notifier
from monitor.delivery.queries import outbox
from monitor.delivery.queries.receipts import load_tested
from monitor.delivery.unconfirmed import Alarm, end_unconfirmed, find_alarms
from monitor.delivery.value_now import add_values, renew
from monitor.delivery.worker import ChannelWorker, Delivery
from monitor.errors import ConfigError, StoreBusyError
from monitor.sites.records import Recipient
from monitor.storage.actor import SERVICE_ACTOR

_LOG = logging.getLogger(__name__)
POLL_S: Final = 0.5
ESCALATE_EVERY_S: Final = 5.0
ALL_SITES: Final = "all sites"
MOST_ABANDONED: Final = 3
UNFIT_AGAIN_S: Final = 60.0
SET_BACK_S: Final = 15.0  # so long after the clock went back, leases may still be spelled in the time before


@dataclass(eq=False)
class Dispatcher(Delivery):
    """Delivers the outbox.

    1. `start()` runs one planner thread; it looks for due messages every half second and when `wake()` is called.
    2. Each channel with due messages gets a worker thread of its own, which stays.
    3. Leases that ran out are given back; a worker that hangs beyond two leases is replaced.
    4. Alerts that nobody acknowledged are escalated; a message whose own recipient has answered is confirmed.
    """

    poll_s: float = POLL_S  # how often to look

    def __post_init__(self) -> None:
        self._workers: dict[str, ChannelWorker] = {}
        self._hiring = threading.Lock()
        self._abandoned: dict[str, list[ChannelWorker]] = {}  # by channel: those that hang still
        self._progress: dict[str, datetime] = {}
        self._unfit: dict[str, tuple[float, str]] = {}  # by channel: when its settings were looked at, what is wrong
        self.failing: frozenset[str] = frozenset()  # sites that cannot be escalated, or `ALL_SITES`
        self._escalated_at: datetime | None = None
        self._planned_at, self._trusted_from_s = self.clock(), 0.0
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the planner thread."""
        self._progress["dispatcher"] = self.clock()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the messages in hand, or after the time; what is not settled goes out again when its lease ends."""
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
        """Look at once: something was queued."""
        self._wake.set()

    def forget_times(self) -> None:
        """The clock was set: no channel rests by the old time, and escalation is looked at anew."""
        self._escalated_at = None
        for worker in self._workers.values():
            worker.circuit.forget_rest()
        self.wake()

    def progress(self) -> dict[str, datetime]:
        """When the planner last went round; without the workers: a hanging channel is no reason to restart."""
        return dict(self._progress)

    def status(self) -> dict[str, Any]:
        """What people ask of the delivery: counts by state and the condition of each channel."""
        now = self.clock()
        states = self.db.run_read(outbox.count_states)
        channels = {
            name: {
                "failures": w.circuit.failures,
                "failing_since": w.circuit.failing_since,
                "resting": w.circuit.is_open(now),
                "hanging": w.is_stuck(),
                "last_error": w.last_error,
            }
            for name, w in self._workers.items()
        }
        return {"states": states, "channels": channels}

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.plan_once()
            except StoreBusyError as error:
                _LOG.warning("%s", error)
            except Exception:  # loop edge: delivery must go on
                _LOG.exception("dispatcher")
            self._progress["dispatcher"] = self.clock()
            self._wake.wait(self.poll_s)
            self._wake.clear()

    def plan_once(self) -> set[str]:
        """One round; returns the channels that were woken."""
        now = self.clock()
        if now < self._planned_at - outbox.CLOCK_MARGIN:
            self._trusted_from_s = time.monotonic() + SET_BACK_S
        self._planned_at = now
        was_set_back = time.monotonic() < self._trusted_from_s
        with self.db.read() as c:
            due, expired = outbox.due_channels(c, now), outbox.has_expired(c, now)
        if expired and not was_set_back:
            with self.db.write() as c:
                _LOG.warning("%d leases ran out; the messages go out again", outbox.release_expired(c, now))
                due = outbox.due_channels(c, now)
        if self._escalated_at is None or now - self._escalated_at >= timedelta(seconds=ESCALATE_EVERY_S):
            self._escalated_at = now
            try:
                self.escalate_once(now)
            except StoreBusyError:
                raise
            except Exception:  # the messages that wait go out all the same
                _LOG.exception("escalation")
                self.failing = frozenset({ALL_SITES})
            for channel in self.db.run_read(outbox.old_channels, now):
                self._worker(channel)  # whatever their rows say, there is one, which looks at them
        for channel in due:
            self._worker(channel).wake()
        return due

    def escalate_once(self, now: datetime) -> int:
        """Queue what the escalation orders, confirm what its recipient answered; returns how many were queued.

        An urgent alert that reached nobody, or that all were notified of and nobody confirmed, is an alarm of its own,
        until somebody confirms it. One that reached nobody goes to the people of all sites.
        """
        with self.db.read() as c:
            alerts = outbox.load_unacknowledged(c)
            answered = outbox.load_answered(c, now - timedelta(days=1))
            answers, standing = load_confirmed(c, {a.event_id for a in alerts}), load_unconfirmed(c)
            states = load_states(c, {int(key.removeprefix(UNCONFIRMED)) for _, key in standing})
        ended = end_unconfirmed(standing, states, answers, now, self.limits)
        queued, failing = 0, set()
        for site in sorted({a.site for a in alerts} | {a.site for a in answered} | {site for site, _ in ended}):
            mine = [a for a in alerts if a.site == site]
            over = {alarm: change for alarm, change in ended.items() if alarm[0] == site}
            try:
                queued += self._escalate_site(site, mine, answers, standing, over, answered, now)
            except StoreBusyError:
                raise
            except Exception:  # what is wrong at one site must not silence the others
                _LOG.exception("escalation of %s", site)
                failing.add(site)
        self.failing = frozenset(failing)
        return queued

    def _escalate_site(
        self,
        site: str,
        alerts: Sequence[outbox.OpenAlert],
        answers: Collection[int],
        standing: Collection[Alarm],
        ended: Mapping[Alarm, AlertChange],
        answered: Iterable[outbox.AnsweredMessage],
        now: datetime,
    ) -> int:
        with self.db.read() as c:
            # who is on duty by now, not who was when the first message went out
            chain = list_chain(c, self.list_recipients(site), now) if alerts else []
            first = list_addressees(c, self.list_recipients(site), now) if any(a.is_back for a in alerts) else []
        orders = [(a, e) for a in alerts for e in self._list_orders(a, chain, first, now)]
        confirmed = [a for a in answered if a.site == site and self._is_recipient(a)]
        name = self.sites[site].name if site in self.sites else site
        found, unreached = find_alarms(alerts, chain, name, answers, now, self.limits)
        found |= unreached
        changes = [change for alarm, change in found.items() if alarm not in standing] + [*ended.values()]
        if not orders and not confirmed and not changes:
            return 0
        with self.db.read() as c:  # a write would wait for the decision of the site
            changes = [add_values(c, change, now) for change in changes]
            renewed = [(renew(c, alert, order.subject, now), alert, order) for alert, order in orders]
        with self.db.write() as c:
            self._write_changes(c, site, changes, unreached, now)
            for a in confirmed:
                outbox.mark_confirmed(c, a.notification_id, a.at, a.by, a.via)
            return sum(
                outbox.add_escalation(c, replace(alert, body=body), order.recipient, order.channel, subject, now)
                for (subject, body), alert, order in renewed
            )

    def _list_orders(
        self,
        alert: outbox.OpenAlert,
        chain: Sequence[Sequence[Recipient]],
        addressees: Sequence[Recipient],
        now: datetime,
    ) -> list[escalated.Escalation]:
        """Who hears of an alert that is back from where it was put aside, else whom escalation is for."""
        returned = escalated.escalate_return(alert, addressees, now) if alert.is_back else []
        return returned or escalated.apply(alert, chain, now, self.limits)

    def _write_changes(
        self, c: Connection, site: str, changes: Iterable[AlertChange], unreached: Collection[Alarm], now: datetime
    ) -> None:
        """Write alerts of the escalation itself; that nobody was reached goes to the recipients of all sites."""
        for change in changes:
            people = self.list_recipients("" if (site, change.key) in unreached else site)
            context = ChangeContext(site, self.sites.get(site), people, SERVICE_ACTOR, now, code_version())
            apply_changes(c, [change], context)

    def _is_recipient(self, answered: outbox.AnsweredMessage) -> bool:
        """Whether who acted is who the message was sent to; the site file says who acts for a recipient."""
        recipient = Recipient(answered.recipient, (), ())
        named = [r for r in self.list_recipients(answered.site) if r.is_person(answered.recipient)]
        return any(r.is_person(answered.by) for r in (recipient, *named))

    def find_hanging(self) -> set[str]:
        """Channels that hang and get no new worker: as many as may hang do already."""
        hang = [name for name, worker in [*self._workers.items()] if worker.is_stuck()]
        return {name for name in hang if self._count_hanging(name) >= MOST_ABANDONED}

    def list_channels(self) -> list[str]:
        """Those that ever had a message."""
        return [*self._workers]

    def find_undelivered(self, channels: Collection[str]) -> dict[str, str]:
        """Why channels take no messages: a setting is missing, the last was refused for good, or three failed in a row.

        A message that a channel takes ends that, and so does a test that it passes.
        """
        found = {one: problem for one in channels if (problem := self._find_unfit(one))}
        broken = {name: w for name, w in [*self._workers.items()] if name in channels and w.circuit.is_broken}
        if any(w.circuit.refused_at for w in broken.values()):
            tested = self.db.run_read(load_tested, broken)
            for name, test in tested.items():
                refused_at = broken[name].circuit.refused_at
                if refused_at is not None and test.good_at is not None and test.good_at > refused_at:
                    broken[name].circuit.refused_at = None
        return found | {name: w.last_error or "" for name, w in broken.items() if w.circuit.is_broken}

    def _find_unfit(self, channel: str) -> str:
        """What of its settings is missing or wrong; looked at until it is right, each minute."""
        looked_s, problem = self._unfit.get(channel, (-inf, ""))
        if looked_s == inf or time.monotonic() - looked_s < UNFIT_AGAIN_S:
            return problem
        try:
            open_notifier(channel, self.environ, self.db)
        except ConfigError as error:
            self._unfit[channel] = (time.monotonic(), error.message)
        except Exception:  # what breaks here breaks when a message is due, and is said then
            _LOG.exception("channel %s", channel.partition(":")[0])
            self._unfit[channel] = (time.monotonic(), "")
        else:
            self._unfit[channel] = (inf, "")
            with self.db.read() as c:
                failed = outbox.find_failing(c, channel).error is not None
            if failed:  # before this process began
                self._worker(channel).resume()
        return self._unfit[channel][1]

    def _count_hanging(self, channel: str) -> int:
        alive = [worker for worker in self._abandoned.get(channel, []) if not worker.join(0.0)]
        self._abandoned[channel] = alive
        return len(alive)

    def _worker(self, channel: str) -> ChannelWorker:
        with self._hiring:  # asked by the planner and by who looks for channels that take nothing
            worker = self._workers.get(channel)
            if worker is not None and worker.is_stuck() and self._count_hanging(channel) < MOST_ABANDONED:
                _LOG.error("channel %s hangs; a new worker takes its place", channel.partition(":")[0])
                worker.stop()
                self._abandoned[channel].append(worker)
                worker = None
            if worker is None or worker.join(0.0):  # one that nobody told to end has died
                worker = ChannelWorker(channel, self)
                worker.start()
                self._workers[channel] = worker
            return worker
