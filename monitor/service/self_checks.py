"""Follows what the table of checks finds in the running service, so that it becomes an alarm and not only a count."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from forecasting.message import Template, join
from monitor.checks.check import Check, CheckFinding
from monitor.domain.alert import OVER
from monitor.service.alarms import ServiceAlarms

FOUND_BEFORE: Final = Template("service.found_before", "what was found before the service was started")()


class AlarmConditions:
    """Follows findings and puts an alarm where one begins or ends; what a process before us left open is ended.

    What is found is an alarm when it is so for `Check.after_s`, until it was not for `hold_s`. All that is found under
    one key is one alarm.
    """

    def __init__(self, alarms: ServiceAlarms) -> None:
        self._alarms = alarms
        self._since: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._reported: dict[str, str] = {}  # key -> what is wrong; "" = it is over
        self._counts: dict[str, int] = {}
        self._wrong: dict[str, CurrentFaults] = {}
        self._left: set[str] = set()  # keys of alarms of a process before us, until their check is looked at

    def recall(self, left_open: Iterable[str]) -> None:
        """Take over the alarms that a process before us left open, by their keys."""
        self._left |= {*left_open}

    def follow(self, findings: Iterable[CheckFinding], monotonic_s: float) -> None:
        """Compare with what was told; of a check that found others, a subject that is gone is over."""
        found: dict[str, list[CheckFinding]] = {}
        for one in findings:
            if one.check.alarm or one.check.degrades:
                found.setdefault(one.key, []).append(one)
        looked = {ones[0].check.id: ones[0].check for ones in found.values()}
        gone = {key: one.check for key, one in self._wrong.items() if one.check.id in looked}
        gone |= {key: one for one in looked.values() for key in self._left if one.is_key(key)}
        self._left -= gone.keys()
        for key, ones in found.items():
            self._follow(key, ones[0].check, [one for one in ones if one.counts], monotonic_s)
        for key in gone.keys() - found.keys():
            self._follow(key, gone[key], [], monotonic_s)

    def _follow(self, key: str, check: Check, wrong: list[CheckFinding], monotonic_s: float) -> None:
        if wrong:
            texts = [*dict.fromkeys(one.text for one in wrong)]
            reason = wrong[0]._replace(text=join(texts) if len(texts) > 1 else texts[0]).reason
            self._wrong[key] = CurrentFaults(check, reason, wrong[0].level)
            self._last[key] = monotonic_s
            since = self._since.setdefault(key, monotonic_s)
            if check.alarm and monotonic_s - since >= check.after_s and not self._reported.get(key):
                self._reported[key] = reason
                self._alarms.open(key, reason, check.alarm)
            return
        self._since.pop(key, None)
        if monotonic_s - self._last.get(key, float("-inf")) < check.hold_s:
            return
        self._wrong.pop(key, None)
        if check.alarm and self._reported.get(key) != "":
            # what was wrong, as it was told: by now the figures of the reason are those of nothing
            reported, self._reported[key] = self._reported.get(key), ""
            self._alarms.clear(key, OVER(text=reported or FOUND_BEFORE))

    def degraded(self) -> dict[str, str]:
        """What is wrong now of what `status` says, one line each with its level."""
        return {one.reason: one.level for one in self._wrong.values() if one.check.degrades}

    def grew(self, key: str, count: int) -> bool:
        """Whether a count grew since the last look."""
        before = self._counts.get(key, 0)
        self._counts[key] = count
        return count > before


class CurrentFaults(NamedTuple):
    """What is wrong now."""

    check: Check
    reason: str
    level: str
