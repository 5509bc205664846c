"""A STAC item with its assets beside it (SpatioTemporal Asset Catalog 1.0 and 1.1, extensions eo and raster)."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from detection.imagery.errors import ManifestError
from detection.imagery.scene.band_names import BAND_NAMES, NUMBER, ONLY_NUMBERS, name_band
from detection.imagery.scene.offsets import BASELINE, COUNT, SENTINEL_OFFSET
from detection.imagery.scene.products.texts import SceneManifest, read_instant, read_json, read_number

MASKS: Final = {"scl": "classification", "qa_pixel": "qa_pixel", "udm2": "udm2", "cloud_mask": "clouds"}
PICTURES: Final = frozenset({"overview", "thumbnail", "visual", "preview"})  # keys and roles
SNIFFED: Final = 1 << 16  # bytes of a JSON file in which an item names its version
RASTERS: Final = {".tif", ".tiff", ".jp2"}
# Whether somebody subtracted the offset of Sentinel-2 from the values already; where it says no, that is wrong for many
# (Element84/earth-search, issues 66 and 71).
APPLIED: Final = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
# The processing baseline, whose number says the offset; catalogues of Copernicus name it `processing:version`.
BASELINES: Final = ("s2:processing_baseline", "sentinel:processing_baseline")
KNOWN: Final = frozenset(BAND_NAMES.values())
ITEM: Final = "item.json"
PRODUCT_ID: Final = re.compile(r"S2[A-D]?_")
Scale = tuple[float, float] | None
"""Factor and shift that turn values into reflectance; None where nobody says them."""


def describe_stac(folder: Path) -> SceneManifest | None:
    """What the only item in a folder says of the assets that lie there; None where no JSON file is an item.

    A band is known by its common name or its name; scale and offset that turn values into reflectance count where all
    bands share them. Assets elsewhere are not fetched. `counts` are the files that have this scale, `nodata` is what
    the bands say that means nothing.

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
    content: SceneManifest = {"acquired_at": read_instant(taken, path, "datetime"), "remarks": []}
    by_number = _is_sentinel(item, properties)
    found = _read_assets(assets, path, by_number)
    if not found.bands and not by_number and any(NUMBER.fullmatch(str(key)) for key in assets):
        raise ManifestError(f"{path}: {ONLY_NUMBERS}")
    if not found.bands:
        away = f"; {len(found.away)} lie elsewhere ({', '.join(found.away[:4])}): download them" if found.away else ""
        raise ManifestError(f"{path}: no band with a known name among the assets that lie beside it{away}")
    if len(found.scales) > 1:
        raise ManifestError(f"{path}: bands differ in scale and offset; write a scene.toml")
    (scale,) = found.scales
    content |= cast("SceneManifest", found.masks)
    content["counts"] = [file for file, scales in found.scales_of.items() if scales == {scale}]
    if len(found.nodata) == 1:
        content["nodata"] = found.nodata.pop()
    return content | _read_calibration(scale, properties, path) | {"bands": found.bands}


@dataclass(slots=True)
class _Assets:
    bands: dict[str, dict[str, str | int]] = field(default_factory=dict)  # by name: file and index
    masks: dict[str, str] = field(default_factory=dict)  # kind -> file
    scales: set[Scale] = field(default_factory=set)  # of the bands
    nodata: set[float | None] = field(default_factory=set)
    away: list[str] = field(default_factory=list)  # keys of those that lie elsewhere
    scales_of: dict[str, set[Scale]] = field(default_factory=dict)  # by file, of all that it holds


def _read_assets(assets: dict[str, Any], path: Path, by_number: bool) -> _Assets:
    found = _Assets()
    for key, asset in assets.items():
        roles = asset.get("roles") if isinstance(asset, dict) else None
        names = {str(one).lower() for one in roles} if isinstance(roles, list) else set()
        if PICTURES & {key.lower(), *names}:  # for people: its eight bits are not the counts of the bands that it names
            continue
        file = _find_file(asset)
        if file is None:
            found.away.append(str(key))
        elif (kind := find_mask(str(key))) is not None:
            found.masks.setdefault(kind, file)
        else:
            for index, (name, scale, empty) in enumerate(_list_bands(str(key), asset, path, by_number), 1):
                found.scales_of.setdefault(file, set()).add(scale)
                if name in KNOWN and name not in found.bands:
                    found.bands[name] = {"file": file, "index": index}
                    found.scales.add(scale)
                    found.nodata.add(empty)
    return found


