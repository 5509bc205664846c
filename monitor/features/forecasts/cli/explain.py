"""`slopeward forecast explain`: what a trained network uses, as stored with its card when it was trained."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from forecasting.data.kinds import describe_drivers, format_span
from monitor.api.cli import SiteArgument, check_site, open_database, print_result_in_order, require_any
from monitor.api.errors import NotFoundError


def explain(
    site: SiteArgument,
    station: Annotated[str | None, typer.Option(help="Only this station, or this series: STATION.quantity.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this network.")] = None,
) -> None:
    """Show how much each input changes the forecasts of the networks of a site.

    A large share does not prove a cause. Exit 4 if no explanation is stored; it is computed when a network is trained.
    """
    from monitor.api.queries.models import load_explanations

    with open_database() as db, db.read() as c:
        rows = [row for row in load_explanations(c, site) if model is None or row.kind == model]
        check_site(c, site, rows)
    for row in rows:
        kept = _only(row.card["explanation"], station)
        print_result_in_order(
            {"model_hash": row.model_hash, "model": row.kind, "site": site, "state": row.state, **kept},
            "\n".join(format_explanation(row.kind, row.model_hash, kept)),
        )
    require_any(rows, f"no network of {site} has an explanation yet: it is made when one is trained")


def _only(explanation: Mapping[str, Any], station: str | None) -> dict[str, Any]:
    """The record with one station's forecast; raises NotFoundError: it explains others only."""
    stations: Mapping[str, Any] = explanation["forecast"]["stations"]
    if station is None:
        return dict(explanation)
    kept = {name: one for name, one in stations.items() if station in {name, name.partition(".")[0]}}
    if not kept:
        raise NotFoundError(f"no station {station!r} is explained; there are: {', '.join(stations)}")
    return {**explanation, "forecast": {**explanation["forecast"], "stations": kept}}


def format_explanation(model: str, model_hash: str, explanation: Mapping[str, Any]) -> Iterator[str]:
    """The record as lines for a terminal."""
    yield f"{model} {model_hash[:12]}: {explanation['of']}"
    yield f"  {explanation['note']}"
    yield f"  reads beside the movement: {describe_drivers(explanation.get('drivers', ()))}"
    for horizon, rises in explanation["calibration"]["permutation_mm"].items():
        words = ", ".join(f"{group} {_mm(rise)}" for group, rise in rises.items())
        yield f"  {format_span(float(horizon))}: error rises by: {words}"
    at = datetime.fromtimestamp(explanation["forecast"]["issued_s"], UTC)
    for station, horizons in explanation["forecast"]["stations"].items():
        yield f"  {station} at {at:%Y-%m-%dT%H:%MZ}"
        for horizon, one in horizons.items():
            inner = one["gradients"]
            shares = ", ".join(f"{group} {_mm(value)}" for group, value in inner["by_group_mm"].items())
            state = "" if inner["complete"] else f"; gradients do not add up ({inner['completeness_error']:.1%})"
            adds = f"{_mm(one['correction_mm'])}, {_mm(inner['difference_mm'])} more than from usual readings"
            yield f"    {format_span(float(horizon))}: {adds}: {shares}{state}"
    for one in explanation["maps"]:
        yield f"  {one['kind']} ({one['order']}): {one['note']}; values by --json"


def _mm(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f} mm"
