"""`slopeward forecast attribute`: which past values of which inputs carry the newest forecast of a network."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from forecasting.data.kinds import format_span
from monitor.api.cli import (
    EXIT_NOTHING,
    LARGEST_SEED,
    SiteArgument,
    open_site,
    print_note,
    print_result_in_order,
    read_duration_s,
    require_readable,
)
from monitor.api.errors import NotFoundError, SlopewardError
from monitor.api.plugins import hooks
from monitor.api.queries.models import ModelRow, load_models
from monitor.api.text import format_iso, from_epoch_s

if TYPE_CHECKING:
    from forecasting.data.series import Panel
    from slopeward_lab.explanations.forecast_attribution import ForecastAttribution, HorizonAttribution, Part

EXAMPLE: Final = "Example: slopeward forecast attribute north-bench --station G1 --method shap --horizon 1d"
MOST_LINES: Final = 6  # parts that are printed for each horizon


def attribute(
    site: SiteArgument,
    station: Annotated[str, typer.Option(help="Station, or a series of it: STATION.quantity.")],
    model: Annotated[
        str | None, typer.Option(help="Network, such as gru. Default: the newest network of the station.")
    ] = None,
    method: Annotated[
        Literal["integrated-gradients", "shap", "lime", "permutation"],
        typer.Option(help="permutation explains past forecasts, the others the newest one."),
    ] = "integrated-gradients",
    horizon: Annotated[str | None, typer.Option(help="Only this horizon, such as 1d.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of samples and permutations.")] = 7,
) -> None:
    """Show which past values of which inputs carry the forecast of a network for a station.

    The inputs are divided into blocks of consecutive days. The values are in mm and explain what the network adds to
    the simple forecast. They do not prove a cause. Exit 4 if no network of the site forecasts the station.
    """
    from forecasting.errors import NotEnoughDataError
    from forecasting.neural.checkpoint import read
    from slopeward_lab.explanations.forecast_attribution import attribute_forecast

    horizon_s = None if horizon is None else read_duration_s("--horizon", horizon)
    _, db, declared_site = open_site(site)
    with db.read() as c:
        require_readable(c, site)
        row = _find_network(load_models(c, task="forecast", site=site), station, model)
        panels = hooks().forecast_panels(connection=c, site=declared_site, now=datetime.now(UTC))
    if panels is None:
        raise SlopewardError("this installation does not forecast sites, so there is nothing to explain")
    if row is None:
        named = "no network" if model is None else f"no {model}"
        print_note(f"{named} of {site} forecasts {station}; train one: slopeward forecast train {site}")
        raise typer.Exit(EXIT_NOTHING)
    forecaster, _ = read(Path(row.path))
    recipe = forecaster.recipe
    if horizon_s is not None and horizon_s not in recipe.horizons_s:
        known = ", ".join(format_span(span_s) for span_s in recipe.horizons_s)
        raise NotFoundError(f"{row.name} has no horizon of {horizon}; there are: {known}")
    panel, series = _find_panel(panels, station, recipe.step_s)
    try:
        attribution = attribute_forecast(
            forecaster, panel, series, method, horizons_s=None if horizon_s is None else [horizon_s], seed=seed
        )
    except NotEnoughDataError as error:
        print_note(str(error))
        raise typer.Exit(EXIT_NOTHING) from None
    facts = {"site": site, "model": row.kind, "model_hash": row.model_hash, **asdict(attribution)}
    print_result_in_order(facts, "\n".join(_format_attribution(row, attribution)))


def _is_of(label: str, station: str) -> bool:
    """Return whether the label of a series, `station.quantity`, is of a station or series."""
    return station in {label, label.partition(".")[0]}


def _find_network(rows: Sequence[ModelRow], station: str, kind: str | None) -> ModelRow | None:
    """Return the newest network that forecasts a station; a network in use comes before all others."""
    usable = [
        row
        for row in rows
        if row.state != "retired" and kind in {None, row.kind} and any(_is_of(label, station) for label in row.series)
    ]
    in_use = [row for row in usable if row.state == "active"]
    return next(iter([*in_use, *usable]), None)


def _find_panel(panels: "Sequence[Panel]", station: str, step_s: float) -> "tuple[Panel, str]":
    """Return the panel of a station with the interval of the network, and the label of the series.

    Raises:
        NotFoundError: no series of the station has recent readings at this interval.
    """
    for panel in panels:
        labels = [label for label in panel.stations if _is_of(label, station)]
        if labels and abs(panel.step_s - step_s) <= 1e-6 * step_s:
            return panel, labels[0]
    raise NotFoundError(f"{station}: no recent readings every {format_span(step_s)}, as its network reads them")


def _format_attribution(row: ModelRow, attribution: "ForecastAttribution") -> Iterator[str]:
    newest = format_iso(from_epoch_s(attribution.issued_s))
    yield f"{row.name}: {attribution.station}, {attribution.method}, newest reading {newest}"
    if attribution.method == "permutation":
        yield "  by how much the error of past forecasts rises if a block is exchanged between them"
    else:
        yield "  contribution of each block to what the network adds, compared with usual values"
    yield "  not a cause: what the network uses, not what moves the slope"
    for horizon in attribution.horizons:
        yield from _format_horizon(attribution.method, horizon)


def _format_horizon(method: str, horizon: "HorizonAttribution") -> Iterator[str]:
    span = format_span(horizon.horizon_s)
    if method == "permutation":
        yield f"  {span}: mean error of {horizon.windows} past forecasts {horizon.explained_mm:.3f} mm"
    else:
        yield f"  {span}: simple forecast {horizon.simple_mm:+.3f} mm, network adds {horizon.correction_mm:+.3f} mm"
    if not horizon.is_complete:
        yield f"    the contributions do not add up: they miss {horizon.sum_error_mm:.3f} mm"
    for part in horizon.parts[:MOST_LINES]:
        yield f"    {part.mm:+.3f} mm  {part.input}, {_format_ages(part)}"
    others = horizon.parts[MOST_LINES:]
    if others:
        yield f"    {sum(part.mm for part in others):+.3f} mm  {len(others)} other blocks; all by --json"


def _format_ages(part: "Part") -> str:
    """Return the ages of the rows of a block, relative to the newest reading."""
    if part.oldest_s == 0:
        return "newest row"
    if part.newest_s == part.oldest_s:
        return f"{format_span(part.newest_s)} before"
    newest = "newest row" if part.newest_s == 0 else format_span(part.newest_s)
    return f"{newest} to {format_span(part.oldest_s)} before"
