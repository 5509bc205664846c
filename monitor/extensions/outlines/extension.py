"""Outlines: what they add to the service. Their rows stand in the core: public views, seals, and `scenes score`."""

from typing import Final

from monitor.domain.extension import Address, Command, Extension

_HERE: Final = "monitor.extensions.outlines"
EXTENSION: Final = Extension(
    name="outlines",
    description="outlines of people on scenes, reviews of footprints, and networks that learn from both",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={
        f"GET /sites/{{site}}/{one}": Address("read")
        for one in ("outlines", "outlines/next", "scenes/{scene_hash}/outlines")
    },
    commands={
        "scenes": Command(
            f"{_HERE}.cli", "Train on outlines drawn by people; review footprints", rules={"scenes learn": "serves"}
        )
    },
    acts=(f"{_HERE}.acts:ACTS",),
    functions={"scene.unsure": f"{_HERE}.store:save_unsure"},
)
