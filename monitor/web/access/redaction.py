"""What an account of some sites reads of the service itself: nothing that names another site or its stations.

Alarms of the service, its stamps and what keeps it from deciding are about all sites at once, in words that any part of
the service makes. So the words are looked at where they are read: one that names a site or station of others is put
aside whole. That an alarm stands, how high and since when, everybody sees who may read.

Mail addresses of people are read by accounts of all sites alone; everybody else reads a number in their place.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, TypeVar, cast

from fastapi import Request
from sqlalchemy import Connection

from monitor.delivery.views import DeliveryRow, MessageRow
from monitor.sites.queries.sites import load_place_names
from monitor.text.message import Message, Template, Value, plain_to_messages
from monitor.web.access.callers import SERVICE_ALERTS, caller_of
from monitor.web.context import context_of

# of rows and states: words of our own that mean something to the page; an instant is no name either
STRUCTURE: Final = frozenset({"site", "ledger", "state", "from_state", "to_state", "status"})
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
MAIL: Final = re.compile(r"[^\s<>,;:()\[\]\"]+@[^\s<>,;:()\[\]\"]+")
OF_PEOPLE: Final = ("channel", "last_error", "why")  # of a message: what may hold an address
SomeMessage = TypeVar("SomeMessage", MessageRow, DeliveryRow)
T = TypeVar("T")
SOMEBODY: Final = "withheld"
WITHHELD: Final = Template(
    "page.withheld", "withheld: this names a site that is not yours; an account of all sites sees it"
)()
_LOG_SAYS_WHY: Final = Template("page.log_says_why", "the log of the service says why")


class ResponseRedactor:
    """Removes from a response what names sites, stations and mail addresses that the reader may not see.

    Args:
        own: names of the own sites and stations.
        others: names of all other ones; one that is an own name as well counts as own.
        addresses: whether mail addresses are read.

    >>> redactor = ResponseRedactor(["lake", "lake-2", "G1"], ["lake-20", "north-bench", "G1", "G7"])
    >>> [redactor.hides(text) for text in ("topic v1/North-Bench/G1", "G7 is silent", "lake-20:G1", "lake/G1", "G70")]
    [True, True, True, False, False]
    >>> redactor.cover({"level": 2, "reason": "G7 is silent", "north-bench": 1, "seen": ["lake", "G7"]})["seen"]
    ['lake', 'withheld: this names a site that is not yours; an account of all sites sees it']
    """

    def __init__(self, own: Iterable[str] = (), others: Iterable[str] = (), *, addresses: bool = True) -> None:
        self._addresses, self._numbers = addresses, dict[str, int]()
        mine = {name.casefold() for name in own}
        self._others = {name.casefold() for name in others} - mine - {""}
        every = "|".join(re.escape(name) for name in sorted(mine | self._others, key=len, reverse=True) if name)
        # the longest name first: an own one that holds the name of another is no name of the other
        self._names = re.compile(f"(?<![^\\W_])(?:{every})(?![^\\W_])") if self._others else None

    def hides(self, text: str) -> bool:
        """Whether a text names a place of others."""
        if self._names is None or INSTANT.fullmatch(text):
            return False
        return any(found[0] in self._others for found in self._names.finditer(text.casefold()))

    def cover(self, value: Any) -> Any:
        """Plain data with every text put aside that names others; an entry under such a name is left out."""
        if self._names is None:
            return value
        return _walk(value, lambda text: WITHHELD if self.hides(text) else text, self._cover_table)

    def _cover_table(self, table: Mapping[Any, Any]) -> dict[Any, Any]:
        kept = {k: v for k, v in table.items() if not (isinstance(k, str) and self.hides(k))}
        kept |= {"recipient": SOMEBODY} if "recipient" in kept else {}  # all whom any site names are told
        return {k: v if k in STRUCTURE and isinstance(v, str) else self.cover(v) for k, v in kept.items()}

    def cover_service(self, value: T) -> T:
        """The same of rows of the service itself alone, wherever in the data they stand."""
        found: Any = value
        if self._names is None:
            return value
        if isinstance(value, dict):
            is_ours = value.get("site") == SERVICE_ALERTS
            found = self.cover(value) if is_ours else {k: self.cover_service(v) for k, v in value.items()}
        elif _is_record(value):
            found = _map_record(value, self.cover_service)
        elif isinstance(value, list):
            found = [self.cover_service(one) for one in value]
        return cast("T", found)

    def cover_messages(self, rows: list[SomeMessage]) -> list[SomeMessage]:
        """Rows of messages: those of the service covered, and no address of anybody."""
        covered: list[Any] = self.cover_service(rows)
        return [row | self.hide_addresses({k: row[k] for k in OF_PEOPLE if k in row}) for row in covered]

    def hide_addresses(self, value: Any) -> Any:
        """Plain data with a number in place of each mail address, the same one for the same address.

        >>> ResponseRedactor(addresses=False).hide_addresses({"email:bo@example.org": "550 <bo@example.org> unknown"})
        {'email:address 1': '550 <address 1> unknown'}
        """
        if self._addresses:
            return value
        hide, numbers = self.hide_addresses, self._numbers

        def hide_in(text: str) -> Any:
            if isinstance(text, Message):  # its values hold what its text does
                return plain_to_messages(hide(text.to_json()))
            return MAIL.sub(lambda found: f"address {numbers.setdefault(found[0], len(numbers) + 1)}", text)

        return _walk(value, hide_in, lambda table: {hide(k): hide(v) for k, v in table.items()})


def _is_record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type | Value)


def _map_record(record: Any, of_field: Callable[[Any], Any]) -> Any:
    return replace(record, **{one.name: of_field(getattr(record, one.name)) for one in fields(record)})


def _walk(value: Any, of_text: Callable[[str], Any], of_table: Callable[[Mapping[Any, Any]], Any]) -> Any:
    """Plain data with its texts, tables and records made anew, lists one by one."""
    if isinstance(value, str):
        return of_text(value)
    if isinstance(value, Mapping):
        return of_table(value)
    if isinstance(value, list | tuple):
        return [_walk(one, of_text, of_table) for one in value]
    if _is_record(value):
        return _map_record(value, lambda one: _walk(one, of_text, of_table))
    return value


def redactor_of(request: Request, c: Connection) -> ResponseRedactor:
    """The redactor of who asks: none for an account of all sites, of addresses alone where reading is open."""
    caller = caller_of(request)
    if caller is not None and caller.sites is None:
        return ResponseRedactor()
    if not context_of(request).config.web.login_to_read:
        return ResponseRedactor(addresses=False)
    mine = frozenset() if caller is None else caller.sites or frozenset()
    own, others = set[str](), set[str]()
    for site, names in load_place_names(c).items():
        (own if site in mine else others).update(names)
    return ResponseRedactor(own, others, addresses=False)


def trouble_for(request: Request) -> str:
    """What keeps core from deciding, as who asks may read it; who that is can be unknown while the database is away."""
    context = context_of(request)
    if not context.trouble or not context.config.web.login_to_read:
        return context.trouble
    try:
        with context.db.read() as c:
            covered: str = redactor_of(request, c).cover(context.trouble)
            return covered
    except Exception:  # a page must come even when the database is away
        return _LOG_SAYS_WHY()
