"""Read the description of a scene: bands, files, acquisition time and calibration; and find missing files."""

import math
import re
import time
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, cast

from detection.imagery.errors import BandMissingError, IncompleteSceneError, ManifestError, NotARasterError, SceneError
from detection.imagery.raster.masks import MASK_BANDS, UDM2_CLEAR, UDM2_SHADOW, Mask
from detection.imagery.scene.band_names import BAND_NAMES, ONLY_NUMBERS, has_foreign_numbers, name_band
from detection.imagery.scene.offsets import COUNT, SCALES, CountCalibration, read_calibration
from detection.imagery.scene.products.product import READERS, describe_product, is_product
from detection.imagery.scene.products.texts import SceneManifest

MANIFEST = "scene.toml"
ROLES = ("single", "pre", "post")
# Keys of the manifest that name a raster beside the bands.
COMPANIONS = ("mask", "dem", "clouds", "classification", "shadow", "udm2", "qa_pixel", "prior")
MANIFEST_KEYS = ("acquired_at", "role", "bands", "complete", "files", "offset", "sar", *COMPANIONS)
MANIFEST_BYTES = 1 << 20
# A product counts as complete when its newest file is at least this old, because no file marks the end of the copy.
SETTLED_S = 30.0
NAME_BYTES = 255  # longest name of a file
# Terrain that a manifest may list among its bands. It has no counts of reflectance.
TERRAIN_NAMES = ("dem", "slope", "aspect", "northness", "eastness")


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a scene."""

    path: Path  # the file
    index: int = 1  # number of the band in the file, from 1


@dataclass(frozen=True, slots=True)
class Scene:
    """The description of a scene on disk."""

    path: Path  # the raster, or the folder with `scene.toml`
    bands: Mapping[str, Band]  # by name
    acquired_at: datetime  # aware, UTC
    role: str = "single"  # `single`, `pre` or `post`
    # raster that is 0 where the scene must not be used (clouds, outside of the area of interest), or None
    mask: Path | None = None
    dem: Path | None = None  # elevation in metres on any grid, or None
    clouds: Path | None = None  # raster that is not 0 where clouds are, or None
    classification: Path | None = None  # scene classification of Sentinel-2 level 2A (SCL, 0 to 11), or None
    shadow: Path | None = None  # raster that is not 0 in shadow, which is only flagged, or None
    udm2: Path | None = None  # usable data mask of PlanetScope (band 1 = clear, band 3 = shadow), or None
    qa_pixel: Path | None = None  # quality of the pixels of Landsat Collection 2 (bits), or None
    prior: Path | None = None  # susceptibility, 0 to 1, sampled into the footprints, or None
    gain: float = 1.0  # counts of reflectance are gain x value + offset, in every spectral band
    offset: float = 0.0  # -1000 for Sentinel-2 from processing baseline 04.00 on
    calibration: str = ""  # source of gain and offset; empty if nothing states them
    # nodata value of the spectral bands whose files declare none
    nodata: float | None = None
    remarks: tuple[str, ...] = ()  # limits of the product, for the user
    # area of interest, a raster (not 0) or a vector file of polygons; set by the caller
    aoi: Path | None = None
    # table [sar] of the manifest; empty unless the scene is a radar image
    sar: Mapping[str, Any] = field(default_factory=dict)
    # name and digest of each tile from which `dem` was joined; empty if `dem` is one file
    dem_tiles: tuple[tuple[str, str], ...] = ()
    own_masks: tuple[Mask, ...] = ()  # bands of a single raster that mark usable pixels

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the scene, including the manifest, sorted."""
        companions = (*(getattr(self, name) for name in COMPANIONS), self.aoi)
        files = {band.path for band in self.bands.values()} | {path for path in companions if path}
        manifest = self.path / MANIFEST
        if manifest.is_file():
            files.add(manifest)
        return tuple(sorted(files))

    def locate_bands(self, names: tuple[str, ...]) -> dict[str, tuple[Path, int]]:
        """Return the named bands as (path, index).

        Raises:
            BandMissingError: the scene lacks some of them; the message names these and the bands of the scene.
        """
        missing = [name for name in names if name not in self.bands]
        if missing:
            present = ", ".join(self.bands) or "none with a known name"
            raise BandMissingError(f"{self.path}: band {', '.join(missing)} missing; found: {present}")
        return {name: (self.bands[name].path, self.bands[name].index) for name in names}


