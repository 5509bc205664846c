"""Read descriptions of products: XML, JSON and `KEY = value`, of limited size and without external entities."""

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
    """The content of `scene.toml`, or of a product in the same form."""

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
    gain: float  # this key and all keys below exist for products only
    nodata: float | None
    calibration: str  # source of gain and offset
    counts: list[str]  # the files to which gain and offset apply
    remarks: list[str]  # limits of the product, for the user


def read_text(path: Path) -> str:
    """Return the text of a description.

    Raises:
        ManifestError: the file is too large or not UTF-8.
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
    """Return the root of an XML file.

    Raises:
        ManifestError: the file is not XML, or declares a document type or entities.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ManifestError(f"{path}: must not declare a document type or entities")
    try:
        # entities were refused above, and the size is limited
        return ET.fromstring(text)  # noqa: S314
    except (ET.ParseError, ValueError, RecursionError):
        raise ManifestError(f"{path}: no XML") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ManifestError: the file contains no JSON object.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise ManifestError(f"{path}: no JSON") from None
    if not isinstance(content, dict):
        raise ManifestError(f"{path}: no JSON object")
    return content


def read_pairs(text: str) -> dict[str, str]:
    r"""Return the values of lines `KEY = value` by key; if a key is repeated, its first value.

    >>> read_pairs('GROUP = X\n  DATE_ACQUIRED = 2023-05-11\n  FILE_NAME_BAND_2 = "a_SR_B2.TIF"\nEND')
    {'GROUP': 'X', 'DATE_ACQUIRED': '2023-05-11', 'FILE_NAME_BAND_2': 'a_SR_B2.TIF'}
    """
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, is_pair, value = line.strip().partition(" = ")
        if is_pair:
            values.setdefault(key, value.strip().strip('"'))
    return values


def read_number(value: object, path: Path, key: str) -> float:
    """Return the finite number that a value is or contains as text.

    Raises:
        ManifestError: the value is no finite number; the message names the file and the key.
    """
    try:
        number = float(str(value)[:40])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ManifestError(f"{path}: {key}: {str(value)[:20]!r} is no number")
    return number


def find_text(root: ET.Element, name: str) -> str | None:
    """Return the first text of an element with a name, in any namespace; None without such a text."""
    return next(filter(None, list_texts(root, name)), None)


def list_texts(root: ET.Element, *names: str) -> Iterator[str]:
    """Yield the texts of all elements with one of some names, in any namespace and in document order."""
    for element in root.iter():
        if isinstance(element.tag, str) and element.tag.rpartition("}")[2] in names:
            yield (element.text or "").strip()


def read_instant(text: object, path: Path, key: str) -> datetime:
    """Return an instant from ISO 8601. Without a zone it is in UTC, in which products state all times.

    Raises:
        ManifestError: the text is no instant; the message names the file and the key.
    """
    try:
        # datetime has microseconds, and some products state more digits
        instant = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(text)))
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ManifestError(f"{path}: {key}: {str(text)[:40]!r} is no time") from None
