"""Page with the depth profiles of a site: displacement and velocity by depth, and the depth of slip."""

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
from monitor.features.profiles.declare import STATE_KINDS, Profile, list_profiles

router = APIRouter(include_in_schema=False)
# The curves of a plot are chosen evenly from this many of the newest surveys of a profile.
MAX_SURVEYS: Final = 400
MAX_CURVES: Final = 12
KIND_NAMES: Final = {
    "probe": N_("inclinometer probe"),
    "in_place": N_("in-place inclinometer"),
    "shape_array": N_("shape array"),
    "strain": N_("strain along the borehole"),
    "extensometer": N_("borehole extensometer"),
    "piezometer": N_("piezometers"),
    "thermistor": N_("thermistors"),
}
# Area of the axes within the SVG image (`viewBox` in profiles.html), in its units.
PLOT_LEFT: Final = 44.0
PLOT_TOP: Final = 30.0
PLOT_WIDTH: Final = 300.0
PLOT_HEIGHT: Final = 380.0
# The oldest curve of a plot still has about this opacity; the newest has 1.
MIN_OPACITY: Final = 0.15
# Values within a smaller range are drawn as equal. The ticks are rounded to 9 decimals, so they would not differ.
MIN_VALUE_RANGE: Final = 1e-6
ViewRow = Mapping[str, Any]


class PlotSpec(NamedTuple):
    """What a plot shows."""

    title: str
    unit: str
    columns: tuple[str, ...]  # of the view `profile_history`: axis A, then axis B if the profile has it


class Tick(NamedTuple):
    """A line of the grid."""

    position: float  # in the SVG image
    label: str


class Curve(NamedTuple):
    """One survey along one axis of the instrument."""

    path: str  # attribute `d` of the SVG path
    opacity: float  # 1 for the newest survey
    is_axis_b: bool


class Plot(NamedTuple):
    """A plot with the values on the horizontal axis, and the depth downwards."""

    title: str
    unit: str
    curves: list[Curve]
    value_ticks: list[Tick]
    depth_ticks: list[Tick]
    slip_band: list[float]  # upper and lower end of the zone of slip in the SVG image; empty if there is none


@router.get("/sites/{site}/profiles", response_class=HTMLResponse)
def show_profiles(request: Request, site: str) -> HTMLResponse:
    """Show the plots and the depth of slip of each profile of a site."""
    with read_site(request, site) as snapshot:
        profiles = [] if snapshot.declared is None else list_profiles(snapshot.declared)
        shown = [_load_profile(snapshot.c, site, profile) for profile in profiles]
    return render(request, "profiles.html", card=snapshot.card, profiles=shown)


def _load_profile(c: Connection, site: str, profile: Profile) -> dict[str, Any]:
    """Return the template variables of one profile."""
    borehole = {"site": site, "station": profile.station}
    # The view has a row for each survey, also if the survey shows no slip.
    slips = load_view(c, "slip_depth", order_by=("-observed_at",), limit=MAX_SURVEYS, **borehole)
    survey_instants = _choose_evenly([slip["observed_at"] for slip in slips])
    rows: Sequence[ViewRow] = []
    if survey_instants:
        rows = load_view(
            c,
            "profile_history",
            order_by=("observed_at", "depth_m"),
            observed_at=frozenset(survey_instants),
            **borehole,
        )
    surveys = [list(survey_rows) for _, survey_rows in groupby(rows, itemgetter("observed_at"))]
    newest_slip = slips[0] if slips else None
    slip_range_m: list[float] = []
    if newest_slip is not None and newest_slip["slip_depth_low_m"] is not None:
        slip_range_m = [newest_slip["slip_depth_low_m"], newest_slip["slip_depth_high_m"]]
    return {
        "name": gettext(KIND_NAMES[profile.kind]),
        "slip": newest_slip,
        "profile": profile,
        "plots": [draw_plot(profile, spec, surveys, slip_range_m) for spec in _list_plots(profile)],
        "survey_count": len(survey_instants),
        "oldest_at": survey_instants[0] if survey_instants else None,
    }


