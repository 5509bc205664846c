"""A STAC item with its assets beside it (SpatioTemporal Asset Catalog 1.0 and 1.1, extensions eo and raster)."""

from pathlib import Path, PurePosixPath
from typing import Any, Final

from detection.imagery.errors import ManifestError
from detection.imagery.scene.band_names import BAND_NAMES, name_band
from detection.imagery.scene.offsets import BASELINE, COUNT, SENTINEL_OFFSET
from detection.imagery.scene.products.texts import read_instant, read_json, read_number

MASKS: Final = {"scl": "classification", "qa_pixel": "qa_pixel", "udm2": "udm2", "cloud_mask": "clouds"}
PICTURES: Final = frozenset({"overview", "thumbnail", "visual", "preview"})  # keys and roles
SNIFFED: Final = 1 << 16  # bytes of a JSON file in which an item names its version
RASTERS: Final = {".tif", ".tiff", ".jp2"}
# Whether somebody subtracted the offset of Sentinel-2 from the values already; where it says no, that is wrong for many
# (Element84/earth-search, issues 66 and 71).
APPLIED: Final = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
KNOWN: Final = frozenset(BAND_NAMES.values())


def describe_stac(folder: Path) -> dict[str, Any] | None:
    """What the only item in a folder says of the assets that lie there; None where no JSON file is an item.

    A band is known by its common name or its name; scale and offset that turn values into reflectance count where all
    bands share them. Assets elsewhere are not fetched.

    Raises:
        ManifestError: several items, no time, or no band among the assets that are there.
    """
    paths = find_items(folder)
    if not paths:
        return None
    if len(paths) > 1:
        raise ManifestError(f"{folder}: holds several STAC items; give each a folder of its own")
    path = paths[0]
    item = read_json(path)
    if item.get("type") != "Feature":
        return None
    properties, assets = item.get("properties"), item.get("assets")
    if not isinstance(properties, dict) or not isinstance(assets, dict):
        raise ManifestError(f"{path}: properties and assets must be objects")
    taken = properties.get("datetime") or properties.get("start_datetime")
    bands: dict[str, Any] = {}
    content: dict[str, Any] = {"acquired_at": read_instant(taken, path, "datetime"), "remarks": []}
    scales, away = set(), []
    for key, asset in assets.items():
        if _is_picture(str(key), asset):
            continue
        file = _find_file(asset)
        if file is None:
            away.append(str(key))
            continue
        if (kind := MASKS.get(str(key).lower())) is not None:
            content[kind] = file
            continue
        for index, (name, scale) in enumerate(_list_bands(str(key), asset, path), 1):
            if name in KNOWN and name not in bands:
                bands[name] = {"file": file, "index": index}
                scales.add(scale)
    if not bands:
        raise ManifestError(
            f"{path}: no band with a known name among the assets that lie beside it"
            + (f"; {len(away)} lie elsewhere ({', '.join(away[:4])}): download them" if away else "")
        )
    if len(scales) > 1:
        raise ManifestError(f"{path}: bands differ in scale and offset; write a scene.toml")
    (scale,) = scales
    if scale is not None:
        content |= {"gain": round(scale[0] / COUNT, 9), "offset": round(scale[1] / COUNT, 6)}
        content["calibration"] = f"raster:scale and raster:offset in {path.name}"
    else:
        content |= _read_baseline(properties, path)
    applied = next((properties[key] for key in APPLIED if key in properties), None)
    if applied is True:
        content |= {"offset": 0.0, "calibration": f"{path.name}: the offset was subtracted before"}
    elif applied is False:
        content["remarks"] = [f"{path.name} says that the offset was not subtracted before, which is often wrong there"]
    return content | {"bands": bands}


def find_items(folder: Path) -> list[Path]:
    """Files that look like items by their beginning; nothing is parsed, and two are enough."""
    found: list[Path] = []
    for path in sorted(folder.glob("*.json")):
        with path.open("rb") as file:
            if b'"stac_version"' in file.read(SNIFFED):
                found.append(path)
        if len(found) > 1:
            break
    return found


def _read_baseline(properties: dict[str, Any], path: Path) -> dict[str, Any]:
    """What the processing baseline of a Sentinel-2 item adds to its counts, where no asset states an offset."""
    said = properties.get("s2:processing_baseline")
    if said is None:
        return {}
    baseline = read_number(said, path, "s2:processing_baseline")
    offset = SENTINEL_OFFSET if round(100.0 * baseline) >= BASELINE else 0.0
    return {"offset": offset, "calibration": f"s2:processing_baseline {said} in {path.name}"}


def _is_picture(key: str, asset: object) -> bool:
    """Whether an asset is a picture for people: its eight bits are not the counts of the bands that it names."""
    roles = asset.get("roles") if isinstance(asset, dict) else None
    told = {str(one).lower() for one in roles} if isinstance(roles, list) else set()
    return key.lower() in PICTURES or bool(PICTURES & told)


def _find_file(asset: object) -> str | None:
    """The file of an asset in the folder of the item; None where it lies elsewhere or is no raster."""
    href = asset.get("href") if isinstance(asset, dict) else None
    if not isinstance(href, str) or ":" in href or PurePosixPath(href).suffix.lower() not in RASTERS:
        return None
    return href.removeprefix("./")


def _list_bands(key: str, asset: dict[str, Any], path: Path) -> list[tuple[str, tuple[float, float] | None]]:
    """Name of each band of an asset, and what turns its values into reflectance."""
    described = asset.get("bands") or asset.get("eo:bands") or [{"name": key}]
    rasters = asset.get("raster:bands") or described
    found = []
    for k, band in enumerate(described if isinstance(described, list) else []):
        if not isinstance(band, dict):
            continue
        common = band.get("eo:common_name") or band.get("common_name")
        names = [name_band(str(one)) for one in (band.get("name"), common, key) if one]
        name = next((one for one in names if one in KNOWN), names[-1] if names else key)
        raster = rasters[k] if isinstance(rasters, list) and k < len(rasters) and isinstance(rasters[k], dict) else {}
        scale, offset = (raster.get(f"raster:{what}", raster.get(what)) for what in ("scale", "offset"))
        numbers = None
        if scale is not None:
            shift = 0.0 if offset is None else read_number(offset, path, f"raster:offset of {key}")
            numbers = read_number(scale, path, f"raster:scale of {key}"), shift
        found.append((name, numbers))
    return found
