"""What can be wrong with the cluster that jobs run on."""

from collections.abc import Iterator
from typing import Final

from forecasting.message import Figure
from monitor.checks.check import WARN, Check, SubjectState, found
from monitor.checks.installation import WORKER_LIMIT_S, Installation
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
)
