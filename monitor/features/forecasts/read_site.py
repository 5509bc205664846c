"""What is known of a site at an instant, on the grids of its forecasts: the same for an issue and a training."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from forecasting.serving.records import Limits
from monitor.api.queries.models import (
    SeriesSamples,
    SitePanel,
    find_history_start,
    list_panels,
    load_samples,
    plan_xy_m,
)
from monitor.api.queries.readings import load_ids
from monitor.api.sites import Site
from monitor.api.text import epoch_s
from monitor.features.forecasts.drivers import Driving, describe_stations, load_driving
from monitor.features.forecasts.tasks import SiteRecord

HISTORY_STEPS: Final = 1200
PROBE_STEPS: Final = 4  # of the grid: one more than after which the lane calls a series stale


@dataclass(frozen=True, slots=True)
class PanelRead:
    """The series of a panel and the record that a worker is given of them; none where all of it is silent."""

    panel: SitePanel
    samples: list[SeriesSamples]
    record: SiteRecord | None


def read_site(c: Connection, site: Site, now: datetime, models: Collection[str]) -> list[PanelRead]:
    """Load the series of each panel of a site as known at `now`, and the drivers that these models read."""
    return [
        read_panel(c, site, panel, now, models, HISTORY_STEPS)
        if load_samples(c, site, panel.series, find_history_start(now, panel.cadence.step_s, PROBE_STEPS), now)
        else PanelRead(panel, [], None)
        for panel in list_panels(site, load_ids(c, site.id))
    ]


def read_panel(
    c: Connection, site: Site, panel: SitePanel, now: datetime, models: Collection[str], steps: int
) -> PanelRead:
    """The newest `steps` rows of a panel as known at `now`, and what these models read beside."""
    step_s = panel.cadence.step_s
    since = find_history_start(now, step_s, steps)
    samples = load_samples(c, site, panel.series, since, now, step_s)
    if not samples:
        return PanelRead(panel, [], None)
    driving = load_driving(c, site, since, now, models)
    return PanelRead(panel, samples, make_record(site, samples, step_s, now, driving))


def make_record(site: Site, samples: list[SeriesSamples], step_s: float, now: datetime, driving: Driving) -> SiteRecord:
    """What is known of a site at `now`, for one grid of `step_s`."""
    return SiteRecord(
        {s.label: s.timed for s in samples},
        step_s,
        epoch_s(now),
        samples[0].spec.unit,
        plan_xy_m(site, samples),
        driving.measured,
        driving.expected,
        driving.season,
        describe_stations(site, samples) if driving.stations else {},
        {s.label: Limits(*s.spec.physical_limits) for s in samples},
    )
