"""Limits of delivery: waiting times, numbers of messages and of repeats."""

from dataclasses import dataclass
from typing import Self

from monitor.settings.service import DutySection


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """Limits of delivery. None of them delays an urgent message.

    Attributes:
        group_wait_s: How long messages of health and advice wait for others with which they form one message.
        sends_per_hour: The largest number of messages of one channel within an hour.
        shelved_recheck_s: How often a waiting message is checked whose alert is put aside.
        escalation_rounds: How many times an alert that is not urgent is repeated to the same person.
        unconfirmed_after_s: Time from the message to the last person until the alarm that nobody confirmed an urgent
            alert.
        unreached_after_s: Time from the first message until the alarm that an urgent alert reached nobody.
        unconfirmed_again_s: Time between two repeats of these alarms, which go to everybody.
    """

    group_wait_s: float = 5.0
    sends_per_hour: int = 60
    shelved_recheck_s: float = 60.0
    escalation_rounds: int = 3
    unconfirmed_after_s: float = 600.0
    unreached_after_s: float = 60.0
    unconfirmed_again_s: float = 600.0

    @classmethod
    def from_settings(cls, duty: DutySection) -> Self:
        """Return the limits with the times of the section `[duty]` of the service file."""
        return cls(unconfirmed_after_s=duty.unconfirmed_after_s, unconfirmed_again_s=duty.unconfirmed_again_s)
