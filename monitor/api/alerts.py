"""Alerts: their states, evaluation, and acts of people on them."""

from monitor.alerts.acts.models import (
    ModelHash,  # option: the first characters of the hash of a model
)
from monitor.alerts.acts.table import (
    COMMAND,  # way to run an act: the command line
    list_acts,  # return the acts of all plugins; on a duplicate name, command or address the first
    make_act_factory,  # return a factory of acts that share an address prefix and a command group
)
from monitor.alerts.notification import (
    DeliveryState,  # delivery state of a notification in the outbox
    Notification,  # one message to one recipient by one channel
)
from monitor.alerts.records import (
    AlertState,  # ISA-18.2 states of an alert, plus `closed`
)
from monitor.alerts.replay.failure_windows import (
    IssuedWindow,  # One failure window as it was issued, and what became of it; instants in epoch seconds
    WindowReplayFunctions,  # functions that compute failure windows in a replay
)

__all__ = [
    "COMMAND",
    "AlertState",
    "DeliveryState",
    "IssuedWindow",
    "ModelHash",
    "Notification",
    "WindowReplayFunctions",
    "list_acts",
    "make_act_factory",
]
