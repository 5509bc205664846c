"""Models that a site file asks for and that do not exist yet, because there are too few readings or no training."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from forecasting.data.kinds import format_span
from monitor.plugins import hooks
from monitor.readings.queries.observations import Extent
from monitor.sites.records import Site
from monitor.text.instants import epoch_s, format_iso
from monitor.text.message import Message, MessageList, Template, Term, Timestamp, Value, messages_to_plain

FRESH_STEPS: Final = 4  # a series without readings for more grid steps gets no forecast
_ROWS: Final = Template(
    "awaited.rows", "it has {n} of {needed} rows of {step} that it needs, from {quantity} read every {every}"
)
_COMES: Final = Template("awaited.comes", "{text}; if readings continue, it has all of them on {at}")
_SOON: Final = Template(
    "awaited.soon",
    "{n} rows of {step} are enough, from {quantity} read every {every}: it is available within minutes",
)
_TRIED: Final = Template(
    "awaited.tried",
    "it is trained when the record is long enough, which is tried each day; it has {n} rows of {step}, from {quantity} "
    "read every {every}",
)


@dataclass(frozen=True, slots=True)
class AwaitedModel:
    """A model that does not exist yet."""

    what: str  # `forecast` for the forecasts that need no training, otherwise the name of a network or detector
    task: str  # `forecast` or `anomaly`
    job: str  # the job that makes it
    used_by: str  # the job that runs it once it exists
    quantity: str  # of the group of its series; `displacement` for all motion
    is_trained: bool  # whether it results from a training, which takes minutes of processor time
    every_s: float  # interval of its series
    step_s: float  # step of the grid on which it is computed
    rows: int  # rows of that grid in the longest of its series, at most
    needed: int  # rows that it needs at least; 0 if only an attempt shows whether there are enough
    # when there are enough rows if readings continue; None if they have stopped, or there are enough
    at: datetime | None = None
    # the quantities that its series measure, such as `crack_opening`; empty for `quantity`
    measured: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name of the model in a sentence."""
        if not self.is_trained:
            return "the forecast"
        return f'the network "{self.what}"' if self.task == "forecast" else f'the detector "{self.what}"'

    def describe(self) -> Message:
        """Return what it waits for."""
        named: dict[str, Value] = {
            "n": self.rows,
            "step": format_span(self.step_s),
            "quantity": MessageList(tuple(Term(name) for name in self.measured or (self.quantity,)), ", "),
            "every": format_span(self.every_s),
        }
        if self.rows < self.needed:
            text = _ROWS(**named, needed=self.needed)
            return text if self.at is None else _COMES(text=text, at=Timestamp.of(self.at, "minute"))
        return _SOON(**named) if self.needed else _TRIED(**named)

    def to_json(self, site_id: str) -> dict[str, Any]:
        """Return a line of `slopeward forecast models` and an entry of `slopeward status`."""
        document: dict[str, Any] = messages_to_plain(
            {
                "model_hash": None,
                "kind": self.what,
                "task": self.task,
                "site": site_id,
                "state": "awaited",
                "reason": self.describe(),
                "at": self.at and format_iso(self.at),
            }
        )
        return document


class LackingModels(NamedTuple):
    """What a site lacks."""

    awaited: tuple[AwaitedModel, ...]
    without: frozenset[int] = frozenset()  # series that have no forecast yet
    known: frozenset[int] = frozenset()  # all series that have readings
    is_whole: bool = True  # whether each declared series that is to be forecast has had a reading


def find_lacking(connection: Connection, site: Site, now: datetime) -> LackingModels:
    """Return what a site lacks as of `now`, of all features and plugins."""
    found: list[LackingModels] = hooks().lacking_models(connection=connection, site=site, now=now)
    return LackingModels(
        tuple(model for lacking in found for model in lacking.awaited),
        frozenset().union(*(lacking.without for lacking in found)),
        frozenset().union(*(lacking.known for lacking in found)),
        all(lacking.is_whole for lacking in found),
    )


def list_awaited(connection: Connection, sites: Iterable[Site], now: datetime) -> list[tuple[str, AwaitedModel]]:
    """Return the models that do not exist yet of several sites, each with the id of its site."""
    return [(site.id, model) for site in sites for model in find_lacking(connection, site, now).awaited]


def await_model(
    what: str,
    task: str,
    job: str,
    used_by: str,
    extents: Mapping[int, Extent],
    now: datetime,
    *,
    quantity: str,
    is_trained: bool,
    every_s: float,
    step_s: float,
    needed: int = 0,
    measured: Iterable[str] = (),
) -> Iterator[AwaitedModel]:
    """Yield a model that does not exist yet; nothing if its series have no readings.

    Args:
        what: see `AwaitedModel`, as the other arguments that are its fields.
        extents: first and last reading of its series, and how many there are.
        now: the present.
    """
    rows = max(
        (
            min(extent.count, int((extent.last - extent.first).total_seconds() / step_s) + 1)
            for extent in extents.values()
        ),
        default=0,
    )
    if not rows:
        return
    newest = max(extent.last for extent in extents.values())
    is_arriving = epoch_s(newest) >= epoch_s(now) - FRESH_STEPS * step_s
    at = now + timedelta(seconds=(needed - rows) * step_s) if is_arriving and rows < needed else None
    yield AwaitedModel(
        what, task, job, used_by, quantity, is_trained, every_s, step_s, rows, needed, at, tuple(sorted({*measured}))
    )
