"""Forecast satellite points when a file of them has come in; all that is said is advice.

An issue is a function of stored rows: what had come in when a delivery was through; its digest is of every number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Final

import numpy as np

from forecasting.reasons import Reason
from monitor.api.database import Database
from monitor.api.errors import JobError
from monitor.api.queries.readings import PointSetRequest, list_point_ids
from monitor.api.settings import ComputeSection, ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import canonical_json, epoch_s, parse_time
from monitor.api.worker import WorkerTask, run_all_in_workers, run_in_worker
from slopeward_earth.points import prediction as points
from slopeward_earth.points.looks import AT_ONCE, LEARN_FROM, TABLES, Tables, go_through, read_table
from slopeward_earth.points.store.looks import (
    IssueHorizon,
    IssueTotals,
    PointIssue,
    clear_forecasts,
    end_issue,
    list_unforecast,
    open_issue,
    save_forecasts,
)
from slopeward_earth.points.texts import describe

CHOOSE: Final = WorkerTask("slopeward_earth.points.prediction:choose_rule", points.Choosing, points.Chosen, describe)
FORECAST: Final = WorkerTask(
    "slopeward_earth.points.prediction:forecast_points", points.Forecasting, points.PointForecasts, describe
)
Piece = tuple[list[int], tuple[points.PointForecast, ...]]


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Forecast every set of which something came in; returns one line that says what was done.

    Raises JobError: workers failed at some sets, once the others were forecast.
    """
    due = db.run_read(list_unforecast, site.id)
    return go_through(due, lambda point_set: _issue(db, config.compute, point_set, now))


def _issue(db: Database, plan: ComputeSection, point_set: PointSetRequest, now: datetime) -> str:
    ids, rules, chosen = _prepare(db, plan, point_set)
    issue_id = db.run_write(open_issue, point_set, rules, now)
    tally = _IssueTotals(rules)
    for mine, answers in _forecast(db, plan, point_set, ids, rules, chosen):
        tally.add(mine, answers)
        with db.write() as c:
            on_lines = [sum(is_on << k for k, is_on in enumerate(one.on_line)) for one in answers]
            rows = [
                (one.value_mm, *one.middle_mm, *one.half_mm, on_line, _describe_reason(one.reason))
                for one, on_line in zip(answers, on_lines, strict=True)
            ]
            save_forecasts(c, point_set.point_set_id, issue_id, mine, rows)
    if not _can_serve(chosen):  # what an earlier issue said is over
        for first in range(0, len(ids), AT_ONCE):
            db.run_write(clear_forecasts, point_set.point_set_id, ids[first : first + AT_ONCE])
    found = tally.end()
    db.run_write(end_issue, issue_id, found, now)
    return f"not forecast: {rules.reason}" if rules.reason else _describe(rules, found)


def _describe_reason(reason: Reason | None) -> str:
    return "" if reason is None else describe(reason)


def _can_serve(chosen: points.Chosen) -> bool:
    return any(not one.reason for one in chosen.horizons)


def _describe(rules: PointIssue, found: IssueTotals) -> str:
    until = "" if rules.newest_at is None else f" from {rules.newest_at:%Y-%m-%d}"
    none = [f"none {one.steps} acquisitions ahead: {one.reason}" for one in rules.horizons if one.reason]
    more = [f"{found.withheld} points without"] if found.withheld else []
    return "; ".join([f"{found.points} points forecast{until}", *more, *none])


def _prepare(
    db: Database, plan: ComputeSection, point_set: PointSetRequest
) -> tuple[list[int], PointIssue, points.Chosen]:
    """The points, and the rules that a thousand of them give."""
    ids = db.run_read(list_point_ids, point_set.point_set_id, point_set.last_point_id)
    dates, values = read_table(db, point_set.unit, point_set.known_at, ids[:: max(1, len(ids) // LEARN_FROM)])
    chosen = run_in_worker(plan, CHOOSE, points.Choosing(_record(dates, values)))
    newest_at = parse_time(dates[-1]) if dates else None
    if newest_at is None or chosen.reason:
        return ids, PointIssue(newest_at, 0.0, reason=_describe_reason(chosen.reason)), chosen
    ahead = [newest_at + timedelta(seconds=one.steps * chosen.step_s) for one in chosen.horizons]
    horizons = [
        IssueHorizon(
            number,
            target_at=target_at,
            model=one.model,
            **asdict(one) | {"reason": _describe_reason(one.reason)},
        )
        for number, (one, target_at) in enumerate(zip(chosen.horizons, ahead, strict=True), 1)
    ]
    return ids, PointIssue(newest_at, chosen.step_s, tuple(horizons)), chosen


def _record(dates: Sequence[str], values: np.ndarray) -> points.PointRecord:
    return points.PointRecord(np.array([epoch_s(parse_time(at)) for at in dates]), values)


def _forecast(
    db: Database,
    plan: ComputeSection,
    point_set: PointSetRequest,
    ids: list[int],
    rules: PointIssue,
    chosen: points.Chosen,
) -> Iterator[Piece]:
    """Every point, table by table in the order of ids; nothing where no horizon can be served."""
    if not _can_serve(chosen) or rules.newest_at is None:
        return
    end_s, widest_mm = epoch_s(rules.newest_at), None if point_set.jump_mm is None else point_set.jump_mm / 2.0

    def make(_: list[int], dates: list[str], values: np.ndarray) -> points.Forecasting:
        return points.Forecasting(_record(dates, values), end_s, chosen.step_s, chosen.rows, chosen.horizons, widest_mm)

    tables = iter(range(0, len(ids), AT_ONCE))
    while some := list(islice(tables, TABLES)):
        shares = [ids[first : first + AT_ONCE] for first in some]
        asks = Tables(db, point_set, shares, make)
        for share, answer in zip(shares, run_all_in_workers(plan, FORECAST, asks), strict=True):
            if len(answer.points) != len(share):
                raise JobError("the answer of the worker is not about the points of the question")
            yield share, answer.points


class _IssueTotals:
    """What an issue adds up to."""

    def __init__(self, rules: PointIssue) -> None:
        texts = [rules.reason, *(str(value) for one in rules.horizons for value in astuple(one))]
        self._digest = sha256(canonical_json(texts).encode())
        self._points = self._withheld = 0

    def add(self, ids: list[int], answers: tuple[points.PointForecast, ...]) -> None:
        for point, one in zip(ids, answers, strict=True):  # one by one: the division into tables does not count
            reason = _describe_reason(one.reason)
            facts = (point, one.value_mm, one.middle_mm, one.half_mm, one.on_line, reason)
            self._digest.update(repr(facts).encode())
        given = sum(any(x is not None for x in one.middle_mm) for one in answers)
        self._points += given
        self._withheld += len(answers) - given

    def end(self) -> IssueTotals:
        return IssueTotals(self._points, self._withheld, self._digest.hexdigest())
