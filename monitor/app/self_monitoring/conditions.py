"""Turn findings of checks into alarms.

A condition must last for some time before it is an alarm, and be over for some time before the alarm ends.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from monitor.app.checks.table import run_all_checks
from monitor.decision.changes import RESOLVED
from monitor.storage.check import UNKNOWN, Check, CheckFinding
from monitor.text.message import Template, join

FOUND_BEFORE: Final = Template("service.found_before", "what was found before the service was started")()


class AlarmSink(Protocol):
    """Where beginnings and ends of alarms go; see `AlarmQueue`."""

    def open(self, key: str, reason: str, level: int) -> None:
        """Begin an alarm."""

    def clear(self, key: str, reason: str) -> None:
        """End an alarm."""


class _Fault(NamedTuple):
    check: Check
    reason: str
    level: str


class _Examined(NamedTuple):
    """What a call of `update` has examined.

    Attributes:
        checks: The checks with at least one finding, by id.
        findings_by_key: Findings whose state is known.
        unknown_keys: Keys with a subject whose state is unknown.
    """

    checks: dict[str, Check]
    findings_by_key: dict[str, list[CheckFinding]]
    unknown_keys: set[str]


def _collect_findings(findings: Iterable[CheckFinding]) -> _Examined:
    """Sort findings by key. Findings of checks that neither raise an alarm nor degrade the service are left out."""
    examined = _Examined({}, {}, set())
    for finding in findings:
        check = finding.check
        if not (check.alarm or check.degrades):
            continue
        examined.checks[check.id] = check
        if finding.level == UNKNOWN:
            examined.unknown_keys.add(finding.key)
        elif finding.subject or finding.is_wrong or "*" not in check.pattern:
            examined.findings_by_key.setdefault(finding.key, []).append(finding)
    return examined


class Counters:
    """Find out whether counts have grown."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def has_grown(self, name: str, count: int) -> bool:
        """Return whether a count is larger than at the last call with this name."""
        before = self._last.get(name, 0)
        self._last[name] = count
        return count > before


class AlarmConditions:
    """State of every condition of the table of checks.

    A condition becomes an alarm when the fault has lasted for `Check.after_s`. The alarm ends when there was no fault
    for `Check.hold_s`. All findings with one key are one condition and one alarm.

    `recall`, `check`, `update` and `degraded` may be called in different threads.
    """

    def __init__(self, alarms: AlarmSink) -> None:
        self._alarms = alarms
        self._lock = threading.Lock()
        self._faults: dict[str, _Fault] = {}  # current faults by key
        self._since_s: dict[str, float] = {}
        self._last_seen_s: dict[str, float] = {}
        # The reason of the alarm by key. Empty: its end was reported. No entry: this process has reported nothing.
        self._reported: dict[str, str] = {}
        # Open alarms of an earlier process whose check has not run yet.
        self._inherited: set[str] = set()

    def recall(self, open_keys: Iterable[str]) -> None:
        """Take over the alarms that an earlier process left open."""
        with self._lock:
            self._inherited |= {*open_keys}

    def check(self, facts: Iterable[object], now_s: float) -> None:
        """Run the checks that examine these facts, and begin and end their alarms.

        Args:
            facts: Objects that the table of checks examines.
            now_s: Monotonic time in seconds.

        Raises:
            Exception: The error of a check, after the findings of the other checks were used. The errors of several
                checks are an ExceptionGroup.
        """
        findings, errors = run_all_checks(facts)
        self.update(findings, now_s)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("checks failed", errors)

    def update(self, findings: Iterable[CheckFinding], now_s: float) -> None:
        """Begin and end alarms.

        A check that has at least one finding has examined all its subjects. A subject without a finding no longer
        exists, and its condition is over. If a check with a `*` in its key has no subject at all, it returns one
        finding without a problem and without a subject. The alarm of a subject whose state is unknown stays as it is.

        Args:
            now_s: Monotonic time in seconds.
        """
        with self._lock:
            self._update(findings, now_s)

    def _update(self, findings: Iterable[CheckFinding], now_s: float) -> None:
        examined = _collect_findings(findings)
        known = self._find_known_conditions(examined.checks)
        # This process knows the state of these alarms from now on.
        self._inherited -= known.keys() - examined.unknown_keys
        for key, key_findings in examined.findings_by_key.items():
            faults = [finding for finding in key_findings if finding.reaches_check_level]
            # If another subject of this key is unknown, only a fault changes the condition.
            if faults or key not in examined.unknown_keys:
                self._update_key(key, key_findings[0].check, faults, now_s)
        # Conditions without a finding are over, because their subjects no longer exist.
        for key in known.keys() - examined.findings_by_key.keys() - examined.unknown_keys:
            self._update_key(key, known[key], [], now_s)

    def _find_known_conditions(self, checks: Mapping[str, Check]) -> dict[str, Check]:
        """Return the check of each fault and each inherited alarm that these checks, by id, can end."""
        known = {key: fault.check for key, fault in self._faults.items() if fault.check.id in checks}
        for check in checks.values():
            known |= {key: check for key in self._inherited if check.matches_key(key)}
        return known

    def _update_key(self, key: str, check: Check, faults: list[CheckFinding], now_s: float) -> None:
        if faults:
            self._note_fault(key, check, faults, now_s)
        else:
            self._note_correct(key, check, now_s)

    def _note_fault(self, key: str, check: Check, faults: list[CheckFinding], now_s: float) -> None:
        texts = list(dict.fromkeys(finding.text for finding in faults))
        text = join(texts) if len(texts) > 1 else texts[0]
        reason = faults[0]._replace(text=text).reason
        self._faults[key] = _Fault(check, reason, faults[0].level)
        self._last_seen_s[key] = now_s
        since_s = self._since_s.setdefault(key, now_s)
        if check.alarm and now_s - since_s >= check.after_s and not self._reported.get(key):
            self._reported[key] = reason
            self._alarms.open(key, reason, check.alarm)

    def _note_correct(self, key: str, check: Check, now_s: float) -> None:
        self._since_s.pop(key, None)
        if now_s - self._last_seen_s.get(key, float("-inf")) < check.hold_s:
            return
        self._faults.pop(key, None)
        if check.alarm and self._reported.get(key) != "":
            # The reason as it was reported. The current facts no longer describe the fault.
            reported = self._reported.get(key)
            self._reported[key] = ""
            self._alarms.clear(key, RESOLVED(text=reported or FOUND_BEFORE))

    def degraded(self) -> dict[str, str]:
        """Return the current faults that degrade the service: their level by their text."""
        with self._lock:
            return {fault.reason: fault.level for fault in self._faults.values() if fault.check.degrades}
