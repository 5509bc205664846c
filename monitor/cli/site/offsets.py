"""`slopeward offsets`: declare that an antenna or a zero point changed. Stored readings do not change."""

import shlex
from datetime import UTC, datetime, timedelta
from math import floor, log10
from typing import Annotated, Any, Final

import typer
from sqlalchemy import Connection

from forecasting.kinematics.sensor_replacement import ProposedOffset, propose_offset
from forecasting.reasons import Reason
from monitor.alerts.queries.maintenance import load_maintenance
from monitor.alerts.queries.offsets import load_waiting_offsets
from monitor.cli.acts import add_acts
from monitor.cli.identity import find_readable_sites
from monitor.cli.session import (
    LARGEST_ID,
    Commands,
    SiteArgument,
    SiteFilter,
    check_site,
    open_database,
    print_result,
    read_instant,
    require_any,
)
from monitor.errors import NotFoundError, RefusedError
from monitor.readings.queries.observations import SeriesRow, load_readings, load_series
from monitor.readings.records import HARMLESS
from monitor.sites.quantities import HOUSEKEEPING, VELOCITY_MAP_QUANTITIES
from monitor.sites.queries.in_force import find_in_force
from monitor.storage.views import load_view
from monitor.text.instants import epoch_s, format_duration, format_iso, from_epoch_s
from monitor.text.reasons import convert_reason

# Quantities without a zero point, so a replaced sensor causes no jump.
_WITHOUT_ZERO_POINT: Final = frozenset(
    (*HOUSEKEEPING, *VELOCITY_MAP_QUANTITIES, "rain", "acceleration", "coherence", "ndvi", "scene_probability")
)
# Readings are compared this long before and after the replacement.
_COMPARED_SPAN: Final = timedelta(days=180)
app = Commands(no_args_is_help=True, help=__doc__)


add_acts(app, "offsets")


@app.command("propose")
def propose(
    site: SiteArgument,
    station: Annotated[str, typer.Option(help="Station whose sensor was replaced or re-zeroed.")],
    at: Annotated[str | None, typer.Option(help="Time of the replacement, with zone: 2026-03-01T06:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Time from which the new sensor counts. Default: --at.")] = None,
    maintenance: Annotated[
        int | None,
        typer.Option(
            min=1, max=LARGEST_ID, help="Instead of --at: number of the maintenance, see `slopeward maintenance list`."
        ),
    ] = None,
) -> None:
    """Compute the offset of a replaced sensor from the readings before and after. Nothing is stored.

    For each series, the command prints the jump with its error, the movement of the ground in the meantime (which the
    offset does not remove), and the command that declares the offset. Exit 4 if no offset can be computed.

    Example: slopeward offsets propose north-bench --station G1 --maintenance 3
    """
    with open_database() as db, db.read() as c:
        find_readable_sites(c, site)
        check_site(c, site)
        begins, ends = _find_span(c, site, station, at, until, maintenance)
        declared = find_in_force(c, site)
        station = station if declared is None else declared.find_current_id(station)
        rows = [
            row for row in load_series(c, site) if row.station == station and row.quantity not in _WITHOUT_ZERO_POINT
        ]
        if not rows:
            raise NotFoundError(
                f"station {station} of {site} has no series whose zero point can jump; "
                "the view latest_observation lists its series"
            )
        proposed_count = 0
        for row in rows:
            spec = None if declared is None else declared.series(station, row.quantity)
            result = _measure(c, row, begins, ends, 0.0 if spec is None else spec.noise_floor)
            proposed_count += isinstance(result, ProposedOffset)
            print_result(*_describe_proposed(row, convert_reason(result) if isinstance(result, Reason) else result))
    require_any(proposed_count, "no series has enough readings before and after")


