"""The outlines of a date with what became of them, and those that are gone, as one GeoJSON file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detection.whole_file import replacing

FILE = "change.geojson"
WORDS = ("change", "parent_id", "grown_m2", "since_at", "first_seen_at", "root_id", "caution")


def read_outlines(polygons: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return footprints with `geometry` as an object, also where it came as text.

    >>> read_outlines([{"geometry": '{"type":"Point","coordinates":[1,2]}'}])
    [{'geometry': {'type': 'Point', 'coordinates': [1, 2]}}]
    """
    return [
        {**p, "geometry": json.loads(p["geometry"])} if isinstance(p["geometry"], str) else dict(p) for p in polygons
    ]


def write_outlines(facts: Mapping[str, Any], answer: Mapping[str, Any], path: Path) -> None:
    """Write a FeatureCollection (RFC 7946) by temporary name and rename.

    Args:
        facts: the date: scene_hash, acquired_at, polygons.
        answer: `changes` and `vanished`, as `comparison.compare` gives them.
        path: the file.
    """
    polygons: Sequence[Mapping[str, Any]] = facts["polygons"]
    rows = [{**p, **answer["changes"][p["polygon_id"]]} for p in polygons] + list(answer["vanished"])
    shared = {key: facts[key] for key in ("scene_hash", "acquired_at")}
    features = [
        {
            "type": "Feature", "id": row["polygon_id"], "geometry": row["geometry"],
            "properties": {
                **{key: row.get(key) for key in ("class", "area_m2", *WORDS)}, **shared,
            },
        }
        for row in rows
    ]  # fmt: skip
    text = json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
