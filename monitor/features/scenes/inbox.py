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
from monitor.api.worker import compute, list_checkpoint_files, lock_scene_results, run_in_worker
from monitor.features.scenes import rows as scene_rows
from monitor.features.scenes import waiting
from monitor.features.scenes.elsewhere import describe_elsewhere, find_area, find_sites_below
from monitor.features.scenes.model_acts import NAMED, keep_named, release_named
from monitor.features.scenes.queries.arrivals import SceneRow, load_scenes, save_scene
from monitor.features.scenes.queries.outlines import save_unsure
from monitor.features.scenes.queries.versions import SUPERSEDED, WAITING
from monitor.features.scenes.queries.weights import load_own_weights
from monitor.features.scenes.remarks import explain_unread, find_coarser
from monitor.features.scenes.rows import save_series
from monitor.features.scenes.tasks import READ_ONE, Elsewhere, SceneResult, find_unrequested
from monitor.features.scenes.versions import list_versions, number_version, withdraw_earlier_versions

log = logging.getLogger(__name__)

STILL_WRITTEN: Final = Template("scene.still_written", "is still being written")()
NO_MANIFEST: Final = Template("scene.no_manifest", "scene.toml has not arrived")()
_FUTURE: Final = Template("scene.future", "said to be taken at {at}, in the future")
ARCHIVE_HINT = "an archive: `slopeward scenes add SITE FILE` unpacks it and reads it"
POINT_CLOUD_HINT = (
    "a point cloud: `slopeward scenes clouds grid` makes a raster of it, `slopeward scenes clouds compare` finds change"
)
CHOSEN_FOR_SCENE = "weights chosen for a scene"
ALREADY_READ = "read"  # outcome of an entry that was read before and has not changed since
RASTER_SUFFIXES = frozenset({".tif", ".tiff", ".vrt", ".jp2"})
POINT_CLOUD_SUFFIXES = frozenset({".las", ".laz"})
# The worker of a scene runs again if it needs more footprints, or if another scene of the site was stored while it ran.
ATTEMPTS = 4
# A single raster has no manifest that marks it as complete. It is read when its size and modification time have not
# changed for this long.
SETTLED_S = 3.0
SCAN_S = 1.0  # time between two checks of a raster that may still be written
LONGEST_S = 20.0  # a raster that is still written after this long is stored as waiting
STRAY_AFTER_S = 600.0  # people are notified of an entry that is no scene after this long


class _PendingRaster(NamedTuple):
    """A raster that may still be written. Times are those of the monotonic clock."""

    fingerprint: str
    first_s: float  # since when it is watched; infinite once it is complete
    settled_s: float  # when it counts as complete if it does not change until then


