"""A scene: which bands lie in which files, when they were taken, and whether all of it has arrived."""

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
from detection.imagery.scene.band_names import BAND_NAMES, ONLY_NUMBERS, is_numbered_otherwise, name_band
from detection.imagery.scene.offsets import COUNT, SCALES, CountCalibration, read_calibration
from detection.imagery.scene.products.product import READERS, describe_product, is_product
from detection.imagery.scene.products.texts import SceneManifest

MANIFEST = "scene.toml"
ROLES = ("single", "pre", "post")
# Rasters beside the bands; each is a file name in the manifest.
COMPANIONS = ("mask", "dem", "clouds", "classification", "shadow", "udm2", "qa_pixel", "prior")
MANIFEST_KEYS = ("acquired_at", "role", "bands", "complete", "files", "offset", "sar", *COMPANIONS)
MANIFEST_BYTES = 1 << 20
SETTLED_S = 30.0  # a product is not described before its files have stayed for so long
NAME_BYTES = 255
# Companions that a manifest may list among its bands; they are no counts.
TERRAIN_NAMES = ("dem", "slope", "aspect", "northness", "eastness")


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a scene: a file and the band's number in it, from 1."""

    path: Path
    index: int = 1


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene on disk; nothing is read but its manifest."""

    path: Path  # the raster, or the folder with `scene.toml`
    bands: Mapping[str, Band]  # band name -> where it lies
    acquired_at: datetime  # when it was taken, aware UTC
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
    gain: float = 1.0  # by which the values of every spectral band become counts
    offset: float = 0.0  # added to these counts (-1000 for Sentinel-2 from processing baseline 04.00 on)
    calibration: str = ""  # where gain and offset were read; empty where nothing says them
    # the value of spectral bands that means nothing, where the files themselves declare none
    nodata: float | None = None
    remarks: tuple[str, ...] = ()  # what whoever looks at the result must know of the product
    # area of interest, a raster (not 0) or a vector file of polygons; the caller's, not the manifest's
    aoi: Path | None = None
    # table [sar] of the manifest; empty for a scene that is no radar image
    sar: Mapping[str, Any] = field(default_factory=dict)
    # name and digest of each tile that `dem` was brought together from; empty where it is a file as it is
    dem_tiles: tuple[tuple[str, str], ...] = ()
    own_masks: tuple[Mask, ...] = ()  # bands of a single raster that say where it may be used

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the scene with its manifest, sorted."""
        companions = (*(getattr(self, name) for name in COMPANIONS), self.aoi)
        named = {band.path for band in self.bands.values()} | {path for path in companions if path}
        manifest = self.path / MANIFEST
        return tuple(sorted(named | ({manifest} if manifest.is_file() else set())))

    def choose(self, names: tuple[str, ...]) -> dict[str, tuple[Path, int]]:
        """Return the named bands as (path, index).

        Raises:
            BandMissingError: some are not there; the message names them and those that are.
        """
        if missing := [name for name in names if name not in self.bands]:
            found = ", ".join(self.bands) or "none with a known name"
            raise BandMissingError(f"{self.path}: band {', '.join(missing)} missing; found: {found}")
        return {name: (self.bands[name].path, self.bands[name].index) for name in names}


def read_scene(path: Path, acquired_at: datetime | None = None) -> Scene:
    """Read what a scene is from one raster, from a folder with `scene.toml`, or from a product as it was handed out.

    Products are Sentinel-2 in SAFE, Landsat Collection 2 level 2, PlanetScope, and STAC items with their assets.

    A single raster names its bands by band descriptions (B2, blue, ...) or by colour interpretation, and its time
    by the tag `ACQUIRED_AT`, by `acquired_at`, or by a date YYYYMMDD[THHMMSS] in its name (taken as UTC).

    `acquired_at`: aware instant, for a raster that does not tell.

    Raises:
        ManifestError: the manifest is missing or wrong, or no acquisition time is known.
        IncompleteSceneError: not all files of the manifest have arrived.
        NotARasterError: the single file is no raster.
    """
    return _read_folder(path) if path.is_dir() else _read_raster(path, acquired_at)


def find_missing(path: Path, *, watched: bool = True) -> str | None:
    """Say why a scene is not complete yet, or None when it is.

    `watched`: files may still arrive, so the manifest must say that it is the last; a folder that a person names
    is complete as it lies, and only files that the manifest names must be there.

    A folder is complete when its manifest is there and says `complete = true`, or lists `[files]` that are all there
    with their stated size (and sha256, where stated). A single file is complete when it is there and not empty; a
    watcher should also see its size unchanged between two looks.
    """
    if not path.is_dir():
        return None if path.is_file() and path.stat().st_size else f"{path}: absent or empty"
    if watched and not (path / MANIFEST).is_file() and is_product(path) and _is_settling(path):
        return f"{path}: its files are younger than {SETTLED_S:.0f} s and may still be written"
    if (content := _describe(path)) is None:
        return f"{path}: {MANIFEST} has not arrived"
    if watched and (path / MANIFEST).is_file():
        own = _read_manifest(path / MANIFEST)  # a product that lists its files says nothing of what lies beside it
        if not own.get("files") and own.get("complete") is not True:
            return f"{path / MANIFEST}: says neither `complete = true` nor lists [files]"
    companions = {key: value for key in COMPANIONS if (value := content.get(key)) is not None}
    for name, value in (*content.get("bands", {}).items(), *companions.items()):
        file = _entry(path, name, value).path
        if not file.is_file():
            return f"{file}: has not arrived"
    listed = content.get("files", {}).items()
    return next((fault for name, stated in listed if (fault := _find_file_fault(path, name, stated))), None)


