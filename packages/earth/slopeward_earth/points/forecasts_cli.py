"""`slopeward forecast points`: forecast InSAR points, and score the forecasts on held-out dates."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.api.cli import (
    Commands,
    SiteArgument,
    find_readable_sites,
    open_site,
    print_note,
    print_result,
    require_any,
)
from monitor.api.database import load_view
from slopeward_earth.points.store.looks import load_largest, load_newest_issues
from slopeward_earth.points.views import PointForecastRow, PointIssueRow

app = Commands(help=__doc__)


@app.command(epilog="Example: slopeward forecast points north-bench --limit 20")
def points(
    site: SiteArgument,
    pid: Annotated[str | None, typer.Option("--pid", metavar="PID", help="Only this point, at all horizons.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=10_000, help="At most this many points, the fastest first.")
    ] = 10,
    now: Annotated[
        bool, typer.Option("--now", help="First forecast the points that were stored since the last forecast.")
    ] = False,
) -> None:
    """List the newest forecasts of satellite points, by set of points.

    The service computes them after it stored a file of points. They are advice: no criterion uses them. Exit 4 if
    there are none.
    """
    service, db, chosen = open_site(site)
    with db:
        if now:
            from slopeward_earth.points.forecasts import run

            print_note(run(db, service, chosen, datetime.now(UTC)))
        with db.read() as c:
            find_readable_sites(c, site)
            issues = load_newest_issues(c, site)
            if pid is not None:
                rows = load_view(
                    c, "point_forecasts", PointForecastRow, order_by=("point_set", "horizon"), site=site, pid=pid
                )
            else:
                rows = load_largest(c, site, limit) if limit else []
    for one in issues:
        print_result(one, _describe(one))
    for row in rows:
        print_result(row, f"  {_describe_point(row)}")
    nothing = "no forecast of satellite points yet" if pid is None else f"no forecast of a point {pid!r}"
    require_any(issues and (pid is None or rows), nothing)


def _describe(one: PointIssueRow) -> str:
    head = f"issue {one['issue_id']}, {one['point_set']}, known {one['known_at'][:16]}Z"
    if one["horizon"] is None:
        return f"{head}: not forecast: {one['reason']}"
    ahead = f"{head}, for {one['target_at'][:10]}"
    if one["reason"]:
        return f"{ahead}: withheld: {one['reason']}"
    inside = f"{100.0 * one['held_out_inside_80']:.0f} % inside the interval of 80 %"
    errors = f"error {one['held_out_error_mm']:.1f} mm, {one['held_out_persistence_mm']:.1f} mm if all stays as it is"
    counts = f"{one['points']} points, {one['withheld']} withheld"
    tried = f"held out: {inside}, {errors}, {one['held_out_trend_mm']:.1f} mm by the trend"
    return f"{ahead} by {one['model']}: {counts}; {tried}"


def _describe_point(row: PointForecastRow) -> str:
    place = f"{row['pid']} at {row['latitude']:.5f}°, {row['longitude']:.5f}°"
    if row["q10"] is None or row["q50"] is None or row["q90"] is None:
        return f"{place}, {row['target_at'][:10]}: withheld: {row['reason']}"
    between = f"80 % between {row['q10']:.1f} mm and {row['q90']:.1f} mm"
    return f"{place}: {row['value_mm']:.1f} mm now, {row['q50']:.1f} mm on {row['target_at'][:10]}, {between}"
