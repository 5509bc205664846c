"""Exports: what they add to the service."""

from typing import Final

from monitor.domain.extension import Address, Command, Extension

_HERE: Final = "monitor.extensions.exports"
_OWN: Final = (
    "export",
    "export/{table}.{form}",
    "maintenance.ics",
    "stac",
    "stac/items",
    "stac/items/{scene_hash}",
    "sensorthings/v1.1",
    "sensorthings/v1.1/{path:path}",
)
EXTENSION: Final = Extension(
    name="exports",
    description="tables, maps, SensorThings, STAC and a calendar for other programs",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses=dict.fromkeys([f"GET /api/v1/sites/{{site}}/{one}" for one in _OWN], Address("read")),
    commands={
        "export": Command(f"{_HERE}.cli", "Export tables and maps of a site as files", after="scenes susceptibility")
    },
    panels={"site.out": ("take_out.html",)},
)
