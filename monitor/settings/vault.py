"""Encryption of secrets in the database that the service must be able to read. The key is in a file beside it."""

import os
from pathlib import Path
from typing import Any, Final

from forecasting.whole_file import write_private
from monitor.errors import ConfigError, KeyLostError
from monitor.settings.service import ServiceConfig
from monitor.text.message import Template

KEY_FILE: Final = "second-factor.key"  # in `paths.state`
_VERSION_PREFIX: Final = "v1:"
_KEY_LOST: Final = Template(
    "second_factor.key_lost",
    "the key of second factors is missing or is not the one that was used ({key}): restore it from a backup, or let an "
    "admin remove the second factor of the account: slopeward people users totp-off NAME",
)


class FernetVault:
    """Encrypts and decrypts short texts with Fernet (AES-128-CBC with HMAC-SHA256).

    Args:
        path: File of the key. It is created when the first text is encrypted.
        fixed_key: Key from the environment, which is used instead of the file.
    """

    def __init__(self, path: Path, fixed_key: str = "") -> None:
        self._path = path
        self._fixed_key = fixed_key

    def seal(self, text: str) -> str:
        """Return the encrypted text.

        Raises:
            ConfigError: The key is malformed.
        """
        if not self._fixed_key and not self._path.exists():
            self._create_key()
        return _VERSION_PREFIX + str(self._cipher().encrypt(text.encode()).decode())

    def open(self, sealed: str) -> str:
        """Return the text that was encrypted.

        Raises:
            KeyLostError: The key is missing or malformed, or the text was encrypted with another one.
        """
        from cryptography.fernet import InvalidToken

        try:
            return str(self._cipher().decrypt(sealed.removeprefix(_VERSION_PREFIX)).decode())
        except (InvalidToken, ConfigError, OSError) as error:
            raise KeyLostError(_KEY_LOST(key=self._key_source())) from error

    def _create_key(self) -> None:
        from cryptography.fernet import Fernet

        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_private(self._path, Fernet.generate_key().decode() + "\n")

    def _cipher(self) -> Any:
        from cryptography.fernet import Fernet

        key = self._fixed_key or self._path.read_text(encoding="ascii").strip()
        try:
            return Fernet(key)
        except ValueError as error:
            raise ConfigError(f"{self._key_source()}: expected 32 bytes in URL-safe base64") from error

    def _key_source(self) -> str:
        return "SLOPEWARD_SECOND_FACTOR__KEY" if self._fixed_key else os.fspath(self._path)


def open_vault(config: ServiceConfig) -> FernetVault:
    """Return the vault that a service file configures."""
    return FernetVault(config.paths.state / KEY_FILE, config.second_factor.key)
