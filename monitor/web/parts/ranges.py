"""Send a file of the service in the byte ranges that a request names."""

import stat
from contextlib import suppress
from pathlib import Path

from fastapi.responses import FileResponse

from monitor.errors import NotFoundError
from monitor.text.message import Message


def send_range(path: Path, missing: Message, media_type: str, max_age_s: int) -> FileResponse:
    """Return the file, of which the server sends the requested ranges.

    Raises:
        NotFoundError: `missing`, if there is no such file. A symbolic link counts as missing.
    """
    with suppress(OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            # byte ranges refer to the file, so the response must not be compressed
            headers = {"Content-Encoding": "identity", "Cache-Control": f"private, max-age={max_age_s}"}
            return FileResponse(path, headers=headers, media_type=media_type, stat_result=status)
    raise NotFoundError(missing)
