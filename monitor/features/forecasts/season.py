"""Trend, season and remainder of each series of a site, found by night in a worker: read by people, by no decision."""

from array import array
from datetime import datetime, timedelta
from typing import Final

from forecasting.data.series import DAY_S
from forecasting.decomposition.season import PARTS
from monitor.api.database import Database
from monitor.api.errors import JobError
from monitor.api.extras import describe_missing, is_installed
from monitor.api.queries.models import average_cells
from monitor.api.queries.readings import load_series, stream_readings
from monitor.api.readings import Timed
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import epoch_s
from monitor.api.worker import run_in_worker
from monitor.features.forecasts.queries.seasons import load_computed, save_seasons
from monitor.features.forecasts.tasks import SPLIT_SEASONS, SeasonsRequest

RECORD_SPAN: Final = timedelta(days=10 * 366)  # older readings say little of the season of today, and cost
FRESH: Final = timedelta(hours=20)  # A start by day does not repeat the work of the night
AT_ONCE: Final = 50  # series that one worker splits: an answer is bounded
PART_S: Final = DAY_S / PARTS  # what is read is the mean of each part of a day
NOT_LEVELS: Final = frozenset({"rain", "battery_voltage"})
"""Rain is a sum of an interval; the voltage of a battery says nothing of a slope."""


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Split what was not split tonight; returns one line."""
    with db.read() as c:
        computed = load_computed(c, site.id)
        series = [s for s in load_series(c, site.id) if s.quantity not in NOT_LEVELS]
    due = [s for s in series if s.id not in computed or now - computed[s.id] >= FRESH]
    if not due:
        return "nothing to split" if not series else "split already tonight"
    if not (config.compute.dask or is_installed("statsmodels")):
        return describe_missing("statsmodels")
    split = 0
    for begin in range(0, len(due), AT_ONCE):
        parts = dict[str, Timed]()
        for one in due[begin : begin + AT_ONCE]:
            times, values = array("d"), array("d")
            with db.read() as c:
                readings = stream_readings(c, one.id, now - RECORD_SPAN, now, now)
                for reading in average_cells(readings, PART_S):
                    times.append(epoch_s(reading.observed_at))
                    values.append(reading.value)
            parts[str(one.id)] = times, values
        answer = run_in_worker(config.compute, SPLIT_SEASONS, SeasonsRequest(parts))
        if set(answer.found) != set(parts):
            raise JobError("the answer of the worker names other series than the question")
        with db.write() as c:
            save_seasons(c, {int(key): one for key, one in answer.found.items()}, now)
        split += sum(not one.reason for one in answer.found.values())
    return f"{split} of {len(due)} series split into trend, season and remainder"
