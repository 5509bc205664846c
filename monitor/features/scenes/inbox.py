"""Read the scenes of the watched folders. Each scene is stored once, with its footprints and readings."""

import contextlib
import hashlib
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection

from detection.imagery.footprints.records import AUTO, INDEX
from detection.imagery.scene.products.unpack import strip_suffix
from monitor.api.database import IDLE, Database
from monitor.api.errors import ConfigError, JobError, NoWorkerError
from monitor.api.queries.models import add_model
from monitor.api.scenes import KnownDate, KnownVersion, ReadScene, SceneRequest
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site, scan_sites
from monitor.api.text import FUTURE_TOLERANCE, Message, Template, Timestamp, describe_error, is_line, plain_to_messages
from monitor.api.worker import compute, list_checkpoint, lock_scene_results, run_in_worker
from monitor.features.scenes import rows as scene_rows
from monitor.features.scenes import waiting as lacks
from monitor.features.scenes.elsewhere import describe_elsewhere, find_area, find_sites_below
from monitor.features.scenes.model_acts import NAMED, keep_named, release_named
from monitor.features.scenes.queries.arrivals import SceneRow, load_scenes, save_scene
from monitor.features.scenes.queries.outlines import save_unsure
from monitor.features.scenes.queries.versions import SUPERSEDED, WAITING
from monitor.features.scenes.queries.weights import load_own_weights
from monitor.features.scenes.remarks import explain_unread, find_coarser
from monitor.features.scenes.rows import save_series
from monitor.features.scenes.tasks import READ_ONE, Elsewhere, SceneResult, find_stranger
from monitor.features.scenes.versions import give_way, list_versions, number_version

log = logging.getLogger(__name__)

STILL_WRITTEN: Final = Template("scene.still_written", "is still being written")()
NO_MANIFEST: Final = Template("scene.no_manifest", "scene.toml has not arrived")()
_FUTURE: Final = Template("scene.future", "said to be taken at {at}, in the future")
ARCHIVED = "an archive: `slopeward scenes add FILE --site SITE` unpacks it and reads it"
CLOUD = (
    "a point cloud: `slopeward scenes clouds grid` makes a raster of it, `slopeward scenes clouds compare` finds change"
)
CHOSEN = "weights chosen for a scene"
READ = "read"  # result for an entry that was read before and has not changed since
RASTERS = frozenset({".tif", ".tiff", ".vrt", ".jp2"})
CLOUDS = frozenset({".las", ".laz"})
# A worker runs again if it needs more footprints, or if another scene of the site was stored while it ran.
ATTEMPTS = 4
# A lone raster has no manifest. It is read when its size and modification time have not changed for this long.
SETTLED_S = 5.0
SCAN_S = 1.0  # time between two checks of a raster that may still be written
LONGEST_S = 20.0  # a raster that is still written after this long is stored as waiting
STRAY_S = 600.0  # people are notified of an entry that is no scene after this long


class _PendingRaster(NamedTuple):
    """A raster that may still be written. Times are those of the monotonic clock."""

    print_: str
    first_s: float  # when it was first seen in this state; infinite once it is complete
    settled_s: float  # when it counts as complete if it does not change until then


