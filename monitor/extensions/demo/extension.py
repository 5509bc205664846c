"""The demo: what it adds to the service."""

from typing import Final

from monitor.domain.extension import Command, Extension

_HERE: Final = "monitor.extensions.demo"
EXTENSION: Final = Extension(
    name="demo",
    description="everything in three minutes, and a simulated slope that publishes",
    package=_HERE,
    panels={"start.ways": ("start_demo.html",)},
    commands={
        "demo": Command(f"{_HERE}.cli", "Run the service with a simulated slope that fails", "run", {"demo": "serves"}),
        "demo simulate": Command(
            f"{_HERE}.simulate",
            "Publish readings of a simulated slope to an MQTT broker",
            "demo",
            {"demo simulate": "serves"},
        ),
    },
)
