"""Zones of velocities on the map of a site, as `slopeward scenes velocity` left them."""

import json

from detection.geojson import Feature
from monitor.api.settings import PathsSection


def read_zones(paths: PathsSection, site: str) -> list[Feature]:
    """Zones of the newest map of velocities, as they were left there; none where there is no map."""
    try:
        content = json.loads(paths.velocity_zones_path(site).read_text(encoding="utf-8"))
        named = {"kind": "velocity", "name": content["name"], "until": content["until"], "radius_m": None}
        return [
            one | {"id": f"velocity/{k}", "properties": one["properties"] | {"way": one["properties"]["kind"]} | named}
            for k, one in enumerate(content["features"])
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []
