"""Landsat 4 to 9, Collection 2, level 2: surface reflectance and its quality band (USGS LSDS-1618, LSDS-1619)."""

from pathlib import Path
from typing import Any, Final

from detection.imagery.errors import ManifestError
from detection.imagery.scene.offsets import COUNT, LANDSAT_OFFSET, LANDSAT_SCALE
from detection.imagery.scene.products.texts import SceneManifest, read_instant, read_json, read_pairs, read_text

# number of the band -> the name by which models ask for it
OLI: Final = {"1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir", "6": "swir1", "7": "swir2"}
TM: Final = {"1": "blue", "2": "green", "3": "red", "4": "nir", "5": "swir1", "7": "swir2"}
OLI_CRAFT: Final = ("LANDSAT_8", "LANDSAT_9")


def describe_landsat(folder: Path) -> SceneManifest | None:
    """What the metadata (`*_MTL.json` or `*_MTL.txt`) of a folder says; None where there is none."""
    found = sorted(folder.glob("*_MTL.json")) or sorted(folder.glob("*_MTL.txt"))
    if not found:
        return None
    if len(found) > 1:
        raise ManifestError(f"{folder}: holds {len(found)} Landsat products; give each a folder of its own")
    metadata = found[0]
    values = _flatten(read_json(metadata)) if metadata.suffix == ".json" else read_pairs(read_text(metadata))
    level = values.get("PROCESSING_LEVEL", "")
    if level not in {"L2SP", "L2SR"}:
        raise ManifestError(
            f"{metadata}: processing level {level or 'unknown'}: expected level 2 (L2SP, L2SR), the reflectance of the "
            "ground; order that product"
        )
    names = OLI if values.get("SPACECRAFT_ID") in OLI_CRAFT else TM
    bands = {name: file for number, name in names.items() if (file := values.get(f"FILE_NAME_BAND_{number}"))}
    if not bands:
        raise ManifestError(f"{metadata}: names no band")
    taken = f"{values.get('DATE_ACQUIRED', '')}T{values.get('SCENE_CENTER_TIME', '')}"
    content: SceneManifest = {
        "acquired_at": read_instant(taken, metadata, "DATE_ACQUIRED and SCENE_CENTER_TIME"),
        "bands": bands,
        "gain": round(LANDSAT_SCALE / COUNT, 9),
        "offset": round(LANDSAT_OFFSET / COUNT, 6),
        "calibration": f"Landsat Collection 2 level 2 in {metadata.name}",
        "remarks": [],
    }
    if quality := values.get("FILE_NAME_QUALITY_L1_PIXEL"):
        content["qa_pixel"] = quality
    return content


def _flatten(tree: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in tree.items():
        for name, one in (_flatten(value) if isinstance(value, dict) else {key: str(value)}).items():
            found.setdefault(name, one)
    return found
