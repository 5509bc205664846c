"""Convert a received photo into plain JPEG files that contain only pixels. Runs in a sandboxed worker.

Everything else in the received file is dropped: metadata, scripts, or a second file appended to the first. Date,
position and camera are read before, as the camera recorded them.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monitor.api.extras import describe_missing, is_installed
from monitor.api.text import Figure, Template

if TYPE_CHECKING:
    from PIL.Image import Image

PHOTO_PX: Final = 2048  # length of the longer side
SMALL_PX: Final = 360
PHOTO_QUALITY: Final = 82  # of JPEG
SMALL_QUALITY: Final = 70
# More than the camera of any phone. A decompression bomb is refused before it is decompressed.
MAX_PIXELS: Final = 80_000_000
HEIF_BRANDS: Final = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")
# Tags of EXIF 2.32.
_DATE: Final = 36867
_OFFSET: Final = 36881
_MAKE: Final = 271
_MODEL: Final = 272
_EXIF_IFD: Final = 0x8769
_GPS_IFD: Final = 0x8825
_LATITUDE_REF: Final = 1
_LATITUDE: Final = 2
_LONGITUDE_REF: Final = 3
_LONGITUDE: Final = 4
MAX_TEXT_LENGTH: Final = 60
NO_PICTURE: Final = Template("picture.none", "this file cannot be shown; send a photo as JPEG, PNG, WebP or HEIC")
DAMAGED: Final = Template("picture.damaged", "the photo is damaged or incomplete; take it again")
_NO_HEIC: Final = Template("picture.heic", "{missing}, or send the photo as JPEG")
_PIXELS: Final = Template("picture.pixels", "the photo has {n} million pixels; at most 80 million are allowed")
_MANY_PIXELS: Final = Template("picture.pixels.many", "the photo has more than 80 million pixels; send a smaller one")


@dataclass(frozen=True, slots=True)
class ReceivedPhoto:
    """A file that somebody sent, and the folder for the converted photos."""

    path: str
    out: str


@dataclass(frozen=True, slots=True)
class DevelopedPhoto:
    """The result of a conversion.

    Attributes:
        trouble: Why the file is refused. Empty if `photo.jpg` and `small.jpg` are in the folder.
        width: Width of `photo.jpg`, pixels.
        height: Height of `photo.jpg`, pixels.
        taken: Date and time that the camera recorded, with its offset from UTC if it recorded one. May be empty.
        latitude: Latitude that the camera recorded, degrees.
        longitude: Longitude that the camera recorded, degrees.
        camera: Make and model.
    """

    trouble: str = ""
    width: int = 0
    height: int = 0
    taken: str = ""
    latitude: float | None = None
    longitude: float | None = None
    camera: str = ""


def name_format(head: bytes) -> str:
    r"""Return the format of an image by its first bytes. Empty if the format is not accepted.

    >>> name_format(b"\xff\xd8\xff\xe1"), name_format(b"RIFF\0\0\0\0WEBPVP8 "), name_format(b"<svg xmlns=")
    ('JPEG', 'WEBP', '')
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return "HEIF" if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS else ""


def develop(received: ReceivedPhoto) -> DevelopedPhoto:
    """Decode a photo, read its metadata, and write it as JPEG in two sizes."""
    from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

    content = Path(received.path).read_bytes()
    kind = name_format(content[:16])
    if not kind:
        return DevelopedPhoto(NO_PICTURE())
    if kind == "HEIF" and not is_installed("pillow_heif"):
        return DevelopedPhoto(_NO_HEIC(missing=describe_missing("pillow_heif")))
    if kind == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    # WeasyPrint, which makes the PDF of reports, sets this for the whole process.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(io.BytesIO(content), formats=[kind]) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                return DevelopedPhoto(_PIXELS(n=Figure(width * height // 10**6, "d")))
            details = read_camera(picture)
            # A JPEG file is decoded at the size that is needed.
            picture.draft("RGB", (PHOTO_PX, PHOTO_PX))
            upright = _flatten(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        return DevelopedPhoto(NO_PICTURE())
    except Image.DecompressionBombError:
        return DevelopedPhoto(_MANY_PIXELS())
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, ArithmeticError):
        return DevelopedPhoto(DAMAGED())
    photo = _save(upright, Path(received.out) / "photo.jpg", PHOTO_PX, PHOTO_QUALITY)
    _save(upright, Path(received.out) / "small.jpg", SMALL_PX, SMALL_QUALITY)
    return DevelopedPhoto("", photo[0], photo[1], **details)


def _flatten(picture: "Image") -> "Image":
    """Return the picture in RGB. Transparent parts become white."""
    from PIL import Image

    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        background = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(background, layered).convert("RGB")
    return picture.convert("RGB")


def _save(picture: "Image", path: Path, longest_px: int, quality: int) -> tuple[int, int]:
    """Save a picture without metadata, at most `longest_px` long. Return its width and height."""
    smaller = picture.copy()
    smaller.thumbnail((longest_px, longest_px))
    smaller.info.clear()
    smaller.save(path, "JPEG", quality=quality, optimize=True, exif=b"", icc_profile=None)
    return smaller.size


def read_camera(picture: "Image") -> dict[str, Any]:
    """Return the date, position and device that the camera recorded. Fields that cannot be read are left out."""
    try:
        exif = picture.getexif()
        exif_ifd = exif.get_ifd(_EXIF_IFD)
        gps_ifd = exif.get_ifd(_GPS_IFD)
    # Damaged metadata may raise any error. The picture is still useful.
    except Exception:
        return {}
    # The model often repeats the make.
    camera_words = [*_clean_text(exif.get(_MAKE)).split(), *_clean_text(exif.get(_MODEL)).split()]
    camera = " ".join(dict.fromkeys(camera_words))
    latitude = _read_degrees(gps_ifd.get(_LATITUDE), gps_ifd.get(_LATITUDE_REF), "S", 90.0)
    longitude = _read_degrees(gps_ifd.get(_LONGITUDE), gps_ifd.get(_LONGITUDE_REF), "W", 180.0)
    details: dict[str, Any] = {"taken": _read_date(exif_ifd), "camera": camera[:MAX_TEXT_LENGTH]}
    if latitude is not None and longitude is not None:
        details |= {"latitude": latitude, "longitude": longitude}
    return details


def _clean_text(value: Any) -> str:
    """Return a text from metadata without control characters and markup. Empty if the value is no text."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if not isinstance(value, str):
        return ""
    kept = [character for character in value if character.isprintable() and character not in "<>&\"'"]
    return "".join(kept).strip()[:MAX_TEXT_LENGTH]


def _read_date(exif: Any) -> str:
    try:
        at = datetime.strptime(_clean_text(exif.get(_DATE))[:19], "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - EXIF has no zone
    except ValueError:
        return ""
    offset = _clean_text(exif.get(_OFFSET))[:6]
    has_offset = len(offset) == 6 and offset[0] in "+-" and offset[3] == ":" and (offset[1:3] + offset[4:]).isdigit()
    return f"{at:%Y-%m-%d %H:%M:%S} {offset}" if has_offset else f"{at:%Y-%m-%d %H:%M:%S}"


def _read_degrees(parts: Any, side: Any, negative_side: str, largest: float) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
        angle = degrees + minutes / 60.0 + seconds / 3600.0
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    # This also refuses NaN.
    if not 0.0 <= angle <= largest:
        return None
    return round(-angle if _clean_text(side) == negative_side else angle, 6)
