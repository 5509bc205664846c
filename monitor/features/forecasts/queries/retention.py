"""Retention of forecasts and their scores."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, select

from monitor.api.database import RetentionRule, Sweep, sweep_table
from monitor.features.forecasts.queries.score_sums import delete_scores, order_scores
from monitor.features.forecasts.tables import forecast, forecast_score, forecast_withheld


def _scores(sweep: Sweep, before_at: datetime) -> ColumnElement[bool]:
    issued_at = select(forecast.c.issued_at).where(forecast.c.id == forecast_score.c.forecast_id).scalar_subquery()
    return and_(forecast_score.c.observed_at < before_at, *sweep.not_cited(issued_at, before_at))


def _unscored_forecasts(sweep: Sweep, before_at: datetime) -> ColumnElement[bool]:
    has_score = select(forecast_score.c.forecast_id).where(forecast_score.c.forecast_id == forecast.c.id).exists()
    return and_(
        forecast.c.issued_at < before_at,
        forecast.c.target_at < before_at,
        ~has_score,
        *sweep.not_cited(forecast.c.issued_at, before_at),
    )


def _reasons(_sweep: Sweep, before_at: datetime) -> ColumnElement[bool]:
    return forecast_withheld.c.issued_at < before_at


# Scores come first, so that the forecasts of deleted scores are deleted in the same run.
RETENTION_RULES: Final = (
    RetentionRule(
        "scores",
        "scores of forecasts",
        sweep_table(forecast_score, _scores, order=order_scores, delete_rows=delete_scores),
    ),
    RetentionRule("forecasts", "forecasts without a score", sweep_table(forecast, _unscored_forecasts)),
    RetentionRule("forecasts", "reasons why forecasts were not shown", sweep_table(forecast_withheld, _reasons)),
)
