"""Secrets in environment variables, or in files that environment variables name."""

import unicodedata
from collections.abc import Mapping

from monitor.errors import MissingSettingError


def find_secret(environ: Mapping[str, str], name: str) -> str | None:
    """Return the value of the variable `name`, or the content of the file that `NAME_FILE` names, without outer spaces.

    Return None if neither variable is set.

    Raises:
        MissingSettingError: The file cannot be read, or the secret contains control characters such as line breaks.
    """
    secret = environ.get(name, "").strip() or _read_secret(environ, name)
    if secret is not None and any(unicodedata.category(character) == "Cc" for character in secret):
        raise MissingSettingError(f"{name}: a secret is one line without control characters")
    return secret


def _read_secret(environ: Mapping[str, str], name: str) -> str | None:
    path = environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise MissingSettingError(f"{name}_FILE: cannot read {path}: {reason}") from error
