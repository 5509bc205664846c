"""Anomaly scores beside a curve."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.api.hooks import CurveAddition
from monitor.api.queries.readings import SeriesRow
from monitor.api.web import choose_plot_points, encode_instants, shorten
from monitor.features.anomalies.queries.scores import compute_ratio, load_scores

MAXIMUM_POINTS: Final = 400


def describe_scores(c: Connection, series: Sequence[SeriesRow], from_at: datetime, to_at: datetime) -> CurveAddition:
    """Return the scores of a range as multiples of their thresholds, thinned out to `MAXIMUM_POINTS`."""
    scores = load_scores(c, [row.id for row in series], from_at, to_at)
    ratios = [compute_ratio(score.score, score.threshold) for score in scores]
    shown = choose_plot_points(ratios, MAXIMUM_POINTS)
    values = {
        "at": encode_instants(scores[k].at for k in shown),
        "detector": [scores[k].detector for k in shown],
        "ratio": [shorten(ratios[k]) for k in shown],
    }
    return CurveAddition({"scores": values})
