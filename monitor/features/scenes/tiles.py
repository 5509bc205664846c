"""Cut the map tiles of scenes for the page after their rows are stored: one scene per run, the newest first."""

import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from detection.imagery.tiles.lookup import read_metadata
from detection.imagery.tiles.records import METADATA_FILE, SCENE_FILES, SceneTilesRequest, Tiles
from forecasting.whole_file import write_json
from monitor.api.database import IDLE, Database
from monitor.api.queries.sites import load_sites_summary
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.api.text import Template, convert_reason, hide_folder, messages_to_plain, plain_to_messages
from monitor.api.worker import WorkerTask
from monitor.features.scenes.files import find_image, is_left, make_left, run_behind
from monitor.features.scenes.inbox import has_unread
from monitor.features.scenes.queries.arrivals import SceneRow, load_scenes
from monitor.features.scenes.rows import pick_newest

CUT: Final[WorkerTask[SceneTilesRequest, Tiles]] = WorkerTask(
    "detection.imagery.footprints.scene_tiles:make_tiles", SceneTilesRequest, Tiles
)
AGAIN_S: Final = 86400.0  # failed tiles are cut again after this long
ROOM: Final = 2 << 30  # free bytes that are needed; tiles of the largest scenes take half of them
NO_ROOM: Final = Template("tiles.no_room", "no room for tiles")()
WAIT_MOST: Final = timedelta(minutes=10)  # longest delay of tiles by scenes that have to be read first
REPLACED: Final = Template("tiles.replaced", "its file is no longer there as it was read")()

_waits_since: dict[str, datetime] = {}  # by site: since when its tiles wait for scenes that have to be read first


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Cut the tiles of one scene that has none, and remove those of scenes that are no longer among the newest.

    The same worker first makes the remaining files of the scene. Files of other scenes are made afterwards. Scenes that
    have to be read come before both.
    """
    rows = db.run_read(load_scenes, site.id)
    newest = pick_newest(rows)
    due = [row for row in newest if not _is_cut(row, now)]
    left = [row for row in rows if is_left(row, now)]
    if not (due or left):
        _waits_since.pop(site.id, None)
        return IDLE
    if _must_wait(db, config, site, now):
        return IDLE
    # The next scenes get their files together with their tiles.
    following = {row.scene_hash for row in due[1:] if _has_room(Path(row.out_dir or ""))}
    left = [row for row in left if row.scene_hash not in following]
    line = _cut_first(config, site, rows, newest, due[0]) if due else IDLE
    make_left(config, site, left, now)
    return line


def _must_wait(db: Database, config: ServiceConfig, site: Site, now: datetime) -> bool:
    """Return whether a scene of any site has to be read first. One set of tiles waits for `WAIT_MOST` at most."""
    since = _waits_since.setdefault(site.id, now)
    if timedelta() <= now - since < WAIT_MOST:
        sites = db.run_read(load_sites_summary)
        if any(has_unread(db, config, other.id, now - WAIT_MOST) for other in sites):
            return True
    del _waits_since[site.id]
    return False


def _cut_first(
    config: ServiceConfig, site: Site, rows: Iterable[SceneRow], newest: list[SceneRow], due: SceneRow
) -> str:
    """Cut the tiles of one scene. Return one line.

    Tiles are kept for the dates that are compared. Those of a scene take about as much room as a JPEG of it.
    """
    folder = Path(due.out_dir or "")
    noted, kept = plain_to_messages(read_metadata(folder)) or {}, {row.out_dir for row in newest}
    if not _has_room(folder) and noted.get("of") == _mark(due) and noted.get("error") == NO_ROOM:
        return IDLE
    for row in rows:
        if row.out_dir and row.out_dir not in kept:
            _unlink(Path(row.out_dir))
    # A full disk raises an alarm of its own. Tiles are only for display, so they must not fill it further.
    found = _run_worker(config, site, due, folder) if _has_room(folder) else Tiles(error=NO_ROOM)
    return f"{due.name}: {_note_result(due, found)}"


def _has_room(folder: Path) -> bool:
    return shutil.disk_usage(folder).free >= ROOM


def _is_cut(row: SceneRow, now: datetime) -> bool:
    folder = Path(row.out_dir or "")
    noted = plain_to_messages(read_metadata(folder))
    if not folder.is_dir():
        return True
    if noted is None or noted.get("of") != _mark(row) or noted.get("error") == NO_ROOM:
        return False
    return not noted.get("error") or now.timestamp() - (folder / METADATA_FILE).stat().st_mtime < AGAIN_S


def _mark(row: SceneRow) -> list[str]:
    return [row.scene_hash, str((row.run or {})["model_hash"])]


def _note_result(row: SceneRow, found: Tiles) -> str:
    folder, error = Path(row.out_dir or ""), convert_reason(found.error)
    if error:
        _unlink(folder)
        for place in (Path(row.path).absolute().parent, folder.absolute()):  # people must not see paths of the server
            error = hide_folder(error, place)
    write_json(folder / METADATA_FILE, messages_to_plain({"of": _mark(row), "tiles": found.tiles, "error": error}))
    return f"no tiles: {error}" if error else f"{found.tiles} tiles"


def _run_worker(config: ServiceConfig, site: Site, row: SceneRow, folder: Path) -> Tiles:
    """Cut tiles in a worker. A failure is part of the answer (JobError: the service is stopping)."""
    scene = find_image(row)
    if scene is None:
        return Tiles(error=REPLACED)
    assert row.acquired_at is not None
    run = row.run or {}
    prob = run.get("outputs", {}).get("prob") if (run.get("change") or {}).get("method") is None else None
    kept = None if prob is None else folder.absolute() / Path(prob).name
    request = SceneTilesRequest(scene, row.acquired_at, kept, folder.absolute(), *site.scenes.placed)
    return run_behind(config, CUT, request, request.scene, folder)


def _unlink(folder: Path) -> None:
    for name in (*SCENE_FILES.values(), METADATA_FILE):
        (folder / name).unlink(missing_ok=True)
