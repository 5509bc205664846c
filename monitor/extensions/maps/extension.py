"""Maps: what they add to the service. Stations, footprints and tiles of scenes stand in the core, which shows them.

Without them the maps of the page lie on a plain ground: coordinates and scale alone.
"""

from typing import Final

from monitor.domain.extension import Address, Command, Extension

_HERE: Final = "monitor.extensions.maps"
_OF_SITE: Final = ("map", "zones.geojson", "relief.pmtiles", "susceptibility.png")
EXTENSION: Final = Extension(
    name="maps",
    description="zones, relief, susceptibility and tiles of maps, below and on the maps of the page",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={
        **{f"GET /api/v1/sites/{{site}}/{one}": Address("read") for one in _OF_SITE},
        **dict.fromkeys(("GET /api/v1/map/tiles", "GET /api/v1/map/tiles/{name}"), Address("read", of_no_site=True)),
    },
    commands={
        "sites map": Command(
            f"{_HERE}.cli",
            "Add relief, susceptibility or map tiles to the maps of the page",
            "sites thresholds",
        )
    },
)
