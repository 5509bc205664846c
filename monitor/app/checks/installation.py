"""Checks of the installation on this machine: its packages, and the sandbox of worker processes."""

import os
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from typing import Final, NamedTuple

from monitor.settings.service import ServiceConfig
from monitor.storage.check import WARN, Check, SubjectState, make_state
from monitor.text.message import Template

WORKER_LIMIT_S: Final = 30.0
OWN_PACKAGES: Final = ("monitor", "forecasting", "detection")
_ALLOW_RESTRICTIONS: Final = Template(
    "check.workers.allow", "allow it on this system; /help/how-to/install on the page lists what workers need"
)()
_NO_MEMORY_LIMIT: Final = Template(
    "check.workers.unbounded", "the memory of workers is not limited, because SLOPEWARD_DEVICE names an accelerator"
)()
_LIMIT_MEMORY: Final = Template("check.workers.bound", "limit it by MemoryMax= of the systemd unit")()
_IS_RESTRICTED: Final = Template(
    "check.workers.walled",
    "workers have no network, no secrets and no rights, and can read only the files of their job",
)()


class Installation(NamedTuple):
    """The installation on this machine. Its checks do not need a running service."""

    service: ServiceConfig


def _check_packages(_: Installation) -> Iterator[SubjectState]:
    from monitor.extras import OPTIONAL_MODULES, describe_install, is_installed

    yield make_state(
        is_wrong=not is_installed("torch"), line=OPTIONAL_MODULES["torch"].message, todo=describe_install("torch")
    )


def _find_foreign_distributions(_: Installation) -> Iterator[SubjectState]:
    """Yield other distributions with files in our packages. Installing or removing them damages Slopeward."""
    distributions = packages_distributions()
    for package in OWN_PACKAGES:
        for name in sorted({*distributions.get(package, ())} - {"slopeward"}):
            yield make_state(name=name, package=package)


def _check_workers(installation: Installation) -> Iterator[SubjectState]:
    from monitor.worker import compute
    from monitor.worker.sandbox import LIST_MISSING_RESTRICTIONS, has_memory_limit
    from monitor.worker.service_jobs import make_limits

    settings = installation.service.compute
    if settings.dask:
        # The workers run on other machines.
        return
    limits = make_limits(settings)
    missing = compute.run(LIST_MISSING_RESTRICTIONS, None, WORKER_LIMIT_S, limits=limits).missing
    for line in missing:
        yield make_state(text=line, todo=_ALLOW_RESTRICTIONS)
    if not has_memory_limit(limits, os.environ):
        yield make_state(text=_NO_MEMORY_LIMIT, todo=_LIMIT_MEMORY)
    if not missing:
        yield make_state(is_wrong=False, text=_IS_RESTRICTED)


CHECKS: Final = (
    Check(
        "packages",
        Installation,
        WARN,
        "{line}; everything else works without it",
        _check_packages,
        "{todo}",
        fine="PyTorch is installed",
    ),
    Check(
        "packages.others",
        Installation,
        WARN,
        "the distribution {name} has files in the Python package {package} of Slopeward",
        _find_foreign_distributions,
        "pip uninstall {name}, then install slopeward again, in an environment for Slopeward only",
    ),
    Check("workers", Installation, WARN, "{text}", _check_workers, "{todo}", fine="{text}"),
)
