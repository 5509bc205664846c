"""Log lines of every process in one shape, with anything that looks like a secret taken out."""

import logging
import re
import sys
from typing import Final

_SECRET: Final = re.compile(r"(?i)(password|secret|token|key)(=|\"?: ?\"?)[^\s\"'&,]+|(?<=://)([^/:@\s]+):[^@\s]+@")


class _Redact(logging.Filter):
    """Replace passwords in URLs and key=value pairs before a line leaves the process."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the formatted message in place; always lets the record pass."""
        text = record.getMessage()
        clean = redact(text)
        if clean != text:
            record.msg, record.args = clean, ()
        return True


def redact(text: str) -> str:
    """Return text without passwords.

    >>> redact("postgresql://ada:pw@db/x")
    'postgresql://ada:***@db/x'
    >>> redact("token=abc ok")
    'token=*** ok'
    """
    return _SECRET.sub(lambda m: f"{m[1]}{m[2]}***" if m[1] else f"{m[3]}:***@", text)


def configure(process: str, level: str = "INFO") -> None:
    """Send log lines of this process to stderr as `time level process logger: message`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(
            f"%(asctime)s.%(msecs)03dZ %(levelname)s {process} %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        ),
    )
    handler.addFilter(_Redact())
    logging.Formatter.converter = __import__("time").gmtime
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
