"""The alarm about forecasts whose intervals do not hold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from forecasting.data.kinds import format_span
from forecasting.data.series import horizon_key
from monitor.api.database import Database
from monitor.api.decision import health_alarm
from monitor.api.queries.alerts import notify_site
from monitor.api.queries.models import list_horizons
from monitor.api.queries.readings import load_series
from monitor.api.sites import Site
from monitor.api.text import Figure, Template, Value, code_version
from monitor.features.forecasts.queries.scores import load_scored
from monitor.features.forecasts.scored import Scored, summarise, take_newest

_HELD: Final = Template("model.held", "80 % intervals shown at {horizon} held {share} over {n} scored issue times")
_HELD_WORST: Final = Template(
    "model.held_worst",
    "80 % intervals shown at {horizon} held {share} over {n} scored issue times, {worst} at {station}",
)
ROLLING_ISSUES: Final = 30  # newest scored issue times that the alarm looks at
LOW_COVERAGE_80: Final = 0.70
RECOVERED_COVERAGE_80: Final = 0.74
WORST_COVERAGE_80: Final = 0.50


def check_coverage(db: Database, site: Site, now: datetime) -> None:
    """Open or close the alarm of shown intervals by the newest scored forecasts at each horizon."""
    with db.read() as c:
        names = {one.id: one.name for one in load_series(c, site.id)}
        shown = {
            h: take_newest(load_scored(c, names, h, now, newest=ROLLING_ISSUES), ROLLING_ISSUES)
            for h in list_horizons(site)
        }
    with db.write() as c:
        alarm_coverage(c, site, shown, now)


def alarm_coverage(c: Connection, site: Site, shown: Mapping[float, Sequence[Scored]], now: datetime) -> None:
    """Open or close the alarm of intervals that did not hold, whichever model was shown."""
    for horizon_s, rows in shown.items():
        record = summarise(rows)
        if record.issues < ROLLING_ISSUES or record.coverage_80 is None:
            continue
        worst = record.worst_80 if record.worst_80 is not None else 1.0
        low = record.coverage_80 < LOW_COVERAGE_80 or worst < WORST_COVERAGE_80
        if not low and record.coverage_80 < RECOVERED_COVERAGE_80:
            continue  # between the bounds everything stays as it is
        at = format_span(horizon_s)
        held: dict[str, Value] = {"horizon": at, "share": Figure(record.coverage_80, ".0%"), "n": record.issues}
        text = _HELD(**held)
        if record.worst_station is not None:
            text = _HELD_WORST(**held, worst=Figure(worst, ".0%"), station=record.worst_station)
        key = f"health:forecast.{horizon_key(horizon_s)}:coverage"
        evidence = {"reason": text, **asdict(record)}
        change = health_alarm(key, int(low), text, is_open=low, evidence=evidence)
        notify_site(c, site, [change], now, code_version())
