"""Descriptions that come with a product: XML, JSON and `KEY = value`, bounded and without what XML may load."""

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypedDict
from xml.etree import ElementTree as ET

from detection.imagery.errors import ManifestError

TEXT_BYTES: Final = 16 << 20


class SceneManifest(TypedDict, total=False):
    """What `scene.toml` says of a scene, or what a product says in its place."""

    acquired_at: datetime
    role: str
    complete: bool
    bands: dict[str, Any]  # name -> file, or a table of file and index
    files: dict[str, Any]  # name -> size, or a table of size and sha256
    sar: dict[str, Any]
    dem: str
    prior: str
    mask: str
    shadow: str
    classification: str
    qa_pixel: str
    udm2: str
    clouds: str
    offset: float
    gain: float  # of products alone, as all that follow
    nodata: float | None
    calibration: str  # where gain and offset were read
    counts: list[str]  # the files that have this scale
    remarks: list[str]  # what whoever looks at the result must know


def read_text(path: Path) -> str:
    """The text of a description.

    Raises:
        ManifestError: too large, or no UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(TEXT_BYTES + 1)
    if len(content) > TEXT_BYTES:
        raise ManifestError(f"{path}: larger than {TEXT_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError(f"{path}: no UTF-8 text") from None


def read_xml(path: Path) -> ET.Element:
    """The root of an XML file that declares nothing.

    Raises:
        ManifestError: no XML, or a document type or entities in it.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ManifestError(f"{path}: must not declare a document type or entities")
    try:
        # entities are refused above, and the size is bounded
        return ET.fromstring(text)  # noqa: S314
    except (ET.ParseError, ValueError, RecursionError):
        raise ManifestError(f"{path}: no XML") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        ManifestError: no JSON object.
    """
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise ManifestError(f"{path}: no JSON") from None
    if not isinstance(found, dict):
        raise ManifestError(f"{path}: no JSON object")
    return found


def read_pairs(text: str) -> dict[str, str]:
    r"""`KEY = value` by key; of a key that comes twice the first.

    >>> read_pairs('GROUP = X\n  DATE_ACQUIRED = 2023-05-11\n  FILE_NAME_BAND_2 = "a_SR_B2.TIF"\nEND')
    {'GROUP': 'X', 'DATE_ACQUIRED': '2023-05-11', 'FILE_NAME_BAND_2': 'a_SR_B2.TIF'}
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, is_pair, value = line.strip().partition(" = ")
        if is_pair:
            found.setdefault(key, value.strip().strip('"'))
    return found


def read_number(value: object, path: Path, what: str) -> float:
    """A finite number, written as one or as text.

    Raises:
        ManifestError: it is none.
    """
    try:
        found = float(str(value)[:40])
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ManifestError(f"{path}: {what}: {str(value)[:20]!r} is no number")
    return found


def find_text(root: ET.Element, name: str) -> str | None:
    """The text of the first element of a name in any namespace; None where there is none."""
    return next(filter(None, list_texts(root, name)), None)


def list_texts(root: ET.Element, *names: str) -> Iterator[str]:
    """The texts of all elements of some names in any namespace, in their order."""
    for element in root.iter():
        if isinstance(element.tag, str) and element.tag.rpartition("}")[2] in names:
            yield (element.text or "").strip()


def read_instant(text: object, path: Path, what: str) -> datetime:
    """An instant of ISO 8601, UTC where it names no zone: products state all times in UTC.

    Raises:
        ManifestError: it is none.
    """
    try:
        # digits of a second beyond the sixth are more than a clock of ours holds
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(text)))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ManifestError(f"{path}: {what}: {str(text)[:40]!r} is no time") from None