def read_scene(path: Path, acquired_at: datetime | None = None) -> Scene:
    """Read the description of a scene: one raster, a folder with `scene.toml`, or a product of a provider.

    Products are Sentinel-2 in SAFE, Landsat Collection 2 level 2, PlanetScope, and STAC items with their assets.

    A single raster names its bands by band descriptions (B2, blue, ...) or by colour interpretation. Its time is the
    tag `ACQUIRED_AT`, `acquired_at`, or a date YYYYMMDD[THHMMSS] in its name (UTC), in this order.

    Args:
        path: the raster or the folder.
        acquired_at: aware instant, used for a raster without the tag.

    Raises:
        ManifestError: the manifest is missing or wrong, or the acquisition time is not known.
        IncompleteSceneError: some files of the manifest are missing.
        NotARasterError: the single file is no raster.
    """
    return _read_folder(path) if path.is_dir() else _read_raster(path, acquired_at)


def find_missing(path: Path, *, watched: bool = True) -> str | None:
    """Return why a scene is not complete yet; None if it is complete.

    A folder is complete if its manifest contains `complete = true`, or lists in `[files]` files that are all present
    with the stated size (and sha256, if stated). A single file is complete if it is not empty; a caller that watches a
    folder must also check that its size does not change any more.

    Args:
        path: the raster or the folder.
        watched: whether the scene is in a watched folder, so that files may still arrive. If false, a user has named
            the folder: the manifest need not state that it is complete, but the files that it names must be present.
    """
    if not path.is_dir():
        return None if path.is_file() and path.stat().st_size else f"{path}: absent or empty"
    if watched and not (path / MANIFEST).is_file() and is_product(path) and _is_settling(path):
        return f"{path}: its files are younger than {SETTLED_S:.0f} s and may still be written"
    content = _describe(path)
    if content is None:
        return f"{path}: {MANIFEST} has not arrived"
    if watched and (path / MANIFEST).is_file():
        # `content` may contain the files of a product, and the manifest may name other files
        manifest = _read_manifest(path / MANIFEST)
        if not manifest.get("files") and manifest.get("complete") is not True:
            return f"{path / MANIFEST}: states neither `complete = true` nor [files]"
    companions = {key: value for key in COMPANIONS if (value := content.get(key)) is not None}
    for name, value in (*content.get("bands", {}).items(), *companions.items()):
        file = _read_band_entry(path, name, value).path
        if not file.is_file():
            return f"{file}: has not arrived"
    for name, stated in content.get("files", {}).items():
        fault = _find_file_fault(path, name, stated)
        if fault is not None:
            return fault
    return None


def _is_settling(folder: Path) -> bool:
    newest = max((file.stat().st_mtime for file in folder.rglob("*") if file.is_file()), default=0.0)
    return 0.0 <= time.time() - newest < SETTLED_S


def _find_file_fault(folder: Path, name: str, stated: Any) -> str | None:
    """Return how a file differs from the manifest, which states its size, or a table of `size` and `sha256`."""
    facts = stated if isinstance(stated, dict) else {"size": stated}
    file = _read_band_entry(folder, name, name).path
    if not file.is_file():
        return f"{file}: has not arrived"
    if "size" in facts and file.stat().st_size != facts["size"]:
        return f"{file}: {file.stat().st_size} bytes, the manifest states {facts['size']}"
    if "sha256" in facts and hash_file(file) != facts["sha256"]:
        return f"{file}: sha256 differs from the manifest"
    return None


