"""Depth profiles: what they add to the service. Each depth is a series; so is what is made of them."""

from typing import Final

from monitor.domain.extension import Address, Extension, Job

_HERE: Final = "monitor.extensions.profiles"
EXTENSION: Final = Extension(
    name="profiles",
    description="displacement, pressure or temperature by depth in boreholes, and the depth of slip",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={"GET /sites/{site}/profiles": Address("read")},
    panels={"site.links": ("profiles_link.html",)},
    site_tables={"profile": f"{_HERE}.declare:ProfileTable"},
    functions={
        "config.tables": f"{_HERE}.declare:expand",
        "ingest.readers": f"{_HERE}.surveys:READERS",
        "ingest.readings": f"{_HERE}.pending:note_readings",
        "ingest.complete": f"{_HERE}.worker:compute_pending",
        "service.parts": f"{_HERE}.parts:build_parts",
        "health.subjects": f"{_HERE}.checks:read_profiles",
    },
    checks=(f"{_HERE}.checks:CHECKS",),
    jobs=(Job("profiles", f"{_HERE}.redefined:run", lambda _: 60.0, 20.0, light=True),),
)
