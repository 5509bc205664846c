"""What is known of a site at an instant, on the grid of its forecasts: the same for an issue and for a fit by night."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from forecasting.serving.records import Limits
from monitor.domain.instants import epoch_s
from monitor.domain.site import Site
from monitor.jobs.forecasts.drivers import Driving, describe_stations, load_driving
from monitor.jobs.forecasts.tasks import SiteRecord
from monitor.jobs.samples import (
    Samples,
    grid_step_s,
    history_since,
    load_displacements,
    plan_xy_m,
    step_s,
)

HISTORY_STEPS: Final = 1200
PROBE_STEPS: Final = 4  # of the grid: one more than after which the lane calls a series stale


@dataclass(frozen=True, slots=True)
class SiteRead:
    """The series of a site and the record that a worker is given of them."""

    samples: list[Samples]
    record: SiteRecord


def read_site(c: Connection, site: Site, now: datetime, models: Collection[str]) -> SiteRead | None:
    """Displacements of a site as known at `now`, and what these models read beside; None without recent readings."""
    shortest_s = min(site.forecast.horizons_s)
    slowest_s = max(_intervals(site), default=0.0)
    reach_s = grid_step_s(slowest_s, shortest_s) if slowest_s else 0.0
    probe = load_displacements(c, site, history_since(now, max(reach_s, slowest_s), PROBE_STEPS), now)
    if not probe:
        return None
    step = step_s(probe, shortest_s)
    since = history_since(now, step, HISTORY_STEPS)
    samples = load_displacements(c, site, since, now, grid_s=step)
    if not samples:
        return None
    driving = load_driving(c, site, since, now, models)
    return SiteRead(samples, make_record(site, samples, step, now, driving))


def make_record(
    site: Site, samples: list[Samples], step_s: float, now: datetime, driving: Driving
) -> SiteRecord:  # fmt: skip
    """What is known of a site at `now`, for one grid of `step_s`."""
    return SiteRecord(
        {s.label: s.timed for s in samples}, step_s, epoch_s(now), plan_xy_m(site, samples), driving.measured,
        driving.expected, driving.season,
        describe_stations(site, samples) if driving.stations else {},
        {s.label: Limits(*s.spec.walls) for s in samples},
    )  # fmt: skip


def _intervals(site: Site) -> list[float]:
    return [spec.interval_s for spec in site.moving]
