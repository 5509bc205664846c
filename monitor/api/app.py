"""The running service: readiness, children, the state of its processes."""

from monitor.app import (
    heartbeats,  # module: heartbeats between processes of the service, and notifications to systemd
)
from monitor.app.checks.installation import (
    WORKER_LIMIT_S,  # time limit of a check that starts a worker, seconds
    Installation,  # subject of checks of this machine: holds the service configuration
)
from monitor.app.checks.live import (
    SHORTEST_OUTAGE_S,  # shortest outage of a broker or database that raises an alarm, seconds
)
from monitor.app.checks.running import (
    ProcessHeartbeats,  # latest heartbeats of all service processes, with their contents
    # return the command line of a process of this service; None if it is no longer running
    find_program,
)
from monitor.app.checks.site_files import (
    SET_VARIABLE_REMEDY,  # text for people: set the variable in the environment of the service
    EnvironmentSettings,  # subject of checks of settings from environment variables: holds the site folder
)
from monitor.app.children import (
    read_sites,  # read the sites of all valid site files; empty if there is no folder
)
from monitor.app.heartbeats import (
    STANDBY_PREFIX,  # prefix of the heartbeat name of a standby service, `standby:`
)
from monitor.app.self_monitoring.commits import (
    CommitMonitor,  # thread-safe record of the latest commits and of what blocks the next one
)

__all__ = [
    "SET_VARIABLE_REMEDY",
    "SHORTEST_OUTAGE_S",
    "STANDBY_PREFIX",
    "WORKER_LIMIT_S",
    "CommitMonitor",
    "EnvironmentSettings",
    "Installation",
    "ProcessHeartbeats",
    "find_program",
    "heartbeats",
    "read_sites",
]
