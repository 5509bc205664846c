"""Expected errors. The command line, web pages and threads of the service print or log each as one line.

Every other exception is a programming error.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, cast

from monitor.text.message import LABELLED_TEXT, Message, error_text


class SlopewardError(Exception):
    """Base class of expected errors. The text is one line: what is wrong and what to do."""

    @property
    def message(self) -> str:
        """Return the text as it was given. A `Message` keeps its id and values, which `str` of the error does not."""
        return error_text(self)


class ConfigError(SlopewardError):
    """A configuration file cannot be used. The text names file, key and what was expected.

    Attributes:
        faults: All faults of the file, one line each.
    """

    def __init__(self, message: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults or (message,)


class MissingSettingError(ConfigError):
    """An environment variable with a secret or an address is missing or cannot be used."""


class UnitDoubtError(ConfigError):
    """Units or times of a file look wrong. A person must confirm or correct them."""


class PayloadError(SlopewardError):
    """A message or a row of a file cannot be read as observations.

    Attributes:
        code: Stable code of the reason. The text is for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def without_traceback(self) -> Self:
        """Return this error without its traceback and context, for callers that store it.

        The traceback refers to the frames of the callers. A frame that stores the error would form a cycle with it,
        which keeps a whole batch of messages in memory until the garbage collector runs.
        """
        self.__context__ = None
        return self.with_traceback(None)


class StoreError(SlopewardError):
    """The database cannot be used, for example because of its schema, locks or permissions."""


class StoreBusyError(StoreError):
    """The database, or another resource, is busy or unreachable at present. Another attempt may succeed."""


class OutdatedSiteError(StoreError):
    """Another version of the site file is in force than the one that was loaded. Load it again."""


class BrokerError(SlopewardError):
    """The broker cannot be reached, started or used."""


class JobError(SlopewardError):
    """A job in a process of its own failed, was killed at its limit, or returned something unreadable."""

    @property
    def problem(self) -> str:
        """Return the text of the error without the name of the job."""
        text = self.message
        if not isinstance(text, Message) or text.id != LABELLED_TEXT.id:
            return text
        return cast("str", text.values["text"])


class KilledError(JobError):
    """A job was killed: at its time limit, at its limit of processor time, or because the service stops."""


class NoWorkerError(JobError):
    """No machine that runs jobs is available. The error says nothing about the input of the job."""


class NotFoundError(SlopewardError):
    """The named object does not exist."""


class RefusedError(SlopewardError):
    """The action is not allowed in this state or for this person."""


class LevelRisenError(RefusedError):
    """The level of an alert has risen since the page with the form was loaded."""


class SupersededError(RefusedError):
    """Another person stored a newer answer after the page with the form was loaded.

    The page shows the form again with the newer answer. Sending it a second time replaces that answer.
    """


class NotSignedInError(RefusedError):
    """The request requires a login."""


class NotAllowedError(RefusedError):
    """This account, or the origin of the request, never has the right to do this."""


class KeyLostError(RefusedError):
    """An encrypted value of the database cannot be read, because its key is missing or another one."""


class NeedsSecondError(RefusedError):
    """The action needs the approval of a second person."""


class DeliveryError(SlopewardError):
    """A channel did not deliver a message.

    Attributes:
        permanent: Whether another attempt is useless.
        is_whole: Whether the other side may have received the whole message, because only its answer is missing.
        retry_after_s: Seconds to wait before the next attempt, if the other side requested that.
    """

    def __init__(
        self, message: str, *, permanent: bool = False, retry_after_s: float | None = None, is_whole: bool = False
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.is_whole = is_whole
        self.retry_after_s = retry_after_s


@contextmanager
def acquire_or_refuse(slots: threading.Semaphore, busy: Message, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a slot of a semaphore during a block, so that only a few expensive requests run at the same time.

    Raises:
        StoreBusyError: No slot was free within `wait_s`. The text is `busy`.
    """
    if not slots.acquire(timeout=wait_s):
        raise StoreBusyError(busy)
    try:
        yield
    finally:
        slots.release()
