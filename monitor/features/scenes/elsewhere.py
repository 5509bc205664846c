"""Find scenes that lie outside the area of their site. They wait until a person confirms or removes them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from detection.imagery.footprints.proximity import Place
from monitor.api.scenes import SiteArea
from monitor.api.sites import Site
from monitor.api.text import Figure, Message, NameList, Template
from monitor.features.scenes.tasks import Elsewhere

if TYPE_CHECKING:
    from detection.imagery.scene.scene import Scene

# A scene of a slope may end beside the instruments, so it belongs to a site if it is at most this far away.
MARGIN_M: Final = 5000.0
_NAMES_MOST: Final = 3
_ELSEWHERE: Final = Template(
    "scene.elsewhere",
    "it lies {distance} km from site {site}, so it was not read. Take it out of the inbox, or correct the coordinates "
    "in the site file; if it is meant: slopeward scenes add {site} FILE --anyway",
)
_OF_OTHERS: Final = Template(
    "scene.elsewhere_of_others",
    "it lies {distance} km from site {site}, so it was not read. Its ground is that of {others}: move it to the inbox "
    "of that site; if it is meant for {site}: slopeward scenes add {site} FILE --anyway",
)
_NOT_DETECTED: Final = Template(
    "scene.not_detected_elsewhere",
    "it lies {distance} km from site {site}, so no landslides were looked for. Name the site file of its ground, or "
    "repeat the command with --anyway",
)
_NOT_ADDED: Final = Template(
    "scene.not_added_elsewhere",
    "it lies {distance} km from site {site}, so it was not added. Name the site of its ground, or repeat the command "
    "with --anyway",
)
_NOT_ADDED_OF_OTHERS: Final = Template(
    "scene.not_added_of_others",
    "it lies {distance} km from site {site}, so it was not added. Its ground is that of {others}: name that site, or "
    "repeat the command with --anyway",
)
_CONFIRMED: Final = Template(
    "scene.elsewhere_confirmed", "the image lies {distance} km from the site; a person confirmed that it is meant"
)


def find_area(site: Site) -> SiteArea:
    """Return the area of a site: its coordinates, stations, outlines of stations and exposed places, with a margin."""
    corners = [(site.latitude, site.longitude)]
    corners += [corner for station in site.stations for corner in station.outline]
    corners += [corner for exposed in site.exposed for corner in exposed.corners]
    places = [*((longitude, latitude) for latitude, longitude in corners), *site.places.values()]
    reaches = [dict(criterion.params).get("near_m", 0.0) for criterion in site.criteria]
    return SiteArea(tuple(places), max(MARGIN_M, site.scenes.near_m, *reaches))


def describe_elsewhere(site_id: str, distance_m: float, others: Sequence[str] = ()) -> Message:
    """Return why a scene was not read and what to do. `others` are the ids of sites whose ground it shows."""
    distance = format_distance(distance_m)
    if others:
        return _OF_OTHERS(distance=distance, site=site_id, others=_list_names(others))
    return _ELSEWHERE(distance=distance, site=site_id)


def describe_not_added(site_id: str, distance_m: float, others: Sequence[str]) -> Message:
    """Return why `slopeward scenes add` refuses a scene and what to do. `others`: see `describe_elsewhere`."""
    distance = format_distance(distance_m)
    if others:
        return _NOT_ADDED_OF_OTHERS(distance=distance, site=site_id, others=_list_names(others))
    return _NOT_ADDED(distance=distance, site=site_id)


def describe_not_detected(site_id: str, distance_m: float) -> Message:
    """Return why `slopeward scenes detect --site-file` refuses a scene and what to do."""
    return _NOT_DETECTED(distance=format_distance(distance_m), site=site_id)


def describe_confirmed(distance_m: float) -> Message:
    """Return the warning of a scene outside the area that was read because a person confirmed it."""
    return _CONFIRMED(distance=format_distance(distance_m))


def _list_names(sites: Sequence[str]) -> NameList:
    return NameList(tuple(sites[:_NAMES_MOST]), more=max(0, len(sites) - _NAMES_MOST))


def format_distance(distance_m: float) -> Figure:
    """Return a distance in km, with a decimal below 100 km."""
    return Figure(distance_m / 1000.0, ",.1f" if distance_m < 100_000.0 else ",.0f")


def find_elsewhere(scene: "Scene", area: SiteArea | None) -> Elsewhere | None:
    """Return distance and border of a scene that lies outside an area.

    Return None if it lies inside, if its files have no georeference, or if they cannot be read.
    """
    from rasterio.errors import RasterioError

    from detection.imagery.errors import ImageryError
    from detection.imagery.raster.distance import list_border, measure_distance_m
    from detection.imagery.raster.raster import read_grid

    first_band = next(iter(scene.bands.values()), None)
    if area is None or first_band is None:
        return None
    try:
        corners = list_border(read_grid(first_band.path))
    except (ImageryError, RasterioError):
        return None  # the fault is reported when the values of the scene are read
    if len(corners) < 3:
        return None
    distance_m = measure_distance_m(corners, area.places)
    return Elsewhere(distance_m, corners) if distance_m > area.margin_m else None


def find_sites_below(corners: Sequence[Place], sites: Iterable[Site]) -> list[str]:
    """Return the ids of the sites whose ground lies inside a border, or within their margin of it."""
    # Imported here because the core process rarely needs these libraries.
    from detection.imagery.raster.distance import measure_distance_m

    site_ids = []
    for site in sites:
        area = find_area(site)
        if measure_distance_m(corners, area.places) <= area.margin_m:
            site_ids.append(site.id)
    return site_ids
