"""A service that stands by, and jobs on a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import hookimpl

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from monitor.checks.check import Check
    from monitor.config.service import ComputeSection, ServiceConfig
    from monitor.service.readiness import CommitMonitor
    from monitor.store.database.core_turn import CoreTurn
    from monitor.worker.compute import Cluster


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the checks of this feature."""
    from monitor.extensions.scale_out.checks import CHECKS

    return CHECKS


@hookimpl
def compute_cluster(plan: ComputeSection) -> Cluster:
    """Return the Dask cluster."""
    from monitor.extensions.scale_out.cluster import find_cluster

    return find_cluster(plan)


@hookimpl
def wait_for_turn(
    config: ServiceConfig,
    turn: CoreTurn,
    commits: CommitMonitor,
    stopping: threading.Event,
    attempt: Callable[[Callable[[], object]], bool],
) -> bool:
    """Wait until the other service has stopped."""
    from monitor.extensions.scale_out.standby import wait_for_turn as wait

    return wait(config, turn, commits, stopping, attempt)
