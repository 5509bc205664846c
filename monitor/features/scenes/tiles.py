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
from monitor.features.scenes.files import are_files_due, find_image, make_missing_files, run_in_background
from monitor.features.scenes.inbox import has_unread
from monitor.features.scenes.queries.arrivals import SceneRow, load_scenes
from monitor.features.scenes.rows import pick_newest

CUT: Final[WorkerTask[SceneTilesRequest, Tiles]] = WorkerTask(
    "detection.imagery.footprints.scene_tiles:make_tiles", SceneTilesRequest, Tiles
)
RETRY_AFTER_S: Final = 86400.0  # failed tiles are cut again after this long
ROOM: Final = 2 << 30  # free bytes that are needed to cut tiles; tiles of the largest scenes take half of them
NO_ROOM: Final = Template("tiles.no_room", "no room for tiles")()
WAIT_MOST: Final = timedelta(minutes=10)  # scenes that have to be read first delay tiles no longer than this
REPLACED: Final = Template("tiles.replaced", "its file is no longer there as it was read")()

# By site: since when scenes that have to be read first delay its tiles.
_waits_since: dict[str, datetime] = {}


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Cut the tiles of one scene that has none, and remove those of scenes that are no longer among the newest.

    The same worker first makes the remaining files of the scene. Files of other scenes are made afterwards. Scenes that
    have to be read come before both.
    """
    rows = db.run_read(load_scenes, site.id)
    newest = pick_newest(rows)
    rows_without_tiles = [row for row in newest if not _is_cut(row, now)]
    rows_without_files = [row for row in rows if are_files_due(row, now)]
    if not (rows_without_tiles or rows_without_files):
        _waits_since.pop(site.id, None)
        return IDLE
    if _must_wait(db, config, site, now):
        return IDLE
    # For the next scenes, the files are made together with the tiles.
    made_with_tiles = {row.scene_hash for row in rows_without_tiles[1:] if _has_room(Path(row.out_dir or ""))}
    rows_without_files = [row for row in rows_without_files if row.scene_hash not in made_with_tiles]
    line = _cut_first(config, site, rows, newest, rows_without_tiles[0]) if rows_without_tiles else IDLE
    make_missing_files(config, site, rows_without_files, now)
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
    config: ServiceConfig, site: Site, rows: Iterable[SceneRow], newest: list[SceneRow], row_without_tiles: SceneRow
) -> str:
    """Cut the tiles of one scene, and remove those of scenes that are not among the newest. Return the outcome.

    Only scenes that comparisons use keep their tiles. The tiles of a scene take about as much room as a JPEG of it.
    """
    folder = Path(row_without_tiles.out_dir or "")
    metadata = plain_to_messages(read_metadata(folder)) or {}
    kept_folders = {row.out_dir for row in newest}
    is_noted = metadata.get("of") == _describe_source(row_without_tiles) and metadata.get("error") == NO_ROOM
    if is_noted and not _has_room(folder):
        return IDLE
    for row in rows:
        if row.out_dir and row.out_dir not in kept_folders:
            _remove_tiles(Path(row.out_dir))
    # A full disk raises an alarm of its own. Tiles are only for display, so they must not fill it further.
    tiles = _run_worker(config, site, row_without_tiles, folder) if _has_room(folder) else Tiles(error=NO_ROOM)
    return f"{row_without_tiles.name}: {_note_result(row_without_tiles, tiles)}"


def _has_room(folder: Path) -> bool:
    return shutil.disk_usage(folder).free >= ROOM


def _is_cut(row: SceneRow, now: datetime) -> bool:
    folder = Path(row.out_dir or "")
    metadata = plain_to_messages(read_metadata(folder))
    if not folder.is_dir():
        return True
    if metadata is None or metadata.get("of") != _describe_source(row) or metadata.get("error") == NO_ROOM:
        return False
    return not metadata.get("error") or now.timestamp() - (folder / METADATA_FILE).stat().st_mtime < RETRY_AFTER_S


def _describe_source(row: SceneRow) -> list[str]:
    """Return the hashes of scene and model. If one of them changes, the tiles are cut again."""
    return [row.scene_hash, str((row.run or {})["model_hash"])]


def _note_result(row: SceneRow, tiles: Tiles) -> str:
    folder, error = Path(row.out_dir or ""), convert_reason(tiles.error)
    if error:
        _remove_tiles(folder)
        # People must not see paths of the server.
        for hidden_folder in (Path(row.path).absolute().parent, folder.absolute()):
            error = hide_folder(error, hidden_folder)
    write_json(
        folder / METADATA_FILE, messages_to_plain({"of": _describe_source(row), "tiles": tiles.tiles, "error": error})
    )
    return f"no tiles: {error}" if error else f"{tiles.tiles} tiles"


def _run_worker(config: ServiceConfig, site: Site, row: SceneRow, folder: Path) -> Tiles:
    """Cut tiles in a worker. If that fails, the result contains the error.

    Raises:
        JobError: The service is stopping.
    """
    scene = find_image(row)
    if scene is None:
        return Tiles(error=REPLACED)
    assert row.acquired_at is not None
    run = row.run or {}
    # Radar scenes have no probabilities. Only their comparisons state a method.
    prob = run.get("outputs", {}).get("prob") if (run.get("change") or {}).get("method") is None else None
    prob_path = None if prob is None else folder.absolute() / Path(prob).name
    request = SceneTilesRequest(scene, row.acquired_at, prob_path, folder.absolute(), *site.scenes.placed)
    return run_in_background(config, CUT, request, request.scene, folder)


def _remove_tiles(folder: Path) -> None:
    for name in (*SCENE_FILES.values(), METADATA_FILE):
        (folder / name).unlink(missing_ok=True)
