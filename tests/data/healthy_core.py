"""A core process without threads, whose parts report no problem."""

from types import SimpleNamespace
from typing import Any

from monitor.app.core import Core
from monitor.app.outcomes import OutcomeLog
from monitor.app.self_monitoring.clock_watch import ClockWatch
from monitor.app.self_monitoring.loop import SelfMonitoring

INTAKE_STATUS: dict[str, Any] = {
    "connected": {"live": True, "backfill": True},
    "problems": {},
    "refused": {},
    "database_busy_since": None,
    "lost": 0,
    "dropped_qos0": 0,
    "unkept": 0,
    "writer_failures": 0,
    "drained": False,
}


def make_healthy_parts() -> dict[str, Any]:
    """Return the parts of a core by the name of their attribute."""
    return {
        "ingest": SimpleNamespace(status=lambda: INTAKE_STATUS, list_last_readings=dict),
        "evaluation": SimpleNamespace(find_slow=dict, list_measured=frozenset, is_busy=bool, outcomes=OutcomeLog()),
        "dispatcher": SimpleNamespace(
            wake=lambda: None,
            status=dict,
            failing=frozenset(),
            find_hanging=dict,
            find_undelivered=lambda _channels: {},
            list_channels=list,
        ),
        "publisher": SimpleNamespace(status=lambda: {"foreign": 0, "foreign_last": "", "unsigned": ""}),
        "reserve": SimpleNamespace(update=lambda: None, hold_reason=""),
        "readers": SimpleNamespace(check=lambda: None, ended=0, last="", refused=""),
        "schedule": SimpleNamespace(
            first_runs=SimpleNamespace(check=lambda: None), list_keys=list, outcomes=OutcomeLog()
        ),
    }


def make_monitoring(core: Core, **parts: Any) -> SelfMonitoring:
    """Give a core that was not started these parts, and healthy ones besides. Return its self-monitoring."""
    for name, part in (make_healthy_parts() | parts).items():
        setattr(core, name, part)
    names = ("db", "clock", "sites", "alarms", "ingest", "evaluation", "dispatcher", "schedule")
    core.clock_watch = ClockWatch(**{name: getattr(core, name) for name in names})
    core.self_monitoring = core.make_self_monitoring()
    return core.self_monitoring
