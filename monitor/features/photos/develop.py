"""A photo as it came becomes a plain JPEG without any of its data beside the picture; runs in a worker behind walls.

What a stranger's file holds beside its pixels (place, device, scripts, a second file behind the first) does not come
out. Date, place and camera are read before, as the camera said them.
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

LONGEST_PX, SMALL_PX = 2048, 360  # of the longer side
MOST_PIXELS: Final = 80_000_000  # more than any telephone takes; a bomb is refused before it is unpacked
QUALITY, SMALL_QUALITY = 82, 70
HEIF_BRANDS: Final = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")
_DATE, _OFFSET, _MAKE, _MODEL = 36867, 36881, 271, 272  # tags of EXIF 2.32
_EXIF_PART, _GPS_PART = 0x8769, 0x8825
_LAT_REF, _LAT, _LON_REF, _LON = 1, 2, 3, 4
NAME_MOST: Final = 60
NO_PICTURE: Final = Template("picture.none", "this is no picture that can be shown: JPEG, PNG, WebP or HEIC are")
DAMAGED: Final = Template("picture.damaged", "the picture is damaged or not whole; take it again")
_NO_HEIC: Final = Template("picture.heic", "{missing}; or send it as JPEG")
_PIXELS: Final = Template("picture.pixels", "the picture has {n} million pixels, 80 million are allowed")
_MANY_PIXELS: Final = Template("picture.pixels.many", "the picture has more than 80 million pixels")


@dataclass(frozen=True, slots=True)
class ReceivedPhoto:
    """A file that somebody sent, and the folder for what becomes of it."""

    path: str
    out: str


@dataclass(frozen=True, slots=True)
class DevelopedPhoto:
    """What became of it."""

    trouble: str = ""  # why it is refused; empty where `photo.jpg` and `small.jpg` lie in the folder
    width: int = 0  # of the photo, pixels
    height: int = 0  # of the photo, pixels
    taken: str = ""  # date and time as the camera said them, with its offset where it named one; empty = it did not
    latitude: float | None = None  # as the camera said it, deg
    longitude: float | None = None  # as the camera said it, deg
    camera: str = ""  # make and model


def name_format(head: bytes) -> str:
    r"""The format of a picture by its first bytes; empty for what is none that is taken.

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
    """Decode a picture, read what its camera said, and write it anew in two sizes."""
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
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # what makes reports sets it for the whole process
    try:
        with Image.open(io.BytesIO(content), formats=[kind]) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                return DevelopedPhoto(_PIXELS(n=Figure(width * height // 10**6, "d")))
            details = read_camera(picture)
            picture.draft("RGB", (LONGEST_PX, LONGEST_PX))  # JPEG: unpacks no more than is needed
            upright = _flatten(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        return DevelopedPhoto(NO_PICTURE())
    except Image.DecompressionBombError:
        return DevelopedPhoto(_MANY_PIXELS())
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, ArithmeticError):
        return DevelopedPhoto(DAMAGED())
    photo = _save(upright, Path(received.out) / "photo.jpg", LONGEST_PX, QUALITY)
    _save(upright, Path(received.out) / "small.jpg", SMALL_PX, SMALL_QUALITY)
    return DevelopedPhoto("", photo[0], photo[1], **details)


def _flatten(picture: "Image") -> "Image":
    from PIL import Image

    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(ground, layered).convert("RGB")
    return picture.convert("RGB")


def _save(picture: "Image", path: Path, longest: int, quality: int) -> tuple[int, int]:
    smaller = picture.copy()
    smaller.thumbnail((longest, longest))
    smaller.info.clear()  # nothing of what came goes with it
    smaller.save(path, "JPEG", quality=quality, optimize=True, exif=b"", icc_profile=None)
    return smaller.size


def read_camera(picture: "Image") -> dict[str, Any]:
    """Date, place and device as the camera said them; what cannot be read is left out."""
    try:
        exif = picture.getexif()
        more, place = exif.get_ifd(_EXIF_PART), exif.get_ifd(_GPS_PART)
    except Exception:  # a stranger's bytes: whatever the library makes of them, the picture alone matters
        return {}
    camera = " ".join(dict.fromkeys(text for tag in (_MAKE, _MODEL) for text in _plain(exif.get(tag)).split()))
    latitude = _read_degrees(place.get(_LAT), place.get(_LAT_REF), "S", 90.0)
    longitude = _read_degrees(place.get(_LON), place.get(_LON_REF), "W", 180.0)
    found: dict[str, Any] = {"taken": _read_date(more), "camera": camera[:NAME_MOST]}
    if latitude is not None and longitude is not None:
        found |= {"latitude": latitude, "longitude": longitude}
    return found


def _plain(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    return "".join(k for k in text if k.isprintable() and k not in "<>&\"'").strip()[:NAME_MOST]


def _read_date(exif: Any) -> str:
    try:
        at = datetime.strptime(_plain(exif.get(_DATE))[:19], "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - it names no zone
    except ValueError:
        return ""
    offset = _plain(exif.get(_OFFSET))[:6]
    named = len(offset) == 6 and offset[0] in "+-" and offset[3] == ":" and (offset[1:3] + offset[4:]).isdigit()
    return f"{at:%Y-%m-%d %H:%M:%S}{f' {offset}' if named else ''}"


def _read_degrees(parts: Any, side: Any, negative: str, most: float) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
        found = degrees + minutes / 60.0 + seconds / 3600.0
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not 0.0 <= found <= most:  # also where it is no number
        return None
    return round(-found if _plain(side) == negative else found, 6)
