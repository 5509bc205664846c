"""Who does an act, where and when, what it is given, and how two people do one together."""

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
SHORTEST: Final = 3  # characters of a reason
INVALID_VALUE: Final = Template("act.odd_value", "{name}: {problem}")
_REASON_WANTED: Final = Template("act.say_why", "say why in a few words")
TOO_LONG: Final = Template("act.too_long", "write at most {n} characters")
_ONE_OF: Final = Template("act.one_of", "'{value}': expected one of: {names}")
_NO_NUMBER: Final = Template("act.no_number", "give a number such as 12.5")


def require_words(text: str) -> str:
    """What a person wrote, tidied; raises RefusedError where it says nothing."""
    cleaned = tidy_text(text)
    if len(cleaned) < SHORTEST:
        raise RefusedError(_REASON_WANTED())
    return cleaned


def read_value(one: ActParameter, value: Any, zone: str | None = None, later: bool | None = None) -> Any:
    """A value as the act takes it, by whichever way it came.

    Args:
        zone: in which a time without an offset is meant; None = it is refused, never guessed.
        later: which of two times, as `read_typed_time` has it.

    Raises:
        RefusedError: what is wrong with it, and what to give instead.
    """
    if value is None or value == one.default_text:
        return value if value is None else one.default
    longest = one.argument.longest
    try:
        if one.kind is tuple:
            if any(len(each) > longest for each in value):
                raise ValueError(TOO_LONG(n=longest))
            return tuple(value)
        if one.kind is timedelta:
            return read_typed_span(value)
        if one.kind is datetime:
            return read_typed_time(value, zone, later)
        if one.kind is float and not isfinite(value):
            raise ValueError(_NO_NUMBER())
        if one.given_kind is str and len(value) > longest:
            raise ValueError(TOO_LONG(n=longest))
        if one.argument.choices and value not in one.argument.choices:
            raise ValueError(_ONE_OF(value=value, names=NameList(one.argument.choices)))
    except ValueError as error:
        raise RefusedError(INVALID_VALUE(name=one.name.rstrip("_"), problem=error_text(error))) from error
    is_reason = one.kind is str and longest >= REASON and not (one.argument.is_text or one.argument.is_file)
    return require_words(value) if is_reason else value


# by the argument that names what an act is on: the site of that, None where there is no such thing
SITE_OF: Final[Mapping[str, Callable[[Connection, int], str | None]]] = {
    "alert_id": partial(find_site_of, "alert"),
    "event_id": partial(find_site_of, "event"),
    "offset_id": find_site_of_offset,
    "maintenance_id": partial(find_site_of, "maintenance"),
    "proposal_id": partial(find_site_of, "proposal"),
    "signature_id": find_site_of_signature,
}
# by the argument that names it: the account whose owner may do an act that is `by_owner`
OWNER_OF: Final[Mapping[str, Callable[[Connection, Any], str | None]]] = {
    "name": lambda _c, name: str(name),
    "token_id": find_owner_of_token,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActCall:
    """An act as one person does it by one of the ways in."""

    db: Database
    actor: Actor
    now: datetime
    find_site: Callable[[str], Site]  # the declaration in force; raises NotFoundError, RefusedError
    check_site: Callable[[Connection, str], object]  # raises NotFoundError where there is none of that id
    config: ServiceConfig
    # where somebody waits for what takes minutes: told how far it came; None: it goes on in a process of its own
    report: Callable[[str], None] | None = None
    second: Actor | None = None  # whom the first one names, as long as there are no accounts
    transaction: Connection | None = None  # of a reply, which stores what it did and what it is answered together

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The transaction of the act."""
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
        """Do an act that may take two people, in one transaction.

        Args:
            do: the act itself, with the second person; raises NeedsSecondError where it wants one and has none.
            measure: the level that is at stake now; a signature that saw less counts no more.

        Raises:
            NeedsSecondError: nothing is done; the signature of this person waits for another one.
        """
        return do_by_two(self.db, shared, self.actor, reason, do, measure, self.now, self.second)