@app.command("list")
def list_offsets(site: SiteFilter = None) -> None:
    """List declared offsets with their dates, author and state.

    Exit 4 if there are none.

    Example: slopeward offsets list --site north-bench
    """
    with open_database() as db, db.read() as c:
        sites = find_readable_sites(c, site)
        rows = load_view(c, "offsets", order_by=("offset_id",), site=sites)
        check_site(c, site, rows)
    for row in rows:
        by = row["confirmed_by"]
        state = "revoked" if row["revoked_at"] else f"confirmed by {by}, declared" if by else "declared"
        series = f"{row['site']} {row['station']} {row['quantity']}"
        line = (
            f"{row['offset_id']:>4} {series} {row['size']:+g} {row['unit']} at {row['at']} {state} by {row['author']}"
        )
        print_result(row, f"{line}: {row['reason']}")
    require_any(rows, "no offset is declared")


def _find_span(
    c: Connection, site: str, station: str, at: str | None, until: str | None, maintenance: int | None
) -> tuple[datetime, datetime]:
    if (at is None) == (maintenance is None):
        raise RefusedError("give the time of the replacement: either --at or --maintenance")
    if until is not None and at is None:
        raise RefusedError("--until belongs to --at; the end of a maintenance is stored with it")
    if at is not None:
        begins = read_instant("--at", at)
        ends = begins if until is None else read_instant("--until", until)
        if ends < begins:
            raise RefusedError("--until must not be before --at")
        return begins, ends
    windows = load_maintenance(c, site, datetime.now(UTC), everything=True)
    window = next((window for window in windows if window.id == maintenance), None)
    if window is None or window.station != station:
        raise NotFoundError(f"no maintenance {maintenance} of {station}; see `slopeward maintenance list --all`")
    return window.from_at, min(window.to_at, window.ended_at or window.to_at)


def _measure(c: Connection, row: SeriesRow, begins: datetime, ends: datetime, noise: float) -> ProposedOffset | Reason:
    now = datetime.now(UTC)
    # An offset that waits for a second person is declared already: it must not be proposed again.
    waiting = [item.offset for item in load_waiting_offsets(c, now) if item.offset.series_id == row.id]
    usable = [
        (epoch_s(r.observed_at), r.value - sum(offset.size for offset in waiting if offset.at <= r.observed_at))
        for r in load_readings(c, row.id, begins - _COMPARED_SPAN, min(ends + _COMPARED_SPAN, now), now)
        if HARMLESS.issuperset(r.flags)
    ]
    return propose_offset([at for at, _ in usable], [v for _, v in usable], epoch_s(begins), epoch_s(ends), noise)


def _describe_proposed(row: SeriesRow, result: ProposedOffset | str) -> tuple[dict[str, Any], str]:
    name = f"{row.station} {row.quantity}"
    facts: dict[str, Any] = {"station": row.station, "quantity": row.quantity, "unit": row.unit}
    if isinstance(result, str):
        return {**facts, "reason": str(result)}, f"{name}: no offset can be computed: {result}"
    at = from_epoch_s(result.at_s)
    size = round(result.size, max(0, 2 - floor(log10(result.error or 1e-6))))
    doubts = [str(convert_reason(doubt)) for doubt in result.doubts]
    facts |= {
        "at": format_iso(at),
        "size": size,
        "error": result.error,
        "motion": result.motion,
        "needed": result.is_needed,
        "motion_error": result.motion_error,
        "gap_s": result.gap_s,
        "readings": list(result.counts),
        "doubts": doubts,
    }
    old, new = result.counts
    line = f"{name}: {size} ± {result.error:.2g} {row.unit}, from {old} readings before and {new} after"
    line += (
        f"; the offset leaves {result.motion:+.2g} ± {result.motion_error:.2g} {row.unit} "
        f"that may be motion of the slope in the {format_duration(result.gap_s)} between"
    )
    line += "".join(f"; {doubt}" for doubt in doubts)
    if not result.is_needed:
        return facts, f"{line}: no offset is needed"
    facts["command"] = (
        f"slopeward offsets add {row.site} --station {row.station} --quantity {row.quantity} "
        f'--at {format_iso(at)} --size {size} --unit {shlex.quote(row.unit)} --kind antenna --reason "..."'
    )
    return facts, f"{line}\n  {facts['command']}"