# By the inbox of a site. Not stored: after a restart every raster is watched again.
_watched: dict[Path, dict[Path, _PendingRaster]] = {}
_due_s: dict[Path, float | None] = {}


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Read every scene of `inbox/<site>/` that is complete and was not read before. Return one line."""
    folder = _folder_of(config, site)
    _due_s.pop(folder, None)  # if this run fails, the schedule decides when the next one starts
    parts = []
    rows = db.run_read(load_scenes, site.id)
    states = {
        pair: row.state for row in rows if row.state not in {SUPERSEDED, WAITING} for pair in scene_rows.list_names(row)
    }
    waiting = {row.name: row for row in rows if row.state == WAITING}
    present, read, failed = set(), set(), None
    growing = _watch_rasters(folder, states, now)
    for entry, absent in _candidates(folder, now):
        name = scene_rows.name_of(entry)
        lacking = STILL_WRITTEN if entry in growing else absent
        present.add(name)
        if growing.get(entry) is False:
            continue
        try:
            line = _read_entry(db, config, site, entry, lacking, states, waiting, now)
        except JobError:
            raise  # the service is stopping
        except Exception as error:
            log.exception("%s: %s", site.id, name)
            line, failed = lacks.FAILED(text=describe_error(error)), failed or error
        if line == READ:
            read.add(name)
        elif line is not None:
            parts.append(f"{name}: {line}")
    rows = db.run_read(load_scenes, site.id)
    lacks.notify_waiting(db, site, rows, now)
    release_named(db, site, now)
    lacks.notify_weights(db, site, now)
    # If the inbox itself is missing (an unmounted disk), its scenes were not taken out.
    if folder.is_dir():
        lacks.end_troubles(db, site, rows, present, read, now)
    if failed is not None:
        raise failed  # after the other entries were read; the schedule reports the failure
    return "; ".join(parts) or IDLE


def has_unread(db: Database, config: ServiceConfig, site: str, since: datetime) -> bool:
    """Return whether a scene that came into the inbox of a site after `since` still has to be read.

    Scenes that were tried and wait for weights or files, and scenes that cannot be used, are not counted.
    """
    came = []
    for entry in _list_entries(Path(config.paths.inbox) / site):
        with contextlib.suppress(OSError):  # the entry was removed meanwhile
            if entry.stat().st_ctime >= since.timestamp() and _is_scene(entry):
                came.append((scene_rows.name_of(entry), fingerprint(entry)))
    if not came:
        return False
    with db.read() as c:
        known = {pair for row in load_scenes(c, site) for pair in scene_rows.list_names(row)}
    return not known.issuperset(came)


def _read_entry(
    db: Database,
    config: ServiceConfig,
    site: Site,
    entry: Path,
    lacking: str | None,
    states: Mapping[tuple[str, str], str],
    waiting: Mapping[str, SceneRow],
    now: datetime,
) -> str | None:
    name = scene_rows.name_of(entry)
    try:
        print_, usable, reason = fingerprint(entry), _is_scene(entry), None
    except FileNotFoundError:
        return None  # files are still moved; the next run checks again
    except OSError as error:
        print_, usable, reason = "", False, f"cannot be read ({error.strerror})"
    if (state := states.get((name, print_))) is not None:
        return READ if state == "done" else None
    if not is_line(entry.name):
        reason = "its name is no text that can be stored; rename it"
    if reason is None and lacking is None and not usable:
        reason = "neither a raster (.jp2, .tif, .tiff) nor a folder with scene.toml or a product"
        if strip_suffix(entry.name):
            reason = ARCHIVED
        elif entry.suffix.lower() in CLOUDS:
            reason = CLOUD
    if reason is not None:
        return lacks.store_failure(db, site, entry, print_, reason, now)
    if lacking is not None:
        # Without a fingerprint, so that the next run reads the scene if the missing file has arrived meanwhile.
        return lacks.store_waiting(db, site, entry, "", lacking, now)
    if lacks.is_due(known := waiting.get(name), print_, now):
        return detect_scene(db, config, site, entry, now)
    return f"waiting: {known.error}" if known else "waiting"


def detect_scene(
    db: Database,
    config: ServiceConfig,
    site: Site,
    entry: Path,
    now: datetime,
    *,
    wait: bool = False,
    is_confirmed: bool = False,
) -> str:
    """Read one scene in a worker. Store its footprints, their change and the values at stations, or why it failed.

    Args:
        wait: Wait for another process that reads scenes of the site. Otherwise the next run of the job tries again.
        is_confirmed: A person confirmed that the scene is meant, although it lies outside the area of the site.
    """
    results = Path(config.paths.inbox).parent / "scenes" / site.id
    with lock_scene_results(results, wait=wait) as held:
        if not held:
            return "waiting: scenes of the site are being read by another process"
        if wait:
            own = scene_rows.name_of(entry), fingerprint(entry)
            rows = db.run_read(load_scenes, site.id)
            if any(row.state == "done" and own in scene_rows.list_names(row) for row in rows):
                return "was read by the service"
        release_named(db, site, now)
        return _detect(db, config, site, entry, results, now, is_confirmed=is_confirmed)


def _detect(
    db: Database, config: ServiceConfig, site: Site, entry: Path, results: Path, now: datetime, *, is_confirmed: bool
) -> str:
    print_, name = fingerprint(entry), scene_rows.name_of(entry)
    # Each delivery has its own folder, so that scenes of the same name do not overwrite each other.
    out_dir = results / name / print_[:12]
    everything = False  # most scenes are newer than all others and are compared with few dates
    for _ in range(ATTEMPTS):
        with db.read() as c:
            own = load_own_weights(c, site.id) if site.scenes.weights == AUTO else []
            dates = [_mark_replaced(date) for date in scene_rows.load_dates(c, site.id, everything=everything)]
            mark = scene_rows.mark_dates(c, site.id)
            versions = list_versions(c, site.id, entry)
        result = _run_worker(config, site, entry, out_dir, dates, versions, own, is_confirmed=is_confirmed)
        if result.lacks and not everything:
            everything = True
            continue
        if result.elsewhere is not None:
            reason = _explain_elsewhere(config, site, result.elsewhere)
            return lacks.store_waiting(db, site, entry, print_, reason, now, at_once=True)
        if result.waiting:
            return lacks.store_waiting(db, site, entry, print_, result.waiting, now, at_once=not result.comes)
        if (answer := result.read) is None:
            return lacks.store_failure(db, site, entry, print_, result.error, now)
        if answer.acquired_at - now > FUTURE_TOLERANCE:
            error = _FUTURE(at=Timestamp.of(answer.acquired_at, "second"))
            return lacks.store_failure(db, site, entry, print_, error, now)
        with db.write() as c:
            if scene_rows.mark_dates(c, site.id) != mark:
                continue  # another scene was stored meanwhile and must be part of the comparison
            return _store(c, site, entry, print_, answer, out_dir, now)
    return "waiting: other scenes of the site came in all the time"


def _explain_elsewhere(config: ServiceConfig, site: Site, elsewhere: Elsewhere) -> Message:
    try:
        sites, _ = scan_sites(config.paths.sites)
    except ConfigError:
        sites = []
    others = find_sites_below(elsewhere.corners, (other for other in sites if other.id != site.id))
    return describe_elsewhere(site.id, elsewhere.distance_m, others)


def _store(c: Connection, site: Site, entry: Path, print_: str, answer: ReadScene, out_dir: Path, now: datetime) -> str:
    name = scene_rows.name_of(entry)
    add_model(
        c,
        answer.model_hash,
        kind=answer.model,
        task="scene",
        site=None,
        path=answer.weights_path,
        card=answer.card,
        now=now,
        reason=CHOSEN if site.scenes.weights == AUTO else NAMED,
    )
    if site.scenes.weights != AUTO:
        keep_named(c, site, answer.model_hash, now)
    same = [old for old in load_scenes(c, site.id) if old.scene_hash == answer.scene_hash]
    copies = dict(pair for old in same for pair in scene_rows.list_names(old))
    version = number_version(c, site.id, name, answer)
    row = scene_rows.row_of(answer, site, name, str(entry), str(out_dir), now)
    row = replace(row, run=scene_rows.run_of(answer, print_, copies, version))
    withdrawn = give_way(c, site, name, answer, now)
    added = save_scene(c, row, scene_rows.list_footprints(answer, site), now)
    _, changed = scene_rows.save_judgements(c, answer, site, now)
    values = save_series(c, site, answer, now, version)
    save_unsure(c, site.id, answer.scene_hash, answer.model_hash, answer.doubtful_tiles, now)
    lacks.clear(c, site, name, now)
    read = next((old for old in same if old.state == "done"), None)
    if read is not None and not (added or changed or values or withdrawn):
        return f"known since {read.received_at:%Y-%m-%d %H:%M} UTC as {read.name}, nothing new is stored"
    gone = f"; {withdrawn} outlines of the version before withdrawn" if withdrawn else ""
    for line in _list_unclaimed(answer):
        log.warning("%s: %s: %s", site.id, name, line)
        gone += f"; {line}"
    for line in _list_doubted(answer):
        log.warning("%s: %s: %s", site.id, name, line)
    if answer.model == INDEX and not added:
        why = explain_unread(answer.warnings)
        return f"no footprints: {why}; {changed} new or grown by the index, {values} values of places{gone}"
    coarser = f"; {loss}" if (loss := find_coarser(answer.doubts)) else ""
    return f"{added} footprints, {changed} new or grown, {values} values of places{gone}{coarser}"


def _list_unclaimed(answer: ReadScene) -> list[str]:
    """Return a line for each earlier date that no change was claimed against, because the images are too far apart."""
    return [
        f"no change is claimed against {date['acquired_at'][:10]}: its image is "
        f"{math.hypot(date['shift_px']['columns'], date['shift_px']['rows']):.1f} px off"
        for assessment in answer.judgements[:1]
        for date in assessment.described.get("compared", ())
        if date.get("shift_px") and not date.get("claimed", True)
    ]


def _list_doubted(answer: ReadScene) -> list[str]:
    """Return a line for each reason why the change since an earlier date is advice only."""
    return [
        f"what changed since {date['acquired_at'][:10]} is advice only: {plain_to_messages(text)}"
        for assessment in answer.judgements[:1]
        for date in assessment.described.get("compared", ())
        if date.get("claimed", True)
        for text in date.get("cautions", ())
    ]


def _run_worker(
    config: ServiceConfig,
    site: Site,
    entry: Path,
    out_dir: Path,
    dates: list[KnownDate],
    versions: list[KnownVersion],
    own_weights: list[str],
    *,
    is_confirmed: bool,
) -> SceneResult:
    plan, relief = site.scenes, config.paths.relief_of(site.id).absolute()
    request = SceneRequest(
        scene_path=str(entry),
        weights=plan.weights,
        out_dir=out_dir,
        minimum_area_m2=plan.minimum_area_m2,
        owner=site.id,
        dates=tuple(dates),
        versions=tuple(versions),
        stations=site.places,
        near_m=plan.near_m,
        local=plan.local,
        relief=None if relief.exists() else relief,
        prior=Path(plan.prior).absolute() if plan.prior else None,
        prior_picture=config.paths.susceptibility_of(site.id).absolute(),
        own=tuple(own_weights),
        dem=Path(plan.dem).absolute() if plan.dem else None,
        quality=plan.quality,
        area=find_area(site),
        is_confirmed=is_confirmed,
    )
    own: tuple[str | Path, ...] = (
        entry.parent,
        *(path for path in (request.prior, request.dem) if path),
        *(file for weights in (plan.weights, *own_weights) for file in list_checkpoint(weights)),
        *(date.out_dir for date in dates),
    )
    results = Path(config.paths.inbox).parent / "scenes" / site.id
    try:
        answer = run_in_worker(config.compute, READ_ONE, request, reads=own, writes=(results,))
    except JobError as error:
        if compute.is_stopping():
            raise  # the scene is read after the next start
        if isinstance(error, NoWorkerError):
            return SceneResult(waiting=error.message)  # no fault of the scene
        return SceneResult(error=error.message)
    if answer.read is not None and (strange := find_stranger(answer.read, request)):
        return SceneResult(error=f"the answer of the worker names {strange!r}, which is no part of the question")
    return answer


def _mark_replaced(date: KnownDate) -> KnownDate:
    """Return a date with a mark on its path if another image is stored there now, so that no guard reads it."""
    try:
        kept = fingerprint(Path(date.scene_path)) in date.prints
    except OSError:
        kept = False
    return date if kept else replace(date, scene_path=f"{date.scene_path} (replaced)")


def fingerprint(entry: Path) -> str:
    """Return a hash of the names, sizes and modification times of a scene's files.

    An entry whose fingerprint is stored is not read again.
    """
    files = sorted(p for p in (entry.rglob("*") if entry.is_dir() else [entry]) if p.is_file())
    text = "\n".join(f"{p.name}|{p.stat().st_size}|{p.stat().st_mtime_ns}" for p in files)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _list_entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [entry for entry in sorted(folder.iterdir()) if not (entry.name.startswith(".") or entry.is_symlink())]


def _candidates(folder: Path, now: datetime) -> Iterator[tuple[Path, str | None]]:
    for entry in _list_entries(folder):
        try:
            due = _is_scene(entry) or now.timestamp() - entry.stat().st_mtime > STRAY_S
            lacking = NO_MANIFEST if entry.is_dir() else STILL_WRITTEN
        except OSError:
            due = entry.exists()
        if due:
            yield entry, None
        elif entry.exists():
            yield entry, lacking


def next_scan(config: ServiceConfig, site: Site) -> float | None:
    """Return when (monotonic clock) the next pending raster counts as complete. None if no raster is pending."""
    return _due_s.get(_folder_of(config, site))


def _folder_of(config: ServiceConfig, site: Site) -> Path:
    return Path(config.paths.inbox) / site.id


def _watch_rasters(folder: Path, states: Mapping[tuple[str, str], str], now: datetime) -> dict[Path, bool]:
    """Return the lone rasters that may still be written. The value is whether this has lasted longer than `LONGEST_S`.

    The state of each raster is kept for the next run. This run waits only for rasters that need less than `SCAN_S`;
    `next_scan` gives the time of the next run for the others. A raster that was last modified more than `SETTLED_S`
    ago needs two equal checks only. A modification time in the future (clock of another machine) does not count.
    """
    known = _watched.get(folder, {})
    began, growing = time.monotonic(), dict[Path, bool]()
    while not compute.is_stopping():
        pending: dict[Path, _PendingRaster] = {}
        growing, due = {}, []
        for entry in _list_entries(folder):
            if not _is_lone_raster(entry) or not is_line(entry.name):
                continue
            try:
                print_, age_s = fingerprint(entry), now.timestamp() - entry.stat().st_mtime
            except OSError:
                continue
            if states.get((scene_rows.name_of(entry), print_)) is not None:
                continue  # it was read before
            now_s, raster = time.monotonic(), known.get(entry)
            if raster is None or raster.print_ != print_:
                needed_s = SCAN_S if raster is None and age_s > SETTLED_S else SETTLED_S
                first_s = now_s if raster is None else min(raster.first_s, now_s)
                raster = _PendingRaster(print_, first_s, now_s + needed_s)
            if now_s < raster.settled_s:
                growing[entry] = now_s - raster.first_s > LONGEST_S
                due.append(raster.settled_s)
            else:
                raster = raster._replace(first_s=math.inf)
            pending[entry] = raster
        _watched[folder] = known = pending
        _due_s[folder] = soonest_s = min(due, default=None)
        if soonest_s is None or soonest_s - time.monotonic() > SCAN_S or time.monotonic() - began > LONGEST_S:
            break
        time.sleep(SCAN_S / 4)
    return growing


def _is_lone_raster(entry: Path) -> bool:
    return entry.suffix.lower() in RASTERS and entry.is_file()


def _is_scene(entry: Path) -> bool:
    if (entry / "scene.toml").is_file() or _is_lone_raster(entry):
        return True
    # Imported here because it loads numpy, which few inboxes need.
    from detection.imagery.scene.products.product import is_product

    return is_product(entry)
