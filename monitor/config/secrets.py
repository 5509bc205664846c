"""Secrets that a file names and does not hold: an environment variable, or the file that `<name>_FILE` points to."""

import unicodedata
from collections.abc import Mapping

from monitor.domain.errors import UnsetError


def find_secret(environ: Mapping[str, str], name: str) -> str | None:
    """The value without space around it, None where neither is set.

    Raises:
        UnsetError: the file cannot be read, or the value holds a line break or another control character.
    """
    found = environ.get(name, "").strip() or _read_secret(environ, name)
    if found is not None and any(unicodedata.category(c) == "Cc" for c in found):
        raise UnsetError(f"{name}: a secret is one line without control characters")
    return found


def _read_secret(environ: Mapping[str, str], name: str) -> str | None:
    if path := environ.get(f"{name}_FILE"):
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                return file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "no text"
            raise UnsetError(f"{name}_FILE: cannot read {path}: {why}") from error
    return None
