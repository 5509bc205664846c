"""Growth past one machine: what it adds to the service. The keys that ask for it stand in the core's service file."""

from typing import Final

from monitor.domain.extension import Extension

_HERE: Final = "monitor.extensions.scale_out"
EXTENSION: Final = Extension(
    name="scale_out",
    description="a standby service, jobs on a Dask cluster",
    package=_HERE,
    checks=(f"{_HERE}.checks:CHECKS",),
    functions={  # by the keys of the service file that ask for them
        "compute.dask": f"{_HERE}.cluster:find_cluster",
        "standby.enabled": f"{_HERE}.standby:wait_for_turn",
    },
)
