"""What a person may do: each act becomes a command, a form of a page and a request of the HTTP API."""

from monitor.alerts.acts.table import (
    Act,  # one act: its command, address and role
    ActResult,  # what an act returns
    Argument,  # annotation of one argument of an act
)

__all__ = [
    "Act",
    "ActResult",
    "Argument",
]
