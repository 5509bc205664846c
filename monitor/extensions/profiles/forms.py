"""The form of files that profiles bring; what reads it is imported with the first such file."""

from typing import Final

from monitor.ingest.files.reader import FileReader

READERS: Final = {
    "profile": FileReader(
        "monitor.extensions.profiles.files:open_profile",
        "readings by depth of a declared profile: surveys of probes, and tables with depths as names",
        suffixes=(".csv", ".txt", ".gkn", ".rpp", ".dux", ".di1"),
        takes=("--station", "--unit"),
        recognises="monitor.extensions.profiles.surveys:is_survey",
    )
}
