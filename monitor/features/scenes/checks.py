"""Checks of the weights that read scenes: those that site files name, and those trained for a site."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from monitor.api.app import Installation, find_program
from monitor.api.checks import BAD, WARN, Check, CurrentDatabase, SiteFolder, SubjectState, make_state
from monitor.api.errors import SlopewardError
from monitor.api.settings import ServiceConfig
from monitor.api.sites import scan_sites
from monitor.api.text import Duration, Template

_BRING_BACK: Final = Template(
    "check.weights.bring_back", "bring the files back, or make the network again: slopeward scenes learn"
)()
_COUNTS_FROM: Final = Template(
    "check.weights.from_start", " ({name} counts from the folder where the service was started)"
)
_COUNTS_FROM_HERE: Final = Template(
    "check.weights.from_here", " ({name} counts from the folder where the service was started); from here"
)
# Images of satellites arrive up to two days after they were taken.
LEAST_VALID_S: Final = 3.0 * 86400.0
_WHOLE_PATH: Final = Template("check.weights.whole_path", "write the whole path in the site file")()


def _find_unreadable(seen: Installation) -> Iterator[SubjectState]:
    """Check the weights that site files name. Relative paths count from the folder of the core process."""
    from detection.imagery.footprints.records import AUTO, INDEX
    from detection.imagery.weights_file import find_fault

    sites = scan_sites(seen.service.paths.sites)[0]
    named = [(site.id, site.scenes.weights) for site in sites if site.scenes.weights not in {AUTO, INDEX}]
    relative = {name for _, name in named if name.endswith(".safetensors") and not Path(name).is_absolute()}
    start = find_start(seen.service) if relative else None
    for site_id, name in named:
        is_relative = name in relative
        fault = find_fault(str((start or Path.cwd()) / name) if is_relative else name)
        is_known = not is_relative or start is not None
        where = _COUNTS_FROM if is_known else _COUNTS_FROM_HERE
        yield make_state(
            site_id,
            is_wrong=fault is not None,
            level=BAD if is_known else WARN,
            where=where(name=name) if is_relative else "",
            fault=fault,
            todo=_WHOLE_PATH if is_relative else _BRING_BACK,
        )


def _find_validity(files: SiteFolder) -> Iterator[SubjectState]:
    """State how long the footprints of an image count, and compare it with the time until an image arrives."""
    for site in files.sites:
        for criterion in site.criteria:
            if criterion.kind.id == "scene" and not criterion.is_implied:
                yield make_state(
                    site.id,
                    is_wrong=criterion.valid_for_s < LEAST_VALID_S,
                    figure=(criterion.valid_for_s, "s"),
                    name=criterion.id,
                    duration=Duration(criterion.valid_for_s),
                )


def find_start(service: ServiceConfig) -> Path | None:
    """Return the working folder of the core process, or None if it runs elsewhere or may not be read."""
    from monitor.api.database import Database, load_heartbeats, require_current

    try:
        with Database(service.database.url) as db:
            require_current(db)
            with db.read() as c:
                _, core = load_heartbeats(c)["core"]
        if core.get("host") == socket.gethostname() and find_program(int(core["pid"])) is not None:
            return Path(f"/proc/{core['pid']}/cwd").resolve(strict=True)
    except (SlopewardError, OSError, KeyError):
        pass  # the database has checks of its own; the core process never ran, or belongs to another account
    return None


def _find_broken(seen: CurrentDatabase) -> Iterator[SubjectState]:
    """Check the weights that were trained for a site and are in use there."""
    from monitor.features.scenes.queries.weights import find_broken_weights

    for site in scan_sites(seen.service.paths.sites)[0]:
        with seen.db.read() as c:
            for row, fault in find_broken_weights(c, site):
                yield make_state(site.id, path=str(row.path), fault=fault)


CHECKS: Final = (
    Check(
        "scenes.weights",
        Installation,
        BAD,
        "the weights of its site file cannot be read{where}: {fault}",
        _find_unreadable,
        "{todo}",
    ),
    Check(
        "scenes.valid_for",
        SiteFolder,
        WARN,
        "{name}: a footprint counts for {duration} from when its image was taken; images arrive up to two days later",
        _find_validity,
        "set valid_for of {name} to 30d",
        fine="{name}: a footprint counts for {duration} from when its image was taken",
    ),
    Check(
        "scenes.learnt",
        CurrentDatabase,
        BAD,
        "your own weights {path} cannot be read: others are tried instead ({fault})",
        _find_broken,
        _BRING_BACK,
    ),
)
