"""Anomalies on the page of instruments."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final, TypeVar

from monitor.api.database import load_view
from monitor.api.queries.ingest import Gap, load_gaps
from monitor.api.sites import ANOMALY_CAUSES
from monitor.api.web import SiteSnapshot
from monitor.features.anomalies.queries.budget import describe_rate, load_newest, read_rate
from monitor.features.anomalies.queries.labels import AnomalyRun, load_runs
from monitor.features.anomalies.queries.scores import EchoOfAnomaly, load_echoes

SHOWN_FOR: Final = timedelta(days=14)
MAXIMUM_ROWS: Final = 60  # of each list
Row = TypeVar("Row", AnomalyRun, Gap, EchoOfAnomaly)


def collect_anomalies(page: SiteSnapshot, instruments: Collection[str] | None) -> dict[str, Any]:
    """Return anomalies, gaps and false-alarm budgets of a site, newest first, for some of its instruments or all."""
    c, site, now = page.c, page.card.id, page.now
    since = now - SHOWN_FOR
    runs = [] if page.declared is None else load_runs(c, page.declared, since, now)
    runs = _filter(runs[::-1], instruments)
    gaps = _filter(load_gaps(c, site, since, now)[::-1], instruments)
    echoes = _filter(load_echoes(c, site, since, now), instruments)
    budgets = [(row, describe_rate(read_rate(row), row.labelled)) for _, row in sorted(load_newest(c, site).items())]
    return {
        "runs": runs[:MAXIMUM_ROWS],
        "echoes": echoes[:MAXIMUM_ROWS],
        "gaps": gaps[:MAXIMUM_ROWS],
        "left_runs": len(runs) - MAXIMUM_ROWS,
        "left_echoes": len(echoes) - MAXIMUM_ROWS,
        "left_gaps": len(gaps) - MAXIMUM_ROWS,
        "labelled": bool(load_view(c, "anomaly_labels", limit=1, site=site)),
        "causes": ANOMALY_CAUSES,
        "budgets": budgets,
    }


def _filter(rows: list[Row], instruments: Collection[str] | None) -> list[Row]:
    return rows if instruments is None else [row for row in rows if row.station in instruments]
