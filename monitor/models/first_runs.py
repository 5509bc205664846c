"""What a site asks for and does not have yet begins when its readings allow it: their arrival hastens jobs."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from monitor.readings.queries.observations import load_newest
from monitor.sites.records import Site
from monitor.storage.engine import Database

if TYPE_CHECKING:  # numpy comes with it
    from monitor.features.forecasts.awaited import Awaited

log = logging.getLogger(__name__)
SOON_S: Final = 10.0  # between two looks at a site whose readings arrive before all of it was forecast
FIRST_S: Final = 30.0  # the same where nothing is heard of arrivals: another process may have stored some
TRAINING_S: Final = 20.0  # while something is being trained
TRAINED_S: Final = 900.0  # as long is that waited for
LATER_S: Final = 300.0  # where forecasts are there, and something else is not
AT_ONCE_S: Final = 0.5  # of looks one after the other: whoever calls has other duties
GROWTH: Final = 1.25  # of a record from one training that was refused to the next
SETTLED: Final = 1.02  # of a record from one look to the next: one that grows by more is being imported
TRAINING_JOBS: Final = {"forecast": "train", "anomaly": "train-detectors"}  # by task of a model
WORTH_A_TRY: Final = 30  # rows, of what says only by a try whether it has enough


@dataclass(slots=True)
class _Followed:
    due_s: float = 0.0
    looked_s: float = -SOON_S
    full_s: float = -LATER_S
    trains_until_s: float = 0.0
    is_first: bool = True  # a series has no forecast yet, or no reading
    known: frozenset[int] = frozenset()
    newest: Mapping[int, datetime] = field(default_factory=dict)  # of series without a forecast
    left: frozenset[tuple[str, float]] | None = None  # networks and detectors that are not there
    tried: dict[tuple[str, float], int] = field(default_factory=dict)  # rows
    rows: dict[tuple[str, float], int] = field(default_factory=dict)  # at the look before
    grows: bool = False  # what has rows enough for a training is still being imported


class FirstRuns:
    """Follows the sites to which something is lacking, and hastens their forecasts, anomaly scores and trainings.

    A site that has all it asks for is not looked at any more: another site file comes with another core. Between two
    looks passes a pause, and one that finds no new reading of what is lacking asks a single question: what they cost is
    bounded at any number of sites. `hasten`: has a job of a site run now.
    """

    def __init__(
        self,
        db: Database,
        sites: Mapping[str, Site],
        hasten: Callable[[str, str], None],
        clock: Callable[[], datetime],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db, self._sites, self._hasten, self._clock, self._monotonic_s = db, sites, hasten, clock, monotonic_s
        self._followed = {site_id: _Followed() for site_id in sites}
        self._arrived: set[str] = set()
        self._lock = threading.Lock()

    def mark(self, sites: frozenset[str]) -> None:
        """Note that readings of these sites were stored; returns at once."""
        if self._followed:
            with self._lock:
                self._arrived |= sites

    def check(self) -> None:
        """Look at the sites that are due, and hasten what can begin."""
        with self._lock:
            arrived, self._arrived = self._arrived, set()
        began_s = self._monotonic_s()
        for site_id in arrived & self._followed.keys():
            one = self._followed[site_id]
            one.due_s = min(one.due_s, one.looked_s + SOON_S) if one.is_first else one.due_s
        for site_id in [one for one, followed in self._followed.items() if followed.due_s <= began_s]:
            self._check_site(site_id, self._followed[site_id])
            if self._monotonic_s() > began_s + AT_ONCE_S:
                return

    def _check_site(self, site_id: str, one: _Followed) -> None:
        from monitor.features.forecasts.awaited import find_lacking

        now_s = one.looked_s = self._monotonic_s()
        one.due_s = now_s + FIRST_S  # also where this look fails
        newest = self._db.run_read(load_newest, site_id)
        is_old = newest.keys() <= one.known and all(newest.get(i) == at for i, at in one.newest.items())
        if is_old and one.is_first and not one.grows and now_s < one.full_s + LATER_S and now_s >= one.trains_until_s:
            return
        one.full_s = now_s
        awaited, without, one.known, is_whole = self._db.run_read(find_lacking, self._sites[site_id], self._clock())
        one.newest = {i: at for i, at in newest.items() if i in without}
        one.is_first = bool(without) or not is_whole
        jobs = self._choose_jobs(one, awaited)
        for name in jobs:
            self._hasten(name, site_id)
        if jobs:
            log.info("%s: %s now: readings allow it", site_id, ", ".join(jobs))
        if not awaited and not one.is_first:
            del self._followed[site_id]
        elif one.grows:
            one.due_s = now_s + SOON_S
        elif now_s < one.trains_until_s:
            one.due_s = now_s + TRAINING_S
        elif not one.is_first:
            one.due_s = now_s + LATER_S

    def _choose_jobs(self, one: _Followed, awaited: "Sequence[Awaited]") -> list[str]:
        from monitor.features.forecasts.awaited import FORECAST

        one.grows = False
        ready = [x for x in awaited if self._is_ready(one, x)]
        one.tried |= {(x.what, x.every_s): x.rows for x in ready}
        before, one.left = one.left, frozenset((x.what, x.every_s) for x in awaited if x.what != FORECAST)
        jobs = set[str]()
        jobs |= {TRAINING_JOBS[x.task] for x in ready if x.what != FORECAST}
        if jobs:
            one.trains_until_s = one.full_s + TRAINED_S
        if any(x.what == FORECAST for x in ready) or (before is not None and before - one.left):
            jobs |= {"forecast", "anomaly"}
        return sorted(jobs)

    def _is_ready(self, one: _Followed, what: "Awaited") -> bool:
        """Whether a try is worth it: it has the rows it needs, and more than at the try before.

        A training waits until an import has ended: what learnt from a part of the record would serve for a week.
        """
        key = (what.what, what.every_s)
        tried, before, one.rows[key] = one.tried.get(key, 0), one.rows.get(key, 0), what.rows
        if what.rows < (what.needed or WORTH_A_TRY) or what.rows <= tried * (GROWTH if what.is_trained else 1.0):
            return False
        grows = what.is_trained and what.rows > SETTLED * before
        one.grows = one.grows or grows
        return not grows
