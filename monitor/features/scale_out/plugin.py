"""Hooks of the standby service and of the Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import hookimpl

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from monitor.api.app import CommitMonitor
    from monitor.api.checks import Check
    from monitor.api.database import CoreLease
    from monitor.api.settings import ComputeSection, ServiceConfig
    from monitor.api.worker import Cluster


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the checks of this feature."""
    from monitor.features.scale_out.checks import CHECKS

    return CHECKS


@hookimpl
def compute_cluster(settings: ComputeSection) -> Cluster:
    """Return the Dask cluster."""
    from monitor.features.scale_out.cluster import make_cluster

    return make_cluster(settings)


@hookimpl
def wait_for_turn(
    config: ServiceConfig,
    turn: CoreLease,
    commits: CommitMonitor,
    stopping: threading.Event,
    attempt: Callable[[Callable[[], object]], bool],
) -> bool:
    """Wait until the other service has stopped or hangs."""
    from monitor.features.scale_out import standby

    return standby.wait_for_turn(config, turn, commits, stopping, attempt)
