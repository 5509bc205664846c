"""Duty: what it adds to the service. Its rows stand in the core, whose views, seals and reports read them."""

from typing import Final

from monitor.domain.extension import Address, Command, Extension, Job

_HERE: Final = "monitor.extensions.duty"
EXTENSION: Final = Extension(
    name="duty",
    description="plans of teams, swaps and hand-overs: who is on duty",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={f"GET /sites/{{site}}/{name}": Address("viewer") for name in ("duty", "duty.ics")},
    commands={"people duty": Command(f"{_HERE}.cli", "Show who is on duty; plan and swap duties", after="anomalies")},
    jobs=(Job("duty", f"{_HERE}.job:run", lambda _: 6 * 3600.0, 25.0, light=True),),
    checks=(f"{_HERE}.checks:CHECKS",),
    acts=(f"{_HERE}.acts:ACTS",),
    functions={"alerts.on_duty": f"{_HERE}.store:find_on_duty", "health.subjects": f"{_HERE}.checks:read_rotas"},
)
