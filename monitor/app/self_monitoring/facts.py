"""Collect what the parts of the core report about themselves. The checks of the table decide what is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from monitor.app.checks import live
from monitor.app.checks.machine import is_synchronised
from monitor.app.checks.plugins import PluginStatus
from monitor.app.evaluation_loop import EvaluationLoop
from monitor.app.schedule import Schedule
from monitor.app.self_monitoring.clock_watch import ClockWatch
from monitor.app.self_monitoring.threads import ThreadWatch
from monitor.delivery.dispatcher import Dispatcher
from monitor.delivery.state import StatePublisher
from monitor.delivery.trial import gather_channels
from monitor.ingest.service import Ingest
from monitor.registration import ServicePart
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.readers import ReaderWatch
from monitor.storage.reserve import DiskReserve
from monitor.worker import compute


@dataclass(frozen=True, kw_only=True)
class CoreParts:
    """The parts of the core process that are watched."""

    ingest: Ingest
    evaluation: EvaluationLoop
    dispatcher: Dispatcher
    publisher: StatePublisher
    schedule: Schedule
    reserve: DiskReserve
    readers: ReaderWatch
    clock_watch: ClockWatch
    threads: ThreadWatch
    plugin_parts: Sequence[ServicePart] = ()


def collect_facts(
    parts: CoreParts,
    db: Database,
    config: ServiceConfig,
    sites: Mapping[str, Site],
    has_grown: Callable[[str, int], bool],
) -> list[object]:
    """Return one fact per class that a check of `monitor.app.checks.live` or of `monitor.app.checks.plugins` examines.

    Args:
        has_grown: Whether a count is larger than when it was collected last.
    """
    named_channels = gather_channels(sites.values())
    hanging_channels = parts.dispatcher.find_hanging()
    facts: list[object] = [
        live.IntakeStatus(parts.ingest.status(), has_grown),
        config.broker,
        live.PublisherStatus(parts.publisher.status(), has_grown),
        live.PartProblems(parts.reserve.hold_reason, compute.find_start_problem(), is_synchronised()),
        live.ReaderStatus(parts.readers, has_grown),
        live.WriteTimes(db.slow_writes.list_slow(), has_grown),
        live.EvaluationTimes(sites, parts.evaluation.find_slow(), parts.evaluation.list_measured()),
        live.EscalationStatus(
            sites,
            parts.dispatcher.failing,
            {*named_channels, *hanging_channels, *parts.dispatcher.list_channels()},
            hanging_channels,
            parts.dispatcher.find_undelivered(named_channels),
        ),
        parts.clock_watch.station_clocks,
        PluginStatus.read(),
    ]
    job_keys = parts.schedule.list_keys()
    # Read last, because these parts return a failure only once. An error of another part must not discard it.
    facts += [
        live.EvaluationOutcomes(sites, parts.evaluation.outcomes.take()),
        live.JobOutcomes(job_keys, parts.schedule.outcomes.take()),
        parts.threads.take_status(),
    ]
    return facts
