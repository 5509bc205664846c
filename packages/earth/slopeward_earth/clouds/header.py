"""The header of a LAS or LAZ file, held against its size before any library opens it: nothing in it is believed.

Offsets are those of the LAS specification 1.4 R15, tables 3 and 25.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detection.imagery.errors import ImageryError


class CloudError(ImageryError):
    """A point cloud that cannot be used; the message names the file and the reason."""


class DamagedCloudError(CloudError):
    """The file contradicts itself: its header, its size, or what its points say."""


class NoPointsError(CloudError):
    """The file has no point, or none that lies on the ground."""


class NoPlaceError(CloudError):
    """The file does not say in which system its coordinates are, or that system cannot be used."""


SIGNATURE: Final = b"LASF"
SHORTEST: Final = {0: 227, 1: 227, 2: 227, 3: 235, 4: 375}  # minor version -> octets of its header
# Octets of a point of each format, without extra octets.
POINT_BYTES: Final = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)
VLRS_MOST: Final = 10_000
# LAZ takes 2 to 8 octets a point; one cloud of equal points took 0.03. Below this nothing real is packed.
LAZ_BYTES_LEAST: Final = 0.01
SCALE_MOST_M: Final = 1.0
EXTENT_MOST_M: Final = 200_000.0
COORDINATE_MOST: Final = 1e9
HEIGHT_MOST: Final = 40_000.0  # feet of the highest mountain, and more


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says, as far as it can be true."""

    points: int  # how many there are
    compressed: bool  # LAZ
    record_bytes: int  # of one point, unpacked
    low: tuple[float, float, float]  # least x, y, z, in the units of the file
    high: tuple[float, float, float]  # greatest x, y, z
    scale: tuple[float, float, float]  # of the whole numbers that are stored


def read_header(path: Path) -> Header:
    """Read and check the header of a LAS or LAZ file.

    Raises:
        DamagedCloudError: no such file, another format, or what it says cannot be.
        NoPointsError: it says that it has no point.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(375)
    except OSError as error:
        raise DamagedCloudError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise DamagedCloudError(f"{path}: the file is empty (0 bytes)")
    if not head.startswith(SIGNATURE):
        raise DamagedCloudError(f"{path}: not a point cloud in LAS or LAZ (it does not begin with LASF)")
    if len(head) < 227 or head[24] != 1 or len(head) < SHORTEST.get(head[25], 1 << 30):
        raise DamagedCloudError(f"{path}: the header is cut off, or of a version other than 1.0 to 1.4")
    return _check(path, head, size)


def _check(path: Path, head: bytes, size: int) -> Header:
    def take(form: str, at: int) -> Any:
        found = struct.unpack_from("<" + form, head, at)
        return found[0] if len(found) == 1 else found

    newest = head[25] >= 4
    begin, vlrs, kind, record = take("I", 96), take("I", 100), head[104], take("H", 105)
    points = take("Q", 247) if newest else take("I", 107)
    compressed = bool(kind & 0b1100_0000)
    evlr_at, evlrs = (take("Q", 235), take("I", 243)) if newest else (0, 0)
    if begin > size or vlrs > VLRS_MOST or evlrs > VLRS_MOST or (evlrs and evlr_at > size):
        raise DamagedCloudError(
            f"{path}: truncated, or its header is damaged: its parts lie beyond the end of the file"
        )
    if kind & 0b0011_1111 >= len(POINT_BYTES) or record < POINT_BYTES[kind & 0b0011_1111]:
        raise DamagedCloudError(f"{path}: points of format {kind & 63} in {record} bytes are not possible")
    if not points:
        raise NoPointsError(f"{path}: the header says that there is no point")
    if compressed:
        _check_laz(path, size, begin, points)
    else:
        end = evlr_at if evlrs and evlr_at > begin else size
        _check_las(path, (end - begin) // record, points)
    scale, offset = take("3d", 131), take("3d", 155)
    high_x, low_x, high_y, low_y, high_z, low_z = take("6d", 179)
    low, high = (low_x, low_y, low_z), (high_x, high_y, high_z)
    if not all(0 < one <= SCALE_MOST_M for one in scale) or not all(abs(one) < COORDINATE_MOST for one in offset):
        raise DamagedCloudError(f"{path}: scale {scale} and offset {offset} cannot be: the header is damaged")
    _check_extent(path, low, high)
    return Header(points, compressed, record, low, high, scale)


def _check_extent(path: Path, low: tuple[float, float, float], high: tuple[float, float, float]) -> None:
    """A cloud that reaches further than any slope is none."""
    sizes = [h - w for w, h in zip(low, high, strict=True)]
    fine = all(math.isfinite(one) and abs(one) < COORDINATE_MOST for one in (*low, *high)) and min(sizes) >= 0
    if not fine or max(sizes[:2]) > EXTENT_MOST_M or max(abs(low[2]), abs(high[2])) > HEIGHT_MOST:
        raise DamagedCloudError(
            f"{path}: points from {_format_point(low)} to {_format_point(high)}, as its header says, are not a slope: "
            "the header is damaged"
        )


def _check_las(path: Path, held: int, points: int) -> None:
    """A file that is not packed has room for just the points that its header promises."""
    if held != points:
        what = "truncated" if held < points else "its header is wrong"
        raise DamagedCloudError(f"{path}: the header says {points:,} points, the file holds {held:,}: {what}")


def _check_laz(path: Path, size: int, begin: int, points: int) -> None:
    """A packed file that promises more than any such file holds is refused before it is unpacked."""
    if points * LAZ_BYTES_LEAST > size - begin:
        raise DamagedCloudError(
            f"{path}: the header says {points:,} points in {size - begin:,} bytes: truncated, or made to fill a disk"
        )
    with path.open("rb") as file:
        file.seek(begin)
        place = file.read(8)
        at = struct.unpack("<q", place)[0] if len(place) == 8 else 0
        if at == -1:  # a writer that could not go back says it at the end
            file.seek(-8, 2)
            at = struct.unpack("<q", file.read(8))[0]
        if not begin < at <= size - 8:
            raise DamagedCloudError(f"{path}: the table of its packed parts is not there: truncated")
        file.seek(at)
        _, chunks = struct.unpack("<II", file.read(8))
    if chunks > points or chunks > size - begin:
        raise DamagedCloudError(f"{path}: {chunks:,} packed parts cannot be in {size - begin:,} bytes: damaged")


def _format_point(place: tuple[float, float, float]) -> str:
    return ", ".join(f"{one:.6g}" for one in place)