def scene_hash(scene: Scene, owner: str = "") -> str:
    """Return the sha256 of the names and contents of all files of a scene, including the manifest.

    The hash does not depend on the path of the folder. It depends on the owner, and on the local grid of a site if that
    places the scene on the ground. If the heights were joined from tiles, the tiles count instead of the joined raster.

    Args:
        scene: the scene.
        owner: text that distinguishes equal scenes, such as the id of a site.
    """
    from detection.imagery.raster.raster import inspect

    digest = sha256(f"{owner}\n".encode() if owner else b"")
    band_paths = {band.path for band in scene.bands.values()}
    for placed_by in sorted({inspect(path).placed_by for path in band_paths} - {""}):
        digest.update(f"{placed_by}\n".encode())
    root = scene.path if scene.path.is_dir() else scene.path.parent
    for tile, content in scene.dem_tiles:
        digest.update(f"{tile}\0{content}\n".encode())
    for file in scene.files:
        if scene.dem_tiles and file == scene.dem:
            continue
        if not file.is_file():
            raise NotARasterError(f"{file}: no such file")
        name = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
        digest.update(f"{name.as_posix()}\0{hash_file(file)}\n".encode())
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> SceneManifest:
    try:
        with path.open("rb") as file:
            text = file.read(MANIFEST_BYTES + 1)
        if len(text) > MANIFEST_BYTES:
            raise ManifestError(f"{path}: larger than {MANIFEST_BYTES >> 10} KiB")
        content = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not TOML ({error})") from None
    except RecursionError:
        raise ManifestError(f"{path}: not TOML (nested without end)") from None
    if unknown := sorted(set(content) - set(MANIFEST_KEYS)):
        raise ManifestError(f"{path}: unknown key {unknown[0]!r}; expected: {', '.join(MANIFEST_KEYS)}")
    for key in ("bands", "files", "sar"):
        if not isinstance(content.get(key, {}), dict):
            raise ManifestError(f"{path}: [{key}] must be a table")
    return cast("SceneManifest", content)


def _read_band_entry(folder: Path, name: str, value: Any) -> Band:
    """Return the file and index that a manifest states for a band or companion.

    Raises:
        ManifestError: the entry is malformed, or the file is outside of the folder of the scene.
    """
    file = value.get("file") if isinstance(value, dict) else value
    index = value.get("index", 1) if isinstance(value, dict) else 1
    if not isinstance(file, str) or not isinstance(index, int):
        raise ManifestError(f'{folder / MANIFEST}: band {name} must be "file" or {{ file = "...", index = 1 }}')
    if "\0" in file or len(file.encode()) > NAME_BYTES:
        raise ManifestError(f"{folder / MANIFEST}: {file[:40]!r} is no name of a file")
    path = folder / file
    # A manifest may come from an untrusted source, so it may only name files in its own folder.
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ManifestError(f"{folder / MANIFEST}: {file} lies outside of the scene's folder")
    return Band(path, index)


