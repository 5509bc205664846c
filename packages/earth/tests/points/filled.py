"""What detectors and forecasts say of the satellite points of tests/data/filled.py."""

from dataclasses import replace

from sqlalchemy import Connection, select

from monitor.readings.point_tables import point
from slopeward_earth.points.store import looks as point_looks
from tests.data.filled import NOW, days


def fill_points(c: Connection) -> None:
    """Store a scan and an issue of forecasts of the three points."""
    ids = {row.pid: row.id for row in c.execute(select(point.c.pid, point.c.id))}
    _fill_point_look(c, ids["p0"])
    _fill_point_forecasts(c, [ids[name] for name in ("p0", "p1", "p2")])


def _fill_point_forecasts(c: Connection, ids: list[int]) -> None:
    (asked,) = point_looks.list_unforecast(c, "north-bench")
    short = "the record is too short to try a forecast so far ahead"
    tried = (2400, 0.81, 2.5, 2.75, 2.6, "")
    horizons = tuple(
        point_looks.IssueHorizon(number, steps, NOW - days(2 - 12 * steps), "level-drift", 5, 3, 0.25, *told)
        for number, steps, told in ((1, 1, tried), (2, 5, tried), (3, 15, (0, None, None, None, None, short)))
    )
    found = point_looks.PointIssue(NOW - days(2), 12 * 86400.0, horizons)
    issue_id = point_looks.open_issue(c, asked, found, NOW)
    none = (None,) * 6
    point_looks.save_forecasts(
        c,
        asked.point_set_id,
        issue_id,
        ids,
        [
            (-5.5, -5.75, -7.0, None, 3.5, 4.5, None, 0, ""),
            (-3.0, -3.0, -3.25, None, 3.0, 4.0, None, 2, ""),
            (-2.0, *none, 0, "the newest reading is older than 3 intervals"),
        ],
    )
    point_looks.end_issue(c, issue_id, point_looks.IssueTotals(2, 1, "cd" * 32), NOW)


def _fill_point_look(c: Connection, point_id: int) -> None:
    (asked,) = point_looks.list_due(c, "north-bench")
    against = "the median of its last 5 acquisitions, and with 11 other points"
    alarm = point_looks.PointAnomaly(point_id, NOW - days(2), "rules", "level", "step", 9.5, 7.0, -12.5, against)
    begun, jumped, nowhere = NOW - days(2), NOW - days(14), (None,) * 6
    place = (1.36, 46.2, 8.9, 0.0, "G1", 120.0)
    alone = point_looks.PointEvent(1, "step", False, begun, begun, 1, 1, -12.5, *place, against, (alarm,))
    both = (2, "phase-jump", True, jumped, jumped, 11, 12, 0.0412)
    common = point_looks.PointEvent(*both, *nowhere, against, (replace(alarm, at=jumped),))
    found = point_looks.ScanResult(
        NOW - days(2), 2, 12, 1, 2, 0, 0, 0.001, {"rules": {"level": 7.0}}, "ab" * 32, "", (alone, common)
    )
    point_looks.add_scan(c, asked, found, NOW)
