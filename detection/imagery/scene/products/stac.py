"""Read and write a STAC item whose assets lie beside it (SpatioTemporal Asset Catalog, with extensions eo and raster).

pystac parses the item. Nothing is downloaded: links are removed before parsing, and only an asset whose address names a
file beside the item is used.
"""

import json
import math
import re
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, cast

from detection.imagery.errors import ManifestError
from detection.imagery.scene.band_names import BAND_NAMES, NUMBER, ONLY_NUMBERS, name_band
from detection.imagery.scene.offsets import BASELINE, COUNT, SENTINEL_OFFSET
from detection.imagery.scene.products.texts import SceneManifest, read_instant, read_json, read_number

if TYPE_CHECKING:
    import pystac

# Assets that mark usable pixels -> key of the manifest for them.
MASKS: Final = {"scl": "classification", "qa_pixel": "qa_pixel", "udm2": "udm2", "cloud_mask": "clouds"}
# Keys and roles of assets that are pictures for people. They name bands, but do not contain their counts.
PICTURES: Final = frozenset({"overview", "thumbnail", "visual", "preview"})
# The field `stac_version` is searched in so many bytes at the start of a JSON file.
HEAD_BYTES: Final = 1 << 16
# At most so many JSON files of STAC are read in a folder: an item, and catalogues or collections beside it.
MOST_FILES: Final = 10
RASTERS: Final = {".tif", ".tiff", ".jp2"}
# Properties that state whether the offset of Sentinel-2 was subtracted from the values. False is wrong in many items
# (Element84/earth-search, issues 66 and 71).
APPLIED: Final = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
# Properties with the processing baseline, from which the offset follows. Copernicus uses `processing:version`.
BASELINES: Final = ("s2:processing_baseline", "sentinel:processing_baseline")
MODEL_BANDS: Final = frozenset(BAND_NAMES.values())
ITEM: Final = "item.json"
PRODUCT_ID: Final = re.compile(r"S2[A-D]?_")
Scale = tuple[float, float] | None
"""Factor and offset that turn values into reflectance; None if the item does not state them."""


def describe_stac(folder: Path) -> SceneManifest | None:
    """Describe the assets beside the only STAC item in a folder; None without an item.

    A band is recognised by its common name or its name. All bands must have the same scale and offset. In the manifest,
    `counts` are the files that have this scale, and `nodata` is the value that all bands declare as nodata.

    Raises:
        ManifestError: the folder has several items, or the item is invalid, has no time, has no band among the
            assets beside it, or has bands that differ in scale and offset.
    """
    documents = [(path, read_json(path)) for path in find_items(folder)]
    items = [(path, document) for path, document in documents if document.get("type") == "Feature"]
    if not items:
        return None
    if len(items) > 1:
        raise ManifestError(f"{folder}: contains several STAC items; give each a folder of its own")
    path, document = items[0]
    item = parse_item(document, str(path))
    acquired_at = item.datetime or item.properties.get("start_datetime")
    content: SceneManifest = {"acquired_at": read_instant(acquired_at, path, "datetime"), "remarks": []}
    by_number = _is_sentinel(item)
    assets = _read_assets(item, path, by_number)
    if not assets.bands and not by_number and any(NUMBER.fullmatch(key) for key in item.assets):
        raise ManifestError(f"{path}: {ONLY_NUMBERS}")
    if not assets.bands:
        remote = assets.remote
        download = f"; {len(remote)} lie elsewhere ({', '.join(remote[:4])}): download them" if remote else ""
        raise ManifestError(f"{path}: no band with a known name among the assets that lie beside it{download}")
    if len(assets.scales) > 1:
        raise ManifestError(f"{path}: bands differ in scale and offset; write a scene.toml")
    (scale,) = assets.scales
    content |= cast("SceneManifest", assets.masks)
    content["counts"] = [file for file, scales in assets.scales_by_file.items() if scales == {scale}]
    if len(assets.nodata) == 1:
        content["nodata"] = assets.nodata.pop()
    return content | _read_calibration(scale, item, path) | {"bands": assets.bands}


