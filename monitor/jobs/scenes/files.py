"""Files that the rows of a scene do not wait for, where they were not made with its tiles: it gets none, or failed."""

import logging
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from detection.imagery.footprints.records import MAKING, NOT_MADE, FilesAsked, FilesMade, is_making
from detection.whole_file import write_json
from monitor.config.service import ServiceConfig
from monitor.domain.site import Site
from monitor.errors import JobError
from monitor.jobs.scenes.inbox import fingerprint
from monitor.jobs.scenes.rows import list_names
from monitor.jobs.worker import run_in_worker
from monitor.store.scenes.arrivals import SceneRow
from monitor.worker import compute
from monitor.worker.records import Task

log = logging.getLogger(__name__)

MAKE_FILES: Final[Task[FilesAsked, FilesMade]] = Task(
    "detection.imagery.footprints.outputs:make_files", FilesAsked, FilesMade
)
AGAIN_S: Final = 3600.0  # what failed is tried again: the disk may have been full


def make_left(config: ServiceConfig, site: Site, rows: Iterable[SceneRow], now: datetime) -> None:
    """Make the files of scenes that were read and have not all of them; their rows stand whatever comes of it.

    The job of tiles alone makes files, so no two processes write the same.

    Raises:
        JobError: the service is stopping.
    """
    for row in rows:
        folder = Path(row.out_dir or "")
        if not is_left(row, now):
            continue
        made = _ask(config, site, row, folder)
        if made.error:
            log.warning("%s: files of %s are not made: %s", site.id, row.name, made.error)
            write_json(folder / NOT_MADE, {"error": made.error})
        else:
            (folder / NOT_MADE).unlink(missing_ok=True)


def is_left(row: SceneRow, now: datetime) -> bool:
    """Whether a scene was read and has not all of its files; of those that failed, whether it is time again."""
    folder = Path(row.out_dir or "")
    if row.state != "done" or not row.out_dir:
        return False
    if is_making(folder):
        return True
    try:
        return (folder / MAKING).is_file() and now.timestamp() - (folder / NOT_MADE).stat().st_mtime > AGAIN_S
    except OSError:
        return False


def _ask(config: ServiceConfig, site: Site, row: SceneRow, folder: Path) -> FilesMade:
    """What the worker answers; one that fails costs the files alone, unless the service is stopping."""
    scene: Path | None = Path(row.path).absolute()
    try:
        if fingerprint(Path(row.path)) not in {print_ for _, print_ in list_names(row)}:
            scene = None
    except OSError:
        scene = None
    assert row.acquired_at is not None
    local = site.scenes.local
    placed = () if local is None else (local.into, tuple(local.affine))
    asked = FilesAsked(folder.absolute(), scene, row.acquired_at, *placed)
    reads = [] if scene is None else [scene.parent]
    try:
        return run_in_worker(config.compute, MAKE_FILES, asked, reads=reads, writes=[folder.absolute()], gives_way=True)
    except JobError as error:
        if compute.is_stopping():
            raise
        return FilesMade(error=str(error))