# The rasters that are watched in each inbox, and when the next one of an inbox counts as complete. Neither is stored:
# after a restart every raster is watched again.
_watched: dict[Path, dict[Path, _PendingRaster]] = {}
_due_s: dict[Path, float | None] = {}


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Read every scene of `inbox/<site>/` that is complete and was not read before. Return a line on what was done."""
    folder = _inbox_of(config, site)
    _due_s.pop(folder, None)  # if this run fails, the schedule decides when the next one starts
    lines = []
    rows = db.run_read(load_scenes, site.id)
    state_by_delivery = {
        delivery: row.state
        for row in rows
        if row.state not in {SUPERSEDED, WAITING}
        for delivery in scene_rows.list_deliveries(row)
    }
    waiting_rows = {row.name: row for row in rows if row.state == WAITING}
    present_names: set[str] = set()
    read_names: set[str] = set()
    failure: Exception | None = None
    unsettled = _watch_rasters(folder, state_by_delivery, now)
    for entry, missing_part in _list_candidates(folder, now):
        name = scene_rows.make_stored_name(entry)
        present_names.add(name)
        is_overdue = unsettled.get(entry)
        if is_overdue is False:
            continue  # the next run checks this raster again
        missing = missing_part if is_overdue is None else STILL_WRITTEN
        try:
            line = _read_entry(db, config, site, entry, missing, state_by_delivery, waiting_rows, now)
        except JobError:
            raise  # the service is stopping
        except Exception as error:
            log.exception("%s: %s", site.id, name)
            line = waiting.FAILED(text=describe_error(error))
            failure = failure or error
        if line == ALREADY_READ:
            read_names.add(name)
        elif line is not None:
            lines.append(f"{name}: {line}")
    rows = db.run_read(load_scenes, site.id)
    waiting.notify_waiting(db, site, rows, now)
    release_named(db, site, now)
    waiting.notify_weights(db, site, now)
    # If the inbox itself is missing (an unmounted disk), nobody removed its scenes.
    if folder.is_dir():
        waiting.end_alerts(db, site, rows, present_names, read_names, now)
    if failure is not None:
        raise failure  # the other entries were read; the schedule reports the failure
    return "; ".join(lines) or IDLE


def has_unread(db: Database, config: ServiceConfig, site: str, since: datetime) -> bool:
    """Return whether a scene that was put into the inbox of a site after `since` still has to be read.

    Scenes that were tried and wait for weights or files, and scenes that cannot be used, are not counted.
    """
    arrived = []
    for entry in _list_entries(Path(config.paths.inbox) / site):
        with contextlib.suppress(OSError):  # the entry was removed meanwhile
            if entry.stat().st_ctime >= since.timestamp() and _is_scene(entry):
                arrived.append((scene_rows.make_stored_name(entry), compute_fingerprint(entry)))
    if not arrived:
        return False
    with db.read() as c:
        stored = {delivery for row in load_scenes(c, site) for delivery in scene_rows.list_deliveries(row)}
    return not stored.issuperset(arrived)


def _read_entry(
    db: Database,
    config: ServiceConfig,
    site: Site,
    entry: Path,
    missing: str | None,
    state_by_delivery: Mapping[tuple[str, str], str],
    waiting_rows: Mapping[str, SceneRow],
    now: datetime,
) -> str | None:
    """Read an entry of the inbox, or store why it waits or cannot be used.

    Args:
        missing: what is missing of the entry (see `_list_candidates`).
        state_by_delivery: states of the scenes that were read or failed, by name and fingerprint.
        waiting_rows: rows of the waiting scenes, by name.

    Returns:
        A line on the outcome, `ALREADY_READ`, or None if nothing was done.
    """
    name = scene_rows.make_stored_name(entry)
    reason: str | None = None
    try:
        fingerprint = compute_fingerprint(entry)
        is_usable = _is_scene(entry)
    except FileNotFoundError:
        return None  # files are still moved; the next run checks again
    except OSError as error:
        fingerprint = ""
        is_usable = False
        reason = f"cannot be read ({error.strerror})"
    state = state_by_delivery.get((name, fingerprint))
    if state is not None:
        return ALREADY_READ if state == "done" else None
    if not is_line(entry.name):
        reason = "its name is no text that can be stored; rename it"
    if reason is None and missing is None and not is_usable:
        reason = "neither a raster (.jp2, .tif, .tiff) nor a folder with scene.toml or a product"
        if strip_suffix(entry.name):
            reason = ARCHIVE_HINT
        elif entry.suffix.lower() in POINT_CLOUD_SUFFIXES:
            reason = POINT_CLOUD_HINT
    if reason is not None:
        return waiting.store_failure(db, site, entry, fingerprint, reason, now)
    if missing is not None:
        # Without a fingerprint, so that the next run reads the scene if the missing file has arrived meanwhile.
        return waiting.store_waiting(db, site, entry, "", missing, now)
    waiting_row = waiting_rows.get(name)
    if waiting.is_due(waiting_row, fingerprint, now):
        return detect_scene(db, config, site, entry, now)
    return f"waiting: {waiting_row.error}" if waiting_row else "waiting"


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

    Return a line on the outcome.

    Args:
        wait: Wait for another process that reads scenes of the site. Otherwise the next run of the job tries again.
        is_confirmed: A person confirmed that the scene is meant, although it lies outside the area of the site.
    """
    with lock_scene_results(_results_of(config, site), wait=wait) as is_locked:
        if not is_locked:
            return "waiting: scenes of the site are being read by another process"
        if wait:
            delivery = scene_rows.make_stored_name(entry), compute_fingerprint(entry)
            rows = db.run_read(load_scenes, site.id)
            if any(row.state == "done" and delivery in scene_rows.list_deliveries(row) for row in rows):
                return "was read by the service"
        release_named(db, site, now)
        return _detect(db, config, site, entry, now, is_confirmed=is_confirmed)


