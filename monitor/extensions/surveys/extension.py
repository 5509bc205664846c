"""Surveys: what they add to the service. Sources of series, coherence and point sets stand in the core, which decides.

The scene inbox compares radar by itself, and the criterion of radar reads points: both stay in the core.
"""

from typing import Final

from monitor.domain.extension import Command, Extension

_HERE: Final = "monitor.extensions.surveys"
_STORE: Final = ("scenes rates", "scenes track", "scenes velocity")
EXTENSION: Final = Extension(
    name="surveys",
    description="point clouds, surfaces, images and radar of two dates compared, maps of velocities, stacks",
    package=_HERE,
    commands={
        "scenes": Command(f"{_HERE}.cli", "", rules=dict.fromkeys(_STORE, "serves")),
        "scenes clouds": Command(
            f"{_HERE}.clouds",
            "Grid point clouds, and compare two of them",
            after="scenes susceptibility",
        ),
    },
    functions={"map.zones": f"{_HERE}.zones:read_zones"},
)