def _describe(folder: Path) -> SceneManifest | None:
    """Return the manifest of a folder, completed from the product in it; None if the folder has neither.

    If the product cannot be used, a manifest that states bands and offset is used alone.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return describe_product(folder)
    stated = _read_manifest(manifest)
    try:
        product = None if stated.get("sar") else describe_product(folder)
    except ManifestError as error:
        if stated.get("bands") and "offset" in stated:
            return stated
        raise ManifestError(f"{error}; else name [bands] and `offset` in {MANIFEST}") from None
    return stated if product is None else _merge_product(stated, product, manifest)


def _merge_product(stated: SceneManifest, product: SceneManifest, manifest: Path) -> SceneManifest:
    """Add the keys that a manifest lacks from a product, whose scale and offset apply only to its own files."""
    content: SceneManifest = {**product, **stated, "files": product.get("files", {}) | stated.get("files", {})}
    if "offset" in stated:
        content["calibration"] = MANIFEST
    product_files = set(product.get("counts", ())) or {_get_file(value) for value in product["bands"].values()}
    stated_files = {_get_file(value) for name, value in stated.get("bands", {}).items() if name not in TERRAIN_NAMES}
    if stated_files <= product_files:
        return content
    if stated_files & product_files and "offset" not in stated:
        raise ManifestError(
            f"{manifest}: [bands] names files of the product and others, which may differ in scale; say `offset`"
        )
    product_only = {"gain", "nodata"}
    if "offset" not in stated:
        product_only |= {"offset", "calibration"}
    return cast("SceneManifest", {key: value for key, value in content.items() if key not in product_only})


def _get_file(value: Any) -> str:
    return str(value.get("file") if isinstance(value, dict) else value).removeprefix("./")


def _read_folder(folder: Path) -> Scene:
    manifest = folder / MANIFEST
    content = _describe(folder)
    if content is None:
        raise ManifestError(f"{folder}: no {MANIFEST} in the folder, and it is no product of: {', '.join(READERS)}")
    if not content.get("bands"):
        raise ManifestError(f"{manifest}: [bands] is missing")
    acquired_at = _parse_instant(content.get("acquired_at"))
    if acquired_at is None:
        raise ManifestError(f"{manifest}: acquired_at must be a time with its zone, such as 2018-09-11T01:20:00Z")
    role = content.get("role", "single")
    if role not in ROLES:
        raise ManifestError(f"{manifest}: role {role!r} is unknown; known: {', '.join(ROLES)}")
    if reason := find_missing(folder, watched=False):
        raise IncompleteSceneError(reason)
    bands: dict[str, Band] = {}
    for name, value in content["bands"].items():
        model_name = name_band(name)
        if model_name in bands:
            raise ManifestError(f"{manifest}: {name} is another name of {model_name}, which is there already")
        bands[model_name] = _read_band_entry(folder, name, value)
    stated = content.get("offset")
    if content.get("sar"):
        calibration = CountCalibration(1.0, 0.0, "")
    elif stated is None:
        calibration = _calibrate(bands)
    else:
        gain = float(content.get("gain", 1.0))
        if not SCALES[0] <= gain * COUNT <= SCALES[1]:
            raise ManifestError(f"{folder}: values times {gain:g} are no counts of reflectance; write a {MANIFEST}")
        calibration = CountCalibration(gain, _check_offset(manifest, stated), content.get("calibration", MANIFEST))
    companions: dict[str, Any] = {
        name: _read_band_entry(folder, name, content.get(name)).path
        for name in COMPANIONS
        if content.get(name) is not None
    }
    return Scene(
        path=folder,
        bands=bands,
        acquired_at=acquired_at,
        role=role,
        gain=calibration.gain,
        offset=calibration.offset,
        calibration=calibration.source,
        nodata=content.get("nodata"),
        remarks=tuple(content.get("remarks", ())),
        sar=content.get("sar", {}),
        **companions,
    )


def _calibrate(bands: Mapping[str, Band]) -> CountCalibration:
    from detection.imagery.raster.raster import inspect

    files = sorted({band.path for name, band in bands.items() if name not in TERRAIN_NAMES})
    facts = []
    for file in files:
        try:
            facts.append(inspect(file))
        except SceneError:  # `BandReader` reports the fault
            continue
    return read_calibration(files, facts)


def _check_offset(manifest: Path, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ManifestError(f"{manifest}: offset must be a number of counts, such as -1000")
    return float(value)


def _read_raster(path: Path, acquired_at: datetime | None) -> Scene:
    from detection.imagery.raster.raster import inspect

    facts = inspect(path)
    bands: dict[str, Band] = {}
    described = [(description or "").strip() for description in facts.descriptions]
    if has_foreign_numbers(described, facts.colours, facts.tags, path.name):
        raise ManifestError(f"{path}: {ONLY_NUMBERS}")
    for index, (description, colour) in enumerate(zip(described, facts.colours, strict=True), start=1):
        name = name_band(description) or BAND_NAMES.get(colour, "")
        if name:
            bands.setdefault(name, Band(path, index))
    acquired_at = _read_tag(facts.tags) or acquired_at or _find_date_in_name(path.name)
    if acquired_at is None or acquired_at.tzinfo is None:
        raise ManifestError(
            f"{path}: acquisition time unknown; write a folder with {MANIFEST}, or set the tag ACQUIRED_AT"
        )
    calibration = read_calibration([path], [facts])
    return Scene(
        path=path,
        bands=bands,
        acquired_at=acquired_at.astimezone(UTC),
        gain=calibration.gain,
        offset=calibration.offset,
        calibration=calibration.source,
        own_masks=tuple(
            Mask(path, MASK_BANDS[name.lower()], index)
            for index, name in enumerate(described, start=1)
            if name.lower() in MASK_BANDS
        ),
    )


def find_date(path: Path, tags: Mapping[str, str]) -> datetime | None:
    """Return the acquisition time of a raster from the tag `ACQUIRED_AT` or from its name; None if neither has one."""
    return _read_tag(tags) or _find_date_in_name(path.name)


def _read_tag(tags: Mapping[str, str]) -> datetime | None:
    return _parse_instant(next((value for key, value in tags.items() if key.upper() == "ACQUIRED_AT"), None))


def _parse_instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    try:
        return value.astimezone(UTC)
    except OverflowError:  # the year is between 1 and 9999 in the stated zone, but not in UTC
        return None


def _find_date_in_name(name: str) -> datetime | None:
    """Return the first date in a file name, with the time of day if it follows; other numbers are ignored.

    >>> str(_find_date_in_name("T54TWN_20180911T012341")), str(_find_date_in_name("12345678_2018-09-11"))
    ('2018-09-11 01:23:41+00:00', '2018-09-11 00:00:00+00:00')
    >>> str(_find_date_in_name("20180911_012341_1003_3B"))
    '2018-09-11 01:23:41+00:00'
    """
    for match in re.finditer(r"(?<!\d)((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)(?:[T_](\d{6}))?(?!\d)", name):
        for clock in (match[5], "000000"):
            with suppress(ValueError):
                text = f"{match[1]}{match[3]}{match[4]}{clock or '000000'}"
                return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return None


def find_contradictions(scene: Scene, names: tuple[str, ...]) -> list[str]:
    """Return one line for each band whose description in its file contradicts its name in the scene."""
    from detection.imagery.raster.raster import inspect

    contradictions = []
    paths = {scene.bands[name].path for name in names if name in scene.bands}
    descriptions = {path: inspect(path).descriptions for path in paths}
    model_names = set(BAND_NAMES.values())
    for name in names:
        band = scene.bands.get(name)
        if band is None or not 1 <= band.index <= len(descriptions[band.path]):
            continue
        described = name_band((descriptions[band.path][band.index - 1] or "").strip())
        if described in model_names and described != name:
            contradictions.append(
                f"{band.path.name}: band {band.index} is used as {name}, its description states {described}"
            )
    return contradictions


def list_masks(scene: Scene) -> tuple[Mask, ...]:
    """Return the masks of a scene: its companions, and the masks among its bands."""
    masks: list[Mask] = []
    for kind in ("mask", "clouds", "classification", "shadow"):
        path = getattr(scene, kind)
        if path:
            masks.append(Mask(path, kind))
    masks += scene.own_masks
    if scene.qa_pixel:
        masks.append(Mask(scene.qa_pixel, "qa_pixel"))
    if scene.udm2:
        masks += [Mask(scene.udm2, "mask", UDM2_CLEAR), Mask(scene.udm2, "shadow", UDM2_SHADOW)]
    return tuple(masks)