def _is_settling(folder: Path) -> bool:
    newest = max((file.stat().st_mtime for file in folder.rglob("*") if file.is_file()), default=0.0)
    return 0.0 <= time.time() - newest < SETTLED_S


def _find_file_fault(folder: Path, name: str, stated: Any) -> str | None:
    """Why a file that a manifest lists is not the one it states: its size, or a table of `size` and `sha256`."""
    facts = stated if isinstance(stated, dict) else {"size": stated}
    file = _entry(folder, name, name).path
    if not file.is_file():
        return f"{file}: has not arrived"
    if "size" in facts and file.stat().st_size != facts["size"]:
        return f"{file}: {file.stat().st_size} bytes, the manifest says {facts['size']}"
    if "sha256" in facts and hash_file(file) != facts["sha256"]:
        return f"{file}: sha256 differs from the manifest"
    return None


def scene_hash(scene: Scene, owner: str = "") -> str:
    """Return sha256 over the names and contents of all files of a scene, manifest included.

    The folder's own place does not matter: the same files elsewhere are the same scene, unless of another owner, or
    brought to another place on the ground by the local grid of a site. Of heights from tiles these count, and not the
    raster that was made of them.
    """
    from detection.imagery.raster.raster import inspect

    digest = sha256(f"{owner}\n".encode() if owner else b"")
    for placed_by in sorted({inspect(path).placed_by for path in {band.path for band in scene.bands.values()}} - {""}):
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
        raise ManifestError(f"{path}: not TOML that anybody wrote (nested without end)") from None
    if unknown := sorted(set(content) - set(MANIFEST_KEYS)):
        raise ManifestError(f"{path}: unknown key {unknown[0]!r}; expected: {', '.join(MANIFEST_KEYS)}")
    for key in ("bands", "files", "sar"):
        if not isinstance(content.get(key, {}), dict):
            raise ManifestError(f"{path}: [{key}] must be a table")
    return cast("SceneManifest", content)


def _entry(folder: Path, name: str, value: Any) -> Band:
    file, index = (value.get("file"), value.get("index", 1)) if isinstance(value, dict) else (value, 1)
    if not isinstance(file, str) or not isinstance(index, int):
        raise ManifestError(f'{folder / MANIFEST}: band {name} must be "file" or {{ file = "...", index = 1 }}')
    if "\0" in file or len(file.encode()) > NAME_BYTES:
        raise ManifestError(f"{folder / MANIFEST}: {file[:40]!r} is no name of a file")
    path = folder / file
    # A manifest may come from outside: it names files of its own folder only.
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ManifestError(f"{folder / MANIFEST}: {file} lies outside of the scene's folder")
    return Band(path, index)


