"""Profiles on the page: displacement and rate by depth, the older the fainter, and the depth of slip."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import floor, log10
from operator import itemgetter
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from monitor.api.database import load_view
from monitor.api.text import N_, gettext
from monitor.api.web import read_site
from monitor.api.web import render_page as render
from monitor.features.profiles.declare import OF_STATE, Profile, list_profiles

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
    band: list[float]  # of the depth of slip, if there is one


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
    places = {i * (len(slips) - 1) // (CURVES - 1) for i in range(CURVES)} if slips else ()
    chosen, order = sorted(slips[i]["observed_at"] for i in places), ("observed_at", "depth_m")
    rows = load_view(c, "profile_history", order_by=order, observed_at=frozenset(chosen), **query) if chosen else ()
    profiles = [[*each] for _, each in groupby(rows, itemgetter("observed_at"))]
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
    low_high = [slips[0][f"slip_depth_{end}_m"] for end in ("low", "high")] if slips else []
    band = [one for one in low_high if one is not None]
    plots = [draw_plot(profile, what, unit, profiles, names, band) for what, unit, names in pairs]
    facts = {"name": gettext(NAMES[profile.kind]), "slip": slips[0] if slips else None}
    return facts | {"profile": profile, "plots": plots, "count": len(chosen), "first": chosen[:1]}


def draw_plot(
    profile: Profile,
    what: str,
    unit: str,
    profiles: Sequence[Sequence[Row]],
    names: Sequence[str],
    band_m: Sequence[float],
) -> Plot:
    """The picture of columns of profiles, the oldest first."""
    values = [row[name] for rows in profiles for row in rows for name in names if row[name] is not None]
    depths = choose_ticks(0.0, profile.depths_m[-1])
    ticks = choose_ticks(min(values, default=0.0), max(values, default=0.0))

    def place_x(value: float) -> float:
        return LEFT + round((value - ticks[0]) / (ticks[-1] - ticks[0]) * WIDTH, 1)

    def place_y(depth_m: float) -> float:
        return TOP + round(depth_m / depths[-1] * HEIGHT, 1)

    curves: list[tuple[str, float, bool]] = []
    for number, rows in enumerate(profiles, 1):
        for name in names:
            path, pen = "", "M"
            for row in rows:
                path += "" if row[name] is None else f"{pen}{place_x(row[name]):g} {place_y(row['depth_m']):g}"
                pen = "M" if row[name] is None else "L"
            curves += [(path, 0.15 + 0.85 * (number / len(profiles)) ** 2, name != names[0])] if path else []
    across, down = [(place_x(one), f"{one:g}") for one in ticks], [(place_y(one), f"{one:g}") for one in depths]
    return Plot(gettext(what), unit, curves, across, down, [place_y(one) for one in band_m])


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
