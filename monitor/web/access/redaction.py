"""Redaction: accounts for some sites read nothing that names other sites or their stations.

Alarms of the service, its heartbeats and its errors concern all sites, and any part of the service can write their
texts. Therefore the texts are redacted when they are read: a text that names a site or station of others is replaced as
a whole. Level and time of an alarm remain visible to everybody who may read.

Only accounts for all sites read mail addresses of people. Everybody else reads a number instead.
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

# Fields with terms of the program, which can equal the name of a station. Templates need them.
STRUCTURE: Final = frozenset({"site", "ledger", "state", "from_state", "to_state", "status"})
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
MAIL: Final = re.compile(r"[^\s<>,;:()\[\]\"]+@[^\s<>,;:()\[\]\"]+")
# Fields of a message that can contain a mail address.
FIELDS_WITH_ADDRESSES: Final = ("channel", "last_error", "why")
SomeMessage = TypeVar("SomeMessage", MessageRow, DeliveryRow)
T = TypeVar("T")
WITHHELD_NAME: Final = "withheld"
WITHHELD: Final = Template(
    "page.withheld", "withheld: this names a site that is not yours; an account of all sites sees it"
)()
_SEE_LOG: Final = Template("page.log_says_why", "see the log of the service for the reason")


class ResponseRedactor:
    """Removes names of sites and stations, and mail addresses, that the reader may not see.

    Args:
        own: names of the sites of the reader and of their stations.
        others: names of all other sites and stations. A name that is also in `own` is visible.
        addresses: whether mail addresses are visible.

    >>> redactor = ResponseRedactor(["lake", "lake-2", "G1"], ["lake-20", "north-bench", "G1", "G7"])
    >>> [redactor.hides(text) for text in ("topic v1/North-Bench/G1", "G7 is silent", "lake-20:G1", "lake/G1", "G70")]
    [True, True, True, False, False]
    >>> redactor.cover({"level": 2, "reason": "G7 is silent", "north-bench": 1, "seen": ["lake", "G7"]})["seen"]
    ['lake', 'withheld: this names a site that is not yours; an account of all sites sees it']
    """

    def __init__(self, own: Iterable[str] = (), others: Iterable[str] = (), *, addresses: bool = True) -> None:
        self._addresses = addresses
        self._numbers: dict[str, int] = {}
        visible = {name.casefold() for name in own}
        self._others = {name.casefold() for name in others} - visible - {""}
        # The longest names come first. Otherwise a visible name that contains the name of another site would match it.
        names = sorted((name for name in visible | self._others if name), key=len, reverse=True)
        pattern = "|".join(re.escape(name) for name in names)
        self._names = re.compile(f"(?<![^\\W_])(?:{pattern})(?![^\\W_])") if self._others else None

    def hides(self, text: str) -> bool:
        """Return whether a text names a site or station that the reader may not see."""
        if self._names is None or INSTANT.fullmatch(text):
            return False
        return any(match[0] in self._others for match in self._names.finditer(text.casefold()))

    def cover(self, value: Any) -> Any:
        """Return plain data in which texts with hidden names are replaced. Entries with such a key are left out."""
        if self._names is None:
            return value
        return _walk(value, lambda text: WITHHELD if self.hides(text) else text, self._cover_table)

    def _cover_table(self, table: Mapping[Any, Any]) -> dict[Any, Any]:
        visible = {key: value for key, value in table.items() if not (isinstance(key, str) and self.hides(key))}
        if "recipient" in visible:
            # Alerts of the service are sent to recipients of all sites.
            visible["recipient"] = WITHHELD_NAME
        return {
            key: value if key in STRUCTURE and isinstance(value, str) else self.cover(value)
            for key, value in visible.items()
        }

    def cover_service(self, value: T) -> T:
        """Return data in which only rows of the service itself are redacted, at any depth; see `cover`."""
        covered: Any = value
        if self._names is None:
            return value
        if isinstance(value, dict):
            is_of_service = value.get("site") == SERVICE_ALERTS
            covered = self.cover(value) if is_of_service else {k: self.cover_service(v) for k, v in value.items()}
        elif _is_record(value):
            covered = _map_record(value, self.cover_service)
        elif isinstance(value, list):
            covered = [self.cover_service(item) for item in value]
        return cast("T", covered)

    def cover_messages(self, rows: list[SomeMessage]) -> list[SomeMessage]:
        """Return rows of messages without hidden mail addresses. Rows of the service are redacted as well."""
        covered: list[Any] = self.cover_service(rows)
        return [row | self.hide_addresses({k: row[k] for k in FIELDS_WITH_ADDRESSES if k in row}) for row in covered]

    def hide_addresses(self, value: Any) -> Any:
        """Return plain data with a number instead of each mail address. Equal addresses get the same number.

        >>> ResponseRedactor(addresses=False).hide_addresses({"email:bo@example.org": "550 <bo@example.org> unknown"})
        {'email:address 1': '550 <address 1> unknown'}
        """
        if self._addresses:
            return value
        hide, numbers = self.hide_addresses, self._numbers

        def hide_in_text(text: str) -> Any:
            if isinstance(text, Message):
                # The values of a message contain the same addresses as its text.
                return plain_to_messages(hide(text.to_json()))
            return MAIL.sub(lambda match: f"address {numbers.setdefault(match[0], len(numbers) + 1)}", text)

        return _walk(value, hide_in_text, lambda table: {hide(key): hide(item) for key, item in table.items()})


def _is_record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type | Value)


def _map_record(record: Any, convert: Callable[[Any], Any]) -> Any:
    return replace(record, **{field.name: convert(getattr(record, field.name)) for field in fields(record)})


def _walk(value: Any, convert_text: Callable[[str], Any], convert_table: Callable[[Mapping[Any, Any]], Any]) -> Any:
    """Return plain data with its texts and tables converted, also those in lists and records."""
    if isinstance(value, str):
        return convert_text(value)
    if isinstance(value, Mapping):
        return convert_table(value)
    if isinstance(value, list | tuple):
        return [_walk(item, convert_text, convert_table) for item in value]
    if _is_record(value):
        return _map_record(value, lambda item: _walk(item, convert_text, convert_table))
    return value


def redactor_of(request: Request, c: Connection) -> ResponseRedactor:
    """Return the redactor for the caller of a request.

    It hides nothing from an account for all sites. If reading needs no login, it hides only mail addresses.
    """
    caller = caller_of(request)
    if caller is not None and caller.sites is None:
        return ResponseRedactor()
    if not context_of(request).config.web.login_to_read:
        return ResponseRedactor(addresses=False)
    caller_sites = frozenset() if caller is None else caller.sites or frozenset()
    own: set[str] = set()
    others: set[str] = set()
    for site, names in load_place_names(c).items():
        (own if site in caller_sites else others).update(names)
    return ResponseRedactor(own, others, addresses=False)


def trouble_for(request: Request) -> str:
    """Return why the service cannot decide, redacted for the caller; empty if it can."""
    context = context_of(request)
    if not context.trouble or not context.config.web.login_to_read:
        return context.trouble
    try:
        with context.db.read() as c:
            covered: str = redactor_of(request, c).cover(context.trouble)
            return covered
    except Exception:
        # Without the database the caller is unknown, but the page must still be shown.
        return _SEE_LOG()
