"""Checks of the Dask cluster that runs jobs and of the standby service."""

from collections.abc import Iterator
from typing import Final

from monitor.api.app import STANDBY_PREFIX, WORKER_LIMIT_S, Installation, ProcessHeartbeats
from monitor.api.checks import BAD, WARN, Check, SubjectState, make_state
from monitor.api.text import Figure, NameList

STANDBY_SILENT_S: Final = 60.0
STANDBY_FORGOTTEN_S: Final = 7 * 86400.0  # one that was silent for so long is not missed any more


def _cluster(seen: Installation) -> Iterator[SubjectState]:
    settings = seen.service.compute
    if settings.dask:
        from monitor.api.worker import LIST_MISSING_RESTRICTIONS, compute
        from monitor.features.scale_out.cluster import find_cluster

        cluster = find_cluster(settings)
        threads = cluster.count_threads()
        compute.run(
            LIST_MISSING_RESTRICTIONS, None, WORKER_LIMIT_S, cluster=cluster
        )  # refused by one of another version
        yield make_state(is_wrong=settings.jobs_at_once < threads, address=cluster.address, n=Figure(threads, "d"))


def _list_standby(seen: ProcessHeartbeats) -> Iterator[SubjectState]:
    core = seen.core
    for stamp, (at, _) in seen.stamps.items():
        silent_s = (seen.now - at).total_seconds()
        if stamp.startswith(STANDBY_PREFIX) and silent_s <= STANDBY_FORGOTTEN_S:
            yield make_state(
                is_wrong=silent_s > STANDBY_SILENT_S,
                name=stamp.removeprefix(STANDBY_PREFIX),
                at=at,
                active=core.get("name"),
                since=core.get("active_since"),
            )


def _list_different(seen: ProcessHeartbeats) -> Iterator[SubjectState]:
    for stamp, (at, facts) in seen.stamps.items():
        is_alive = (seen.now - at).total_seconds() <= STANDBY_SILENT_S
        if stamp.startswith(STANDBY_PREFIX) and is_alive and facts.get("differs"):
            yield make_state(name=stamp.removeprefix(STANDBY_PREFIX), sites=NameList(tuple(facts["differs"])))


_TAKES: Final = "{address} takes {n} jobs at once; run doctor on its machines too"
CHECKS: Final = (
    Check(
        "workers.cluster",
        Installation,
        WARN,
        _TAKES,
        _cluster,
        "compute.jobs_at_once = {n} uses all of it",
        fine=_TAKES,
    ),
    Check(
        "standby.silent",
        ProcessHeartbeats,
        BAD,
        "{name} stood by and is silent since {at}: nobody would take over",
        _list_standby,
        "start `slopeward run --standby` on {name}",
        fine="{active} decides since {since}; {name} stands by",
        degrades=True,
    ),
    Check(
        "standby.differs",
        ProcessHeartbeats,
        WARN,
        "{name} stands by with other site files than those in force: {sites}",
        _list_different,
        "put the files in force there",
        degrades=True,
    ),
)
