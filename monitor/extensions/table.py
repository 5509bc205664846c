"""The table of our extensions; without its line and its folder the service runs without one."""

from typing import Final

TABLE: Final = (
    "monitor.extensions.reports",
    "monitor.extensions.cap",
    "monitor.extensions.telephony",
    "monitor.extensions.drills",
    "monitor.extensions.duty",
    "monitor.extensions.single_sign_on",
    "monitor.extensions.exports",
    "monitor.extensions.demo",
    "monitor.extensions.photos",
    "monitor.extensions.sources",
    "monitor.extensions.table_import",
    "monitor.extensions.points",
    "monitor.extensions.maps",
    "monitor.extensions.surveys",
    "monitor.extensions.help",
    "monitor.extensions.outlines",
    "monitor.extensions.instruments",
    "monitor.extensions.profiles",
    "monitor.extensions.derived",  # may name series of profiles
    "monitor.extensions.scale_out",
)
