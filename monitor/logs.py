"""Logging of all processes: one format, one line per record, no secrets."""

import logging
import re
import sys
import time
from typing import Any, Final

_SECRET: Final = re.compile(r"(?i)(password|secret|token|key)(=|\"?: ?\"?)[^\s\"'&,]+|(?<=://)([^/:@\s]+):[^@\s]+@")
_HARMLESS: Final = "\t\u00a0\u202f"  # blanks that are not printable, but cannot disturb a terminal


class _RedactionFilter(logging.Filter):
    """Removes secrets, and escapes line breaks and control characters."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message of a record by its safe form. Return True, because every record is logged."""
        text = record.getMessage()
        clean = escape_control_characters(redact(text))
        if clean != text:
            record.msg = clean
            record.args = ()
        return True


class _RedactingFormatter(logging.Formatter):
    """Removes secrets from tracebacks: the error of a library may contain an address with a password."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is that of the library
        """Return the traceback without secrets."""
        return redact(super().formatException(ei))


def redact(text: str) -> str:
    """Return text with `***` in place of passwords, tokens and keys.

    >>> redact("postgresql://ada:pw@db/x")
    'postgresql://ada:***@db/x'
    >>> redact("token=abc ok")
    'token=*** ok'
    """
    return _SECRET.sub(lambda match: f"{match[1]}{match[2]}***" if match[1] else f"{match[3]}:***@", text)


def escape_control_characters(text: str) -> str:
    r"""Return text with escaped line breaks and control characters, so that text of others cannot forge log lines.

    >>> escape_control_characters("crack\n2026-03-01 INFO core: all is well\x1b[2J")
    'crack\\n2026-03-01 INFO core: all is well\\x1b[2J'
    >>> escape_control_characters("1\u202f000 m²")
    '1\u202f000 m²'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _HARMLESS else character.encode("unicode_escape").decode()
        for character in text
    )


def configure(process: str, level: str = "INFO") -> None:
    """Write log records of this process to stderr as `time level process logger: message`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _RedactingFormatter(
            f"%(asctime)s.%(msecs)03dZ %(levelname)s {process} %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
    )
    handler.addFilter(_RedactionFilter())
    logging.Formatter.converter = time.gmtime
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
