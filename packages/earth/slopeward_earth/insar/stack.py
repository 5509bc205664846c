"""A stack of interferograms: which file shows which two dates, at what wavelength; nothing is guessed."""

import math
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from detection.imagery.errors import ManifestError
from detection.imagery.raster.raster import inspect

MANIFEST = "stack.toml"
KEYS = ("wavelength_m", "toward_positive", "direction", "reference", "pair", "time")
PAIR_KEYS = ("from", "to", "unwrapped", "coherence")
SUFFIXES = (".tif", ".tiff")
WAVELENGTHS_M = (0.001, 2.0)
DATES = re.compile(r"(?<!\d)(\d{8})[-_](\d{8})(?!\d)")


@dataclass(frozen=True, slots=True)
class Interferogram:
    """One interferogram."""

    first_at: datetime  # the earlier acquisition, aware UTC
    second_at: datetime  # the later one
    unwrapped: Path  # unwrapped phase, radians
    coherence: Path | None = None  # 0 to 1 on the same grid, or None

    @property
    def days(self) -> float:
        """Time between the two acquisitions."""
        return (self.second_at - self.first_at).total_seconds() / 86_400


@dataclass(frozen=True, slots=True)
class InterferogramStack:
    """Interferograms of one track."""

    path: Path  # the folder
    pairs: tuple[Interferogram, ...]  # by time
    wavelength_m: float  # of the radar
    toward_positive: bool  # whether phase rises as the ground comes toward the satellite
    direction: str  # name of the line of sight, as point sets use it
    # lon, lat, radius_m of ground taken as still; None: the median of all coherent ground
    reference: tuple[float, float, float] | None

    @property
    def dates(self) -> tuple[datetime, ...]:
        """All acquisitions, sorted."""
        return tuple(sorted({p.first_at for p in self.pairs} | {p.second_at for p in self.pairs}))


def read_stack(folder: Path) -> InterferogramStack:
    """Read a folder with `stack.toml`, or one whose rasters carry the tags of GAMMA as PyRate writes them.

    Without a manifest the dates are those of the tags FIRST_DATE and SECOND_DATE, else of the name
    (YYYYMMDD-YYYYMMDD); what is coherence is told by the tag DATA_TYPE or by `cc` or `coh` in the name; the wavelength
    by the tag WAVELENGTH_METRES.

    Raises ManifestError: no interferogram, no wavelength, a wrong key.
    """
    manifest = folder / MANIFEST
    return _read_manifest(folder, manifest) if manifest.is_file() else _read_tags(folder)


def _read_manifest(folder: Path, manifest: Path) -> InterferogramStack:
    try:
        content = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{manifest}: not TOML ({error})") from None
    if unknown := sorted(set(content) - set(KEYS)):
        raise ManifestError(f"{manifest}: unknown key {unknown[0]!r}; expected: {', '.join(KEYS)}")
    listed = content.get("pair")
    if "wavelength_m" not in content or not (
        isinstance(listed, list) and listed and all(isinstance(one, dict) for one in listed)
    ):
        raise ManifestError(f"{manifest}: wavelength_m (metres) and at least one [[pair]] are needed")
    pairs = []
    for one in listed:
        if unknown := sorted(set(one) - set(PAIR_KEYS)):
            raise ManifestError(f"{manifest}: unknown key {unknown[0]!r} in a pair; expected: {', '.join(PAIR_KEYS)}")
        if missing := [k for k in PAIR_KEYS[:3] if k not in one]:
            raise ManifestError(f"{manifest}: a pair lacks {missing[0]!r}")
        files = [_inside(folder, one.get(k), manifest) for k in ("unwrapped", "coherence")]
        assert files[0] is not None
        pairs.append(Interferogram(_instant(one["from"], manifest), _instant(one["to"], manifest), files[0], files[1]))
    if not isinstance(toward := content.get("toward_positive", False), bool):
        raise ManifestError(f"{manifest}: toward_positive: expected true or false without quotes, got {toward!r}")
    reference = content.get("reference")
    place = None if reference is None else tuple(_numbers(reference, ("longitude", "latitude", "radius_m")))
    if place == ():
        raise ManifestError(f"{manifest}: reference needs the numbers longitude, latitude and radius_m")
    return InterferogramStack(
        folder,
        _sort(pairs, folder),
        _wavelength(content["wavelength_m"], manifest),
        toward,
        str(content.get("direction", "los")),
        place,  # type: ignore[arg-type]
    )


