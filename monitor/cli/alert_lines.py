"""An alert in one line, as `slopeward alerts list` and `slopeward status` print it."""

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.alerts.queries.alerts import Alert
from monitor.cli.session import translate_in_zone
from monitor.decision.alert_texts import name_level, unwrap_reason
from monitor.decision.changes import AlertCategory
from monitor.text.message import Term


def describe_alert(alert: Alert, level_names: Mapping[str, Sequence[Any]], zone: str) -> str:
    """Return site, category, level, state, reason, and the key of a health alert.

    Args:
        level_names: Names of the levels, by site.
        zone: Time zone of the times in the reason.
    """
    level = name_level(level_names.get(alert.site, ()), alert.ledger, alert.level)
    # The level is already in the line, so the reason is shown without it.
    reason = translate_in_zone(unwrap_reason(alert.reason), zone)
    return f"{alert.site} {alert.ledger} {level}, {Term(alert.state).english()}: {reason}{format_key(alert)}"


def format_key(alert: Alert) -> str:
    """Return the key of a health alert, by which the documentation lists its remedy; empty for other alerts."""
    return f" [{alert.key}]" if alert.ledger == AlertCategory.HEALTH else ""
