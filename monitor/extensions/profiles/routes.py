"""Profiles on the page: displacement and rate by depth, the older the fainter, and the depth of slip."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from monitor.domain.language.catalogue import N_, gettext
from monitor.extensions.profiles.declare import OF_STATE, Profile, list_profiles
from monitor.store.schema.views import load_view
from monitor.web.parts.collect import read_site
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
CURVES: Final = 12  # that are drawn, spread over what is listed
LISTED: Final = 400  # newest profiles
NAMES: Final = {
    "probe": N_("inclinometer probe"),
    "in_place": N_("in-place inclinometer"),
    "shape_array": N_("shape array"),
    "strain": N_("strain along the borehole"),
    "extensometer": N_("borehole extensometer"),
    "piezometer": N_("piezometers"),
    "thermistor": N_("thermistors"),
}
LEFT, TOP, WIDTH, HEIGHT = 44.0, 30.0, 300.0, 380.0  # of the field within a picture
Row = Mapping[str, Any]  # of a view
Tick = tuple[float, str]  # a line of the grid, in the picture, and its number


class Plot(NamedTuple):
    """A picture of profiles: values to the right, depth downwards."""

    what: str
    unit: str
    curves: list[tuple[str, float, bool]]  # a path, its shade (1: the newest), whether it is that along B
    values: list[Tick]
    depths: list[Tick]
    band: tuple[float, float] | None  # of the depth of slip


@router.get("/sites/{site}/profiles", response_class=HTMLResponse)
def show_profiles(request: Request, site: str) -> HTMLResponse:
    """Each profile of a site: pictures by depth, and where it slips."""
    with read_site(request, site) as seen:
        declared = seen.declared
        shown = [] if declared is None else [_collect(seen.c, site, one) for one in list_profiles(declared)]
    return render(request, "profiles.html", card=seen.card, profiles=shown)


def _collect(c: Connection, site: str, profile: Profile) -> dict[str, Any]:
    query = {"site": site, "station": profile.station}
    slips = load_view(c, "slip_depth", order_by=("-observed_at",), limit=LISTED, **query)
    instants = [row["observed_at"] for row in slips]
    chosen = sorted({instants[i * (len(instants) - 1) // (CURVES - 1)] for i in range(CURVES)} if instants else ())
    by_instant: dict[str, list[Row]] = {at: [] for at in chosen}
    order = ("observed_at", "depth_m")
    for row in (
        load_view(c, "profile_history", order_by=order, observed_at=frozenset(chosen), **query) if chosen else ()
    ):
        by_instant[row["observed_at"]].append(row)
    newest = slips[0] if slips else None
    band = None if newest is None or newest["slip_depth_m"] is None else newest
    ends = ("", "_b")[: profile.axes]
    pairs: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        (N_("displacement"), "mm", tuple(f"displacement{end}_mm" for end in ends)),
        (N_("velocity"), "mm/day", tuple(f"rate{end}_mm_per_day" for end in ends)),
    )
    if profile.kind in OF_STATE:
        pairs = (
            (N_("reading"), profile.unit, ("reading",)),
            (N_("change since the zero reading"), profile.unit, ("reading_change",)),
        )
    plots = [draw_plot(profile, what, unit, [*by_instant.values()], names, band) for what, unit, names in pairs]
    return {
        "profile": profile,
        "name": gettext(NAMES[profile.kind]),
        "plots": plots,
        "slip": newest,
        "count": len(chosen),
        "first": chosen[:1],
    }


def draw_plot(
    profile: Profile, what: str, unit: str, profiles: Sequence[Sequence[Row]], names: Sequence[str], slip: Row | None
) -> Plot:
    """The picture of columns of profiles, the oldest first."""
    values = [row[name] for rows in profiles for row in rows for name in names if row[name] is not None]
    depths = choose_ticks(0.0, profile.depths_m[-1])
    ticks = choose_ticks(min(values, default=0.0), max(values, default=0.0))

    def place(value: float, along: Sequence[float], size: float) -> float:
        return round((value - along[0]) / (along[-1] - along[0]) * size, 1)

    def lay(rows: Sequence[Row], name: str) -> str:
        found, pen = "", "M"
        for row in rows:
            if row[name] is not None:
                found += (
                    f"{pen}{LEFT + place(row[name], ticks, WIDTH):g} {TOP + place(row['depth_m'], depths, HEIGHT):g}"
                )
            pen = "M" if row[name] is None else "L"
        return found

    curves = [
        (lay(rows, name), 0.15 + 0.85 * (number / len(profiles)) ** 2, bool(second))
        for number, rows in enumerate(profiles, 1)
        for second, name in enumerate(names)
    ]
    low_high = ("slip_depth_low_m", "slip_depth_high_m")
    band = None if slip is None else tuple(TOP + place(slip[name], depths, HEIGHT) for name in low_high)
    across = [(LEFT + place(one, ticks, WIDTH), f"{one:g}") for one in ticks]
    down = [(TOP + place(one, depths, HEIGHT), f"{one:g}") for one in depths]
    return Plot(gettext(what), unit, [one for one in curves if one[0]], across, down, band)  # type: ignore[arg-type]


def choose_ticks(low: float, high: float) -> list[float]:
    """Round numbers, at most eight, of which the first and the last enclose two others.

    >>> choose_ticks(0.0, 10.0), choose_ticks(-0.3, 8.9)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    """
    size = (high - low) or 1.0
    power = 10.0 ** floor(log10(size / 4.0))
    step = next(one * power for one in (1.0, 2.0, 5.0, 10.0) if size / (one * power) <= 6.0)
    first, last = floor(low / step + 1e-9), -floor(-high / step + 1e-9)
    return [round(i * step, 9) + 0.0 for i in range(first, max(last, first + 1) + 1)]
