"""Score the forecasts whose targets have been observed."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import fsum
from typing import Any, Final

from sqlalchemy import Connection

from monitor.api.database import Database
from monitor.api.decision import MOVEMENT
from monitor.api.queries.alerts import find_state
from monitor.api.queries.models import load_samples
from monitor.api.queries.readings import SeriesRow, load_offsets, load_series, stream_readings
from monitor.api.readings import Reading, is_fit
from monitor.api.sites import Site, WatchedSeries
from monitor.api.text import epoch_s, parse_time
from monitor.features.forecasts.drivers import find_wet
from monitor.features.forecasts.queries import forecasts

SCORED_WITHIN_S = 90 * 86400.0  # a target observed later than this stays unscored
SETTLING_EPOCHS: Final = 48  # epochs before a forecast from which the scatter of its series is measured


def score_targets(db: Database, site: Site, now: datetime, *, hindcast: bool = False) -> str:
    """Add a score row for every target that has been observed by now. Return one line.

    Args:
        hindcast: Score forecasts of the past, which were made afterwards, over the whole record.
    """
    with db.read() as c:
        since = datetime.min.replace(tzinfo=UTC) if hindcast else now - timedelta(seconds=SCORED_WITHIN_S)
        waiting = forecasts.load_unscored(c, site.id, now, since, hindcast=hindcast)
        names = {row.id: row for row in load_series(c, site.id)}
        specs = {i: site.series(names[i].station, names[i].quantity) for i in {u.series_id for u in waiting}}
        readings = {
            i: _load_near(c, i, [u.target_at for u in waiting if u.series_id == i], spec.interval_s / 2.0, now)
            for i, spec in specs.items()
            if spec is not None
        }
        state = find_state(c, site.id)
        movements = set() if state is None else _list_movements(state.state)
        levels = {
            i: _load_level(c, site, names[i], [u for u in waiting if u.series_id == i], movements, now)
            for i in readings
        }
        wet = find_wet(c, site, (u.issued_at for u in waiting), now)
        situations = forecasts.load_situations(c, waiting, wet)
    scores: dict[int, forecasts.ForecastScore] = {}
    for one in waiting:
        spec = specs[one.series_id]
        if spec is None:
            continue
        nearest = nearest_reading(readings[one.series_id], one.target_at, spec.interval_s / 2.0)
        if nearest is not None:
            observed = levels[one.series_id].restore(nearest, one)
            scores[one.id] = forecasts.score_forecast(one, nearest.observed_at, observed, situations[one.id])
    with db.write() as c:
        added = forecasts.add_scores(c, list(scores.values()), now)
    return f"{len(added)} scored, {len(waiting) - len(scores)} targets not observed yet"


@dataclass(frozen=True, slots=True)
class _Level:
    """Jumps and offsets that changed the level of a series without motion.

    Attributes:
        jumps: Epoch, in epoch seconds, and size of each jump that nobody has answered to be movement.
        offsets_now: Begin, in epoch seconds, and size of each offset that counts now.
        offsets_then: The same as it counted when a forecast was issued, by the instant of issue.
    """

    jumps: tuple[tuple[float, float], ...]
    offsets_now: tuple[tuple[float, float], ...]
    offsets_then: Mapping[datetime, tuple[tuple[float, float], ...]]

    def restore(self, reading: Reading, issued: forecasts.UnscoredForecast) -> float:
        """Return an observed value at the level that the series had when a forecast was issued.

        A replaced antenna is no error of a forecast, whether or not an offset was entered for it since.
        """
        from_s, to_s = epoch_s(issued.data_until), epoch_s(reading.observed_at)
        stepped = fsum(size for at_s, size in self.jumps if from_s < at_s <= to_s)
        now = fsum(size for at_s, size in self.offsets_now if at_s <= from_s)
        then = fsum(size for at_s, size in self.offsets_then[issued.issued_at] if at_s <= from_s)
        return reading.value - stepped + (now - then)


def _load_level(
    c: Connection,
    site: Site,
    row: SeriesRow,
    waiting: Sequence[forecasts.UnscoredForecast],
    movements: Collection[tuple[str, float]],
    now: datetime,
) -> _Level:
    station, spec = site.station(row.station), site.series(row.station, row.quantity)
    assert station is not None
    assert spec is not None
    begin = min(one.data_until for one in waiting) - timedelta(seconds=SETTLING_EPOCHS * spec.interval_s)
    samples = load_samples(c, site, [WatchedSeries(row.id, station, spec, row.quantity)], begin, now)
    jumps = samples[0].jumps if samples else ()
    return _Level(
        jumps=tuple((at_s, size) for at_s, size in jumps if (row.station, at_s) not in movements),
        offsets_now=_load_offsets(c, row.id, now),
        offsets_then={at: _load_offsets(c, row.id, at) for at in sorted({one.issued_at for one in waiting})},
    )


def _list_movements(memory: Mapping[str, Any]) -> set[tuple[str, float]]:
    """Return station and instant, in epoch seconds, of the steps that are movement."""
    keys = [key for key, answer in memory["answers"].items() if answer == MOVEMENT]
    keys += [key for key, step in memory["steps"].items() if step["state"] == MOVEMENT]
    movements = set()
    for key in keys:
        station, separator, at = key.rpartition("@")
        # Other questions have a prefix, such as `corrected:` or `inspect:`.
        if separator and ":" not in station:
            movements.add((station, epoch_s(parse_time(at))))
    return movements


def _load_offsets(c: Connection, series_id: int, known_at: datetime) -> tuple[tuple[float, float], ...]:
    return tuple((epoch_s(parse_time(at)), size) for at, size in load_offsets(c, series_id, known_at))


def _load_near(
    c: Connection, series_id: int, targets: Sequence[datetime], within_s: float, now: datetime
) -> list[Reading]:
    """Return the usable readings at most `within_s` from a target."""
    within = timedelta(seconds=within_s)
    at = sorted(set(targets))
    near = []
    for r in stream_readings(c, series_id, at[0] - within - timedelta(seconds=1), now, now):
        i = bisect_left(at, r.observed_at - within)  # the first target that this reading is not too late for
        if i < len(at) and at[i] - within <= r.observed_at and is_fit(r):
            near.append(r)
    return near


def nearest_reading(readings: list[Reading], target_at: datetime, within_s: float) -> Reading | None:
    """Return the reading closest to a target, at most `within_s` away; the earlier one of two equally close."""
    at = [r.observed_at for r in readings]
    i = bisect_left(at, target_at)
    near = readings[max(0, i - 1) : i + 1]
    best = min(near, key=lambda r: abs(epoch_s(r.observed_at) - epoch_s(target_at)), default=None)
    if best is None or abs(epoch_s(best.observed_at) - epoch_s(target_at)) > within_s:
        return None
    return best
