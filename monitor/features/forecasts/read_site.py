"""Load the readings of a site, as known at an instant, for forecasts and trainings."""

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

HISTORY_ROWS: Final = 1200
"""Rows of the grid that forecasts are made from, at least."""
HORIZONS_OF_HISTORY: Final = 4
"""Longest horizons that these rows span, so that forecasts so far ahead have past errors."""
MOST_ROWS: Final = 3000
PROBE_STEPS: Final = 4  # rows without a reading after which a panel is silent


@dataclass(frozen=True, slots=True)
class PanelRead:
    """The series of a panel and their record for a worker; `record` is None if no series has a recent reading."""

    panel: SitePanel
    samples: list[SeriesSamples]
    record: SiteRecord | None


def read_site(c: Connection, site: Site, now: datetime) -> list[PanelRead]:
    """Load the series of each panel of a site as known at `now`, with what drives them."""
    return [
        read_panel(c, site, panel, now, count_history_rows(panel))
        if load_samples(c, site, panel.series, find_history_start(now, panel.cadence.step_s, PROBE_STEPS), now)
        else PanelRead(panel, [], None)
        for panel in list_panels(site, load_ids(c, site.id))
    ]


def count_history_rows(panel: SitePanel) -> int:
    """Return how many rows of a panel forecasts are made from."""
    longest_rows = max(panel.cadence.horizons_s, default=0.0) / panel.cadence.step_s
    return min(MOST_ROWS, max(HISTORY_ROWS, round(HORIZONS_OF_HISTORY * longest_rows)))


def read_panel(c: Connection, site: Site, panel: SitePanel, now: datetime, rows: int) -> PanelRead:
    """Load the newest `rows` rows of a panel as known at `now`, with what drives them."""
    step_s = panel.cadence.step_s
    since = find_history_start(now, step_s, rows)
    samples = load_samples(c, site, panel.series, since, now, step_s)
    if not samples:
        return PanelRead(panel, [], None)
    driving = load_driving(c, site, since, now)
    return PanelRead(panel, samples, make_record(site, samples, step_s, now, driving))


def make_record(site: Site, samples: list[SeriesSamples], step_s: float, now: datetime, driving: Driving) -> SiteRecord:
    """Return the record of series of one unit up to `now`, for a grid of `step_s` seconds.

    A series is not its own driver: a pore pressure that is forecast is no driver of its panel.
    """
    labels = {series.label for series in samples}
    return SiteRecord(
        samples={series.label: series.timed for series in samples},
        step_s=step_s,
        end_s=epoch_s(now),
        unit=samples[0].spec.unit,
        xy_m=plan_xy_m(site, samples),
        drivers={name: timed for name, timed in driving.measured.items() if name not in labels},
        expected=driving.expected,
        season=driving.season,
        properties=describe_stations(site, samples) if driving.stations else {},
        limits={series.label: Limits(*series.spec.physical_limits) for series in samples},
    )
