"""Check CAP 1.2 messages of any sender: the rules of the schema, and those in the text of the standard."""

import re
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree as ET

from monitor.api.errors import RefusedError

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
SIGNATURE: Final = "{http://www.w3.org/2000/09/xmldsig#}Signature"
MAX_BYTES: Final = 5_000_000
_ALERT: Final = (
    "identifier sender sent status msgType source scope restriction addresses code note references incidents info"
)
_INFO: Final = (
    "language category event responseType urgency severity certainty audience eventCode effective onset"
    " expires senderName headline description instruction web contact parameter resource area"
)
# Block -> required elements, and all elements in their order.
BLOCKS: Final = {
    "alert": (["identifier", "sender", "sent", "status", "msgType", "scope"], _ALERT.split()),
    "info": (["category", "event", "urgency", "severity", "certainty"], _INFO.split()),
    "area": (["areaDesc"], ["areaDesc", "polygon", "circle", "geocode", "altitude", "ceiling"]),
}
REPEATABLE: Final = frozenset(
    {
        "code",
        "info",
        "category",
        "responseType",
        "eventCode",
        "parameter",
        "resource",
        "area",
        "polygon",
        "circle",
        "geocode",
    }
)
# Element -> allowed values.
CODES: Final = {
    name: codes.split()
    for name, codes in {
        "status": "Actual Exercise System Test Draft",
        "msgType": "Alert Update Cancel Ack Error",
        "scope": "Public Restricted Private",
        "category": "Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other",
        "responseType": "Shelter Evacuate Prepare Execute Avoid Monitor Assess AllClear None",
        "urgency": "Immediate Expected Future Past Unknown",
        "severity": "Extreme Severe Moderate Minor Unknown",
        "certainty": "Observed Likely Possible Unlikely Unknown",
    }.items()
}
TIME_ELEMENTS: Final = frozenset({"sent", "effective", "onset", "expires"})
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d")
_OTHER_ENCODING: Final = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE)
_NAME: Final = re.compile(r"[^\s,<&]+")
_COORDINATES: Final = re.compile(r"(-?\d+(?:\.\d+)?),(-?\d+(?:\.\d+)?)")
_CIRCLE: Final = re.compile(r"(-?\d+(?:\.\d+)?),(-?\d+(?:\.\d+)?) \d+(?:\.\d+)?")


def read_cap(content: bytes) -> ET.Element:
    """Parse a message and return its root element.

    Raises:
        RefusedError: The message is too large, declares entities, or is no XML in UTF-8 or no CAP 1.2.
    """
    if len(content) > MAX_BYTES:
        raise RefusedError(f"the message has more than {MAX_BYTES // 1_000_000} MB")
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"<") or b"\0" in content or _OTHER_ENCODING.match(text):
        raise RefusedError("the message is not XML in UTF-8")
    if b"<!" in content.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        raise RefusedError("the message declares a document type, which CAP does not allow")
    try:
        root = ET.fromstring(content)  # noqa: S314 - without a document type there are no entities to expand
    except ET.ParseError as error:
        raise RefusedError(f"the message is not XML: {error}") from None
    if root.tag != f"{{{NAMESPACE}}}alert":
        raise RefusedError(f"the message is not CAP 1.2: its root element is {root.tag[:80]}")
    return root


def find_faults(content: bytes) -> list[str]:
    """Return what violates the standard, one line each.

    Raises:
        RefusedError: As for `read_cap`.
    """
    return list(_check_message(read_cap(content)))


def _check_message(root: ET.Element) -> Iterator[str]:
    yield from _check_block(root, "alert")
    for info in root.findall(f"{{{NAMESPACE}}}info"):
        yield from _check_block(info, "info")
        for area in info.findall(f"{{{NAMESPACE}}}area"):
            yield from _check_block(area, "area")
            yield from _check_shapes(area)
        for name in ("parameter", "eventCode"):
            for parameter in info.findall(f"{{{NAMESPACE}}}{name}"):
                if [_local_name(child) for child in parameter] != ["valueName", "value"]:
                    yield f"{name}: expected valueName and value"
    for name in ("identifier", "sender"):
        text = _text(root, name)
        if text and not _NAME.fullmatch(text):
            yield f"{name}: must not contain spaces, commas, < or & (3.2.1)"
    scope = _text(root, "scope")
    if (scope == "Restricted") != (root.find(f"{{{NAMESPACE}}}restriction") is not None):
        yield "restriction: required with scope Restricted, and only allowed there"
    if scope == "Private" and not _text(root, "addresses"):
        yield "addresses: required with scope Private"
    yield from _check_chain(root)


def _check_chain(root: ET.Element) -> Iterator[str]:
    references = _text(root, "references").split()
    if _text(root, "msgType") in {"Update", "Cancel", "Ack", "Error"} and not references:
        yield f"references: required in a message of type {_text(root, 'msgType')}"
    for reference in references:
        parts = reference.split(",")
        if len(parts) != 3 or not TIME.fullmatch(parts[2]):
            yield f"references: {reference[:100]!r} is not sender,identifier,sent"
        elif parts[1] == _text(root, "identifier"):
            yield "references: the message refers to itself"
    if _text(root, "status") in {"Exercise", "Test"} and not _text(root, "note"):
        yield "note: required with status Exercise or Test, to describe what is exercised or tested"


def _check_block(block: ET.Element, kind: str) -> Iterator[str]:
    """Check names, order, repetitions and values of the elements of a block."""
    required, order = BLOCKS[kind]
    position = 0
    present: set[str] = set()
    for child in block:
        if kind == "alert" and child.tag == SIGNATURE:
            continue
        name = _local_name(child)
        if not child.tag.startswith(f"{{{NAMESPACE}}}") or name not in order:
            yield f"{kind}: {child.tag[:80]} is not allowed here"
            continue
        if order.index(name) < position:
            yield f"{kind}: {name} is in the wrong place"
        if name in present and name not in REPEATABLE:
            yield f"{kind}: {name} is repeated"
        position = max(position, order.index(name))
        present.add(name)
        text = (child.text or "").strip()
        if name in CODES and text not in CODES[name]:
            yield f"{name}: {text[:40]!r} is not one of {', '.join(sorted(CODES[name]))}"
        if name in TIME_ELEMENTS and not TIME.fullmatch(text):
            yield f"{name}: {text[:40]!r} is not a time such as 2026-03-01T06:00:00-00:00"
    yield from (f"{kind}: {name} is missing" for name in required if name not in present)


def _check_shapes(area: ET.Element) -> Iterator[str]:
    for polygon in area.findall(f"{{{NAMESPACE}}}polygon"):
        pairs = (polygon.text or "").split()
        if len(pairs) < 4 or pairs[0] != pairs[-1] or not all(map(_are_coordinates, pairs)):
            yield "polygon: expected at least four pairs lat,lon, the last equal to the first"
    for circle in area.findall(f"{{{NAMESPACE}}}circle"):
        text = (circle.text or "").strip()
        if not _CIRCLE.fullmatch(text) or not _are_coordinates(text.split()[0]):
            yield "circle: expected lat,lon and a radius in km"


def _are_coordinates(pair: str) -> bool:
    match = _COORDINATES.fullmatch(pair)
    return match is not None and abs(float(match[1])) <= 90.0 and abs(float(match[2])) <= 180.0


def _local_name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(parent: ET.Element, name: str) -> str:
    element = parent.find(f"{{{NAMESPACE}}}{name}")
    return "" if element is None else (element.text or "").strip()
