"""Retention of evaluations. Decisions and their evidence are kept forever."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, select

from monitor.alerts.evaluation_tables import decision, evaluation
from monitor.storage.retention import RetentionRule, Sweep, sweep_table


def _evaluations_without_decision(sweep: Sweep, before_at: datetime) -> ColumnElement[bool]:
    at = evaluation.c.at
    has_decision = select(decision.c.id).where(decision.c.site == evaluation.c.site, decision.c.at == at).exists()
    return and_(at < before_at, *sweep.not_cited(at, before_at), ~has_decision)


RETENTION_RULES: Final = (
    RetentionRule(
        "forecasts", "evaluations that decided nothing", sweep_table(evaluation, _evaluations_without_decision)
    ),
)
