"""Watch the core process from the supervisor, and notify people while it cannot decide."""

import logging
import math
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.acts.change_control import load_in_force
from monitor.app.checks.decisions import LONGEST_WITHOUT_HEARTBEAT_S, Heartbeat
from monitor.app.checks.table import run_checks
from monitor.app.children import PythonChild, read_sites
from monitor.app.self_monitoring.clock import ServiceClock
from monitor.app.self_monitoring.emergency import EmergencyNotifier, list_addresses
from monitor.app.self_monitoring.state_file import ChannelAddress, StateFile
from monitor.app.self_monitoring.unwatched import UnwatchedPeriods
from monitor.delivery.notifier import channel_settings
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site, gather_recipients
from monitor.sites.views import SiteStatusRow
from monitor.storage.audit import find_head
from monitor.storage.service_state import find_heartbeat
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from monitor.text.message import SENTENCE, Message, Template, Term, Timestamp

LAST_LEVEL: Final = Template("service.notice.last_level", "{site}: level {level} was stored last at {at}")
_NO_LEVEL: Final = Template("service.notice.no_level", "No level is known.")
_IS_PART: Final = Template(
    "service.notice.is_part", "These levels include the readings of that period, which the broker had kept."
)
_NOT_STARTED: Final = Template("service.core.not_started", "the core process has not started yet")
_NOT_EVALUATED: Final = Template("service.core.not_evaluated", "the core process has not stored an evaluation yet")

log = logging.getLogger(__name__)
CHECK_CORE_EVERY_S: Final = 1.0
# The other service of a pair is assumed to decide for this long after its last heartbeat.
ELSEWHERE_S: Final = 15.0


def now_utc() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


class CoreWatch:
    """Follow the heartbeats of the core process.

    1. If the core cannot decide, the emergency notifier sends messages without the database.
    2. A period in which the slope was not watched is reported after its end.

    Both need recipients and levels, which `load_recipients_and_levels` reads while the database is available.

    Args:
        clock: A clock that nothing else uses, because `UnwatchedPeriods` removes its steps (`ServiceClock.take_steps`).
        on_notified: See `on_over` of `EmergencyNotifier`.
    """

    def __init__(
        self,
        config: ServiceConfig,
        core: PythonChild,
        clock: ServiceClock,
        on_notified: Callable[[str, int, int], None],
    ) -> None:
        self._config = config
        self._core = core
        self._next_check_s = 0.0
        self._decides_elsewhere_until_s = 0.0
        self._languages: dict[str, str] = {}
        self._sites_in_force: list[Site] = []
        self._levels: list[Message] = []
        self.audit_head = ""
        self.unwatched = UnwatchedPeriods(clock)
        self.emergency = EmergencyNotifier(
            self._list_addresses,
            self._describe_levels,
            channel_settings(config, os.environ),
            now_utc,
            on_notified,
            StateFile.of(config),
            self._find_language,
            config.web.timezone,
        )

    # ---- while the service runs ----------------------------------------------------------------------------------
    def check(self, now_s: float) -> None:
        """Check once a second whether the core decides. Times are monotonic seconds."""
        last_beat_s = self._core.last_beat_s
        if not last_beat_s or now_s < self._next_check_s:
            return
        self._next_check_s = now_s + CHECK_CORE_EVERY_S
        # A core that was killed and starts again has not sent a standby heartbeat yet, so the last known state counts.
        decides_elsewhere = now_s < self._decides_elsewhere_until_s
        self.emergency.update(
            "" if decides_elsewhere else self.find_trouble(now_s),
            now_s,
            has_decided=decides_elsewhere or self._core.is_deciding or self._core.is_standby,
        )
        is_beating = now_s - last_beat_s <= LONGEST_WITHOUT_HEARTBEAT_S and self._core.pid is not None
        self.unwatched.update(now_s, last_beat_s, is_deciding=is_beating and self._core.is_deciding)
        if self._core.is_standby:
            # The active service watches and reports.
            self.unwatched.forget()

    def find_trouble(self, now_s: float) -> str:
        """Return why nothing can be decided at this moment; empty if decisions are made."""
        age_s = now_s - self._core.last_beat_s
        heartbeat = Heartbeat(age_s, now_utc() - timedelta(seconds=age_s))
        return next((finding.text for finding in run_checks(heartbeat) if finding.is_wrong), self._core.trouble)

    def find_ping_trouble(self, now_s: float) -> str:
        """Return why the outside watcher must not be called; empty if the core decides, or is a standby."""
        if not self._core.is_ready:
            return _NOT_STARTED()
        trouble = self.find_trouble(now_s)
        if not trouble and not self._core.is_deciding and not self._core.is_standby:
            return _NOT_EVALUATED()
        return trouble

    # ---- recipients and levels from the database -----------------------------------------------------------------
    def load_recipients_and_levels(self, c: Connection) -> None:
        """Load recipients and levels for messages without the database, and report an unwatched period."""
        self._sites_in_force = list(load_in_force(c))
        self._languages |= _find_languages(self._sites_in_force)
        rows = load_view(c, "site_status", SiteStatusRow, order_by=["site"])
        self._levels = [
            LAST_LEVEL(
                site=row["site"],
                level=Term(str(row["level_name"])),
                at=Timestamp.of(parse_time(str(row["evaluated_at"])), "second"),
            )
            for row in rows
            if row["evaluated_at"] is not None and not row["shadow"]
        ]
        self.audit_head = "audit entry {} head {}".format(*find_head(c))
        if self._decides_elsewhere(c, ELSEWHERE_S):
            self._decides_elsewhere_until_s = time.monotonic() + ELSEWHERE_S
        period = self.unwatched.take(rows)
        if period is not None and not self._decides_elsewhere(c):
            text = period.describe(rows)
            log.critical("%s", text)
            lines: list[str] = [SENTENCE(text=text)]
            if period.cause:
                lines.append(period.cause)
            if period.is_complete(rows):
                lines.append(_IS_PART())
            self.emergency.notify(text, lines, f"gap:{period.begin}")

    def _decides_elsewhere(self, c: Connection, within_s: float = math.inf) -> bool:
        """Return whether the last heartbeat of a core is recent and comes from the other service of a pair."""
        heartbeat = find_heartbeat(c, "core")
        if not self._config.standby.enabled or heartbeat is None:
            return False
        written_at, detail = heartbeat
        if detail.get("name") == self._config.service_name:
            return False
        return (now_utc() - written_at).total_seconds() < within_s

    def _list_addresses(self) -> list[ChannelAddress]:
        """Return who to notify, according to the site files and to the versions in force."""
        sites = [*read_sites(self._config), *self._sites_in_force]
        self._languages = _find_languages(sites)
        return list_addresses(sites)

    def _describe_levels(self) -> list[str]:
        return [*self._levels] or [_NO_LEVEL()]

    def _find_language(self, recipient: str) -> str:
        return self._languages.get(recipient) or self._config.language.default


def _find_languages(sites: list[Site]) -> dict[str, str]:
    return {recipient.name: recipient.language for recipient in gather_recipients(sites)}
