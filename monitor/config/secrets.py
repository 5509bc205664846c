"""Secrets that a file names and does not hold: an environment variable, or the file that `<name>_FILE` points to."""

from collections.abc import Mapping

from monitor.errors import UnsetError


def find_secret(environ: Mapping[str, str], name: str) -> str | None:
    """The value, None where neither is set; raises UnsetError where the file cannot be read."""
    if environ.get(name):
        return environ[name]
    if path := environ.get(f"{name}_FILE"):
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                return file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "no text"
            raise UnsetError(f"{name}_FILE: cannot read {path}: {why}") from error
    return None