def _numbers(table: Any, names: tuple[str, ...]) -> list[float]:
    """The finite numbers of a table that has these names and no other; none where it is not so."""
    if not isinstance(table, dict) or set(table) != set(names):
        return []
    found = [float(table[name]) for name in names if isinstance(table[name], int | float)]
    return found if len(found) == len(names) and all(map(math.isfinite, found)) else []


def _wavelength(value: Any, where: Path) -> float:
    """A wavelength of a radar: X band has 0.031 m, P band 0.7 m."""
    try:
        metres = float(value)
    except (TypeError, ValueError):
        metres = math.nan
    if not WAVELENGTHS_M[0] <= metres <= WAVELENGTHS_M[1]:
        raise ManifestError(f"{where}: {value!r} is no wavelength of a radar in metres")
    return metres


def _inside(folder: Path, name: Any, manifest: Path) -> Path | None:
    if name is None:
        return None
    path = folder / str(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ManifestError(f"{manifest}: {name} lies outside of the folder")
    return path


def _instant(value: Any, manifest: Path) -> datetime:
    """An acquisition: a time with its zone, or a day (then midnight UTC)."""
    text = str(value)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ManifestError(f"{manifest}: {text!r} is no date or time") from None
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ManifestError(f"{manifest}: {text!r} is no date or time") from None


def _read_tags(folder: Path) -> InterferogramStack:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    phases: dict[tuple[datetime, datetime], Path] = {}
    coherences: dict[tuple[datetime, datetime], Path] = {}
    wavelengths = set()
    for file in files:
        tags = {k.upper(): v for k, v in inspect(file).tags.items()}
        dates = _dates_of(file, tags)
        if dates is None:
            continue
        kind = tags.get("DATA_TYPE", "")
        is_coherence = "COH" in kind if kind else bool(re.search(r"(^|[_-])(cc|coh\w*)([_.-]|$)", file.stem))
        (coherences if is_coherence else phases)[dates] = file
        if not is_coherence and "WAVELENGTH_METRES" in tags:
            wavelengths.add(round(_wavelength(tags["WAVELENGTH_METRES"], file), 8))
    if not phases:
        raise ManifestError(f"{folder}: no {MANIFEST}, and no raster that names two dates")
    if len(wavelengths) != 1:
        raise ManifestError(f"{folder}: the wavelength is not stated; write a {MANIFEST} with wavelength_m")
    pairs = [Interferogram(a, b, file, coherences.get((a, b))) for (a, b), file in phases.items()]
    return InterferogramStack(folder, _sort(pairs, folder), wavelengths.pop(), False, "los", None)


def _dates_of(file: Path, tags: dict[str, str]) -> tuple[datetime, datetime] | None:
    if {"FIRST_DATE", "SECOND_DATE"} <= set(tags):
        texts = [f"{tags[f'{which}_DATE']}T{tags.get(f'{which}_TIME', '00:00:00')}" for which in ("FIRST", "SECOND")]
    elif match := DATES.search(file.name):
        texts = list(match.groups())
    else:
        return None
    first, second = (_instant(text, file) for text in texts)
    return first, second


def _sort(pairs: list[Interferogram], folder: Path) -> tuple[Interferogram, ...]:
    for pair in pairs:
        if pair.second_at <= pair.first_at:
            raise ManifestError(f"{folder}: {pair.unwrapped.name}: its second date is not after its first")
    return tuple(sorted(pairs, key=lambda p: (p.first_at, p.second_at)))
