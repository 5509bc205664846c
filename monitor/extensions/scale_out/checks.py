"""What can be wrong with the cluster that jobs run on, and with processes of ingest."""

from collections.abc import Iterator
from typing import Final

from forecasting.message import Figure
from monitor.checks.check import BAD, WARN, Check, SubjectState, found
from monitor.checks.installation import WORKER_LIMIT_S, Installation
from monitor.checks.running import ProcessStamps
from monitor.extensions.scale_out.cluster import find_cluster
from monitor.worker import compute
from monitor.worker.sandbox import DESCRIBE


def _cluster(seen: Installation) -> Iterator[SubjectState]:
    settings = seen.service.compute
    if settings.dask:
        cluster = find_cluster(settings)
        threads = cluster.count_threads()
        compute.run(DESCRIBE, None, WORKER_LIMIT_S, cluster=cluster)  # refused by one of another version
        yield found(is_wrong=settings.jobs_at_once < threads, address=cluster.address, n=Figure(threads, "d"))


_TAKES: Final = "{address} takes {n} jobs at once; run doctor on its machines too"
_PROCESS: Final = "process {process}, pid {pid}, {sites} sites, {messages} messages, started again {restarts} times"
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
        "ingest.processes",
        ProcessStamps,
        BAD,
        _PROCESS,
        lambda s: (found(is_wrong=not one["connected"], **one) for one in s.ingest.get("processes", ())),
        "its messages wait with the broker",
        fine=_PROCESS,
    ),
)
