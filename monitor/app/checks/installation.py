"""What is installed on this machine: packages, the walls of workers, weights of scenes, files that name a process."""

import os
import socket
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final, NamedTuple

from monitor.app.checks.database import BRING_BACK
from monitor.app.checks.running import find_program
from monitor.errors import SlopewardError
from monitor.settings.service import ServiceConfig
from monitor.sites.files import scan_sites
from monitor.storage.check import BAD, WARN, Check, SubjectState, found
from monitor.text.message import Template

WORKER_LIMIT_S: Final = 30.0
OWN: Final = ("monitor", "forecasting", "detection")
_ALLOW: Final = Template(
    "check.workers.allow", "/help/how-to/install on the page says what the system must allow for"
)()
_UNBOUNDED: Final = Template(
    "check.workers.unbounded", "their memory is not bounded: SLOPEWARD_DEVICE names an accelerator"
)()
_BOUND: Final = Template("check.workers.bound", "bound it from outside: MemoryMax= of the systemd unit")()
_WALLED: Final = Template(
    "check.workers.walled", "they have no network, no secrets, no rights, and see only the files of their job"
)()
_COUNTS_FROM: Final = Template(
    "check.weights.from_start", " ({name} counts from the folder where the service was started)"
)
_COUNTS_FROM_HERE: Final = Template(
    "check.weights.from_here", " ({name} counts from the folder where the service was started); from here"
)
_WHOLE_PATH: Final = Template("check.weights.whole_path", "write the whole path in the site file")()


class Installation(NamedTuple):
    """This machine, on which the service may run or not."""

    service: ServiceConfig


def _packages(_: Installation) -> Iterator[SubjectState]:
    from monitor.extras import EXTRAS, find_install, is_installed

    yield found(is_wrong=not is_installed("torch"), line=EXTRAS["torch"][0], todo=find_install("torch"))


def _strangers(_: Installation) -> Iterator[SubjectState]:
    """Distributions that have files in our packages: the last to be installed wins, and its removal breaks ours."""
    brought = packages_distributions()
    for package in OWN:
        for name in sorted({*brought.get(package, ())} - {"slopeward"}):
            yield found(name=name, package=package)


def _workers(seen: Installation) -> Iterator[SubjectState]:
    from monitor.worker import compute
    from monitor.worker.configured import make_terms
    from monitor.worker.sandbox import DESCRIBE, memory_bytes

    settings = seen.service.compute
    if settings.dask:  # they are elsewhere
        return
    terms = make_terms(settings)
    missing = compute.run(DESCRIBE, None, WORKER_LIMIT_S, terms=terms).missing
    for line in missing:
        yield found(text=line, todo=_ALLOW)
    if not memory_bytes(terms, os.environ):
        yield found(text=_UNBOUNDED, todo=_BOUND)
    if not missing:
        yield found(is_wrong=False, text=_WALLED)


def _weights(seen: Installation) -> Iterator[SubjectState]:
    """Weights that site files name and that cannot be read; relative paths count from the folder of the core."""
    from detection.imagery.footprints.records import AUTO, INDEX
    from detection.imagery.weights_file import find_fault

    sites = scan_sites(seen.service.paths.sites)[0]
    named = [(s.id, s.scenes.weights) for s in sites if s.scenes.weights not in {AUTO, INDEX}]
    relative = {name for _, name in named if name.endswith(".safetensors") and not Path(name).is_absolute()}
    start = find_start(seen.service) if relative else None
    for site, name in named:
        is_relative = name in relative
        fault = find_fault(str((start or Path.cwd()) / name) if is_relative else name)
        is_known = not is_relative or start is not None
        where = _COUNTS_FROM if is_known else _COUNTS_FROM_HERE
        yield found(
            site,
            is_wrong=fault is not None,
            level=BAD if is_known else WARN,
            where=where(name=name) if is_relative else "",
            fault=fault,
            todo=_WHOLE_PATH if is_relative else BRING_BACK,
        )


def find_start(service: ServiceConfig) -> Path | None:
    """The folder of the core, which relative paths count from; None where it does not run here or hides it."""
    from monitor.storage.engine import Database
    from monitor.storage.migrate import require_current
    from monitor.storage.service_state import load_stamps

    try:
        with Database(service.database.url) as db:
            require_current(db)
            with db.read() as c:
                _, core = load_stamps(c)["core"]
        if core.get("host") == socket.gethostname() and find_program(int(core["pid"])) is not None:
            return Path(f"/proc/{core['pid']}/cwd").resolve(strict=True)
    except (SlopewardError, OSError, KeyError):
        pass  # the database is looked at by itself; the core never ran, or is of another account
    return None


CHECKS: Final = (
    Check(
        "packages",
        Installation,
        WARN,
        "{line}; simple forecasts and all rules run without it",
        _packages,
        "{todo}",
        fine="PyTorch is installed",
    ),
    Check(
        "packages.others",
        Installation,
        WARN,
        "the distribution {name} has files in the package {package}, which is Slopeward's",
        _strangers,
        "pip uninstall {name}, then install slopeward again, into an environment of its own",
    ),
    Check("workers", Installation, WARN, "{text}", _workers, "{todo}", fine="{text}"),
    Check(
        "scenes.weights",
        Installation,
        BAD,
        "the weights of its site file cannot be read{where}: {fault}",
        _weights,
        "{todo}",
    ),
)