def _detect(db: Database, config: ServiceConfig, site: Site, entry: Path, now: datetime, *, is_confirmed: bool) -> str:
    fingerprint, name = compute_fingerprint(entry), scene_rows.make_stored_name(entry)
    # Each delivery has its own folder, so that scenes of the same name do not overwrite each other.
    out_dir = _results_of(config, site) / name / fingerprint[:12]
    # Most scenes are newer than all others and are compared with few dates, so the first attempt loads few outlines.
    with_all_outlines = False
    for _ in range(ATTEMPTS):
        with db.read() as c:
            own_weights = load_own_weights(c, site.id) if site.scenes.weights == AUTO else []
            stored_dates = scene_rows.load_dates(c, site.id, with_all_outlines=with_all_outlines)
            dates = [_mark_replaced(date) for date in stored_dates]
            compared_scenes = scene_rows.list_compared_scenes(c, site.id)
            versions = list_versions(c, site.id, entry)
        result = _run_worker(config, site, entry, out_dir, dates, versions, own_weights, is_confirmed=is_confirmed)
        if result.needs_outlines and not with_all_outlines:
            with_all_outlines = True
            continue
        if result.elsewhere is not None:
            reason = _explain_elsewhere(config, site, result.elsewhere)
            return waiting.store_waiting(db, site, entry, fingerprint, reason, now, at_once=True)
        if result.waiting:
            return waiting.store_waiting(
                db, site, entry, fingerprint, result.waiting, now, at_once=not result.may_arrive
            )
        answer = result.read
        if answer is None:
            return waiting.store_failure(db, site, entry, fingerprint, result.error, now)
        if answer.acquired_at - now > FUTURE_TOLERANCE:
            error = _FUTURE(at=Timestamp.of(answer.acquired_at, "second"))
            return waiting.store_failure(db, site, entry, fingerprint, error, now)
        with db.write() as c:
            if scene_rows.list_compared_scenes(c, site.id) != compared_scenes:
                continue  # another scene was stored meanwhile and must be part of the comparison
            return _store(c, site, entry, fingerprint, answer, out_dir, now)
    return "waiting: other scenes of the site came in all the time"


def _explain_elsewhere(config: ServiceConfig, site: Site, elsewhere: Elsewhere) -> Message:
    try:
        sites, _ = scan_sites(config.paths.sites)
    except ConfigError:
        sites = []
    others = find_sites_below(elsewhere.corners, (other for other in sites if other.id != site.id))
    return describe_elsewhere(site.id, elsewhere.distance_m, others)


def _store(
    c: Connection, site: Site, entry: Path, fingerprint: str, answer: ReadScene, out_dir: Path, now: datetime
) -> str:
    name = scene_rows.make_stored_name(entry)
    add_model(
        c,
        answer.model_hash,
        kind=answer.model,
        task="scene",
        site=None,
        path=answer.weights_path,
        card=answer.card,
        now=now,
        reason=CHOSEN_FOR_SCENE if site.scenes.weights == AUTO else NAMED,
    )
    if site.scenes.weights != AUTO:
        keep_named(c, site, answer.model_hash, now)
    earlier_rows = [row for row in load_scenes(c, site.id) if row.scene_hash == answer.scene_hash]
    copies = dict(delivery for row in earlier_rows for delivery in scene_rows.list_deliveries(row))
    version = number_version(c, site.id, name, answer)
    row = scene_rows.make_scene_row(answer, site, name, str(entry), str(out_dir), now)
    row = replace(row, run=scene_rows.describe_run(answer, fingerprint, copies, version))
    withdrawn = withdraw_earlier_versions(c, site, name, answer, now)
    added = save_scene(c, row, scene_rows.list_footprints(answer, site), now)
    _, changed = scene_rows.save_judgements(c, answer, site, now)
    values = save_series(c, site, answer, now, version)
    save_unsure(c, site.id, answer.scene_hash, answer.model_hash, answer.doubtful_tiles, now)
    waiting.end_waiting(c, site, name, now)
    read_before = next((old for old in earlier_rows if old.state == "done"), None)
    if read_before is not None and not (added or changed or values or withdrawn):
        since = f"{read_before.received_at:%Y-%m-%d %H:%M} UTC"
        return f"known since {since} as {read_before.name}, nothing new is stored"
    remarks = f"; {withdrawn} outlines of the version before withdrawn" if withdrawn else ""
    for line in _list_shifted_dates(answer):
        log.warning("%s: %s: %s", site.id, name, line)
        remarks += f"; {line}"
    for line in _list_change_cautions(answer):
        log.warning("%s: %s: %s", site.id, name, line)
    if answer.model == INDEX and not added:
        why = explain_unread(answer.warnings)
        return f"no footprints: {why}; {changed} new or grown by the index, {values} values of places{remarks}"
    warning = find_coarser(answer.doubts)
    coarser = f"; {warning}" if warning else ""
    return f"{added} footprints, {changed} new or grown, {values} values of places{remarks}{coarser}"


