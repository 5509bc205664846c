"""The call of an act: who does it, when, with which arguments, and with which second person."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import isfinite
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from monitor.alerts.acts.table import REASON, ActParameter
from monitor.alerts.queries.offsets import find_site_of_offset
from monitor.alerts.queries.signatures import TwoPersonAct, do_by_two, find_site_of_signature
from monitor.alerts.queries.subjects import find_site_of
from monitor.errors import RefusedError
from monitor.people.queries.api_tokens import find_owner_of_token
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.text.instants import read_typed_span
from monitor.text.message import NameList, Template, error_text
from monitor.text.names import tidy_text
from monitor.text.zones import read_typed_time

T = TypeVar("T")
# Least number of characters of a reason.
MIN_REASON: Final = 3
INVALID_VALUE: Final = Template("act.odd_value", "{name}: {problem}")
_TOO_SHORT: Final = Template("act.too_short", "say why in at least {n} characters")
TOO_LONG: Final = Template("act.too_long", "write at most {n} characters")
_ONE_OF: Final = Template("act.one_of", "'{value}': expected one of: {names}")
_NO_NUMBER: Final = Template("act.no_number", "give a number such as 12.5")


def require_text(text: str) -> str:
    """Return the text of a person without superfluous white space.

    Raises:
        ValueError: The text is empty or too short.
    """
    cleaned = tidy_text(text)
    if len(cleaned) < MIN_REASON:
        raise ValueError(_TOO_SHORT(n=MIN_REASON))
    return cleaned


def read_value(parameter: ActParameter, value: Any, zone: str | None = None, later: bool | None = None) -> Any:
    """Return the value of an argument as the act expects it.

    Args:
        zone: Time zone of times without an offset; None refuses such times.
        later: Which of two ambiguous times is meant, see `read_typed_time`.

    Raises:
        RefusedError: The value is not valid. The message contains what to enter instead.
    """
    if value is None:
        return None
    if value == parameter.default_text:
        return parameter.default
    longest = parameter.argument.longest
    try:
        if parameter.kind is tuple:
            if any(len(item) > longest for item in value):
                raise ValueError(TOO_LONG(n=longest))
            return tuple(value)
        if parameter.kind is timedelta:
            return read_typed_span(value)
        if parameter.kind is datetime:
            return read_typed_time(value, zone, later)
        if parameter.kind is float and not isfinite(value):
            raise ValueError(_NO_NUMBER())
        if parameter.given_kind is str and len(value) > longest:
            raise ValueError(TOO_LONG(n=longest))
        if parameter.argument.choices and value not in parameter.argument.choices:
            raise ValueError(_ONE_OF(value=value, names=NameList(parameter.argument.choices)))
        is_text = parameter.argument.is_text or parameter.argument.is_file
        if parameter.kind is str and longest >= REASON and not is_text:
            return require_text(value)
    except ValueError as error:
        raise RefusedError(INVALID_VALUE(name=parameter.name.rstrip("_"), problem=error_text(error))) from error
    return value


# Functions that find the site of the object of an act, by the argument that contains its number. They return None if
# the object does not exist.
SITE_OF: Final[Mapping[str, Callable[[Connection, int], str | None]]] = {
    "alert_id": partial(find_site_of, "alert"),
    "event_id": partial(find_site_of, "event"),
    "offset_id": find_site_of_offset,
    "maintenance_id": partial(find_site_of, "maintenance"),
    "proposal_id": partial(find_site_of, "proposal"),
    "signature_id": find_site_of_signature,
}
# Functions that find the account that an act with `by_owner` is about, by the argument that names it or its token. The
# owner of this account may do the act.
OWNER_OF: Final[Mapping[str, Callable[[Connection, Any], str | None]]] = {
    "name": lambda _connection, name: str(name),
    "token_id": find_owner_of_token,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActCall:
    """The call of an act by one person, from the command line, the page or the HTTP API.

    Attributes:
        find_site: Returns the site file in force. Raises NotFoundError or RefusedError.
        check_site: Raises NotFoundError if the site does not exist.
        report: Called with the progress of a long act; None runs a long act in a process of its own.
        second: The second person, named by the first one while there are no accounts.
        transaction: The open transaction of a reply, which stores the act and the answer together.
    """

    db: Database
    actor: Actor
    now: datetime
    find_site: Callable[[str], Site]
    check_site: Callable[[Connection, str], object]
    config: ServiceConfig
    report: Callable[[str], None] | None = None
    second: Actor | None = None
    transaction: Connection | None = None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open the transaction of the act."""
        if self.transaction is not None:
            yield self.transaction
        else:
            with self.db.write(urgent=True) as connection:
                yield connection

    def by_two(
        self,
        shared: TwoPersonAct,
        reason: str,
        do: Callable[[Connection, Actor | None], T],
        measure: Callable[[Connection], int] = lambda _: 0,
    ) -> T:
        """Do an act that may need two people, in one transaction. See `do_by_two`."""
        return do_by_two(self.db, shared, self.actor, reason, do, measure, self.now, self.second)
