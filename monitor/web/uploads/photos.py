"""Photos of the field: a worker makes a plain picture of what came, and the database keeps it with who sent it."""

import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forecasting.message import Template
from monitor.config.service import ServiceConfig
from monitor.errors import JobError, RefusedError
from monitor.jobs.worker import run_in_worker
from monitor.language.file_names import EMPTY
from monitor.store.database.engine import Database
from monitor.store.upkeep.reserve import MEGABYTE, find_folder
from monitor.web.uploads.develop import NO_PICTURE, Developed, Undeveloped, name_format
from monitor.worker.records import Task

_LOG = logging.getLogger(__name__)
DEVELOP: Final = Task("monitor.web.uploads.develop:develop", Undeveloped, Developed)
LIMIT_S: Final = 30.0
MOST_BYTES: Final = 4 << 20  # of a picture that was written anew
_NO_ROOM: Final = Template("photo.room", "the disk has no room for photos; what is left is for decisions and alarms")
_UNREADABLE: Final = Template("photo.unreadable", "the picture cannot be read; send it as JPEG")


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo that may be shown, in two sizes, with what its camera said."""

    photo: bytes
    small: bytes
    said: Developed


def require_room(db: Database, config: ServiceConfig) -> None:
    """Leave the room that is kept for decisions; raises RefusedError."""
    folder = find_folder(db, config.limits.disk)
    if folder is not None and shutil.disk_usage(folder).free < config.limits.reserve_mb * MEGABYTE + 2 * MOST_BYTES:
        raise RefusedError(_NO_ROOM())


def develop_photo(config: ServiceConfig, content: bytes) -> Picture:
    """What becomes of a file that somebody sent.

    Raises:
        RefusedError: it is no picture, damaged, or too large; in one line.
    """
    if not content:
        raise RefusedError(EMPTY())
    if not name_format(content[:16]):
        raise RefusedError(NO_PICTURE())
    with tempfile.TemporaryDirectory(prefix="slopeward-photo-") as folder:
        came, out = Path(folder) / "came", Path(folder) / "out"
        came.write_bytes(content)
        out.mkdir()
        limit_s = min(LIMIT_S, config.compute.job_limit_s)
        plan = config.compute.model_copy(update={"dask": "", "job_limit_s": limit_s})
        try:
            said = run_in_worker(plan, DEVELOP, Undeveloped(str(came), str(out)), reads=[came], writes=[out])
        except JobError as error:
            _LOG.warning("a picture was not taken: %s", error)
            raise RefusedError(_UNREADABLE()) from None
        if said.trouble:
            raise RefusedError(said.trouble)
        # what a worker wrote is not trusted either: plain files of a sane size that begin as a JPEG does
        found = [_read(out / name) for name in ("photo.jpg", "small.jpg")]
    return Picture(found[0], found[1], said)


def _read(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise RefusedError(_UNREADABLE())
    content = path.read_bytes()
    if not content.startswith(b"\xff\xd8\xff"):
        raise RefusedError(_UNREADABLE())
    return content
