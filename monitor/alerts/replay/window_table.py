"""Join the failure windows of a replay into periods: one row for each time with a window."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from monitor.alerts.replay.failure_windows import IssuedWindow
from monitor.alerts.replay.matrix import EventLabel
from monitor.text.instants import epoch_s, format_iso, from_epoch_s
from monitor.text.message import Message, Template

DAY_S: Final = 86400.0
END_OF_RECORD: Final = Template("windows.end_of_record", "end of the record")()
_STANDS: Final = Template("windows.stands", "it is in force at the end of the record")()


@dataclass(frozen=True, slots=True)
class WindowPeriod:
    """A time during which one series had a failure window without interruption.

    Attributes:
        first: The window that was issued first.
        first_trusted: The first one that was trusted; None if none was.
        last: The window that was issued last.
        trusted: How many of the issued windows were trusted.
        before: What followed: the name of the next event, or the end of the record.
        before_s: When that was, in epoch seconds.
    """

    first: IssuedWindow
    first_trusted: IssuedWindow | None
    last: IssuedWindow
    issued: int
    trusted: int
    before: Message | str
    before_s: float

    @property
    def lead_s(self) -> float | None:
        """Seconds from the first trusted window to what followed; None if no window was trusted."""
        return None if self.first_trusted is None else self.before_s - self.first_trusted.issued_s

    @property
    def end(self) -> Message | str:
        """Why the window was withdrawn, or that it is still in force."""
        return self.last.withdrawn_reason or _STANDS

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        withdrawn_s = self.last.withdrawn_s
        return {
            "station": self.first.station,
            "quantity": self.first.quantity,
            "first": _window_to_json(self.first),
            "first_trusted": None if self.first_trusted is None else _window_to_json(self.first_trusted),
            "last": _window_to_json(self.last),
            "issued": self.issued,
            "trusted": self.trusted,
            "before": self.before,
            "before_at": format_iso(from_epoch_s(self.before_s)),
            "lead_s": self.lead_s,
            "withdrawn_at": None if withdrawn_s is None else format_iso(from_epoch_s(withdrawn_s)),
            "withdrawn_reason": self.last.withdrawn_reason,
        }


@dataclass(frozen=True, slots=True)
class WindowTable:
    """The failure windows of a replay.

    Attributes:
        periods: By station, quantity and time.
        looks: How many times each series (`STATION.quantity`) was assessed; empty where stored windows were used.
    """

    periods: tuple[WindowPeriod, ...] = ()
    looks: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"looks": dict(self.looks), "periods": [period.to_json() for period in self.periods]}


def list_periods(issued: Sequence[IssuedWindow], labels: Sequence[EventLabel], to_s: float) -> tuple[WindowPeriod, ...]:
    """Join the windows of each series into periods.

    Args:
        issued: By station, quantity and instant. A withdrawal ends all windows of a series that stand.
        to_s: The end of the replay, in epoch seconds.
    """
    periods = []
    for _, group in groupby(issued, key=lambda window: (window.station, window.quantity, window.withdrawn_s)):
        windows = list(group)
        first_trusted = next((window for window in windows if window.trusted), None)
        since_s = (first_trusted or windows[0]).issued_s
        label = next((candidate for candidate in labels if epoch_s(candidate.to_at) >= since_s), None)
        periods.append(
            WindowPeriod(
                first=windows[0],
                first_trusted=first_trusted,
                last=windows[-1],
                issued=len(windows),
                trusted=sum(window.trusted for window in windows),
                before=END_OF_RECORD if label is None else label.name or f"{label.from_at:%Y-%m-%d}",
                before_s=to_s if label is None else epoch_s(label.from_at),
            )
        )
    return tuple(periods)


def _window_to_json(window: IssuedWindow) -> dict[str, Any]:
    instants = {
        "issued_at": window.issued_s,
        "data_until": window.data_until_s,
        "from": window.from_s,
        "mid": window.mid_s,
        "to": window.to_s,
    }
    return {name: format_iso(from_epoch_s(at_s)) for name, at_s in instants.items()} | {
        "trusted": window.trusted,
        "reasons": window.reasons,
    }
