"""Limits of delivery: waiting times, numbers of messages and of repeats."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """Limits of delivery. None of them delays an urgent message.

    Attributes:
        group_wait_s: How long messages of health and advice wait for others with which they form one message.
        sends_per_hour: The largest number of messages of one channel within an hour.
        shelved_recheck_s: After how long a message of an alert that was put aside is examined again.
        escalation_rounds: How often an alert below the two highest levels is repeated to the same person.
        unconfirmed_after_s: After all were notified, when an urgent alert that nobody confirmed is an alarm of its own.
        unreached_after_s: After the first message, when an urgent alert that no channel took has reached nobody.
        unconfirmed_again_s: How often that alarm is repeated to everybody.
    """

    group_wait_s: float = 5.0
    sends_per_hour: int = 60
    shelved_recheck_s: float = 60.0
    escalation_rounds: int = 3
    unconfirmed_after_s: float = 600.0
    unreached_after_s: float = 60.0
    unconfirmed_again_s: float = 600.0