def _read_calibration(scale: Scale, properties: dict[str, Any], path: Path) -> SceneManifest:
    if scale is None:
        content = _read_baseline(properties, path)
    else:
        content = {"gain": round(scale[0] / COUNT, 9), "offset": round(scale[1] / COUNT, 6)}
        content["calibration"] = f"raster:scale and raster:offset in {path.name}"
    applied = next((properties[key] for key in APPLIED if key in properties), None)
    if applied is True:
        content |= {"offset": 0.0, "calibration": f"{path.name}: the offset was subtracted before"}
    elif applied is False:
        content["remarks"] = [f"{path.name} says that the offset was not subtracted before, which is often wrong there"]
    return content


def write_item(folder: Path, item: dict[str, Any], files: dict[str, tuple[str, str]]) -> None:
    """Write an item beside its files as `describe_stac` reads it: what it says of them, and no address.

    `files`: name of an asset here -> its key in the item, and the file.
    """
    assets = {name: {**item["assets"][key], "href": file} for name, (key, file) in files.items()}
    for one in assets.values():
        one.pop("alternate", None)
    kept = {key: item.get(key) for key in ("type", "stac_version", "id", "properties")}
    (folder / ITEM).write_text(json.dumps(kept | {"assets": assets}), encoding="utf-8")


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


def find_mask(key: str) -> str | None:
    """What an asset says of the pixels that can be used, in the word of a manifest; None where it is no such mask.

    >>> find_mask("SCL"), find_mask("SCL_20m"), find_mask("red")
    ('classification', 'classification', None)
    """
    return MASKS.get(re.sub(r"_\d+m$", "", key.lower()))


def _read_baseline(properties: dict[str, Any], path: Path) -> SceneManifest:
    is_sentinel = str(properties.get("platform", "")).lower().startswith("sentinel-2")
    names = (*BASELINES, *(("processing:version",) if is_sentinel else ()))
    name = next((one for one in names if properties.get(one) is not None), None)
    if name is None:
        return {}
    stated = properties[name]
    baseline = read_number(stated, path, name)
    offset = SENTINEL_OFFSET if round(100.0 * baseline) >= BASELINE else 0.0
    return {"offset": offset, "calibration": f"{name} {stated} in {path.name}"}


def _find_file(asset: object) -> str | None:
    href = asset.get("href") if isinstance(asset, dict) else None
    if not isinstance(href, str) or ":" in href or PurePosixPath(href).suffix.lower() not in RASTERS:
        return None
    return href.removeprefix("./")


def _is_sentinel(item: dict[str, Any], properties: dict[str, Any]) -> bool:
    """Whether an item says that it is of Sentinel-2, whose numbers of bands are the names by which models ask."""
    platforms = " ".join(str(properties.get(key, "")) for key in ("platform", "constellation", "mission")).lower()
    own = any(str(key).startswith(("s2:", "sentinel:")) for key in properties)
    return (
        own or "sentinel-2" in platforms or "sentinel2" in platforms or bool(PRODUCT_ID.match(str(item.get("id", ""))))
    )


def _list_bands(key: str, asset: dict[str, Any], path: Path, by_number: bool) -> list[tuple[str, Scale, float | None]]:
    """Name of each band of an asset, what turns its values into reflectance, and which of them means nothing.

    A common name says what a band is; a number says it of Sentinel-2 alone (`by_number`).
    """
    described = asset.get("bands") or asset.get("eo:bands") or [{"name": key}]
    rasters = asset.get("raster:bands") or described
    found = []
    for k, band in enumerate(described if isinstance(described, list) else []):
        if isinstance(band, dict):
            raster = rasters[k] if isinstance(rasters, list) and k < len(rasters) else {}
            # what all bands of an asset share may stand once (STAC 1.1)
            merged = asset | raster if isinstance(raster, dict) else asset
            names = [
                str(one)
                for one in (band.get("eo:common_name") or band.get("common_name"), band.get("name"), key)
                if one
            ]
            names = [name_band(one) for one in names if by_number or not NUMBER.fullmatch(one)]
            name = next((one for one in names if one in KNOWN), names[-1] if names else "")
            found.append((name, *_read_scale(key, merged, path)))
    return found


def _read_scale(key: str, raster: dict[str, Any], path: Path) -> tuple[Scale, float | None]:
    scale, offset = (raster.get(f"raster:{what}", raster.get(what)) for what in ("scale", "offset"))
    numbers = None
    if scale is not None:
        shift = 0.0 if offset is None else read_number(offset, path, f"raster:offset of {key}")
        numbers = read_number(scale, path, f"raster:scale of {key}"), shift
    empty = raster.get("nodata")
    # `nan` is no value anyhow
    return numbers, float(empty) if isinstance(empty, int | float) and math.isfinite(empty) else None
