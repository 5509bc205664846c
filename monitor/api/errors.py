"""Errors that a person can read."""

from monitor.errors import (
    BrokerError,  # the broker cannot be reached, started or trusted
    ConfigError,  # a configuration file cannot be used; names the file, the key and the remedy
    DeliveryError,  # a channel did not deliver; `permanent` means that another attempt is useless
    JobError,  # a spawned job failed, was killed at its limit, or returned an unreadable result
    KilledError,  # a spawned job was killed: at a limit or because the service stops
    LevelRisenError,  # the level of an alert is higher now than the person has seen
    MissingSettingError,  # a setting that must come from the environment is missing
    NeedsSecondError,  # the act requires a second person
    NotAllowedError,  # the account or the origin of a request may never do this
    NotFoundError,  # what the person named does not exist
    NoWorkerError,  # no machine for jobs is available now
    PayloadError,  # a message cannot be read; has a stable code and a reason
    RefusedError,  # the act is not allowed in this state, or for this person
    SlopewardError,  # base class of all errors of the program; its text is one line for people
    StoreBusyError,  # the database is locked or unreachable for now; a retry is useful
    StoreError,  # the database cannot be used (schema, locks, permissions)
    SupersededError,  # Another person stored a newer answer after the page with the form was loaded
    UnitDoubtError,  # units or times of a file are implausible; a person must confirm or correct them
    acquire_or_refuse,  # context manager: acquire a semaphore or raise StoreBusyError with a message
)

__all__ = [
    "BrokerError",
    "ConfigError",
    "DeliveryError",
    "JobError",
    "KilledError",
    "LevelRisenError",
    "MissingSettingError",
    "NeedsSecondError",
    "NoWorkerError",
    "NotAllowedError",
    "NotFoundError",
    "PayloadError",
    "RefusedError",
    "SlopewardError",
    "StoreBusyError",
    "StoreError",
    "SupersededError",
    "UnitDoubtError",
    "acquire_or_refuse",
]
