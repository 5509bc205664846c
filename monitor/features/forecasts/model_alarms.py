"""Alarms about forecasts: a network that fell back to the simple forecast, intervals that do not hold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from forecasting.data.cadence import Cadence, choose_horizons
from forecasting.data.kinds import format_span
from forecasting.data.series import horizon_key
from forecasting.serving.promotion import DEMOTION_COVERAGE_80, ROLLING_ISSUES, Scored, summarise
from monitor.api.decision import health_alarm
from monitor.api.queries.alerts import notify_site
from monitor.api.queries.models import GateRow, ModelRow
from monitor.api.sites import Site
from monitor.api.text import LABELLED_TEXT, Figure, Message, Template, Value, code_version

_DEGRADED: Final = Template("model.degraded", "{model} is degraded, the simple forecast is shown")
_RECOVERED: Final = Template("model.recovered", "{model} is not degraded any more")
_HELD: Final = Template("model.held", "80 % intervals shown at {horizon} held {share} over {n} scored issue times")
_HELD_WORST: Final = Template(
    "model.held_worst",
    "80 % intervals shown at {horizon} held {share} over {n} scored issue times, {worst} at {station}",
)
RECOVERED_COVERAGE_80: Final = 0.74
WORST_COVERAGE_80: Final = 0.50


def alarm_degraded(c: Connection, site: Site, row: ModelRow, gate: GateRow, now: datetime, *, degraded: bool) -> None:
    """Open or close the alarm `model_degraded` of one kind at one horizon, of the fastest panel or of a slower one."""
    fastest_s = min((spec.interval_s for spec in site.modelled_motion_series), default=0.0)
    trained_s = float(row.card.get("config", {}).get("step_s", 0.0))
    usual = Cadence((), fastest_s, choose_horizons(fastest_s, site.forecast.horizons_s)).step_s
    slower = f".every.{horizon_key(trained_s)}" if trained_s > usual else ""
    key = f"health:forecast.{row.kind}.{horizon_key(gate.horizon_s)}{slower}:model_degraded"
    facts = {k: v for k, v in asdict(gate).items() if not isinstance(v, datetime)}
    text = (_DEGRADED if degraded else _RECOVERED)(model=row.name)
    _change(c, site, key, LABELLED_TEXT(name=text, text=gate.reason), facts, now, is_open=degraded)


def alarm_coverage(c: Connection, site: Site, shown: Mapping[float, Sequence[Scored]], now: datetime) -> None:
    """Open or close the alarm of intervals that did not hold, whichever model was shown."""
    for horizon_s, rows in shown.items():
        record = summarise(rows)
        if record.issues < ROLLING_ISSUES or record.coverage_80 is None:
            continue
        worst = record.worst_80 if record.worst_80 is not None else 1.0
        low = record.coverage_80 < DEMOTION_COVERAGE_80 or worst < WORST_COVERAGE_80
        if not low and record.coverage_80 < RECOVERED_COVERAGE_80:
            continue  # between the bounds everything stays as it is
        at = format_span(horizon_s)
        held: dict[str, Value] = {"horizon": at, "share": Figure(record.coverage_80, ".0%"), "n": record.issues}
        text = _HELD(**held)
        if record.worst_station is not None:
            text = _HELD_WORST(**held, worst=Figure(worst, ".0%"), station=record.worst_station)
        key = f"health:forecast.{horizon_key(horizon_s)}:coverage"
        _change(c, site, key, text, asdict(record), now, is_open=low)


def _change(
    c: Connection, site: Site, key: str, reason: Message, facts: Mapping[str, Any], now: datetime, *, is_open: bool
) -> None:
    change = health_alarm(key, int(is_open), reason, is_open=is_open, evidence={"reason": reason, **facts})
    notify_site(c, site, [change], now, code_version())
