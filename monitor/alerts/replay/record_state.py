"""Summarise a replay of a record: the days of each station at each level, and the level at the end."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from monitor.alerts.replay.matrix import find_days
from monitor.alerts.replay.scorecard import Run
from monitor.decision.warning_summary import RecordEnd
from monitor.sites.records import Site
from monitor.text.instants import from_epoch_s


def find_station_days(run: Run, site: Site) -> Mapping[tuple[str, str, str], frozenset[str]]:
    """Return the local dates with a level or a higher one, by criterion id, station and name of the level."""
    dates: dict[tuple[str, str, str], frozenset[str]] = {}
    for (criterion, station), spans in run.station_levels.items():
        days = find_days(spans, site.timezone)
        for level in site.levels[1:]:
            reached = frozenset(day for day, highest in days.items() if highest >= level.number)
            if reached:
                dates[criterion, station, level.name] = reached
    return dates


def find_record_end(run: Run, site: Site, newest: datetime, now: datetime) -> RecordEnd | None:
    """Return the level at the end of a replay and the age of the newest reading; None without any decision.

    Args:
        newest: Time of the newest reading.
    """
    if not run.levels:
        return None
    zone = ZoneInfo(site.timezone)
    last = run.levels[-1]
    return RecordEnd(
        newest=newest.astimezone(zone).date().isoformat(),
        age_s=max(0.0, (now - newest).total_seconds()),
        level=last.level,
        since=from_epoch_s(last.from_s).astimezone(zone).date().isoformat(),
    )
