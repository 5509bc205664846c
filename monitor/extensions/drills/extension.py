"""Drills: what they add to the service."""

from typing import Final

from monitor.domain.extension import Address, Command, Extension

_HERE: Final = "monitor.extensions.drills"
EXTENSION: Final = Extension(
    name="drills",
    description="exercises by the real channels, apart from the real state",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={"GET /sites/{site}/drills": Address("viewer")},
    commands={"notify drill": Command(f"{_HERE}.cli", "Hold a drill with the real channels", after="notify channels")},
    acts=(f"{_HERE}.acts:ACTS",),
    background={f"{_HERE}.store:end_dead": 15.0},
    panels={"site.links": ("drills_link.html",)},
)