def _describe(folder: Path) -> SceneManifest | None:
    """What the manifest of a folder says, and for the rest the product that lies in it; None where there is neither.

    A manifest that names bands and offset stands alone beside a product that cannot be used.
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
    return stated if product is None else _complete(stated, product, manifest)


def _complete(stated: SceneManifest, product: SceneManifest, manifest: Path) -> SceneManifest:
    """What a manifest says, and a product for the rest; scale and offset of a product are those of its own files."""
    content: SceneManifest = {**product, **stated, "files": product.get("files", {}) | stated.get("files", {})}
    if "offset" in stated:
        content["calibration"] = MANIFEST
    own = set(product.get("counts", ())) or {_file_in(value) for value in product["bands"].values()}
    named = {_file_in(value) for name, value in stated.get("bands", {}).items() if name not in TERRAIN_NAMES}
    if named <= own:
        return content
    if named & own and "offset" not in stated:
        raise ManifestError(
            f"{manifest}: [bands] names files of the product and others, which may differ in scale; say `offset`"
        )
    of_files = {"gain", "nodata", *(() if "offset" in stated else ("offset", "calibration"))}
    return cast("SceneManifest", {key: value for key, value in content.items() if key not in of_files})


def _file_in(value: Any) -> str:
    return str(value.get("file") if isinstance(value, dict) else value).removeprefix("./")


def _read_folder(folder: Path) -> Scene:
    manifest = folder / MANIFEST
    content = _describe(folder)
    if content is None:
        raise ManifestError(f"{folder}: no {MANIFEST} in the folder, and it is no product of: {', '.join(READERS)}")
    if not content.get("bands"):
        raise ManifestError(f"{manifest}: [bands] is missing")
    acquired_at = _instant(content.get("acquired_at"))
    if acquired_at is None:
        raise ManifestError(f"{manifest}: acquired_at must be a time with its zone, such as 2018-09-11T01:20:00Z")
    role = content.get("role", "single")
    if role not in ROLES:
        raise ManifestError(f"{manifest}: role {role!r} is unknown; known: {', '.join(ROLES)}")
    if reason := find_missing(folder, watched=False):
        raise IncompleteSceneError(reason)
    bands: dict[str, Band] = {}
    for name, value in content["bands"].items():
        known = name_band(name)
        if known in bands:
            raise ManifestError(f"{manifest}: {name} is another name of {known}, which is there already")
        bands[known] = _entry(folder, name, value)
    stated = content.get("offset")
    if content.get("sar"):
        calibration = CountCalibration(1.0, 0.0, "")
    elif stated is None:
        calibration = _calibrate(bands)
    else:
        gain = float(content.get("gain", 1.0))
        if not SCALES[0] <= gain * COUNT <= SCALES[1]:
            raise ManifestError(f"{folder}: values times {gain:g} are no counts of reflectance; write a {MANIFEST}")
        calibration = CountCalibration(gain, _number(manifest, stated), content.get("calibration", MANIFEST))
    companions: dict[str, Any] = {
        name: _entry(folder, name, value).path for name in COMPANIONS if (value := content.get(name)) is not None
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
        except SceneError:  # whoever reads it says what is wrong with it
            continue
    return read_calibration(files, facts)


def _number(manifest: Path, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ManifestError(f"{manifest}: offset must be a number of counts, such as -1000")
    return float(value)


def _read_raster(path: Path, acquired_at: datetime | None) -> Scene:
    from detection.imagery.raster.raster import inspect

    facts = inspect(path)
    bands: dict[str, Band] = {}
    described = [(description or "").strip() for description in facts.descriptions]
    if is_numbered_otherwise(described, facts.colours, facts.tags, path.name):
        raise ManifestError(f"{path}: {ONLY_NUMBERS}")
    for index, (description, colour) in enumerate(zip(described, facts.colours, strict=True), start=1):
        name = name_band(description) or BAND_NAMES.get(colour, "")
        if name:
            bands.setdefault(name, Band(path, index))
    taken_at = _tagged(facts.tags) or acquired_at or _date_in(path.name)
    if taken_at is None or taken_at.tzinfo is None:
        raise ManifestError(
            f"{path}: acquisition time unknown; write a folder with {MANIFEST}, or set the tag ACQUIRED_AT"
        )
    calibration = read_calibration([path], [facts])
    return Scene(
        path=path,
        bands=bands,
        acquired_at=taken_at.astimezone(UTC),
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
    """Return when a raster says it was taken: by the tag `ACQUIRED_AT`, else by a date in its name; None: nowhere."""
    return _tagged(tags) or _date_in(path.name)


def _tagged(tags: Mapping[str, str]) -> datetime | None:
    return _instant(next((value for key, value in tags.items() if key.upper() == "ACQUIRED_AT"), None))


def _instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    try:
        return value.astimezone(UTC)
    except OverflowError:  # in its own zone within the calendar, here not
        return None


def _date_in(name: str) -> datetime | None:
    """The first date in a name, with the clock behind it; other numbers are passed over.

    >>> [str(_date_in(name)) for name in ("T54TWN_20180911T012341", "12345678_2018-09-11", "20180911_012341_1003_3B")]
    ['2018-09-11 01:23:41+00:00', '2018-09-11 00:00:00+00:00', '2018-09-11 01:23:41+00:00']
    """
    for match in re.finditer(r"(?<!\d)((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)(?:[T_](\d{6}))?(?!\d)", name):
        for clock in (match[5], "000000"):
            with suppress(ValueError):
                text = f"{match[1]}{match[3]}{match[4]}{clock or '000000'}"
                return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return None


def find_contradictions(scene: Scene, names: tuple[str, ...]) -> list[str]:
    """Say where the descriptions inside of the files contradict the names under which their bands are used."""
    from detection.imagery.raster.raster import inspect

    found = []
    facts: Mapping[Path, tuple[str | None, ...]] = {
        path: inspect(path).descriptions for path in {scene.bands[name].path for name in names if name in scene.bands}
    }
    known = set(BAND_NAMES.values())
    for name in names:
        band = scene.bands.get(name)
        if band is None or not 1 <= band.index <= len(facts[band.path]):
            continue
        described = name_band((facts[band.path][band.index - 1] or "").strip())
        if described in known and described != name:
            found.append(f"{band.path.name}: band {band.index} is used as {name}, its description says {described}")
    return found


def list_masks(scene: Scene) -> tuple[Mask, ...]:
    """Return the masks of a scene."""
    found = [
        Mask(path, kind) for kind in ("mask", "clouds", "classification", "shadow") if (path := getattr(scene, kind))
    ]
    found += scene.own_masks
    if scene.qa_pixel:
        found.append(Mask(scene.qa_pixel, "qa_pixel"))
    if scene.udm2:
        found += [Mask(scene.udm2, "mask", UDM2_CLEAR), Mask(scene.udm2, "shadow", UDM2_SHADOW)]
    return tuple(found)