def parse_item(document: dict[str, Any], source: str, href: str | None = None) -> "pystac.Item":
    """Parse an item without its links, so that pystac cannot follow them.

    Args:
        document: the JSON object.
        source: file or address of the item, for messages.
        href: address of the item, relative to which its assets have their addresses.

    Raises:
        ManifestError: the item is invalid.
    """
    import pystac  # most scenes are no STAC items, and the import takes a quarter of a second

    for key in ("properties", "assets"):
        if not isinstance(document.get(key), dict):
            raise ManifestError(f"{source}: {key} must be an object")
    if not isinstance(document.get("id"), str):
        raise ManifestError(f"{source}: id must be a text")
    for key, asset in document["assets"].items():
        if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
            raise ManifestError(f"{source}: asset {key[:40]!r} must be an object with the text href")
    without_links = {key: value for key, value in document.items() if key not in {"links", "collection"}}
    try:
        return pystac.Item.from_dict(without_links, href=href, preserve_dict=False)
    # pystac does not check types, so a value of a wrong type can raise any of these
    except (pystac.STACError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as e:
        raise ManifestError(f"{source}: not a valid STAC item ({' '.join(str(e).split())[:200]})") from None


def write_item(folder: Path, item: "pystac.Item", files: dict[str, tuple[str, str]]) -> None:
    """Write an item beside its files so that `describe_stac` can read it, without links and addresses.

    Args:
        folder: where the files lie.
        item: the item as published.
        files: name of an asset in the new item -> its key in `item`, and its file.
    """
    import pystac

    local = pystac.Item(
        item.id,
        geometry=None,
        bbox=None,
        datetime=item.datetime,
        properties=deepcopy(item.properties),
        stac_extensions=list(item.stac_extensions),
    )
    for name, (key, file) in files.items():
        asset = pystac.Asset.from_dict(deepcopy(item.assets[key].to_dict()) | {"href": file})
        asset.extra_fields.pop("alternate", None)
        local.add_asset(name, asset)
    content = local.to_dict(include_self_link=False, transform_hrefs=False)
    (folder / ITEM).write_text(json.dumps(content), encoding="utf-8")


def find_items(folder: Path) -> list[Path]:
    """Return the first JSON files that contain `stac_version` near their beginning, without parsing them."""
    paths: list[Path] = []
    for path in sorted(folder.glob("*.json")):
        with path.open("rb") as file:
            if b'"stac_version"' in file.read(HEAD_BYTES):
                paths.append(path)
        if len(paths) == MOST_FILES:
            break
    return paths


def find_mask(key: str) -> str | None:
    """Return the key of the manifest for an asset that marks usable pixels; None for any other asset.

    >>> find_mask("SCL"), find_mask("SCL_20m"), find_mask("red")
    ('classification', 'classification', None)
    """
    return MASKS.get(re.sub(r"_\d+m$", "", key.lower()))


@dataclass(slots=True)
class _LocalAssets:
    """The assets of an item whose files lie beside it."""

    bands: dict[str, dict[str, str | int]] = field(default_factory=dict)  # name of the band -> file and index
    masks: dict[str, str] = field(default_factory=dict)  # kind of the mask -> file
    scales: set[Scale] = field(default_factory=set)  # of all bands
    nodata: set[float | None] = field(default_factory=set)  # of all bands
    remote: list[str] = field(default_factory=list)  # keys of the assets that lie elsewhere
    scales_by_file: dict[str, set[Scale]] = field(default_factory=dict)  # file -> scales of all bands in it


def _read_assets(item: "pystac.Item", path: Path, by_number: bool) -> _LocalAssets:
    local = _LocalAssets()
    for key, asset in item.assets.items():
        roles = asset.roles if isinstance(asset.roles, list) else []
        if PICTURES & {key.lower(), *(str(role).lower() for role in roles)}:
            continue
        file = _find_file(asset)
        mask = find_mask(key)
        if file is None:
            local.remote.append(key)
        elif mask is not None:
            local.masks.setdefault(mask, file)
        else:
            for index, (name, scale, nodata) in enumerate(_list_bands(key, asset, path, by_number), start=1):
                local.scales_by_file.setdefault(file, set()).add(scale)
                if name in MODEL_BANDS and name not in local.bands:
                    local.bands[name] = {"file": file, "index": index}
                    local.scales.add(scale)
                    local.nodata.add(nodata)
    return local


def _find_file(asset: "pystac.Asset") -> str | None:
    """Return the raster that an asset names by a relative path; None for an address or another kind of file."""
    if ":" in asset.href or PurePosixPath(asset.href).suffix.lower() not in RASTERS:
        return None
    return asset.href.removeprefix("./")


def _read_calibration(scale: Scale, item: "pystac.Item", path: Path) -> SceneManifest:
    if scale is None:
        content = _read_baseline(item.properties, path)
    else:
        content = {"gain": round(scale[0] / COUNT, 9), "offset": round(scale[1] / COUNT, 6)}
        content["calibration"] = f"raster:scale and raster:offset in {path.name}"
    applied = next((item.properties[key] for key in APPLIED if key in item.properties), None)
    if applied is True:
        content |= {"offset": 0.0, "calibration": f"{path.name}: the offset was subtracted before"}
    elif applied is False:
        content["remarks"] = [f"{path.name} says that the offset was not subtracted before, which is often wrong there"]
    return content


def _read_baseline(properties: dict[str, Any], path: Path) -> SceneManifest:
    is_sentinel = str(properties.get("platform", "")).lower().startswith("sentinel-2")
    names = (*BASELINES, "processing:version") if is_sentinel else BASELINES
    name = next((name for name in names if properties.get(name) is not None), None)
    if name is None:
        return {}
    stated = properties[name]
    baseline = read_number(stated, path, name)
    offset = SENTINEL_OFFSET if round(100.0 * baseline) >= BASELINE else 0.0
    return {"offset": offset, "calibration": f"{name} {stated} in {path.name}"}


def _is_sentinel(item: "pystac.Item") -> bool:
    """Return whether an item is of Sentinel-2, whose band numbers are the names that models use."""
    properties = item.properties
    platforms = " ".join(str(properties.get(key, "")) for key in ("platform", "constellation", "mission")).lower()
    return (
        any(key.startswith(("s2:", "sentinel:")) for key in properties)
        or "sentinel-2" in platforms
        or "sentinel2" in platforms
        or bool(PRODUCT_ID.match(str(item.id)))
    )


def _list_bands(key: str, asset: "pystac.Asset", path: Path, by_number: bool) -> list[tuple[str, Scale, float | None]]:
    """Return the name, scale and nodata value of each band of an asset.

    Args:
        key: of the asset; the name of its only band if it describes none.
        asset: the asset.
        path: of the item, for messages.
        by_number: a band number is a name; true for Sentinel-2 only. A common name always is.
    """
    fields = asset.extra_fields
    described = fields.get("bands") or fields.get("eo:bands") or [{"name": key}]
    rasters = fields.get("raster:bands") or described
    bands: list[tuple[str, Scale, float | None]] = []
    for number, band in enumerate(described if isinstance(described, list) else []):
        if not isinstance(band, dict):
            continue
        raster = rasters[number] if isinstance(rasters, list) and number < len(rasters) else {}
        # STAC 1.1 states once at the asset what all of its bands share
        merged = fields | raster if isinstance(raster, dict) else fields
        common_name = band.get("eo:common_name") or band.get("common_name")
        stated = [str(name) for name in (common_name, band.get("name"), key) if name]
        names = [name_band(name) for name in stated if by_number or not NUMBER.fullmatch(name)]
        name = next((name for name in names if name in MODEL_BANDS), names[-1] if names else "")
        bands.append((name, _read_scale(key, merged, path), _read_nodata(merged)))
    return bands


def _read_scale(key: str, raster: dict[str, Any], path: Path) -> Scale:
    scale = raster.get("raster:scale", raster.get("scale"))
    offset = raster.get("raster:offset", raster.get("offset"))
    if scale is None:
        return None
    return (
        read_number(scale, path, f"raster:scale of {key}"),
        0.0 if offset is None else read_number(offset, path, f"raster:offset of {key}"),
    )


def _read_nodata(raster: dict[str, Any]) -> float | None:
    """Return the nodata value of a band; None if the band needs none: NaN is never valid, and infinity never stored."""
    nodata = raster.get("nodata")
    if not isinstance(nodata, int | float):
        return None
    try:
        return float(nodata) if math.isfinite(nodata) else None
    except OverflowError:
        return None
