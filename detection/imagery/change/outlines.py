"""The outlines of a date with what became of them, and those that are gone, as one GeoJSON file."""

import json
from pathlib import Path

from detection.imagery.change.records import Comparison, FootprintChange, PlacedOutline, StoredDate, record_to_json
from forecasting.whole_file import replacing

FILE = "change.geojson"
WORDS = ("change", "parent_id", "grown_m2", "since_at", "first_seen_at", "root_id", "caution")


def write_outlines(date: StoredDate, found: Comparison, path: Path) -> None:
    """Write a FeatureCollection (RFC 7946) by temporary name and rename."""
    rows: list[tuple[PlacedOutline, FootprintChange]] = [(one, found.changes[one.polygon_id]) for one in date.outlines]
    rows += [(one.outline, one.change) for one in found.vanished]
    shared = {"scene_hash": date.scene_hash, "acquired_at": date.acquired_at.isoformat()}
    features = []
    for outline, change in rows:
        values = record_to_json(change)
        features.append(
            {
                "type": "Feature",
                "id": outline.polygon_id,
                "geometry": outline.geometry,
                "properties": {
                    "class": outline.kind,
                    "area_m2": outline.area_m2,
                    **{key: values[key] for key in WORDS},
                    **shared,
                },
            }
        )
    text = json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
