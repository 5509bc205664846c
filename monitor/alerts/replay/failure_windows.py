"""Interface of a feature that computes failure windows in a replay.

The service stores failure windows when a job computes them. A replay of imported readings has none, so the feature
computes them on the simulated clock. The hook `failure_window_replay` provides the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from monitor.plugins import hooks

if TYPE_CHECKING:
    from monitor.alerts.replay.history import History
    from monitor.decision.records import DecisionInputs, Memory
    from monitor.sites.records import Site
    from monitor.text.message import Message


@dataclass(frozen=True, slots=True)
class IssuedWindow:
    """A failure window as it was issued, and when it was withdrawn. Times are epoch seconds."""

    station: str
    quantity: str
    issued_s: float
    data_until_s: float
    from_s: float
    mid_s: float
    to_s: float
    trusted: bool
    reasons: Message | str
    withdrawn_s: float | None = None
    withdrawn_reason: Message | str | None = None


class WindowReplay(Protocol):
    """Computes the failure windows of a site as the simulated clock moves on."""

    @property
    def looks(self) -> Mapping[tuple[str, str], int]:
        """How many times each series was assessed, by station and declared quantity."""
        ...

    def add_to(self, inputs: DecisionInputs, site: Site, memory: Memory, now_s: float) -> DecisionInputs:
        """Return the inputs with the failure windows in force at an instant.

        Inputs with stored windows, and inputs of a site file that uses none, are returned unchanged.
        """
        ...

    def list_issued(self) -> Sequence[IssuedWindow]:
        """Return every window that was issued, by station, quantity and instant."""
        ...


class WindowReplayFunctions(NamedTuple):
    """The functions of a feature that computes failure windows in a replay."""

    # How much history of each series the failure windows of a site need, in seconds, by station and quantity.
    list_spans: Callable[[Site], Mapping[tuple[str, str], float]]
    start: Callable[[History], WindowReplay]


def list_window_spans(site: Site) -> Mapping[tuple[str, str], float]:
    """Return how much history, in seconds, computing the failure windows needs, by station and quantity."""
    functions = hooks().failure_window_replay()
    return {} if functions is None else functions.list_spans(site)


def start_window_replay(history: History) -> WindowReplay:
    """Return an object that computes failure windows; without a feature that does, one that adds none."""
    functions = hooks().failure_window_replay()
    return _NoWindows() if functions is None else functions.start(history)


class _NoWindows:
    """Adds no failure windows."""

    looks: Mapping[tuple[str, str], int] = MappingProxyType({})

    def add_to(self, inputs: DecisionInputs, _site: Site, _memory: Memory, _now_s: float) -> DecisionInputs:
        return inputs

    def list_issued(self) -> Sequence[IssuedWindow]:
        return ()