def _list_shifted_dates(answer: ReadScene) -> list[str]:
    """Return a line for each earlier date against which no change is claimed, because its image is shifted too far."""
    return [
        f"no change is claimed against {date['acquired_at'][:10]}: its image is "
        f"{math.hypot(date['shift_px']['columns'], date['shift_px']['rows']):.1f} px off"
        for assessment in answer.judgements[:1]
        for date in assessment.described.get("compared", ())
        if date.get("shift_px") and not date.get("claimed", True)
    ]


def _list_change_cautions(answer: ReadScene) -> list[str]:
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
    settings = site.scenes
    relief = config.paths.relief_path(site.id).absolute()
    request = SceneRequest(
        scene_path=str(entry),
        weights=settings.weights,
        out_dir=out_dir,
        minimum_area_m2=settings.minimum_area_m2,
        owner=site.id,
        dates=tuple(dates),
        versions=tuple(versions),
        stations=site.places,
        near_m=settings.near_m,
        local=settings.local,
        relief=None if relief.exists() else relief,
        prior=Path(settings.prior).absolute() if settings.prior else None,
        prior_picture=config.paths.susceptibility_path(site.id).absolute(),
        own=tuple(own_weights),
        dem=Path(settings.dem).absolute() if settings.dem else None,
        quality=settings.quality,
        area=find_area(site),
        is_confirmed=is_confirmed,
    )
    readable: tuple[str | Path, ...] = (
        entry.parent,
        *(path for path in (request.prior, request.dem) if path),
        *(file for weights in (settings.weights, *own_weights) for file in list_checkpoint_files(weights)),
        *(date.out_dir for date in dates),
    )
    writable = (_results_of(config, site),)
    try:
        result = run_in_worker(config.compute, READ_ONE, request, reads=readable, writes=writable)
    except JobError as error:
        if compute.is_stopping():
            raise  # the scene is read after the next start
        if isinstance(error, NoWorkerError):
            return SceneResult(waiting=error.message)  # the scene itself is not the cause
        return SceneResult(error=error.message)
    unrequested = None if result.read is None else find_unrequested(result.read, request)
    if unrequested is not None:
        return SceneResult(error=f"the answer of the worker names {unrequested!r}, which was not requested")
    return result


def _mark_replaced(date: KnownDate) -> KnownDate:
    """Return a date whose image comparisons do not read if it was replaced by another image.

    A mark at the end of its path makes it a path without a file.
    """
    try:
        is_unchanged = compute_fingerprint(Path(date.scene_path)) in date.prints
    except OSError:
        is_unchanged = False
    return date if is_unchanged else replace(date, scene_path=f"{date.scene_path} (replaced)")


