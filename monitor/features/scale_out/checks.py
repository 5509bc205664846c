"""Checks of the Dask cluster that runs jobs and of the standby service."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from monitor.api.app import STANDBY_PREFIX, WORKER_LIMIT_S, Installation, ProcessHeartbeats
from monitor.api.checks import BAD, WARN, Check, SubjectState, make_state
from monitor.api.text import Figure, NameList

STANDBY_SILENT_S: Final = 60.0
# A standby service that was silent for longer is assumed to be retired.
STANDBY_FORGOTTEN_S: Final = 7 * 86400.0


def _check_cluster(installation: Installation) -> Iterator[SubjectState]:
    settings = installation.service.compute
    if not settings.dask:
        return
    from monitor.api.worker import LIST_MISSING_RESTRICTIONS, compute
    from monitor.features.scale_out.cluster import make_cluster

    cluster = make_cluster(settings)
    threads = cluster.count_threads()
    # This fails if the worker has other versions than this service.
    compute.run(LIST_MISSING_RESTRICTIONS, None, WORKER_LIMIT_S, cluster=cluster)
    yield make_state(is_wrong=settings.jobs_at_once < threads, address=cluster.address, n=Figure(threads, "d"))


def _check_silence(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    for name, heartbeat_at, _ in _list_standby(heartbeats):
        silent_s = (heartbeats.now - heartbeat_at).total_seconds()
        if silent_s <= STANDBY_FORGOTTEN_S:
            yield make_state(
                is_wrong=silent_s > STANDBY_SILENT_S,
                name=name,
                at=heartbeat_at,
                active=heartbeats.core.get("name"),
                since=heartbeats.core.get("active_since"),
            )


def _check_site_files(heartbeats: ProcessHeartbeats) -> Iterator[SubjectState]:
    for name, heartbeat_at, facts in _list_standby(heartbeats):
        is_alive = (heartbeats.now - heartbeat_at).total_seconds() <= STANDBY_SILENT_S
        if is_alive and facts.get("differs"):
            yield make_state(name=name, sites=NameList(tuple(facts["differs"])))


def _list_standby(heartbeats: ProcessHeartbeats) -> Iterator[tuple[str, datetime, Mapping[str, Any]]]:
    """Yield name, time and facts of the latest heartbeat of each standby service."""
    for key, (heartbeat_at, facts) in heartbeats.by_process.items():
        if key.startswith(STANDBY_PREFIX):
            yield key.removeprefix(STANDBY_PREFIX), heartbeat_at, facts


_CAPACITY: Final = "{address} takes {n} jobs at once; run doctor on its machines too"
CHECKS: Final = (
    Check(
        "workers.cluster",
        Installation,
        WARN,
        _CAPACITY,
        _check_cluster,
        "compute.jobs_at_once = {n} uses all of it",
        fine=_CAPACITY,
    ),
    Check(
        "standby.silent",
        ProcessHeartbeats,
        BAD,
        "standby service {name} has been silent since {at}: no service would take over",
        _check_silence,
        "start `slopeward run --standby` on {name}",
        fine="{active} decides since {since}; {name} stands by",
        degrades=True,
    ),
    Check(
        "standby.differs",
        ProcessHeartbeats,
        WARN,
        "standby service {name} has other site files than those in force: {sites}",
        _check_site_files,
        "copy the files in force to {name}",
        degrades=True,
    ),
)
