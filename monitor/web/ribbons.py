"""Level and sight of sites over time, kept between requests: what was evaluated once never changes."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, NamedTuple

from sqlalchemy import Connection

from monitor.store.alerting.timeline import LONGEST, leave_out, load_levels, load_silences

LATE: Final = timedelta(minutes=5)  # an evaluation is stored within it
SITES: Final = 200  # of which so much is kept; more begin anew


class Change(NamedTuple):
    """From an instant on: the level and who could see; no level where nobody decided."""

    at: datetime
    level: int | None
    seen: str


@dataclass(slots=True)
class _Known:
    from_at: datetime
    to_at: datetime
    changes: list[Change]


@dataclass(slots=True)
class Ribbons:
    """Answers a range from memory and reads what is new: a month holds one evaluation for each of its minutes."""

    _known: dict[str, _Known] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def load(self, c: Connection, site: str, from_at: datetime, to_at: datetime, now: datetime) -> list[Change]:
        """Changes of a range, the first as it stood at its begin; at most the last 400 days."""
        from_at = max(from_at, to_at - LONGEST)
        end = min(to_at, now)
        with self._lock:
            known = self._known.get(site)
        if known is None or known.to_at < from_at or end < known.from_at:
            known = _Known(from_at, from_at, [])
        changes, low, high = known.changes, known.from_at, known.to_at
        if from_at < low:
            changes, low = _join(_read(c, site, from_at, low), changes), from_at
        if end > high:
            begin = max(high - LATE, low)
            changes = _join([k for k in changes if k.at < begin], _read(c, site, begin, end))
            high = end
        with self._lock:
            if len(self._known) >= SITES:
                self._known.clear()
            self._known[site] = _Known(low, high, changes)
        # an outage is written down when it is over: it is never among what is kept
        changes = [Change(*point) for point in leave_out(changes, load_silences(c, site, low, high, now))]
        before = [k for k in changes if k.at <= from_at][-1:]
        return [*(k._replace(at=from_at) for k in before), *(k for k in changes if from_at < k.at <= end)]


def _read(c: Connection, site: str, from_at: datetime, to_at: datetime) -> list[Change]:
    return [Change(*point) for point in load_levels(c, site, from_at, to_at)]


def _join(first: list[Change], then: list[Change]) -> list[Change]:
    """Both in a row; where the second goes on as the first ended, no change is told."""
    found = list(first)
    for change in then:
        if not found or found[-1][1:] != change[1:]:
            found.append(change)
    return found