def compute_fingerprint(entry: Path) -> str:
    """Return a hash of the names, sizes and modification times of the files of an entry.

    An entry whose name and fingerprint are stored is not read again.
    """
    paths = entry.rglob("*") if entry.is_dir() else [entry]
    files = sorted(path for path in paths if path.is_file())
    text = "\n".join(f"{file.name}|{file.stat().st_size}|{file.stat().st_mtime_ns}" for file in files)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _list_entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [entry for entry in sorted(folder.iterdir()) if not (entry.name.startswith(".") or entry.is_symlink())]


def _list_candidates(folder: Path, now: datetime) -> Iterator[tuple[Path, str | None]]:
    """Yield the entries of an inbox, each with what is missing before it can be read.

    Nothing is missing (None) of scenes, of entries that are no scene even after `STRAY_AFTER_S`, and of entries that
    cannot be accessed. `_read_entry` reports the fault of the last two.
    """
    for entry in _list_entries(folder):
        try:
            is_due = _is_scene(entry) or now.timestamp() - entry.stat().st_mtime > STRAY_AFTER_S
            missing = NO_MANIFEST if entry.is_dir() else STILL_WRITTEN
        except OSError:
            is_due = entry.exists()
        if is_due:
            yield entry, None
        elif entry.exists():
            yield entry, missing


def next_scan(config: ServiceConfig, site: Site) -> float | None:
    """Return when (monotonic clock) the next pending raster counts as complete. None if no raster is pending."""
    return _due_s.get(_inbox_of(config, site))


def _inbox_of(config: ServiceConfig, site: Site) -> Path:
    return Path(config.paths.inbox) / site.id


def _results_of(config: ServiceConfig, site: Site) -> Path:
    return Path(config.paths.inbox).parent / "scenes" / site.id


def _watch_rasters(folder: Path, state_by_delivery: Mapping[tuple[str, str], str], now: datetime) -> dict[Path, bool]:
    """Return the single rasters that may still be written, each with whether that has lasted longer than `LONGEST_S`.

    What is known of each raster is kept for the next run. This run waits only for rasters that count as complete within
    `SCAN_S`; for the others, `next_scan` returns the time of the next run. A raster that was last modified more than
    `SETTLED_S` ago needs only two equal checks, `SCAN_S` apart. A modification time in the future, by the clock of
    another machine, does not count as long ago.
    """
    watched = _watched.get(folder, {})
    started_s = time.monotonic()
    unsettled: dict[Path, bool] = {}
    while not compute.is_stopping():
        pending: dict[Path, _PendingRaster] = {}
        unsettled = {}
        settled_times_s = []
        for entry in _list_entries(folder):
            if not _is_single_raster(entry) or not is_line(entry.name):
                continue
            try:
                fingerprint, age_s = compute_fingerprint(entry), now.timestamp() - entry.stat().st_mtime
            except OSError:
                continue
            if state_by_delivery.get((scene_rows.make_stored_name(entry), fingerprint)) is not None:
                continue  # it was read before
            now_s = time.monotonic()
            raster = watched.get(entry)
            if raster is None or raster.fingerprint != fingerprint:
                needed_s = SCAN_S if raster is None and age_s > SETTLED_S else SETTLED_S
                first_s = now_s if raster is None else min(raster.first_s, now_s)
                raster = _PendingRaster(fingerprint, first_s, now_s + needed_s)
            if now_s < raster.settled_s:
                unsettled[entry] = now_s - raster.first_s > LONGEST_S
                settled_times_s.append(raster.settled_s)
            else:
                raster = raster._replace(first_s=math.inf)
            pending[entry] = raster
        watched = pending
        _watched[folder] = pending
        soonest_s = min(settled_times_s, default=None)
        _due_s[folder] = soonest_s
        if soonest_s is None or soonest_s - time.monotonic() > SCAN_S or time.monotonic() - started_s > LONGEST_S:
            break
        time.sleep(SCAN_S / 4)
    return unsettled


def _is_single_raster(entry: Path) -> bool:
    return entry.suffix.lower() in RASTER_SUFFIXES and entry.is_file()


def _is_scene(entry: Path) -> bool:
    if (entry / "scene.toml").is_file() or _is_single_raster(entry):
        return True
    # Imported here because it loads numpy, which few inboxes need.
    from detection.imagery.scene.products.product import is_product

    return is_product(entry)