def _choose_evenly(newest_first: Sequence[str]) -> list[str]:
    """Return at most `MAX_CURVES` of some instants, evenly chosen, the oldest first."""
    if not newest_first:
        return []
    positions = {k * (len(newest_first) - 1) // (MAX_CURVES - 1) for k in range(MAX_CURVES)}
    return sorted(newest_first[position] for position in positions)


def _list_plots(profile: Profile) -> list[PlotSpec]:
    if profile.kind in STATE_KINDS:
        return [
            PlotSpec(N_("reading"), profile.unit, ("reading",)),
            PlotSpec(N_("change since the zero reading"), profile.unit, ("reading_change",)),
        ]
    displacements = ("displacement_mm", "displacement_b_mm")
    rates = ("rate_mm_per_day", "rate_b_mm_per_day")
    return [
        PlotSpec(N_("displacement"), "mm", displacements[: profile.axes]),
        PlotSpec(N_("velocity"), "mm/day", rates[: profile.axes]),
    ]


def draw_plot(
    profile: Profile, spec: PlotSpec, surveys: Sequence[Sequence[ViewRow]], slip_range_m: Sequence[float]
) -> Plot:
    """Return a plot of some surveys.

    Args:
        profile: The profile.
        spec: What is drawn.
        surveys: Rows of the view `profile_history` for each survey, ordered by depth. The oldest survey is first.
        slip_range_m: Upper and lower end of the zone of slip; empty if there is none.
    """
    values = [row[column] for survey in surveys for row in survey for column in spec.columns if row[column] is not None]
    depths = choose_ticks(0.0, profile.depths_m[-1])
    ticks = choose_ticks(min(values, default=0.0), max(values, default=0.0))

    def find_x(value: float) -> float:
        return PLOT_LEFT + round((value - ticks[0]) / (ticks[-1] - ticks[0]) * PLOT_WIDTH, 1)

    def find_y(depth_m: float) -> float:
        return PLOT_TOP + round(depth_m / depths[-1] * PLOT_HEIGHT, 1)

    def draw_path(survey: Sequence[ViewRow], column: str) -> str:
        path = ""
        command = "M"
        for row in survey:
            if row[column] is None:
                # The curve has a gap at a depth without a value.
                command = "M"
                continue
            path += f"{command}{find_x(row[column]):g} {find_y(row['depth_m']):g}"
            command = "L"
        return path

    curves: list[Curve] = []
    for number, survey in enumerate(surveys, 1):
        opacity = MIN_OPACITY + (1.0 - MIN_OPACITY) * (number / len(surveys)) ** 2
        for column in spec.columns:
            path = draw_path(survey, column)
            if path:
                curves.append(Curve(path, opacity, is_axis_b=column != spec.columns[0]))
    return Plot(
        title=gettext(spec.title),
        unit=spec.unit,
        curves=curves,
        value_ticks=[Tick(find_x(tick), f"{tick:g}") for tick in ticks],
        depth_ticks=[Tick(find_y(depth_m), f"{depth_m:g}") for depth_m in depths],
        slip_band=[find_y(depth_m) for depth_m in slip_range_m],
    )


def choose_ticks(low: float, high: float) -> list[float]:
    """Return at most eight evenly spaced round numbers. The range from the first to the last contains `low` and `high`.

    >>> choose_ticks(0.0, 10.0), choose_ticks(-0.3, 8.9)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    """
    length = high - low
    if length < MIN_VALUE_RANGE:
        length = 1.0
    power = 10.0 ** floor(log10(length / 4.0))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if length / (factor * power) <= 6.0)
    # The margin keeps a limit that is a multiple of the step, except for rounding, from getting one more tick.
    first = floor(low / step + 1e-9)
    last = -floor(-high / step + 1e-9)
    # Adding 0.0 turns -0.0 into 0.0.
    return [round(k * step, 9) + 0.0 for k in range(first, max(last, first + 1) + 1)]
