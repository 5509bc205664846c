"""What core and a process of ingest say to each other, by a pair of sockets that ends with either of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.config.service import BrokerSection, LimitsSection
from monitor.domain.site import Site
from monitor.extensions.scale_out.division import Share
from monitor.ingest.pipeline import LastReading


@dataclass(frozen=True, slots=True)
class StartOrders:
    """What a process of ingest begins with. It reads no file of the service and knows no other secret."""

    database_url: str  # the one of the core
    session: str  # what PostgreSQL calls the sessions of the core: who ends those of a core that hangs, ends these too
    fence: int  # number of the core's turn; a process whose core has lost it writes nothing. 0: there is no turn.
    broker: BrokerSection
    limits: LimitsSection
    sites: Mapping[str, Site]  # all that are in force, by id
    share: Share  # what this process takes
    log_level: str


@dataclass(frozen=True, slots=True)
class CoreHeartbeat:
    """What core says twice a second."""

    now: datetime  # the present by the clock of the core, which all readings are received by
    at_s: float  # when that was, by CLOCK_BOOTTIME
    renewed_s: float | None  # when the turn was renewed last, by the same clock; None: there is no turn
    hold: str = ""  # why no readings may be stored now
    expect_s: float = 0.0  # so long, what does not come may only not have reached us again
    forget_last_readings: bool = False  # our clock was set; what was heard by the old one says nothing


@dataclass(frozen=True, slots=True)
class IngestHeartbeat:
    """What a process of ingest says of itself twice a second."""

    status: Mapping[str, Any]  # of its `Ingest`
    progress: Mapping[str, datetime]  # of its threads
    cpu_s: float  # processor time since it began to listen
    last_readings: Mapping[tuple[str, str], LastReading]  # stations that were heard since the report before


@dataclass(frozen=True, slots=True)
class AlarmNotice:
    """An alarm was written: who delivers it should look."""
