"""Files that the rows of a scene do not wait for, where they were not made with its tiles: it gets none, or failed."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from detection.imagery.footprints.records import MAKING, NOT_MADE, SceneFilesRequest, SceneFilesResult, note_failure
from monitor.api.errors import JobError
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import convert_reason
from monitor.api.worker import Answered, Request, WorkerTask, compute, run_in_worker
from monitor.features.scenes.inbox import fingerprint
from monitor.features.scenes.queries.arrivals import SceneRow
from monitor.features.scenes.queries.versions import SUPERSEDED
from monitor.features.scenes.rows import list_names

log = logging.getLogger(__name__)

MAKE_FILES: Final[WorkerTask[SceneFilesRequest, SceneFilesResult]] = WorkerTask(
    "detection.imagery.footprints.outputs:make_files", SceneFilesRequest, SceneFilesResult
)
AGAIN_S: Final = 3600.0  # what failed is tried again: the disk may have been full


def make_left(
    config: ServiceConfig, site: Site, rows: Iterable[SceneRow], now: datetime, *, requested: bool = False
) -> None:
    """Make the files of scenes that were read and have not all of them; their rows stand whatever comes of it.

    The worker holds the folder, so no two processes write the same. `requested`: a person asks for them: those that
    failed a moment ago are tried too.

    Raises JobError: the service is stopping.
    """
    for row in rows:
        if not (has_left(row) if requested else is_left(row, now)):
            continue
        folder, scene = Path(row.out_dir or ""), find_image(row)
        assert row.acquired_at is not None
        request = SceneFilesRequest(folder.absolute(), scene, row.acquired_at, *site.scenes.placed)
        made = run_behind(config, MAKE_FILES, request, scene, folder)
        if made.error:
            log.warning("%s: files of %s are not made: %s", site.id, row.name, convert_reason(made.error))
            with suppress(OSError):  # on a full disk they are tried again
                note_failure(folder, made.error)


def has_left(row: SceneRow) -> bool:
    """Whether a scene was read and has not all of its files.

    One that was delivered again since keeps its results: its files are made too.
    """
    try:
        return row.state in {"done", SUPERSEDED} and bool(row.out_dir) and (Path(row.out_dir or "") / MAKING).is_file()
    except OSError:  # nothing can be made in a folder that cannot be read
        return False


def is_left(row: SceneRow, now: datetime) -> bool:
    """Whether a scene was read and has not all of its files; of those that failed, whether it is time again."""
    folder = Path(row.out_dir or "")
    if not has_left(row):
        return False
    try:
        return now.timestamp() - (folder / NOT_MADE).stat().st_mtime > AGAIN_S
    except FileNotFoundError:
        return True
    except OSError:
        return False


def run_behind(
    config: ServiceConfig, task: WorkerTask[Request, Answered], request: Request, scene: Path | None, folder: Path
) -> Answered:
    """What a worker answers that gives way to others; one that fails says so, unless the service is stopping."""
    reads = [] if scene is None else [scene.parent]
    try:
        return run_in_worker(config.compute, task, request, reads=reads, writes=[folder.absolute()], gives_way=True)
    except JobError as error:
        if compute.is_stopping():
            raise
        fails: Callable[..., Answered] = task.answers
        return fails(error=error.message)


def find_image(row: SceneRow) -> Path | None:
    """The image of a scene; None where it is gone, or another one lies in its place."""
    path = Path(row.path).absolute()
    try:
        return path if fingerprint(path) in {print_ for _, print_ in list_names(row)} else None
    except OSError:
        return None
