"""Parts of large files of map tiles: one range a request, never the whole, and only files that lie in their folder."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi.responses import Response

from forecasting.message import Template
from monitor.errors import NotFoundError

LARGEST: Final = 4 << 20  # of one answer: larger than any tile or directory
RANGE: Final = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")
TYPE: Final = "application/vnd.pmtiles"
NO_TILES: Final = Template("map.no_tiles", "there are no such tiles")


def send_range(path: Path, headers: Mapping[str, str]) -> Response:
    """The range of a file that a request asks for, cut at `LARGEST`; 416 without one range that the file has.

    Raises:
        NotFoundError: there is no such file.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise NotFoundError(NO_TILES()) from None
    try:
        known = os.fstat(file)
        if not stat.S_ISREG(known.st_mode):
            raise NotFoundError(NO_TILES())
        size = known.st_size
        told = {"Accept-Ranges": "bytes", "ETag": f'"{known.st_mtime_ns:x}-{size:x}"', "Content-Encoding": "identity"}
        asked = RANGE.fullmatch(headers.get("range", "").strip())
        first = int(asked[1]) if asked else size
        last = min(int(asked[2]) if asked and asked[2] else size - 1, size - 1, first + LARGEST - 1)
        if first >= size or last < first:
            return Response(status_code=416, headers={**told, "Content-Range": f"bytes */{size}"}, media_type=TYPE)
        body = os.pread(file, last - first + 1, first)
    finally:
        os.close(file)
    told |= {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{size}", "Cache-Control": "private, max-age=3600"}
    return Response(body, status_code=206, headers=told, media_type=TYPE)
