"""Commands of packages that are installed separately: the hint that a call of a missing command prints."""

from typing import Final

# Import names of the packages by command.
MODULES_BY_COMMAND: Final = {
    "anomalies points": "slopeward_earth",
    "forecast attribute": "slopeward_lab",
    "forecast points": "slopeward_earth",
    "forecast search": "slopeward_lab",
    "lab table": "slopeward_lab",
    "scenes boxes": "slopeward_lab",
    "scenes clouds": "slopeward_earth",
    "scenes dod": "slopeward_earth",
    "scenes explain": "slopeward_lab",
    "scenes learn": "slopeward_lab",
    "scenes rates": "slopeward_earth",
    "scenes sar": "slopeward_earth",
    "scenes susceptibility": "slopeward_earth",
    "scenes track": "slopeward_earth",
    "scenes train": "slopeward_lab",
    "scenes velocity": "slopeward_earth",
    "sites map susceptibility": "slopeward_earth",
}


def find_missing_package(words: list[str]) -> str | None:
    """Return one line that says what to install, if the words name a command of a package that is not installed."""
    for depth in (2, 3):
        command = " ".join(words[:depth])
        if command in MODULES_BY_COMMAND:
            from monitor.extras import describe_package, is_installed

            module = MODULES_BY_COMMAND[command]
            return None if is_installed(module) else str(describe_package(module, f"`slopeward {command}`"))
    return None
