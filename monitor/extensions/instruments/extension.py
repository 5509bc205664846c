"""Instruments: what they add to the service. Their rows stand in the core, whose views and decision read them."""

from typing import Final

from monitor.domain.extension import Address, Command, Extension, Job

_HERE: Final = "monitor.extensions.instruments"
EXTENSION: Final = Extension(
    name="instruments",
    description="the board of instruments: what each needs, how long its battery lasts, how much of it came",
    package=_HERE,
    routes=(f"{_HERE}.routes:router",),
    addresses={f"GET {above}/sites/{{site}}/instruments": Address("read") for above in ("", "/live", "/api/v1")},
    commands={"instruments": Command(f"{_HERE}.cli", "Show the state of each instrument and what it needs")},
    jobs=(Job("instruments", f"{_HERE}.job:run", lambda _: 900.0, 45.0, light=True),),
)
