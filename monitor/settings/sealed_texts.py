"""Secrets that the service must read again lie sealed in the database; the key lies in a file beside it."""

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from forecasting.whole_file import write_private
from monitor.errors import ConfigError, KeyLostError, MissingSettingError
from monitor.settings.service import ServiceConfig
from monitor.text.message import Template


def find_secret(environ: Mapping[str, str], name: str) -> str | None:
    """The value without space around it, None where neither is set.

    Raises:
        MissingSettingError: the file cannot be read, or the value holds a line break or another control character.
    """
    found = environ.get(name, "").strip() or _read_secret(environ, name)
    if found is not None and any(unicodedata.category(c) == "Cc" for c in found):
        raise MissingSettingError(f"{name}: a secret is one line without control characters")
    return found


def _read_secret(environ: Mapping[str, str], name: str) -> str | None:
    if path := environ.get(f"{name}_FILE"):
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                return file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "no text"
            raise MissingSettingError(f"{name}_FILE: cannot read {path}: {why}") from error
    return None


KEY_FILE: Final = "second-factor.key"  # in `paths.state`
_MARK: Final = "v1:"
_KEY_LOST: Final = Template(
    "second_factor.key_lost",
    "the key of second factors is lost or another one ({key}): put it back from a backup, or an admin lets the account "
    "in by password alone: slopeward people users totp-off NAME",
)


class FernetVault:
    """Seals and opens short texts (Fernet: AES-128-CBC with HMAC-SHA256).

    Args:
        path: the file of the key, which is made at the first sealing.
        fixed: a key of the environment; the file is not looked at then.
    """

    def __init__(self, path: Path, fixed: str = "") -> None:
        self._path, self._fixed = path, fixed

    def seal(self, text: str) -> str:
        """A text as the database may hold it; raises ConfigError where the key is none."""
        if not self._fixed and not self._path.exists():
            self._make()
        return _MARK + str(self._cipher().encrypt(text.encode()).decode())

    def open(self, sealed: str) -> str:
        """Back again.

        Raises:
            KeyLostError: the key is gone, or it is another one.
        """
        from cryptography.fernet import InvalidToken

        try:
            return str(self._cipher().decrypt(sealed.removeprefix(_MARK)).decode())
        except (InvalidToken, ConfigError, OSError) as error:
            raise KeyLostError(_KEY_LOST(key=self._name())) from error

    def _make(self) -> None:
        from cryptography.fernet import Fernet

        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_private(self._path, Fernet.generate_key().decode() + "\n")

    def _cipher(self) -> Any:
        from cryptography.fernet import Fernet

        key = self._fixed or self._path.read_text(encoding="ascii").strip()
        try:
            return Fernet(key)
        except ValueError as error:
            raise ConfigError(f"{self._name()}: expected 32 bytes in URL-safe base64") from error

    def _name(self) -> str:
        return "SLOPEWARD_SECOND_FACTOR__KEY" if self._fixed else os.fspath(self._path)


def open_vault(config: ServiceConfig) -> FernetVault:
    """The vault of a service file."""
    return FernetVault(config.paths.state / KEY_FILE, config.second_factor.key)
