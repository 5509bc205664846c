"""Keep the last valid service file of a running service.

A core or web process can end at any time, for example because a site file was put in force. If the service file has an
error at that moment, the new process starts with the version that was loaded last. Otherwise an error of an edit would
end the monitoring.
"""

import logging
import os
from typing import Final

from monitor.errors import SlopewardError
from monitor.settings.service import ServiceConfig, parse_service, read_service_file

log: Final = logging.getLogger(__name__)


class LastValidServiceFile:
    """The text of the service file that was valid last.

    Args:
        path: The service file; None lets `load` find it as `load_service` does.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._text: str | None = None

    def load(self) -> ServiceConfig:
        """Load the service file, and keep its text.

        Raises:
            ConfigError: The file cannot be used.
        """
        text, name = read_service_file(self._path, os.environ)
        config = parse_service(text, name, os.environ)
        self._text = text
        return config

    def open_if_current_is_faulty(self, process: str) -> int | None:
        """Return a file in memory with the last valid text, if the current file cannot be used.

        Args:
            process: Name of the process that starts, for the log.

        Returns:
            The file descriptor, which the caller closes. None if the current file is valid, or none was valid before:
            then the process reads the current file, and names its error.
        """
        try:
            self.load()
        except (SlopewardError, OSError) as error:
            if self._text is None:
                return None
            log.error(  # noqa: TRY400 - the message names file and key
                "the service file cannot be used, so %s starts with its last valid version; correct the file, then "
                "reload the service: %s",
                process,
                error,
            )
        else:
            return None
        descriptor = os.memfd_create("slopeward.toml")
        with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(self._text)
        return descriptor
