"""Log lines of every process in one shape, with anything that looks like a secret taken out."""

import logging
import re
import sys
from typing import Any, Final

_SECRET: Final = re.compile(r"(?i)(password|secret|token|key)(=|\"?: ?\"?)[^\s\"'&,]+|(?<=://)([^/:@\s]+):[^@\s]+@")
_BLANKS: Final = "\t\u00a0\u202f"  # what prints nothing and steers nothing


class _RedactionFilter(logging.Filter):
    """Take out passwords, and spell what would begin a line of its own, before a line leaves the process."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the formatted message in place; always lets the record pass."""
        text = record.getMessage()
        clean = on_one_line(redact(text))
        if clean != text:
            record.msg, record.args = clean, ()
        return True


class _RedactingFormatter(logging.Formatter):
    """Takes passwords out of tracebacks as well; what a library says of an error may cite an address."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is that of the library
        """The traceback without passwords."""
        return redact(super().formatException(ei))


def redact(text: str) -> str:
    """Return text without passwords.

    >>> redact("postgresql://ada:pw@db/x")
    'postgresql://ada:***@db/x'
    >>> redact("token=abc ok")
    'token=*** ok'
    """
    return _SECRET.sub(lambda m: f"{m[1]}{m[2]}***" if m[1] else f"{m[3]}:***@", text)


def on_one_line(text: str) -> str:
    r"""Return text with line breaks and control characters spelled: what others wrote cannot pose as a line of the log.

    >>> on_one_line("crack\n2026-03-01 INFO core: all is well\x1b[2J"), on_one_line("1\u202f000 m²")
    ('crack\\n2026-03-01 INFO core: all is well\\x1b[2J', '1\u202f000 m²')
    """
    if text.isprintable():
        return text
    return "".join(k if k.isprintable() or k in _BLANKS else k.encode("unicode_escape").decode() for k in text)


def configure(process: str, level: str = "INFO") -> None:
    """Send log lines of this process to stderr as `time level process logger: message`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _RedactingFormatter(
            f"%(asctime)s.%(msecs)03dZ %(levelname)s {process} %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
    )
    handler.addFilter(_RedactionFilter())
    logging.Formatter.converter = __import__("time").gmtime
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
