"""Checks for `slopeward check`, `slopeward doctor`, the health page and alarms of the service."""

from monitor.app.checks.database import (
    CurrentDatabase,  # examined by `slopeward doctor`
)
from monitor.app.checks.site_files import (
    SiteFolder,  # examined by `slopeward check`
)
from monitor.storage.check import (
    BAD,  # level of a finding that makes `check` and `doctor` fail
    WARN,  # level of a finding that is only listed
    Check,  # one check: what it examines and what it says
    SubjectState,  # the state of one subject, made by `make_state`
    make_state,  # makes a SubjectState
)

__all__ = [
    "BAD",
    "WARN",
    "Check",
    "CurrentDatabase",
    "SiteFolder",
    "SubjectState",
    "make_state",
]
