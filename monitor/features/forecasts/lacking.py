"""What a site asks for and does not have yet: forecasts, networks, detectors; what each waits for, and until when."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from detection.anomaly.registry import list_detectors
from forecasting.data.kinds import format_span
from forecasting.registry import TRAINING_ROWS, count_needed, is_network
from forecasting.serving.conformal import MINIMUM_SCORES
from monitor.extras import is_installed
from monitor.features.forecasts.queries.forecasts import find_forecast
from monitor.models.queries.registry import load_models, needs_torch
from monitor.models.samples import SitePanel, history_since, list_panels
from monitor.readings.queries.observations import Extent, load_extents, load_ids
from monitor.sites.records import Site
from monitor.sites.watched import find_motion, find_watched_motion, is_forecast
from monitor.text.instants import epoch_s, format_iso
from monitor.text.message import Message, Template, Timestamp, spread

FORECAST: Final = "forecast"  # the simple ones, which need no training
FRESH_STEPS: Final = 4  # a series that is silent for longer gets no forecast
_ROWS: Final = Template("awaited.rows", "{n} of {needed} rows of {step}, of series every {every}")
_COMES: Final = Template("awaited.comes", "{text}; all on {at}")
_SOON: Final = Template(
    "awaited.soon", "{n} rows of {step} are enough, of series every {every}: it comes within minutes"
)
_TRIED: Final = Template(
    "awaited.tried",
    "it is trained once the record suffices, which is tried each day; {n} rows of {step} are there, of series every "
    "{every}",
)


@dataclass(frozen=True, slots=True)
class Awaited:
    """Something that is not there yet."""

    what: str  # `forecast`, or the id of a network or of a detector
    task: str  # `forecast` or `anomaly`
    every_s: float  # interval of the series that it is for
    step_s: float  # of the grid that it is made from
    rows: int  # of that grid that the longest of these series has, at most
    needed: int  # rows that it needs at least; 0 where only a try tells
    # when it has them if readings go on coming; None where they do not come, or it has them already
    at: datetime | None = None

    @property
    def is_trained(self) -> bool:
        """Whether it comes of a training, which takes minutes of processor time."""
        return self.what != FORECAST

    def describe(self) -> Message:
        """What it waits for."""
        step, every = format_span(self.step_s), format_span(self.every_s)
        named: dict[str, str | int] = {"n": self.rows, "step": step, "every": every}
        if self.rows < self.needed:
            text = _ROWS(**named, needed=self.needed)
            return text if self.at is None else _COMES(text=text, at=Timestamp.of(self.at, "minute"))
        return _SOON(**named) if self.needed else _TRIED(**named)

    def to_json(self, site: str) -> dict[str, Any]:
        """One line of `forecast models`, and an entry of `status`."""
        document: dict[str, Any] = spread(
            {
                "model_hash": None,
                "kind": self.what,
                "task": self.task,
                "site": site,
                "state": "awaited",
                "reason": self.describe(),
                "at": self.at and format_iso(self.at),
            }
        )
        return document


class Lacking(NamedTuple):
    """What is not there yet of a site."""

    awaited: list[Awaited]  # each with what it waits for
    without: frozenset[int]  # series of motion that have no forecast
    known: frozenset[int]  # all series that have readings
    is_whole: bool  # whether each station that declares motion has had a reading of it


def list_awaited(c: Connection, sites: Iterable[Site], now: datetime) -> list[tuple[str, Awaited]]:
    """What is not there yet of several sites, each with the id of its own."""
    return [(site.id, one) for site in sites for one in find_lacking(c, site, now).awaited]


def find_lacking(c: Connection, site: Site, now: datetime) -> Lacking:
    """What is not there yet of a site as known at `now`; nothing of a series that never had a reading."""
    ids = load_ids(c, site.id)
    motion = find_motion(site, ids)
    requested = {*site.forecast.models, *site.anomaly.detectors}
    models = [m for m in load_models(c, site=site.id, kinds=requested) if m.state != "retired"]
    able, found, unforecast = is_installed("torch"), list[Awaited](), set[int]()
    panels = list_panels(site, motion)
    for panel in panels:
        known = {m.kind for m in models if panel.knows(m, panels)}
        lacking = [m for m in site.forecast.models if is_network(m) and able and m not in known]
        numbers = [one.series_id for one in panel.series]
        without = {*numbers} - find_forecast(c, numbers)
        unforecast |= without
        found += _await_forecasts(c, panel, lacking, without, now)
    found += _await_detectors(c, site, ids, {m.kind for m in models if m.state == "active"}, now)
    is_whole = {one.station.id for one in motion} >= {spec.station for spec in site.moving if is_forecast(spec)}
    return Lacking(found, frozenset(unforecast), frozenset(ids.values()), is_whole)


def _await_forecasts(
    c: Connection, panel: SitePanel, lacking: Sequence[str], without: AbstractSet[int], now: datetime
) -> Iterator[Awaited]:
    if not lacking and not without:
        return
    step_s, interval_s = panel.cadence.step_s, panel.cadence.interval_s
    numbers = [one.series_id for one in panel.series] if lacking else sorted(without)
    extents = load_extents(c, numbers, history_since(now, step_s, TRAINING_ROWS), now)
    if without:
        fresh_s = epoch_s(now) - FRESH_STEPS * step_s
        current = {i: x for i, x in extents.items() if i in without and epoch_s(x.last) >= fresh_s}
        needed = MINIMUM_SCORES + round(panel.cadence.horizons_s[0] / step_s) + 1
        yield from _await(FORECAST, FORECAST, interval_s, step_s, current, needed, now)
    for m in lacking:
        yield from _await(m, FORECAST, interval_s, step_s, extents, count_needed(m), now)


def _await_detectors(
    c: Connection, site: Site, ids: Mapping[tuple[str, str], int], active: AbstractSet[str], now: datetime
) -> Iterator[Awaited]:
    able = is_installed("torch")
    wanted = [d for d in site.anomaly.detectors if d in list_detectors() and d not in active]
    missing = [d for d in wanted if able or not needs_torch(d)]
    watched, step_s = find_watched_motion(site, ids), site.watched_step_s or 0.0
    if watched and missing:
        since = history_since(now, step_s, TRAINING_ROWS)
        extents = load_extents(c, [one.series_id for one in watched], since, now)
        for d in missing:
            yield from _await(d, "anomaly", step_s, step_s, extents, 0, now)


def _await(
    what: str, task: str, every_s: float, step_s: float, extents: Mapping[int, Extent], needed: int, now: datetime
) -> Iterator[Awaited]:
    rows = max(
        (min(x.count, int((x.last - x.first).total_seconds() / step_s) + 1) for x in extents.values()), default=0
    )
    if rows:
        is_coming = epoch_s(max(x.last for x in extents.values())) >= epoch_s(now) - FRESH_STEPS * step_s
        at = now + timedelta(seconds=(needed - rows) * step_s) if is_coming and rows < needed else None
        yield Awaited(what, task, every_s, step_s, rows, needed, at)
