"""`slopeward anomalies points`: list anomalies of InSAR points at the newest acquisitions."""

from typing import Annotated

import typer

from monitor.api.cli import Commands, SiteArgument, find_readable_sites, open_site, print_result, require_any
from monitor.api.database import load_view
from monitor.api.text import format_instants, format_iso, format_number
from slopeward_earth.points.store.looks import PointEvent, StoredScan, load_looks

app = Commands(help=__doc__)


@app.command(epilog="Example: slopeward anomalies points north-bench")
def points(
    site: SiteArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most this many scans, newest first.")] = 5,
) -> None:
    """List the newest scans of satellite points for anomalies, with the anomalies of each.

    The service scans a set of points after it stored a file of the set. The anomalies are advice: no criterion uses
    them. Exit 4 if there was no scan yet.
    """
    _, db, _ = open_site(site)
    with db.read() as c:
        find_readable_sites(c, site)
        found = load_looks(c, site, limit)
        anomalies = {
            k.id: load_view(c, "point_anomalies", order_by=("number", "at", "pid"), look_id=k.id) for k in found
        }
    for kept in found:
        names = ("newest_at", "points", "acquisitions", "withheld", "alarms", "going_on", "left_out", "reason")
        facts = format_instants({"known_at": kept.request.known_at, **{n: getattr(kept.found, n) for n in names}})
        head = {"look": kept.id, "site": kept.request.site, "point_set": kept.request.name}
        lines = [_describe(kept), *(f"  {_describe_event(one)}" for one in kept.found.happenings)]
        print_result({**head, **facts, "anomalies": anomalies[kept.id]}, "\n".join(lines))
    require_any(found, "no look at satellite points yet")


def _describe(kept: StoredScan) -> str:
    found = kept.found
    head = f"look {kept.id}, {kept.request.name}, known {format_iso(kept.request.known_at)[:16]}Z"
    if found.reason:
        return f"{head}: not looked at: {found.reason}"
    seen = f"{found.points} points, {found.acquisitions} new acquisitions"
    rest = f"; {found.left_out} alarms are not stored" if found.left_out else ""
    return f"{head}: {seen}, {found.alarms} alarms, {len(found.happenings)} happenings{rest}"


def _describe_event(one: PointEvent) -> str:
    at = format_iso(one.first_at)[:10]
    if one.common:
        return f"{at} {one.kind} of {one.points} of {one.judged} points, {format_number(one.size_mm)} mm: common to all"
    place = f"{one.latitude:.5f}°, {one.longitude:.5f}°"
    near = "" if one.station is None else f", {one.distance_m:.0f} m from {one.station}"
    within = f"{one.points} points within {one.radius_m:.0f} m of" if one.points > 1 else "1 point at"
    score = f"{one.score:.2g} times the threshold, compared with {one.compared_with}"
    return f"{at} {one.kind} of {within} {place}{near}: {format_number(one.size_mm)} mm, {score}"
