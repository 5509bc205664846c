"""`slopeward forecast show`: print the newest stored forecast of a site."""

from collections.abc import Callable
from typing import Annotated

import typer

from monitor.api.cli import (
    SiteArgument,
    UtcOption,
    check_site,
    find_zones,
    format_in_zone,
    open_database,
    print_result_in_order,
    read_duration_s,
    require_any,
    require_readable,
    require_station,
)
from monitor.api.database import load_view
from monitor.api.text import format_duration, format_to_width
from monitor.features.forecasts.views import IssuedForecastRow


def show(
    site: SiteArgument,
    station: Annotated[str | None, typer.Option("--station", help="Only this station.")] = None,
    horizon: Annotated[str | None, typer.Option("--horizon", help="Only this horizon, such as 1d.")] = None,
    utc: UtcOption = False,
) -> None:
    """Show the newest forecast of each series: how far it will move, with the interval of 80 %.

    Each line has the station and the quantity, the horizon, the time that the forecast is for, the change since the
    newest reading that was used, and the time of that reading. Exit 4 if no forecast is shown; `slopeward
    forecast run` then prints the reasons.
    """
    horizon_s = None if horizon is None else read_duration_s("--horizon", horizon)
    with open_database() as db, db.read() as connection:
        require_readable(connection, site)
        rows = load_view(
            connection, "latest_forecast", IssuedForecastRow, order_by=("station", "quantity", "horizon_s"), site=site
        )
        check_site(connection, site, rows)
        if station is not None:
            require_station(site, station, sorted({row["station"] for row in rows}))
        zone = find_zones(connection, utc=utc)(site)
    shown = [
        row
        for row in rows
        if row["shown"] and station in {None, row["station"]} and horizon_s in {None, row["horizon_s"]}
    ]
    for row in shown:
        print_result_in_order({"site": site, **row}, _describe(row, lambda at: format_in_zone(at, zone)))
    require_any(shown, f"no forecast of {site} is shown; the reasons: slopeward forecast run {site}")


def _describe(row: IssuedForecastRow, format_at: Callable[[str], str]) -> str:
    quantity = row["quantity"].replace("_", " ")
    start = f"{row['station']} {quantity} in {format_duration(row['horizon_s'])} ({format_at(row['target_at'])})"
    since = f"since {format_at(row['data_until'])}"
    low, median, high = row["q10"], row["q50"], row["q90"]
    if low is None or median is None or high is None:
        return f"{start}: unknown, {since}"
    change, lowest, highest = (
        format_to_width(quantile - row["data_value"], high - low) for quantile in (median, low, high)
    )
    return f"{start}: {change} {row['unit']} ({lowest} to {highest}) {since}"
