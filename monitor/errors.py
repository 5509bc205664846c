"""One root for every error that is known, one class per cause: the edges turn them into one clear line."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, cast

from monitor.text.message import LABELLED_TEXT, Message, error_text


class SlopewardError(Exception):
    """Root of all known errors; its text is one line that says what is wrong and what to do."""

    @property
    def message(self) -> str:
        """Its text as it was given: a message keeps its id and values, which `str` of the error would lose."""
        return error_text(self)


class ConfigError(SlopewardError):
    """A configuration file cannot be used; names file, key and what was expected.

    Attributes:
        faults: everything that is wrong with the file, one line each.
    """

    def __init__(self, message: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults or (message,)


class MissingSettingError(ConfigError):
    """A setting that only the environment of the service can give is missing here."""


class UnitDoubtError(ConfigError):
    """Units or times of a file cannot be right as they stand; a person must say that they are, or correct them."""


class PayloadError(SlopewardError):
    """A message or file row cannot be read as observations; `code` is stable, the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def bare(self) -> Self:
        """The same without the frames that it came through, for one that is kept beside them.

        They hold each other, and with them the whole batch of messages, until the collector passes.
        """
        self.__context__ = None
        return self.with_traceback(None)


class StoreError(SlopewardError):
    """The database cannot be used as it is (schema, locks, permissions)."""


class StoreBusyError(StoreError):
    """The database is locked or unreachable for the moment; trying again is right."""


class OutdatedSiteError(StoreError):
    """Another version of the site file is in force than the one in hand; read it anew."""


class BrokerError(SlopewardError):
    """The broker cannot be reached, started or trusted."""


class JobError(SlopewardError):
    """A spawned job failed, was killed at its limit, or answered what cannot be read."""

    @property
    def problem(self) -> str:
        """What is wrong, without the name of the job."""
        text = self.message
        if not isinstance(text, Message) or text.id != LABELLED_TEXT.id:
            return text
        return cast("str", text.values["text"])


class KilledError(JobError):
    """A spawned job was killed: at its limit, at its bound of processor time, or because the service stops."""


class NoWorkerError(JobError):
    """The machines that run jobs take none now: nothing is known of what the job was given."""


class NotFoundError(SlopewardError):
    """The thing named does not exist."""


class RefusedError(SlopewardError):
    """The act is not allowed in this state or for this person."""


class LevelRisenError(RefusedError):
    """What a person has seen of an alert stands higher by now."""


class SupersededError(RefusedError):
    """Another person stored a newer answer after the page with the form was loaded.

    The page shows the form again with the newer answer. Sending it a second time replaces that answer.
    """


class NotSignedInError(RefusedError):
    """Who acts or reads must say first who that is."""


class NotAllowedError(RefusedError):
    """This account, or this origin, may not do it, whatever the state of things."""


class KeyLostError(RefusedError):
    """What is sealed in the database cannot be opened: its key is gone, or it is another one."""


class NeedsSecondError(RefusedError):
    """One person may not do this alone, and nobody else stands behind it yet."""


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
        self.permanent, self.is_whole = permanent, is_whole
        self.retry_after_s = retry_after_s


@contextmanager
def acquire_or_refuse(turns: threading.Semaphore, busy: Message, wait_s: float = 0.0) -> Iterator[None]:
    """One of the few turns for the time of this block; raises StoreBusyError, with what it says, where none is free."""
    if not turns.acquire(timeout=wait_s):
        raise StoreBusyError(busy)
    try:
        yield
    finally:
        turns.release()
