"""Run the jobs of a site as soon as its first readings suffice, without waiting for their next turn.

A job runs early for two reasons only:

* A forecast that needs no training has enough readings for the first time, or `GROWTH` times as many as at the last
  attempt. The same factor separates two attempts at one training.
* A training is over: every network or detector that it was started for exists, or `TRAINED_S` have passed. The job
  that uses them then runs once. It does not run after each of them, because it would issue all forecasts of the site
  again, from the same readings.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from monitor.models.lacking import AwaitedModel, LackingModels, find_lacking
from monitor.readings.queries.observations import load_newest_receptions
from monitor.sites.records import Site
from monitor.storage.engine import Database

log = logging.getLogger(__name__)
SOON_S: Final = 10.0  # between two checks of a site whose readings arrive and that lacks a forecast
FIRST_S: Final = 30.0  # between two checks without news of readings: another process may have stored some
TRAINING_S: Final = 20.0  # between two checks during a training
TRAINED_S: Final = 900.0  # a training is expected to end within this time
LATER_S: Final = 300.0  # between two checks of a site that has forecasts and lacks something else
AT_ONCE_S: Final = 0.5  # longest time for one round of checks, because the calling thread has other duties
GROWTH: Final = 1.25  # how much a record must grow after an attempt before the next one
SETTLED: Final = 1.02  # a record that grows by more between two checks is still being imported
WORTH_A_TRY: Final = 30  # rows before the first training of a model that does not say how many it needs


class _ModelKey(NamedTuple):
    """A model that does not exist yet, told apart from the same kind of model of other series."""

    what: str
    quantity: str
    every_s: float


@dataclass(slots=True)
class _FollowedSite:
    due_s: float = 0.0
    checked_s: float = -SOON_S
    fully_checked_s: float = -LATER_S
    trains_until_s: float = 0.0
    is_first: bool = True  # a series has no forecast yet, or no reading
    known: frozenset[int] = frozenset()
    newest: Mapping[int, datetime] = field(default_factory=dict)  # of series without a forecast
    # networks and detectors that did not exist at the check before, with the job that uses each
    missing: Mapping[_ModelKey, str] = field(default_factory=dict)
    in_training: frozenset[_ModelKey] = frozenset()
    awaiting_run: frozenset[str] = frozenset()  # jobs that have not run yet with what was trained for them
    tried: dict[_ModelKey, int] = field(default_factory=dict)  # rows at the last attempt
    rows: dict[_ModelKey, int] = field(default_factory=dict)  # rows at the check before
    grows: bool = False  # readings for a training are still being imported


class FirstRuns:
    """Follow the sites that lack forecasts, networks or detectors, and run their jobs early.

    A site that lacks nothing is not checked again: another site file comes with another core process. There is a pause
    between two checks of a site. A check that finds no new reading of what is lacking makes a single query, so that the
    cost is bounded for any number of sites.

    Args:
        run_job: runs the job of this name for a site now. Jobs that do not exist are ignored.
    """

    def __init__(
        self,
        db: Database,
        sites: Mapping[str, Site],
        run_job: Callable[[str, str], None],
        clock: Callable[[], datetime],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._sites = sites
        self._run_job = run_job
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._followed = {site_id: _FollowedSite() for site_id in sites}
        self._arrived: set[str] = set()
        self._lock = threading.Lock()

    def mark(self, site_ids: frozenset[str]) -> None:
        """Note that readings of these sites were stored. Return at once."""
        if self._followed:
            with self._lock:
                self._arrived |= site_ids

    def check(self) -> None:
        """Check the sites that are due, and run the jobs for which their readings suffice."""
        with self._lock:
            arrived, self._arrived = self._arrived, set()
        started_s = self._monotonic_s()
        for site_id in arrived & self._followed.keys():
            site = self._followed[site_id]
            if site.is_first:
                site.due_s = min(site.due_s, site.checked_s + SOON_S)
        for site_id in [name for name, site in self._followed.items() if site.due_s <= started_s]:
            self._check_site(site_id, self._followed[site_id])
            if self._monotonic_s() > started_s + AT_ONCE_S:
                return

    def _check_site(self, site_id: str, site: _FollowedSite) -> None:
        now_s = site.checked_s = self._monotonic_s()
        site.due_s = now_s + FIRST_S  # also if this check fails
        newest = self._db.run_read(load_newest_receptions, site_id)
        has_news = not newest.keys() <= site.known or any(newest.get(i) != at for i, at in site.newest.items())
        is_due = not site.is_first or site.grows or now_s >= site.fully_checked_s + LATER_S
        if not has_news and not is_due and now_s >= site.trains_until_s:
            return
        site.fully_checked_s = now_s
        lacking = self._db.run_read(find_lacking, self._sites[site_id], self._clock())
        site.known = lacking.known
        site.newest = {i: at for i, at in newest.items() if i in lacking.without}
        site.is_first = bool(lacking.without) or not lacking.is_whole
        jobs = _choose_jobs(site, lacking)
        for name in jobs:
            self._run_job(name, site_id)
        if jobs:
            log.info("%s: %s now: readings allow it", site_id, ", ".join(jobs))
        if not lacking.awaited and not site.is_first:
            del self._followed[site_id]
        elif site.grows:
            site.due_s = now_s + SOON_S
        elif now_s < site.trains_until_s:
            site.due_s = now_s + TRAINING_S
        elif not site.is_first:
            site.due_s = now_s + LATER_S


def _choose_jobs(site: _FollowedSite, lacking: LackingModels) -> list[str]:
    """Return the jobs to run now, by the rules of this module."""
    site.grows = False
    ready = [model for model in lacking.awaited if _is_ready(site, model)]
    site.tried |= {_key(model): model.rows for model in ready}
    jobs = {model.job for model in ready}
    missing = {_key(model): model.used_by for model in lacking.awaited if model.is_trained}
    trained = {used_by for key, used_by in site.missing.items() if key not in missing}
    site.missing = missing
    if site.fully_checked_s >= site.trains_until_s:
        site.in_training = frozenset()
    started = frozenset(_key(model) for model in ready if model.is_trained)
    if started:
        site.trains_until_s = site.fully_checked_s + TRAINED_S
    site.in_training = (site.in_training | started) & missing.keys()
    busy = {missing[key] for key in site.in_training}
    awaiting_run = site.awaiting_run | trained
    site.awaiting_run = awaiting_run & busy
    return sorted(jobs | (awaiting_run - busy))


def _key(model: AwaitedModel) -> _ModelKey:
    return _ModelKey(model.what, model.quantity, model.every_s)


def _is_ready(site: _FollowedSite, model: AwaitedModel) -> bool:
    """Return whether an attempt makes sense: there are enough rows, and `GROWTH` times those of the last attempt.

    A training waits until an import has ended, because a model trained on a part of the record would be used for a
    week.
    """
    key = _key(model)
    rows_before = site.rows.get(key, 0)
    site.rows[key] = model.rows
    if model.rows < (model.needed or WORTH_A_TRY) or model.rows <= GROWTH * site.tried.get(key, 0):
        return False
    grows = model.is_trained and model.rows > SETTLED * rows_before
    site.grows = site.grows or grows
    return not grows
